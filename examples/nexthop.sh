#!/bin/sh
# A machine that is reached through several hosts. As a file: nexthop.yaml.
# Needs eth0 with the address 192.0.2.1, and "vxlane daemon". Lines with #> are what is printed.
set -e

# Two hosts, and a group that gives the second one three flows of four. These are the kernel's: "ip nexthop" does as well.
vxlane nexthop add id 1 via 192.0.2.2 fdb
vxlane nexthop add id 2 via 192.0.2.3 fdb
vxlane nexthop add id 10 group 1/2,3 fdb

vxlane link add vx0 address 02:00:00:00:42:01 type vxlan id 42 dev eth0 local 192.0.2.1 dstport 4789 nolearning
vxlane link set vx0 up
vxlane fdb add 02:00:00:00:00:07 dev vx0 nhid 10
vxlane fdb add 02:00:00:00:00:08 dev vx0 nhid 10

vxlane fdb show dev vx0
#> 02:00:00:00:00:08 nhid 10 self permanent
#> 02:00:00:00:00:07 nhid 10 self permanent

vxlane nexthop show id 10
#> id 10 group 1/2,3 fdb

# The first host fails: all flows of all entries go to the other one.
vxlane nexthop replace id 10 group 2 fdb
vxlane nexthop show id 10
#> id 10 group 2 fdb
