#!/bin/sh
# ARP requests and neighbour solicitations are answered here. As a file: proxy.yaml.
# Needs eth0 with the address 192.0.2.1, and "vxlane daemon". Lines with #> are what is printed.
set -e

vxlane link add vx0 address 02:00:00:00:42:01 \
  type vxlan id 42 dev eth0 local 192.0.2.1 dstport 4789 nolearning proxy l2miss l3miss
vxlane link set vx0 up

# For each machine behind another host: on which host its MAC is, and which MAC has its address.
vxlane fdb add 02:00:00:00:00:07 dev vx0 dst 192.0.2.7 static
vxlane neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev vx0 nud permanent
vxlane fdb add 02:00:00:00:00:08 dev vx0 dst 192.0.2.8 static
vxlane neigh add 10.0.0.8 lladdr 02:00:00:00:00:08 dev vx0 nud permanent

vxlane fdb show dev vx0
#> 02:00:00:00:00:08 dst 192.0.2.8 self static
#> 02:00:00:00:00:07 dst 192.0.2.7 self static

vxlane neigh show dev vx0 to 10.0.0.7
#> 10.0.0.7 lladdr 02:00:00:00:00:07 PERMANENT

vxlane -d link show vx0
#> 3: vx0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 state UNKNOWN
#>     link/ether 02:00:00:00:42:01 brd ff:ff:ff:ff:ff:ff
#>     vxlan id 42 local 192.0.2.1 dev eth0 srcport 0 0 dstport 4789 ttl auto ageing 300 reserved_bits 0xf7ffffff000000ff nolearning proxy l2miss l3miss
