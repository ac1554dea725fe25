/**
 * The two hosts of the scenario, each with a VTEP that is either the kernel's device or vxlane. Whatever lies above
 * the VTEP (addresses, neighbours, routes, bridge, pods) is plain `ip` and the same for both kinds, since a TAP is an
 * interface like any other.
 *
 *   pod 10.244.0.104 - cni0 - flannel.1 - ens224 ===== ens224 - flannel.1 - cni0 - pod 10.244.1.35
 *
 * `layer3` builds all of it. `layer2` stops at flannel.1, where packet sockets take the place of the pods, for tests
 * that follow single frames.
 */
import type { Bed, Namespace } from './netns.ts';
import { Agent } from './traffic.ts';
import { HOSTS, type Host, type Kind, startVtep, UNDERLAY, VTEP, type VtepOptions } from './traffic-vtep.ts';

function joinHosts(bed: Bed, mtu: number): [Namespace, Namespace] {
  const hosts: [Namespace, Namespace] = [bed.namespace('master'), bed.namespace('worker')];
  hosts[0].ip(
    `link add ${UNDERLAY} address ${HOSTS[0].underlayMac} mtu ${mtu} type veth peer name ${UNDERLAY} ` +
      `address ${HOSTS[1].underlayMac} mtu ${mtu} netns ${hosts[1].name}`,
  );
  hosts.forEach((namespace, side) => {
    const here = HOSTS[side]!;
    const there = HOSTS[1 - side]!;
    // No link-local addresses, and group reports at once: what an interface says of its own accord would blur the
    // counters and captures.
    namespace.sysctl({
      'net.ipv6.conf.default.addr_gen_mode': 1,
      'net.ipv6.conf.default.mldv2_unsolicited_report_interval': 10,
      [`net/ipv6/conf/${UNDERLAY}/addr_gen_mode`]: 1,
    });
    namespace.ip(
      `addr add ${here.underlay}/24 dev ${UNDERLAY}`,
      `addr add ${here.underlay6}/64 dev ${UNDERLAY} nodad`,
      `link set ${UNDERLAY} up`,
      `neigh add ${there.underlay} lladdr ${there.underlayMac} dev ${UNDERLAY} nud permanent`,
      `neigh add ${there.underlay6} lladdr ${there.underlayMac} dev ${UNDERLAY} nud permanent`,
    );
  });
  return hosts;
}

/** Two hosts whose flannel.1 interfaces are the test's own ends. `none` leaves the VTEP of a side out. */
export async function layer2(
  bed: Bed,
  kinds: readonly [Kind | 'none', Kind | 'none'],
  options: VtepOptions | readonly [VtepOptions, VtepOptions] = {},
): Promise<[Host, Host]> {
  const namespaces = joinHosts(bed, 1500);
  const start = async (side: 0 | 1) => {
    const namespace = namespaces[side];
    namespace.sysctl({ 'net.ipv6.conf.default.disable_ipv6': 1 });
    const place = { namespace, agent: await Agent.start(namespace) };
    return startVtep(bed, place, side, kinds[side], 'length' in options ? options[side] : options);
  };
  return Promise.all([start(0), start(1)]);
}

export interface Scenario {
  hosts: [Host, Host];
  pods: [Agent, Agent];
}

/** The whole scenario, pods and routes included. */
export async function layer3(
  bed: Bed,
  kinds: readonly [Kind, Kind],
  options: { underlayMtu?: number; flags?: readonly string[] } = {},
): Promise<Scenario> {
  const underlayMtu = options.underlayMtu ?? 1500;
  const mtu = underlayMtu - 50;
  const { flags = [] } = options;
  const namespaces = joinHosts(bed, underlayMtu);
  for (const namespace of namespaces)
    namespace.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  const sides = [0, 1] as const;
  const pods = sides.map((side) => pod(bed, namespaces[side], side, mtu));
  const start = async (side: 0 | 1) => {
    const namespace = namespaces[side];
    return startVtep(bed, { namespace, agent: await Agent.start(namespace) }, side, kinds[side], {
      mtu,
      flags,
    });
  };
  const [agents, hosts] = await Promise.all([
    Promise.all(pods.map((namespace) => Agent.start(namespace))),
    Promise.all(sides.map(start)),
  ]);
  for (const side of sides) {
    const there = HOSTS[1 - side]!;
    const { subnet, subnet6 } = HOSTS[side];
    hosts[side]!.namespace.ip(
      `addr add ${subnet}/32 dev ${VTEP}`,
      `addr add ${subnet6}/128 dev ${VTEP} nodad`,
      `neigh add ${there.subnet} lladdr ${there.vtepMac} dev ${VTEP} nud permanent`,
      `neigh add ${there.subnet6} lladdr ${there.vtepMac} dev ${VTEP} nud permanent`,
      `route add ${there.subnet}/24 via ${there.subnet} dev ${VTEP} onlink`,
      `route add ${there.subnet6}/64 via ${there.subnet6} dev ${VTEP} onlink`,
    );
    hosts[side]!.fdb('append', there.vtepMac, 'dst', there.underlay);
  }
  return { hosts: [hosts[0]!, hosts[1]!], pods: [agents[0]!, agents[1]!] };
}

function pod(bed: Bed, namespace: Namespace, side: 0 | 1, mtu: number): Namespace {
  const inside = bed.namespace(`pod${side}`);
  const { gateway, gateway6, pod: address, pod6 } = HOSTS[side];
  // A tentative link-local address would hold the first packets back.
  inside.sysctl({ 'net.ipv6.conf.default.accept_dad': 0 });
  namespace.ip('link add cni0 type bridge');
  // A router asks for its neighbours from its link-local address: cni0 needs one.
  namespace.sysctl({ 'net.ipv6.conf.cni0.addr_gen_mode': 0, 'net.ipv6.conf.cni0.accept_dad': 0 });
  namespace.ip(
    `link add veth0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${inside.name}`,
    `link set cni0 mtu ${mtu}`,
    'link set veth0 master cni0 up',
    `addr add ${gateway}/24 dev cni0`,
    `addr add ${gateway6}/64 dev cni0 nodad`,
    'link set cni0 up',
  );
  inside.ip(
    'link set eth0 up',
    `addr add ${address}/24 dev eth0`,
    `addr add ${pod6}/64 dev eth0 nodad`,
    `route add default via ${gateway}`,
    `route add ::/0 via ${gateway6}`,
  );
  return inside;
}
