/**
 * Two hosts that are the same in everything but their VTEP: one has the kernel's device, the other vxlane's, driven
 * by the same words. Each has a far end of its own, a namespace behind a veth pair, where the outer packets arrive
 * and from where others are sent.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { runCli } from '../../src/cli/program.ts';
import { createClient } from '../../src/daemon/client.ts';
import { Heard } from './differential-monitor.ts';
import { type Bed, type Namespace, REPOSITORY } from './netns.ts';
import { layer2 } from './scenario.ts';
import {
  HOSTS,
  type Host,
  type Kind,
  OFFLOAD_WORDS,
  PORT,
  type Statistics,
  UNDERLAY,
} from './traffic-vtep.ts';

export const DEVICE = 'vx0';
/** The far end's addresses: the first is the usual remote. */
export const REMOTES = [HOSTS[1].underlay, '10.169.72.101', '10.169.72.102', '10.169.72.103'] as const;
export const REMOTES6 = [HOSTS[1].underlay6, 'fd69::101', 'fd69::102', 'fd69::103'] as const;
/** The host's own second addresses. */
export const SECOND_LOCAL = '10.169.72.94';
export const SECOND_LOCAL6 = 'fd69::94';

const PROGRAM = join(REPOSITORY, 'dist/src/cli/main.js');
const OFF = { tx: false, tso: false, gso: false, gro: false };
const READY_MS = 30_000;
/** A VNI that no case uses: its device keeps the port open on the far end. */
const LISTENER_VNI = 0xfffffe;

export interface Said {
  code: number;
  out: string;
  err: string;
}

/** What the device counts, as `ip -s -s -j link` prints it. */
export type Counts = Statistics;

export interface FdbRow {
  mac: string;
  [key: string]: unknown;
}

export interface Twin {
  readonly kind: Kind;
  readonly host: Host;
  readonly far: Host;
  /** Carries out one line of `ip` or `bridge` words: `link add vx0 type vxlan id 1`, `fdb append ...`. */
  command(line: string): Promise<Said>;
  fdb(device: string): Promise<FdbRow[]>;
  counts(device: string): Promise<Counts>;
  /** Frames of all devices there are that vxlane did not learn from because its FDB was being written to (`fdb_busy`). */
  unlearned(): Promise<number>;
  /** What `bridge monitor fdb` and, of misses, `ip monitor neigh` have said of a device since the last call. */
  events(): string[];
  /** Throws with its last words if the VTEP has died. */
  assertAlive(): void;
}

function ran(namespace: Namespace, command: string, args: readonly string[]): Said {
  const { status, stdout, stderr, error } = spawnSync(command, ['-n', namespace.name, ...args], {
    encoding: 'utf8',
  });
  return { code: status ?? -1, out: stdout ?? '', err: error?.message ?? stderr.trim() };
}

/** Objects of `bridge`; every other object is `ip`'s. */
const OF_BRIDGE = /^(fdb|vni|mdb|vlan)\b/;
/** Options that iproute2 before 6.7 has no words for. */
const BEYOND_IPROUTE2 = /^link add .* (reserved_bits|localbypass|nolocalbypass|flowlabel inherit)\b/;
/** Devices that are the kernel's in both twins. */
const PLAIN_LINK = /^link (add|set|del) (br|port)\d/;

/** What a VTEP is asked for itself; all the rest is the interface's and the kernel's in both twins. */
const isOfVtep = (line: string) =>
  /^(fdb|vni|mdb|vlan|policy|link)\b/.test(line) && !PLAIN_LINK.test(line) && !/ master /.test(line);

/** `sysctl KEY=VALUE` with the namespace's own /proc. */
function setKey(namespace: Namespace, line: string): Said {
  const [key = '', value = ''] = line.slice('sysctl '.length).split('=');
  namespace.sysctl({ [key]: value });
  return { code: 0, out: '', err: '' };
}

const words = (line: string) => line.split(' ').filter((word) => word !== '');

function kernelTwin(host: Host, far: Host): Twin {
  const { namespace } = host;
  const heard = new Heard();
  for (const [command, object] of [
    ['bridge', 'fdb'],
    ['ip', 'neigh'],
  ] as const) {
    const child = namespace.spawn(command, ['monitor', object], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => heard.hear(text));
  }
  const json = (command: string, ...args: string[]) => {
    const { code, out, err } = ran(namespace, command, args);
    if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${err}`);
    return JSON.parse(out || '[]');
  };
  return {
    kind: 'kernel',
    host,
    far,
    async command(line) {
      if (line.startsWith('sysctl ')) return setKey(namespace, line);
      if (!BEYOND_IPROUTE2.test(line))
        return ran(namespace, OF_BRIDGE.test(line) ? 'bridge' : 'ip', words(line));
      const refusal = await host.agent.call('addVxlan', words(line).slice(2)).catch((error) => error);
      return { code: refusal ? 2 : 0, out: '', err: refusal ? String(refusal.message) : '' };
    },
    // What the bridge above a port knows is listed with it.
    fdb: async (device) =>
      json('bridge', '-j', 'fdb', 'show', 'dev', device).filter((row: FdbRow) => !('master' in row)),
    counts: async (device) => json('ip', '-s', '-s', '-j', 'link', 'show', 'dev', device)[0].stats64,
    unlearned: async () => 0,
    events: () => heard.take(),
    assertAlive: () => undefined,
  };
}

async function vxlaneTwin(bed: Bed, host: Host, far: Host): Promise<Twin> {
  const { namespace } = host;
  const socket = join(bed.directory(), 'vxlane.sock');
  const child = namespace.spawn(process.execPath, [PROGRAM, 'daemon', '--socket', socket], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const hear = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-8192);
  };
  child.stdout?.on('data', hear);
  child.stderr?.on('data', hear);

  const run = async (...args: string[]): Promise<Said> => {
    const result = { code: 0, out: '', err: '' };
    const outside = {
      out: (text: string) => (result.out += text),
      err: (text: string) => (result.err += text),
      env: {},
    };
    result.code = await runCli(['--socket', socket, ...args], outside);
    return result;
  };
  const json = async (...args: string[]) => {
    const { code, out, err } = await run('-j', ...args);
    if (code !== 0) throw new Error(`vxlane ${args.join(' ')}: ${err}`);
    return JSON.parse(out || '[]');
  };
  const state = () => `vxlane daemon (${child.signalCode ?? child.exitCode ?? 'running'}): ${said}`;
  const assertAlive = () => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(state());
  };

  const gone = once(child, 'exit');
  const deadline = performance.now() + READY_MS;
  while ((await run('link', 'show')).code !== 0) {
    assertAlive();
    if (performance.now() > deadline) throw new Error(`not ready: ${state()}`);
    await Promise.race([gone, new Promise((done) => setTimeout(done, 20))]);
  }
  const heard = new Heard();
  const stop = bed.signal();
  const monitor = ['--socket', socket, 'monitor', 'fdb', 'neigh'];
  const quiet = () => undefined;
  void runCli(monitor, { out: (text) => heard.hear(text), err: quiet, env: {}, stop });
  return {
    kind: 'vxlane',
    host,
    far,
    async command(line) {
      if (line.startsWith('sysctl ')) return setKey(namespace, line);
      if (!isOfVtep(line)) return ran(namespace, 'ip', words(line));
      const isNew = /^link add .*\btype vxlan\b/.test(line);
      return run(...words(line), ...(isNew ? OFFLOAD_WORDS : []));
    },
    fdb: (device) => json('fdb', 'show', 'dev', device),
    events: () => heard.take(),
    counts: async (device) => (await json('-s', '-s', 'link', 'show', 'dev', device))[0].stats64,
    unlearned: async () => {
      const { counters } = await createClient(socket).status();
      return Object.values(counters).reduce((sum, { fdb_busy = 0 }) => sum + fdb_busy, 0);
    },
    assertAlive,
  };
}

/** The namespaces of one twin, its daemon where it has one, and what is the same for every case. */
export async function makeTwin(bed: Bed, kind: Kind): Promise<Twin> {
  const [host, far] = await layer2(bed, ['none', 'none']);
  await Promise.all([host, far].map(({ agent }) => agent.call('offloads', UNDERLAY, OFF)));
  const { underlayMac } = HOSTS[1];
  host.namespace.ip(
    `addr add ${SECOND_LOCAL}/24 dev ${UNDERLAY}`,
    `addr add ${SECOND_LOCAL6}/64 dev ${UNDERLAY} nodad`,
    ...[...REMOTES, ...REMOTES6].map(
      (remote) => `neigh replace ${remote} lladdr ${underlayMac} dev ${UNDERLAY} nud permanent`,
    ),
  );
  const hostMac = HOSTS[0].underlayMac;
  far.namespace.ip(
    ...REMOTES.slice(1).map((remote) => `addr add ${remote}/24 dev ${UNDERLAY}`),
    ...REMOTES6.slice(1).map((remote) => `addr add ${remote}/64 dev ${UNDERLAY} nodad`),
    ...[SECOND_LOCAL, SECOND_LOCAL6].map(
      (local) => `neigh add ${local} lladdr ${hostMac} dev ${UNDERLAY} nud permanent`,
    ),
    // Somebody must listen, or answers of "port unreachable" would be in every capture.
    `link add listener type vxlan id ${LISTENER_VNI} local ${REMOTES[0]} dstport ${PORT}`,
    `link add listener6 type vxlan id ${LISTENER_VNI} local ${REMOTES6[0]} dstport ${PORT}`,
    'link set listener up',
    'link set listener6 up',
  );
  const twin = kind === 'kernel' ? kernelTwin(host, far) : await vxlaneTwin(bed, host, far);
  await untilHeard(twin);
  return twin;
}

/** Makes devices until the monitors speak of them: none of what they say later is missed. */
async function untilHeard(twin: Twin): Promise<void> {
  const deadline = performance.now() + READY_MS;
  do {
    if (performance.now() > deadline) throw new Error(`the monitors of ${twin.kind} say nothing`);
    await twin.command(`link add ${DEVICE} type vxlan id 1 remote ${REMOTES[0]} l2miss dstport ${PORT}`);
    await twin.command(`link set ${DEVICE} up`);
    await twin.command(`fdb flush dev ${DEVICE}`);
    const frame = new Uint8Array(60).fill(2);
    await twin.host.agent.call('inject', DEVICE, [frame], {});
    await new Promise((done) => setTimeout(done, 50));
    await twin.command(`link del ${DEVICE}`);
    await new Promise((done) => setTimeout(done, 50));
  } while (!hearsAll(twin.events()));
}

const hearsAll = (lines: readonly string[]) =>
  lines.some((line) => line.startsWith('miss')) && lines.some((line) => line.startsWith('Deleted'));
