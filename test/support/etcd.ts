/** A real etcd of the machine's package on loopback ports, with a data directory of its own, and what tests do to it. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const START_MS = 15_000;
const run = promisify(execFile);

/** What keeps etcd from being run here, or null. */
export function missingForEtcd(): string | null {
  const missing = ['etcd', 'etcdctl'].filter((name) => spawnSync('which', [name]).status !== 0);
  return missing.length === 0
    ? null
    : `needs ${missing.join(' and ')}: apt-get install etcd-server etcd-client`;
}

/** Below those that the kernel gives to whoever asks for any (net.ipv4.ip_local_port_range). */
const [FIRST_PORT, LAST_PORT] = [20_000, 32_000];
let next = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));

/** A port of 127.0.0.1 that nobody has at the moment, and that nobody is given while a server is away from it. */
export async function freePort(): Promise<number> {
  for (;;) {
    next = next < LAST_PORT ? next + 1 : FIRST_PORT;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(next, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    const port = next;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

export interface EtcdOptions {
  /** "https": with the flags that name certificates. */
  scheme?: 'http' | 'https';
  flags?: readonly string[];
  /** For etcdctl. */
  ctl?: readonly string[];
}

export class TestEtcd {
  readonly directory = mkdtempSync(join(tmpdir(), 'vxl-etcd-'));
  readonly endpoint: string;
  readonly #peer: string;
  readonly #options: EtcdOptions;
  #child: ChildProcess | undefined;
  #said = '';

  private constructor(port: number, peerPort: number, options: EtcdOptions) {
    this.endpoint = `${options.scheme ?? 'http'}://127.0.0.1:${port}`;
    this.#peer = `http://127.0.0.1:${peerPort}`;
    this.#options = options;
    process.once('exit', () => this.#child?.kill('SIGKILL'));
  }

  static async start(options: EtcdOptions = {}): Promise<TestEtcd> {
    const etcd = new TestEtcd(await freePort(), await freePort(), options);
    await etcd.start();
    return etcd;
  }

  get port(): number {
    return Number(new URL(this.endpoint).port);
  }

  async start(): Promise<void> {
    const args = [
      ...['--data-dir', join(this.directory, 'data'), '--log-level', 'error', '--name', 'one'],
      ...['--listen-client-urls', this.endpoint, '--advertise-client-urls', this.endpoint],
      ...['--listen-peer-urls', this.#peer, '--initial-advertise-peer-urls', this.#peer],
      // A leader at once, and pings as often as a test wants.
      ...['--initial-cluster', `one=${this.#peer}`, '--heartbeat-interval', '10', '--election-timeout', '50'],
      ...['--grpc-keepalive-min-time', '50ms'],
      ...(this.#options.flags ?? []),
    ];
    const child = spawn('etcd', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const hear = (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-4096);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    this.#child = child;
    const deadline = Date.now() + START_MS;
    while (!(await answers(this.port))) {
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`etcd did not start: ${this.#said}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await this.ctl('endpoint', 'health');
  }

  /** What etcdctl prints. */
  async ctl(...args: string[]): Promise<string> {
    const flags = ['--endpoints', this.endpoint, ...(this.#options.ctl ?? [])];
    const env = { ...process.env, ETCDCTL_API: '3' };
    const { stdout } = await run('etcdctl', [...flags, ...args], { env, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  }

  async revision(): Promise<number> {
    return JSON.parse(await this.ctl('get', 'none', '-w', 'json')).header.revision;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  /** Everything that was stored is lost. */
  wipe(): void {
    rmSync(join(this.directory, 'data'), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.destroy());
    socket.on('close', (failed) => resolve(!failed));
    socket.on('error', () => {});
  });
}

/** A way to a port that can be cut: connections through it break, and new ones are refused. */
export class Cable {
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  port = 0;

  private constructor(target: number) {
    this.#target = target;
  }

  static async to(target: number): Promise<Cable> {
    const cable = new Cable(target);
    await cable.join();
    return cable;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async join(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.#target, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far).pipe(near);
    });
    this.#server = server;
    this.port ||= await freePort();
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
  }

  async cut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
