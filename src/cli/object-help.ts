/** What --help of each object adds to commander's list of options: its words, and examples. */
export const OPTIONS = `
  id VNI               virtual network identifier, 0 to 16777215 (also "vni")
  remote ADDR          where frames for unknown MACs go
  group ADDR           the same by multicast; needs "dev"
  local ADDR           source address; default: the route's choice
  dev IF               underlay interface: sets the MTU, and the way to "remote" and "group"
  dstport PORT         UDP port to send to and listen on, 8472 (4790 with gpe)
  srcport MIN MAX      source ports, MAX not included; 0 0: the host's local port range
  ttl N|auto|inherit   outer TTL; auto: the host's default
  tos N|inherit        outer TOS, hexadecimal or a name such as AF11
  df unset|set|inherit
  flowlabel N|inherit  IPv6 flow label, 0 to 0xfffff
  [no]learning         learn MACs from what is received
  ageing S|none|never  seconds until a learned MAC is forgotten, 300 (also "none")
  maxaddress N|unlimited
  [no]proxy            answer ARP and neighbour solicitations from "neigh"
  [no]rsc              route short circuit, to neighbours behind a router's MAC
  [no]l2miss           tell "monitor" of unknown MACs, [no]l3miss: of unknown neighbours
  [no]udpcsum          outer UDP checksum over IPv4
  [no]udp6zerocsumtx   send without UDP checksum over IPv6
  [no]udp6zerocsumrx   accept that
  [no]remcsumtx        leave the inner checksum to the far end, [no]remcsumrx: accept that
  [no]localbypass      a remote on this host gets its frames directly
  [no]external         many VNIs on one device, told apart by VLAN; instead of "id"
  [no]vnifilter        receive listed VNIs only; needs "external"
  gbp                  group policy; policy ID: the id of what is sent
  gpe                  no Ethernet header: packets of a TUN
  reserved_bits BITS   header bits, of 64, that make a packet be dropped
  bind                 receive on "local" only
  listen PORT[,PORT]   receive on these UDP ports too
  [no]proxyforward     with proxy: what it cannot answer goes through the tunnel
  [no]latelearning     learn from what has passed all checks only
  [no]honourdontlearn  with gbp: the D bit of what is received is obeyed
  [no]knownsenders     receive from remotes of entries made by commands only
  [no]knownpeers       take frames only from peers ("vxlane peer"), each from its own addresses
  gso on|off|tunnel    datagrams share messages (UDP_SEGMENT), or not; tunnel: super-frames leave whole, too
  gro on|off           merge what arrives
  uso on|off           UDP super-frames from and to the interface`;

export const LINK = `
Verbs:
  add NAME [address MAC] [mtu N] [up] type vxlan OPTIONS
  set NAME [up|down] [mtu N] [address MAC] [name NEW] [gso on|off|tunnel] [gro on|off] [uso on|off]
                     [type vxlan OPTIONS]
  del NAME
  show [NAME] [up]

OPTIONS of type vxlan:${OPTIONS}

"set" changes remote, group, local, dev, learning, ageing, ttl, tos, df, flowlabel, localbypass, policy
and the last eight.
Options may be cut short as in iproute2; localbypass, reserved_bits, vnifilter, policy and what follows may not.

Examples:
  vxlane link add vx0 type vxlan id 42 remote 192.0.2.2 local 192.0.2.1 dstport 4789
  vxlane link set vx0 up
  vxlane link set vx0 type vxlan ageing 60
  vxlane -d -s link show vx0
  vxlane -j -p link show
  vxlane link del vx0`;

export const FDB = `
Verbs:
  add|append|replace MAC dev NAME { dst ADDR [port P] [vni V] [via IF] | nhid GROUP } [src_vni V]
                     [self [master]] [permanent|static|dynamic] [router] [extern_learn] [sticky] [use]
  del MAC dev NAME [dst ADDR] [port P] [vni V] [via IF] [src_vni V]
  show [dev NAME | br BRIDGE] [state permanent|static|stale|reachable|all] [dynamic]
  get MAC dev NAME [vni V]
  flush dev NAME [dst ADDR] [port P] [vni V] [src_vni V] [nhid GROUP]
                     [[no]permanent] [[no]static] [[no]dynamic] [[no]extern_learn] [[no]router]
                     [nosticky] [[no]offloaded]

nhid names a group of the kernel's ("ip nexthop add id N group ... fdb"): each flow goes to one of its members.
src_vni, and vni of "get", choose the table of an external device.
MAC 00:00:00:00:00:00 is where frames for unknown MACs go; "append" gives it one more remote.

Examples:
  vxlane fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.3
  vxlane fdb add 36:3c:de:36:68:58 dev flannel.1 dst 10.169.72.98
  vxlane fdb show dev flannel.1
  vxlane -j -s fdb show
  vxlane fdb get 36:3c:de:36:68:58 dev flannel.1
  vxlane fdb flush dev vx0 dynamic`;

export const MDB = `
Verbs:
  add|replace dev NAME port NAME grp GROUP [src ADDR] permanent dst ADDR [dst_port P] [vni V]
                     [filter_mode include|exclude] [source_list ADDR,ADDR...]
                     [proto PROTOCOL] [src_vni V] [via IF]
  del dev NAME port NAME grp GROUP [src ADDR] dst ADDR [src_vni V]
  show [dev NAME]
  get dev NAME grp GROUP [src ADDR] [src_vni V]
  flush dev NAME [dst ADDR] [dst_port P] [vni V] [src_vni V] [proto PROTOCOL] [permanent]

GROUP 0.0.0.0 or :: is every group without an entry of its own. A "source_list" makes an entry for each of
its sources: those of "include" are sent to, those of "exclude" are not. "replace" of a remote that is not
there adds it.

Examples:
  vxlane mdb add dev vx0 port vx0 grp 239.1.1.1 permanent dst 192.0.2.3
  vxlane mdb add dev vx0 port vx0 grp 239.1.1.2 permanent filter_mode include source_list 10.0.0.7 dst 192.0.2.4
  vxlane mdb add dev vx0 port vx0 grp 0.0.0.0 permanent dst 192.0.2.5
  vxlane -d mdb show dev vx0
  vxlane mdb get dev vx0 grp 239.1.1.2 src 10.0.0.7
  vxlane mdb flush dev vx0 dst 192.0.2.4`;

export const VNI = `
Verbs:
  add vni VNIS [remote ADDR | group ADDR] dev NAME
  del vni VNIS dev NAME
  show [dev NAME]

The device must have been added with "external vnifilter". VNIS is a list such as 100,200-205. "remote" or
"group" is where frames for unknown MACs of these VNIs go; without it they go where the device's own go. "add"
of a VNI that is there changes it. Frames of a VNI have the VLAN on the interface that "vxlane vlan" gives it.

Examples:
  vxlane link add vx0 type vxlan external vnifilter dstport 4789 local 192.0.2.1 dev eth0
  vxlane vni add vni 100,200-205 dev vx0
  vxlane vni add vni 300 remote 192.0.2.3 dev vx0
  vxlane vni add vni 301 group 239.1.1.1 dev vx0
  vxlane -s vni show dev vx0
  vxlane vni del vni 200-205 dev vx0`;

export const VLAN = `
Verbs:
  add dev NAME vid VLAN[-VLAN] tunnel_info id VNI[-VNI] [pvid] [untagged]
  del dev NAME vid VLAN[-VLAN]
  show [dev NAME] [vid VLAN]          (also "tunnelshow")

The device must have been added with "external". One VLAN is one VNI. "pvid": frames that come untagged from the
interface are of this VLAN; "untagged": its frames are untagged when they go there. Without "vnifilter" the VNIs
that VLANs are mapped to are the ones that are received. Flags are shown with -d.

Examples:
  vxlane link add vx0 type vxlan external dstport 4789 local 192.0.2.1
  vxlane vlan add dev vx0 vid 10 tunnel_info id 10010 pvid untagged
  vxlane vlan add dev vx0 vid 100-199 tunnel_info id 10100-10199
  vxlane fdb append 00:00:00:00:00:00 dev vx0 src_vni 10010 dst 192.0.2.2
  vxlane -d vlan show dev vx0
  vxlane vlan del dev vx0 vid 100-199`;

export const POLICY = `
Verbs:
  add dev NAME id N [vni VNI | mac MAC] [dontlearn] [applied]
  del dev NAME [vni VNI | mac MAC]
  refuse dev NAME id N[-N][,...]
  allow dev NAME id N[-N][,...]
  show [dev NAME]

The device must have been added with "gbp". What is sent has the id of the inner source MAC, else of the VNI (of
an external device), else of the device; id 0 is a plain header. "dontlearn" and "applied" set those bits of the
header. What comes with a refused id is dropped; what comes without an id counts as 0. "show" also lists the ids
that have arrived, with the number of packets.

Examples:
  vxlane link add vx0 type vxlan id 42 gbp remote 192.0.2.2 dstport 4789
  vxlane policy add dev vx0 id 5
  vxlane policy add dev vx0 id 6 mac 02:00:00:00:00:01 applied
  vxlane policy refuse dev vx0 id 0-65535
  vxlane policy allow dev vx0 id 5,6
  vxlane policy show dev vx0`;

export const PEER = `
Verbs:
  set MAC dev NAME src ADDR [prefix NET[,NET]]
  del MAC dev NAME
  show [dev NAME]

A device with "knownpeers" takes a frame if its source MAC is a peer's, it was sent from "src", and the source
address of IP or ARP inside lies in the peer's "prefix" for that family: one of IPv4 and one of IPv6 at most, and
what has none is refused. Other frames are known by MAC and "src" alone. What is refused counts as
drop_unknown_peer, drop_peer_address or drop_peer_subnet. "set" makes a peer or changes it; peers may be said
before "knownpeers" is. With -s "show" tells what came from and went to each, and how many seconds ago the last
frame came.

Examples:
  vxlane peer set 36:3c:de:36:68:58 dev flannel.1 src 192.0.2.2 prefix 10.244.2.0/24
  vxlane link set flannel.1 type vxlan knownpeers
  vxlane -s peer show dev flannel.1
  vxlane peer del 36:3c:de:36:68:58 dev flannel.1`;

export const HOOK = `
Verbs:
  add|replace dev NAME encap|decap FILE [rules FILE] [fuel N] [onstop pass|drop]
  del dev NAME encap|decap
  show [dev NAME]

A hook sees each packet of a device, in one direction: encap, what the interface hands out, before the FDB does;
decap, what the tunnel brings, after all checks. It passes, drops, redirects, copies or rewrites it.
FILE.wasm is a module made with hooks/sdk.ts, of 512 KiB at most: this command reads it, and it can touch nothing but
its own memory and the packets. FILE.js is a module that the daemon's threads import, with all rights of the daemon:
it must belong to the daemon's user or to root, and nobody else may be able to write it or its folders.
"rules" is handed to the program before it sees a packet. "fuel" is how many loops and calls a .wasm may make for each
packet (10000). "replace" takes effect between two packets of each thread and loses none; it adds where there is none.
What a program leaves undecided when it fails is dropped, and counted as drop_hook_fault. A .js that hangs or ends its
thread is stopped; then packets pass, or with "onstop drop", which a firewall should have, are dropped as
drop_hook_stopped. Of a .wasm, whose loops end by themselves, "onstop drop" is the default.

Examples:
  vxlane hook add dev vx0 decap firewall.wasm rules firewall.rules
  vxlane hook replace dev vx0 decap firewall.wasm rules new.rules
  vxlane -s hook show dev vx0        # with what became of packets, and what the module has counted itself
  vxlane -j hook show
  vxlane hook add dev vx0 encap /etc/vxlane/count.js
  vxlane hook replace dev vx0 decap /etc/vxlane/firewall.js onstop drop
  vxlane hook del dev vx0 decap`;

export const MONITOR = `
Ends with Ctrl-C. Without a word: everything; "all": everything, each line with what it is about.
"neigh" are MACs and addresses that nobody knows (l2miss, l3miss), "hook" programs that come, go and fail. With -j: one JSON object a line.

Examples:
  vxlane monitor
  vxlane monitor fdb dev vx0
  vxlane -j monitor fdb neigh`;

export const NEIGH = `
Handed to the real "ip neigh": the kernel's table of a device's neighbours is what proxy and rsc look at.

Examples:
  vxlane neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev vx0 nud permanent
  vxlane -j neigh show dev vx0`;

export const NEXTHOP = `
Handed to the real "ip nexthop"; "fdb add ... nhid ID" refers to such a group.

Examples:
  vxlane nexthop add id 1 via 192.0.2.1 fdb
  vxlane nexthop add id 2 via 192.0.2.2 fdb
  vxlane nexthop add id 10 group 1/2 fdb
  vxlane fdb add 02:00:00:00:00:07 dev vx0 nhid 10`;
