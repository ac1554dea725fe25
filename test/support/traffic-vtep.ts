/**
 * A VTEP of one side of the scenario, of either kind, behind one set of handles: its words are iproute2's in both
 * cases, the kernel's go to `ip` and `bridge`, vxlane's to a process of its own in the same namespace.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '../../src/daemon/client.ts';
import { type Bed, end, type Namespace, REPOSITORY } from './netns.ts';
import type { Agent } from './traffic.ts';

export type Kind = 'kernel' | 'vxlane';

export const VTEP = 'flannel.1';
export const UNDERLAY = 'ens224';
export const PORT = 8472;
export const VNI = 1;
const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const READY_MS = 30_000;
const STOP_MS = 5000;

/** Words for every device of vxlane in these suites, such as `gso off gro off`. */
export const OFFLOAD_WORDS = process.env.VXLANE_TEST_OFFLOADS?.split(' ') ?? [];

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
  /** Flags of the daemon, such as `--engine batched`; the kernel has none. */
  flags?: readonly string[];
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
  /** Words of `link set` that only vxlane has: `gso off`. The kernel's device stays as it is. */
  set(...words: string[]): void;
  /** A command of vxlane, which the kernel has not: `peer show`. Returns what it prints. */
  command(...words: string[]): string;
  /** vxlane's counters of the device, at once: its `status` looks on for a second. */
  counters(): Promise<Record<string, number>>;
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

type VtepHandle = Pick<
  Host,
  'fdb' | 'set' | 'command' | 'counters' | 'statistics' | 'stopVtep' | 'assertAlive'
>;

function kernelVtep(namespace: Namespace, words: string[]): VtepHandle {
  namespace.ip(`link add ${VTEP} ${words.join(' ')}`);
  return {
    fdb: (operation, mac, ...rest) => {
      namespace.run('bridge', 'fdb', operation, mac, 'dev', VTEP, ...rest);
    },
    set: () => undefined,
    command: () => '',
    counters: async () => ({}),
    statistics: () => statistics(namespace.ipJson('-s', '-s', 'link', 'show', VTEP)[0]),
    async stopVtep() {
      namespace.ip(`link del ${VTEP}`);
      return null;
    },
    assertAlive: () => undefined,
  };
}

async function vxlaneVtep(
  bed: Bed,
  namespace: Namespace,
  words: string[],
  flags: readonly string[],
): Promise<VtepHandle> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run "npm run build" first`);
  const socket = join(bed.directory(), 'vxlane.sock');
  const args = [...words.filter((word, i) => word !== 'type' && words[i - 1] !== 'type'), ...OFFLOAD_WORDS];
  const child = namespace.spawn(
    process.execPath,
    [PROGRAM, 'run', VTEP, ...args, '--socket', socket, ...flags],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
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
    set: (...rest) => {
      namespace.run(process.execPath, PROGRAM, '--socket', socket, 'link', 'set', VTEP, ...rest);
    },
    command: (...rest) => namespace.run(process.execPath, PROGRAM, '--socket', socket, ...rest),
    counters: async () => (await createClient(socket).status()).counters[VTEP] ?? {},
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
      set: () => undefined,
      command: () => '',
      counters: async () => ({}),
      statistics: () => ({ rx: {}, tx: {} }),
      stopVtep: async () => null,
      assertAlive: () => undefined,
    };
  const words = vtepWords(side, options);
  const vtep =
    kind === 'kernel'
      ? kernelVtep(namespace, words)
      : await vxlaneVtep(bed, namespace, words, options.flags ?? []);
  namespace.ip(`link set ${VTEP} up`);
  const [link] = namespace.ipJson('-d', 'link', 'show', VTEP);
  const driver = { kernel: 'vxlan', vxlane: 'tun' }[kind];
  if (link.linkinfo.info_kind !== driver) throw new Error(`${VTEP} is a ${link.linkinfo.info_kind} device`);
  return { kind, namespace, agent, ...vtep };
}
