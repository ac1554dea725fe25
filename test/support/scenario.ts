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
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bed, end, type Namespace, REPOSITORY } from './netns.ts';
import { Agent } from './traffic.ts';

export type Kind = 'kernel' | 'vxlane';

export const VTEP = 'flannel.1';
export const UNDERLAY = 'ens224';
export const PORT = 8472;
export const VNI = 1;
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const READY_MS = 10_000;
const STOP_MS = 5000;

/** The two hosts' fixed facts; underlay MACs are fixed too, so that whole packets can be compared between runs. */
export const HOSTS = [
  {
    underlay: '10.169.72.93',
    underlay6: 'fd69::93',
    underlayMac: '00:50:56:86:1d:75',
    vtepMac: '46:4d:ab:d0:69:e1',
    subnet: '10.244.0.0',
    gateway: '10.244.0.1',
    pod: '10.244.0.104',
    subnet6: 'fd00:10:244::',
    gateway6: 'fd00:10:244::1',
    pod6: 'fd00:10:244::68',
  },
  {
    underlay: '10.169.72.98',
    underlay6: 'fd69::98',
    underlayMac: '00:50:56:86:79:3b',
    vtepMac: '36:3c:de:36:68:58',
    subnet: '10.244.1.0',
    gateway: '10.244.1.1',
    pod: '10.244.1.35',
    subnet6: 'fd00:10:244:1::',
    gateway6: 'fd00:10:244:1::1',
    pod6: 'fd00:10:244:1::23',
  },
] as const;

export interface VtepOptions {
  /** Further words for `ip link add ... type vxlan`, such as `ttl inherit`. */
  words?: string;
  /** Use the IPv6 underlay addresses. */
  ipv6?: boolean;
  learning?: boolean;
  /** Make the other host the default destination. */
  remote?: boolean;
  mtu?: number;
}

/** The counters that both kinds have. */
export type Statistics = Record<'rx' | 'tx', Record<string, number>>;

const COUNTED = ['packets', 'bytes', 'errors', 'dropped', 'length_errors', 'frame_errors', 'carrier_errors'];

function statistics(link: { stats64: Statistics }): Statistics {
  const pick = (from: Record<string, number>) =>
    Object.fromEntries(COUNTED.map((key) => [key, from[key] ?? 0]));
  return { rx: pick(link.stats64.rx), tx: pick(link.stats64.tx) };
}

/** One host: its namespace, an agent in it, and the VTEP's way to change its FDB and to stop. */
export interface Host {
  readonly kind: Kind | 'none';
  readonly namespace: Namespace;
  readonly agent: Agent;
  /** `bridge fdb` words after the device: `append MAC dst ADDR`. */
  fdb(operation: string, mac: string, ...words: string[]): void;
  /** The VTEP's own counters, as the kernel's driver and vxlane's command line show them. */
  statistics(): Statistics;
  /** Ends the VTEP; resolves to what it said if it did not end well, else null. */
  stopVtep(): Promise<string | null>;
  /** Throws with the VTEP's last words if it has died. */
  assertAlive(): void;
}

function vtepWords(side: 0 | 1, options: VtepOptions): string[] {
  const { ipv6 = false, remote = false, learning = false, mtu = 1500 - (ipv6 ? 70 : 50) } = options;
  const [here, there] = [HOSTS[side], HOSTS[1 - side]!];
  const address = (host: (typeof HOSTS)[number]) => (ipv6 ? host.underlay6 : host.underlay);
  return [
    ...['address', here.vtepMac, 'mtu', `${mtu}`],
    ...['type', 'vxlan', 'id', `${VNI}`, 'local', address(here)],
    ...(remote ? ['remote', address(there)] : []),
    ...['dev', UNDERLAY, 'dstport', `${PORT}`, learning ? 'learning' : 'nolearning'],
    ...(options.words?.split(' ') ?? []),
  ];
}

type VtepHandle = Pick<Host, 'fdb' | 'statistics' | 'stopVtep' | 'assertAlive'>;

function kernelVtep(namespace: Namespace, words: string[]): VtepHandle {
  namespace.ip(`link add ${VTEP} ${words.join(' ')}`);
  return {
    fdb: (operation, mac, ...rest) => {
      namespace.run('bridge', 'fdb', operation, mac, 'dev', VTEP, ...rest);
    },
    statistics: () => statistics(namespace.ipJson('-s', '-s', 'link', 'show', VTEP)[0]),
    async stopVtep() {
      namespace.ip(`link del ${VTEP}`);
      return null;
    },
    assertAlive: () => undefined,
  };
}

async function vxlaneVtep(bed: Bed, namespace: Namespace, words: string[]): Promise<VtepHandle> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run "npm run build" first`);
  const directory = mkdtempSync(join(tmpdir(), 'vxl-'));
  bed.later(async () => rmSync(directory, { recursive: true, force: true }));
  const socket = join(directory, 'vxlane.sock');
  const args = words.filter((word, i) => word !== 'type' && words[i - 1] !== 'type');
  const child = namespace.spawn(process.execPath, [PROGRAM, 'run', VTEP, ...args, '--socket', socket], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let ready: () => void = () => undefined;
  const up = new Promise<'up'>((done) => {
    ready = () => done('up');
  });
  const hear = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-8192);
    if (said.includes(' up:')) ready();
  };
  child.stdout?.on('data', hear);
  child.stderr?.on('data', hear);
  const late = setTimeout(ready, READY_MS);
  await Promise.race([up, once(child, 'exit')]);
  clearTimeout(late);

  const state = () => `vxlane run (${child.signalCode ?? child.exitCode ?? 'running'}): ${said}`;
  if (child.exitCode !== null || !said.includes(' up:')) throw new Error(`not ready: ${state()}`);
  return {
    fdb: (operation, mac, ...rest) => {
      const command = [PROGRAM, '--socket', socket, 'fdb', operation, mac, 'dev', VTEP, ...rest];
      namespace.run(process.execPath, ...command);
    },
    statistics: () => {
      const command = [PROGRAM, '--socket', socket, '-s', '-s', '-j', 'link', 'show', VTEP];
      return statistics(JSON.parse(namespace.run(process.execPath, ...command))[0]);
    },
    async stopVtep() {
      if (child.exitCode === null && child.signalCode === null) {
        await end(child, STOP_MS);
      }
      return child.exitCode === 0 ? null : state();
    },
    assertAlive: () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(state());
    },
  };
}

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

/** Makes the VTEP of one side, up. A host that stopped its VTEP may be given another this way. */
export async function startVtep(
  bed: Bed,
  place: Pick<Host, 'namespace' | 'agent'>,
  side: 0 | 1,
  kind: Kind | 'none',
  options: VtepOptions = {},
): Promise<Host> {
  const { namespace, agent } = place;
  if (kind === 'none')
    return {
      kind,
      namespace,
      agent,
      fdb: () => undefined,
      statistics: () => ({ rx: {}, tx: {} }),
      stopVtep: async () => null,
      assertAlive: () => undefined,
    };
  const words = vtepWords(side, options);
  const vtep = kind === 'kernel' ? kernelVtep(namespace, words) : await vxlaneVtep(bed, namespace, words);
  namespace.ip(`link set ${VTEP} up`);
  const [link] = namespace.ipJson('-d', 'link', 'show', VTEP);
  const driver = { kernel: 'vxlan', vxlane: 'tun' }[kind];
  if (link.linkinfo.info_kind !== driver) throw new Error(`${VTEP} is a ${link.linkinfo.info_kind} device`);
  return { kind, namespace, agent, ...vtep };
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
  options: { underlayMtu?: number } = {},
): Promise<Scenario> {
  const underlayMtu = options.underlayMtu ?? 1500;
  const mtu = underlayMtu - 50;
  const namespaces = joinHosts(bed, underlayMtu);
  for (const namespace of namespaces)
    namespace.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  const sides = [0, 1] as const;
  const pods = sides.map((side) => pod(bed, namespaces[side], side, mtu));
  const start = async (side: 0 | 1) => {
    const namespace = namespaces[side];
    return startVtep(bed, { namespace, agent: await Agent.start(namespace) }, side, kinds[side], { mtu });
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
