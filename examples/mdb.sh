#!/bin/sh
# Multicast inside the tunnel goes to the hosts that have receivers. As a file: mdb.yaml.
# Needs eth0 with the address 192.0.2.1, and "vxlane daemon". Lines with #> are what is printed.
set -e

vxlane link add vx0 address 02:00:00:00:42:01 \
  type vxlan id 42 dev eth0 local 192.0.2.1 remote 192.0.2.2 dstport 4789
vxlane link set vx0 up

# Two hosts have receivers of 239.10.0.1.
vxlane mdb add dev vx0 port vx0 grp 239.10.0.1 permanent dst 192.0.2.2
vxlane mdb add dev vx0 port vx0 grp 239.10.0.1 permanent dst 192.0.2.3

# 239.10.0.2 goes to one host, in VNI 43, and only what 10.0.0.7 sends; the rest of that group is dropped.
vxlane mdb add dev vx0 port vx0 grp 239.10.0.2 permanent filter_mode include source_list 10.0.0.7 dst 192.0.2.4 vni 43

# All groups without an entry of their own.
vxlane mdb add dev vx0 port vx0 grp 0.0.0.0 permanent dst 192.0.2.5

vxlane mdb show dev vx0
#> dev vx0 port vx0 grp 0.0.0.0 permanent dst 192.0.2.5
#> dev vx0 port vx0 grp 239.10.0.2 src 10.0.0.7 permanent dst 192.0.2.4 vni 43
#> dev vx0 port vx0 grp 239.10.0.2 permanent dst 192.0.2.4 vni 43
#> dev vx0 port vx0 grp 239.10.0.1 permanent dst 192.0.2.3
#> dev vx0 port vx0 grp 239.10.0.1 permanent dst 192.0.2.2

vxlane fdb show dev vx0
#> 00:00:00:00:00:00 dst 192.0.2.2 via eth0 self permanent
