/** What --help adds to commander's list of options: the words and examples. */
export const TOP = `
Objects and verbs may be cut short, as in iproute2: "vxlane f s" is "vxlane fdb show".

Examples:
  vxlane daemon --config examples/flannel.yaml
  vxlane link add flannel.1 mtu 1450 type vxlan id 1 dev eth0 dstport 8472 nolearning
  vxlane link set flannel.1 up
  vxlane fdb append 36:3c:de:36:68:58 dev flannel.1 dst 10.169.72.98
  vxlane -j fdb show dev flannel.1
  vxlane status

Exit codes: 0 done, 1 usage, 2 refused, 3 no daemon.`;

const OPTIONS = `
  id VNI               virtual network identifier, 0 to 16777215 (also "vni")
  remote ADDR          where frames for unknown MACs go
  local ADDR           source address; default: the route's choice
  dev IF               underlay interface: sets the MTU, and the way to "remote"
  dstport PORT         UDP port to send to and listen on, 8472
  srcport MIN MAX      source ports, MAX not included; 0 0: the host's local port range
  [no]learning         learn MACs from what is received
  ageing S|none        seconds until a learned MAC is forgotten, 300
  maxaddress N|unlimited
  ttl N|auto|inherit   outer TTL; auto: the host's default
  tos N|inherit        outer TOS, hexadecimal or a name such as AF11
  df unset|set|inherit
  [no]udpcsum          outer UDP checksum over IPv4
  [no]udp6zerocsumtx   send without UDP checksum over IPv6
  [no]udp6zerocsumrx   accept that`;

export const LINK = `
Verbs:
  add NAME [address MAC] [mtu N] [up] type vxlan OPTIONS
  set NAME [up|down] [mtu N] [address MAC] [name NEW] [type vxlan OPTIONS]
  del NAME
  show [NAME] [up]

OPTIONS of type vxlan:${OPTIONS}

"set" changes remote, local, learning, ageing, ttl, tos and df.

Examples:
  vxlane link add vx0 type vxlan id 42 remote 192.0.2.2 local 192.0.2.1 dstport 4789
  vxlane link set vx0 up
  vxlane link set vx0 type vxlan ageing 60
  vxlane -d -s link show vx0
  vxlane -j -p link show
  vxlane link del vx0`;

export const FDB = `
Verbs:
  add|append|replace MAC dev NAME dst ADDR [port P] [vni V] [via IF]
                     [permanent|static|dynamic] [router] [extern_learn] [sticky] [use]
  del MAC dev NAME [dst ADDR] [port P] [vni V] [via IF]
  show [dev NAME] [state permanent|static|stale|reachable] [dynamic]
  get MAC dev NAME
  flush dev NAME [dst ADDR] [port P] [vni V]
                     [[no]permanent] [[no]static] [[no]dynamic] [[no]extern_learn] [[no]router]

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

export const STATUS = `
Rates are taken over one second.

Examples:
  vxlane status
  vxlane -j -p status`;

export const DAEMON = `
Stops cleanly on SIGINT and SIGTERM, and takes its devices down.

Examples:
  vxlane daemon
  vxlane daemon --config examples/flannel.yaml
  vxlane daemon --socket /run/vxlane/test.sock`;

export const RUN = `
One device without a daemon: it is up at once, and gone with Ctrl-C. Other commands reach it through
its socket, /run/vxlane/NAME.sock unless --socket says otherwise.

OPTIONS:${OPTIONS}
  address MAC, mtu N   as in "link add"

Examples:
  vxlane run flannel.1 id 1 dev eth0 dstport 8472 nolearning
  vxlane --socket /run/vxlane/flannel.1.sock fdb show`;

export const DEMO = `
Two hosts on this machine, joined by a tunnel that carries real traffic. Ctrl-C cleans up. Root uses network
namespaces; others get a user namespace; where that is forbidden, the tunnel runs in this process.

Environment:
  VXLANE_DEMO_MODE=namespaces|in-process   no other way than this
  VXLANE_DEMO_PEER=vxlane                  vxlane on the far side too, not the kernel's device
  NO_COLOR=1                               no colours

Examples:
  vxlane demo
  vxlane demo --once`;

export const WRAP = `
Runs COMMAND with a folder first in PATH that holds "ip" and "bridge". They take what concerns VXLAN devices of the
daemon ("ip link add NAME type vxlan ...", "bridge fdb ... dev NAME") and hand all the rest to the real tools.

Examples:
  vxlane wrap -- ./setup-tunnels.sh eth0
  vxlane wrap -- bridge fdb show
  export PATH="$(vxlane wrap --path):$PATH"`;
