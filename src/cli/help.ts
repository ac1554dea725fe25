/** What --help adds to commander's list of options: of the program, and of its own commands. Objects: object-help.ts. */
import { OPTIONS } from './object-help.ts';

export const TOP = `
Objects and verbs may be cut short, as in iproute2: "vxlane f s" is "vxlane fdb show".

Examples:
  vxlane daemon --config examples/flannel.yaml
  vxlane link add flannel.1 mtu 1450 type vxlan id 1 dev eth0 dstport 8472 nolearning
  vxlane link set flannel.1 up
  vxlane fdb append 36:3c:de:36:68:58 dev flannel.1 dst 10.169.72.98
  vxlane -j fdb show dev flannel.1
  vxlane status
  vxlane -batch commands.txt

Exit codes: 0 done, 3 no daemon; else those of ip and bridge:
  link and others   1 not understood, 2 refused, 255 an argument is wrong
  fdb, mdb, vni     255, and 254 when "get" finds nothing`;

export const STATUS = `
Rates are taken over one second.

Examples:
  vxlane status
  vxlane -j -p status`;

export const DAEMON = `
Stops cleanly on SIGINT, SIGTERM and SIGHUP, and takes its devices down.

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

export const SINK = `
One interface of the file per VNI and outer sender; counters and reasons of drops at its end, and, while it
runs, on SIGUSR1 (with --json: as JSON). Ctrl-C writes what is left and ends it.

The filter sees the inner packet: vni LIST, [src|dst] [host] ADDRESS, [src|dst] net PREFIX,
[tcp|udp] [src|dst] port N, portrange N-N, ip, ip6, arp, tcp, udp, icmp, icmp6; joined by and, or, not and ( ).
"and" and "or" bind alike, from left to right, as in pcap-filter.

Examples:
  vxlane sink --write mirror.pcapng
  vxlane sink --write - | tcpdump -nr -
  ssh host vxlane sink --write - | wireshark -k -i -
  vxlane sink --write mirror.pcapng --rotate size=100M,files=10 --snaplen 128
  vxlane sink --stats --vni 5,100-199 --filter 'tcp port 443 and not src net 10.0.0.0/8'
  vxlane sink --tap mirror0
  kill -USR1 $(pidof vxlane)`;

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

export const COMPLETION = `
Examples:
  source <(vxlane completion bash)
  vxlane completion bash > /etc/bash_completion.d/vxlane
  vxlane completion zsh > "\${fpath[1]}/_vxlane"
  vxlane completion fish > ~/.config/fish/completions/vxlane.fish`;
