#!/bin/sh
# Unknown and broadcast frames go to a multicast group. As a file: multicast.yaml.
# Needs eth0 with the address 192.0.2.1, and "vxlane daemon". Lines with #> are what is printed.
set -e

vxlane link add vx0 address 02:00:00:00:42:01 \
  type vxlan id 42 group 239.1.1.1 dev eth0 local 192.0.2.1 dstport 4789 ttl 4 ageing 120 maxaddress 10000

# The group is joined when the device goes up, and left when it goes down.
vxlane link set vx0 up
ip maddr show dev eth0 | grep 239
#> 	inet  239.1.1.1

vxlane fdb show dev vx0
#> 00:00:00:00:00:00 dst 239.1.1.1 via eth0 self permanent

vxlane -d link show vx0
#> 3: vx0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 state UNKNOWN
#>     link/ether 02:00:00:00:42:01 brd ff:ff:ff:ff:ff:ff
#>     vxlan id 42 group 239.1.1.1 local 192.0.2.1 dev eth0 srcport 0 0 dstport 4789 ttl 4 ageing 120 maxaddr 10000 reserved_bits 0xf7ffffff000000ff
