#!/bin/sh
# Group policies. As a file: policy.yaml.
# Needs eth0 with the address 192.0.2.1, and "vxlane daemon". Lines with #> are what is printed.
set -e

vxlane link add vx0 address 02:00:00:00:42:01 \
  type vxlan id 42 gbp dev eth0 local 192.0.2.1 remote 192.0.2.2 dstport 4789
vxlane link set vx0 up

# What is sent has id 5, but what this MAC sends has id 6, with the bit that says "applied".
vxlane policy add dev vx0 id 5
vxlane policy add dev vx0 id 6 mac 02:00:00:00:00:01 applied

# What arrives with another id, or with none, is dropped and counted.
vxlane policy refuse dev vx0 id 0-65535
vxlane policy allow dev vx0 id 5,6

vxlane policy show dev vx0
#> vx0
#>     send id 5
#>     send id 6 mac 02:00:00:00:00:01 applied
#>     refuse id 0-4
#>     refuse id 7-65535

vxlane -d link show vx0
#> 3: vx0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 state UNKNOWN
#>     link/ether 02:00:00:00:42:01 brd ff:ff:ff:ff:ff:ff
#>     vxlan id 42 remote 192.0.2.2 local 192.0.2.1 dev eth0 srcport 0 0 dstport 4789 ttl auto ageing 300 reserved_bits 0x77000000000000ff gbp policy 5
