#!/bin/sh
# One device for many VNIs, told apart by VLAN on its interface. As a file: vlans.yaml.
# Needs eth0 with the address 192.0.2.1, and "vxlane daemon". Lines with #> are what is printed.
set -e

vxlane link add vx0 address 02:00:00:00:42:01 type vxlan external vnifilter dev eth0 local 192.0.2.1 dstport 4789
vxlane link set vx0 up

# Which VNIs are received, and where their unknown MACs go.
vxlane vni add vni 10010 remote 192.0.2.2 dev vx0
vxlane vni add vni 10020-10024 remote 192.0.2.3 dev vx0
vxlane vni add vni 10030 group 239.1.1.30 dev vx0

# Which VLAN of vx0 is which VNI. "pvid untagged": VLAN 10 has no tag there.
vxlane vlan add dev vx0 vid 10 tunnel_info id 10010 pvid untagged
vxlane vlan add dev vx0 vid 20-24 tunnel_info id 10020-10024
vxlane vlan add dev vx0 vid 30 tunnel_info id 10030

# Each VNI has a table of its own: src_vni says which.
vxlane fdb append 00:00:00:00:00:00 dev vx0 src_vni 10010 dst 192.0.2.4
vxlane fdb add 02:00:00:00:00:07 dev vx0 src_vni 10020 dst 192.0.2.7

vxlane vni show dev vx0
#> dev               vni                group/remote
#> vx0               10010              192.0.2.2
#>                   10020-10024        192.0.2.3
#>                   10030              239.1.1.30

vxlane -d vlan show dev vx0
#> port              vlan-id    tunnel-id
#> vx0               10         10010 PVID Egress Untagged
#>                   20-24      10020-10024
#>                   30         10030

vxlane fdb get 02:00:00:00:00:07 dev vx0 vni 10020
#> 02:00:00:00:00:07 dev vx0 dst 192.0.2.7 src_vni 10020 self permanent
