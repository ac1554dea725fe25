/**
 * The test bed: pairs of hosts (network namespaces) joined by a veth underlay, a tunnel's end on each host, and
 * the processes that run inside. Everything made here has this process' id in its name, and `close` takes down
 * exactly that and nothing else.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** 50 more than the overlay's 1500, so that nothing is fragmented and TCP has its usual segments. */
export const UNDERLAY_MTU = 1550;
export const OVERLAY_MTU = 1500;
export const UNDERLAY = 'u0';
export const VTEP = 'vx0';
const START_MS = 15_000;
const STOP_MS = 3_000;

/** How one kind of tunnel is set up on a host. */
export interface Tunnel {
  /** Makes the device VTEP, and resolves when it is there. */
  start(bed: Testbed, host: Host, peer: Host): void | Promise<void>;
  /** Says where the peer's MAC address is, to a tunnel that is to be told. */
  learn?(host: Host, mac: string, remote: string): void | Promise<void>;
}

export interface Host {
  namespace: string;
  /** Of the host's own, for sockets, configurations and keys. */
  directory: string;
  /** The device that has the underlay's address: the veth, or what a tunnel has put over it. */
  wire: string;
  /** Addresses on the wire and on the VTEP. */
  underlay: string;
  overlay: string;
  /** Networks behind the host: every address in them is local to it, reached over wire and VTEP. */
  underlayNet: string;
  overlayNet: string;
  /** The tunnel's process, if it has one. */
  process?: ChildProcess;
  /** vxlane's control socket. */
  socket?: string;
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

/** Runs a program and returns its output; a failure throws with what it said. */
export function run(command: string, ...words: string[]): string {
  try {
    return execFileSync(command, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(`${command} ${words.join(' ')}: ${stderr?.trim() || message}`);
  }
}

/** Splits at blanks: no name or address here holds one. */
export const ip = (host: Host, words: string) => run('ip', '-n', host.namespace, ...words.split(' '));

export class Testbed {
  readonly #directory = mkdtempSync(join(tmpdir(), 'vxlane-bench-'));
  readonly #hosts: Host[] = [];
  readonly #children = new Set<ChildProcess>();
  #closed = false;

  /** Joins two new hosts and starts a tunnel's end on each. */
  async pair(name: string, tunnelA: Tunnel, tunnelB = tunnelA): Promise<Pair> {
    const a = this.#host(`${name}-a`, 1);
    const b = this.#host(`${name}-b`, 2);
    const both = [
      [a, b, tunnelA],
      [b, a, tunnelB],
    ] as const;
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
    for (const [host, peer, tunnel] of both) await tunnel.start(this, host, peer);
    for (const [host, peer, tunnel] of both) {
      const mac = macOf(peer, VTEP);
      ip(host, `link set ${VTEP} mtu ${OVERLAY_MTU} up`);
      ip(host, `addr add ${host.overlay}/24 dev ${VTEP}`);
      await tunnel.learn?.(host, mac, peer.underlay);
      await tunnel.learn?.(host, '00:00:00:00:00:00', peer.underlay);
      // Permanent neighbours: an ARP exchange in the middle of a trial would be somebody's outlier.
      ip(host, `neigh replace ${peer.overlay} lladdr ${mac} dev ${VTEP} nud permanent`);
      ip(
        host,
        `neigh replace ${peer.underlay} lladdr ${macOf(peer, peer.wire)} dev ${host.wire} nud permanent`,
      );
      ip(host, `route add ${peer.overlayNet} via ${peer.overlay} dev ${VTEP}`);
      ip(host, `route add ${peer.underlayNet} via ${peer.underlay} dev ${host.wire}`);
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
  spawn(
    host: Host,
    command: string,
    words: string[],
    { stdio = 'pipe', env = {} }: { stdio?: 'pipe' | 'ipc'; env?: Record<string, string> } = {},
  ): ChildProcess {
    if (this.#closed) throw new Error('the test bed is closed');
    const child = spawn('ip', ['netns', 'exec', host.namespace, command, ...words], {
      cwd: ROOT,
      env: { ...process.env, ...env },
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
    const child = this.spawn(host, words[0]!, words.slice(1), { stdio: 'ipc' });
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

  #host(name: string, number: number): Host {
    if (this.#closed) throw new Error('the test bed is closed');
    const namespace = `vxb${process.pid}-${name}`;
    run('ip', 'netns', 'add', namespace);
    const host: Host = {
      namespace,
      directory: join(this.#directory, name),
      wire: UNDERLAY,
      underlay: `10.169.72.${number}`,
      overlay: `10.244.255.${number}`,
      underlayNet: `10.170.${number}.0/24`,
      overlayNet: `10.244.${number}.0/24`,
    };
    this.#hosts.push(host);
    mkdirSync(host.directory);
    // Without this every interface sends router solicitations and the like: idle has to be idle.
    for (const scope of ['all', 'default']) {
      const setting = `/proc/sys/net/ipv6/conf/${scope}/disable_ipv6`;
      run('ip', 'netns', 'exec', namespace, 'sh', '-c', `test ! -e ${setting} || echo 1 > ${setting}`);
    }
    ip(host, 'link set lo up');
    return host;
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
