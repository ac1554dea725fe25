/**
 * The test bed: pairs of hosts (network namespaces) joined by a veth underlay, a VTEP on each host, and the
 * processes that run inside. Everything made here has this process' id in its name, and `close` takes down
 * exactly that and nothing else.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const VXLANE = join(ROOT, 'dist/src/cli/main.js');
/** 50 more than the overlay's 1500, so that nothing is fragmented and TCP has its usual segments. */
const UNDERLAY_MTU = 1550;
const OVERLAY_MTU = 1500;
const UNDERLAY = 'u0';
const VTEP = 'vx0';
const START_MS = 15_000;
const STOP_MS = 3_000;
/** USER_HZ: 100 on every architecture that Node runs on. */
const CLOCK_TICKS = 100;

export type Kind = 'kernel' | 'vxlane';

export interface Host {
  namespace: string;
  kind: Kind;
  /** Addresses on the veth and on the VTEP. */
  underlay: string;
  overlay: string;
  /** Networks behind the host: every address in them is local to it, reached over veth and VTEP. */
  underlayNet: string;
  overlayNet: string;
  socket: string;
  /** The vxlane process, if that is the kind. */
  process?: ChildProcess;
}

export interface Pair {
  name: string;
  a: Host;
  b: Host;
}

/** A child that takes one order at a time over IPC. */
export interface Helper {
  ask<Reply>(order: object): Promise<Reply>;
  stop(): void;
}

function run(command: string, ...words: string[]): string {
  try {
    return execFileSync(command, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(`${command} ${words.join(' ')}: ${stderr?.trim() || message}`);
  }
}

/** Splits at blanks: no name or address here holds one. */
const ip = (host: Host, words: string) => run('ip', '-n', host.namespace, ...words.split(' '));

export class Testbed {
  readonly #directory = mkdtempSync(join(tmpdir(), 'vxlane-bench-'));
  readonly #hosts: Host[] = [];
  readonly #children = new Set<ChildProcess>();
  #closed = false;

  /** Joins two new hosts and starts a VTEP on each. */
  async pair(name: string, kindA: Kind, kindB: Kind): Promise<Pair> {
    const a = this.#host(`${name}-a`, kindA, 1);
    const b = this.#host(`${name}-b`, kindB, 2);
    run(
      'ip',
      ...`link add ${UNDERLAY} netns ${a.namespace} type veth peer name ${UNDERLAY} netns ${b.namespace}`.split(
        ' ',
      ),
    );
    for (const host of [a, b]) {
      ip(host, `link set ${UNDERLAY} mtu ${UNDERLAY_MTU} up`);
      ip(host, `addr add ${host.underlay}/24 dev ${UNDERLAY}`);
    }
    for (const host of [a, b]) await this.#startVtep(host);
    for (const [host, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      const mac = macOf(peer, VTEP);
      ip(host, `link set ${VTEP} up`);
      ip(host, `addr add ${host.overlay}/24 dev ${VTEP}`);
      this.#fdb(host, mac, peer.underlay);
      this.#fdb(host, '00:00:00:00:00:00', peer.underlay);
      // Permanent neighbours: an ARP exchange in the middle of a trial would be somebody's outlier.
      ip(host, `neigh replace ${peer.overlay} lladdr ${mac} dev ${VTEP} nud permanent`);
      ip(
        host,
        `neigh replace ${peer.underlay} lladdr ${macOf(peer, UNDERLAY)} dev ${UNDERLAY} nud permanent`,
      );
      ip(host, `route add ${peer.overlayNet} via ${peer.overlay} dev ${VTEP}`);
      ip(host, `route add ${peer.underlayNet} via ${peer.underlay} dev ${UNDERLAY}`);
      ip(host, `route add local ${host.overlayNet} dev lo`);
      ip(host, `route add local ${host.underlayNet} dev lo`);
    }
    return { name, a, b };
  }

  /** The underlay's tunnel segmentation: on is a NIC that splits VXLAN by itself, off one that can't. */
  offloads(pair: Pair, on: boolean): void {
    const word = on ? 'on' : 'off';
    for (const { namespace } of [pair.a, pair.b]) {
      const features = ['tx-udp_tnl-segmentation', word, 'tx-udp_tnl-csum-segmentation', word];
      run('ip', 'netns', 'exec', namespace, 'ethtool', '-K', UNDERLAY, ...features);
    }
  }

  /** Starts a program inside the host's namespace; it ends with the test bed at the latest. */
  spawn(host: Host, command: string, words: string[], stdio: 'pipe' | 'ipc' = 'pipe'): ChildProcess {
    if (this.#closed) throw new Error('the test bed is closed');
    const child = spawn('ip', ['netns', 'exec', host.namespace, command, ...words], {
      cwd: ROOT,
      stdio: stdio === 'ipc' ? ['ignore', 'inherit', 'inherit', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Starts one of the bench's own programs that take orders, on that core if one is given, and waits until it listens. */
  async helper(host: Host, file: string, core?: number): Promise<Helper> {
    const words = [process.execPath, '--import', 'tsx', join(ROOT, 'bench', file)];
    if (core !== undefined) words.unshift('taskset', '-c', `${core}`);
    const child = this.spawn(host, words[0]!, words.slice(1), 'ipc');
    const next = () =>
      new Promise<unknown>((resolve, reject) => {
        const gone = () => reject(new Error(`${file} ended`));
        child.once('exit', gone);
        child.once('message', (message: { reply?: unknown; error?: string }) => {
          child.off('exit', gone);
          if (message.error === undefined) resolve(message.reply);
          else reject(new Error(`${file}: ${message.error}`));
        });
      });
    await next();
    return {
      ask: <Reply>(order: object) => {
        child.send(order);
        return next() as Promise<Reply>;
      },
      stop: () => void child.kill('SIGKILL'),
    };
  }

  /** Ends the processes started here, then the namespaces. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const child of this.#children) child.kill('SIGTERM');
    for (let waited = 0; this.#children.size > 0 && waited < STOP_MS; waited += 50) await sleep(50);
    for (const child of this.#children) child.kill('SIGKILL');
    for (const host of this.#hosts.splice(0)) {
      try {
        run('ip', 'netns', 'del', host.namespace);
      } catch (error) {
        process.stderr.write(`bench: ${(error as Error).message}\n`);
      }
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #host(name: string, kind: Kind, number: number): Host {
    if (this.#closed) throw new Error('the test bed is closed');
    const namespace = `vxb${process.pid}-${name}`;
    run('ip', 'netns', 'add', namespace);
    const host: Host = {
      namespace,
      kind,
      underlay: `10.169.72.${number}`,
      overlay: `10.244.255.${number}`,
      underlayNet: `10.170.${number}.0/24`,
      overlayNet: `10.244.${number}.0/24`,
      socket: join(this.#directory, `${name}.sock`),
    };
    this.#hosts.push(host);
    // Without this every interface sends router solicitations and the like: idle has to be idle.
    for (const scope of ['all', 'default']) {
      run('ip', 'netns', 'exec', namespace, 'sysctl', '-qw', `net.ipv6.conf.${scope}.disable_ipv6=1`);
    }
    ip(host, 'link set lo up');
    return host;
  }

  async #startVtep(host: Host): Promise<void> {
    const options = `id 1 local ${host.underlay} dev ${UNDERLAY} dstport 8472 nolearning`;
    if (host.kind === 'kernel') {
      ip(host, `link add ${VTEP} type vxlan ${options}`);
    } else {
      const words = [VXLANE, 'run', VTEP, ...options.split(' '), '--socket', host.socket];
      host.process = this.spawn(host, process.execPath, words);
      await waitForLine(host.process, ' up:');
    }
    ip(host, `link set ${VTEP} mtu ${OVERLAY_MTU}`);
  }

  #fdb(host: Host, mac: string, remote: string): void {
    const words = ['fdb', 'append', mac, 'dev', VTEP, 'dst', remote];
    if (host.kind === 'kernel') run('bridge', '-n', host.namespace, ...words);
    else run(process.execPath, VXLANE, '--socket', host.socket, ...words);
  }
}

function macOf(host: Host, name: string): string {
  return JSON.parse(run('ip', '-j', '-n', host.namespace, 'link', 'show', name))[0].address;
}

/** Waits for a line of the child's stdout that holds `text`; keeps reading afterwards, so that it never blocks. */
export function waitForLine(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let out = '';
    let all = '';
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new Error(`${child.spawnargs.slice(4).join(' ')}: ${why}\n${all}`.trim()));
    };
    const timer = setTimeout(() => fail(`not ready after ${START_MS / 1000} s`), START_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`ended (${signal ?? code})`));
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      all = (all + chunk).slice(-2000);
    });
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      all = (all + chunk).slice(-2000);
      out = (out + chunk).slice(-2000);
      if (!out.includes(text)) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Seconds that all cores together were busy since start-up, and seconds that the hypervisor kept from them. */
export function busySeconds(): { at: number; busy: number; stolen: number } {
  const words = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = words;
  const busy = (user + nice + system + irq + softirq) / CLOCK_TICKS;
  return { at: performance.now() / 1000, busy, stolen: steal / CLOCK_TICKS };
}

/** CPU seconds of one process, all its threads. */
export function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command's name may hold blanks and parentheses: count from behind it.
  const words = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(words[11]) + Number(words[12])) / CLOCK_TICKS;
}
