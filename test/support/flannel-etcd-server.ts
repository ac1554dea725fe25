/** A real etcd in a namespace of its own, one member, that can be stopped, started again and compacted. */
import type { ChildProcess } from 'node:child_process';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bed, end, type Namespace } from './netns.ts';

const READY_MS = 15_000;
/** On a busy machine etcdctl's own two seconds are short. */
const PATIENCE = ['--dial-timeout', '20s', '--command-timeout', '30s'];

/** Why etcd can't be run here, with the remedy, or null. */
export function missingForEtcd(): string | null {
  for (const program of ['etcd', 'etcdctl']) {
    if (spawnSync(program, [program === 'etcd' ? '--version' : 'version']).status !== 0) {
      return `needs ${program}: apt-get install etcd-server etcd-client`;
    }
  }
  return null;
}

export class EtcdServer {
  readonly namespace: Namespace;
  /** For clients in namespaces that reach it. */
  readonly endpoint: string;
  readonly #directory: string;
  #child: ChildProcess | undefined;
  #said = '';

  /** @param address of the namespace, that clients reach it at */
  constructor(bed: Bed, namespace: Namespace, address: string) {
    this.namespace = namespace;
    this.endpoint = `http://${address}:2379`;
    this.#directory = bed.directory();
  }

  async start(): Promise<void> {
    const peer = 'http://127.0.0.1:2380';
    const words = [
      ...['--name', 'one', '--data-dir', this.#directory, '--log-level', 'error'],
      ...['--listen-client-urls', `${this.endpoint},http://127.0.0.1:2379`],
      ...['--advertise-client-urls', this.endpoint],
      ...[
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `one=${peer}`,
      ],
      // Alone in its cluster, it elects itself: no need to wait a second for it.
      ...['--heartbeat-interval', '20', '--election-timeout', '200'],
    ];
    const child = this.namespace.spawn('etcd', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const hear = (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-4096);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    this.#child = child;
    const until = Date.now() + READY_MS;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`etcd ended (${child.exitCode}): ${this.#said}`);
      const { status } = this.#ctl(['endpoint', 'health', '--command-timeout=1s']);
      if (status === 0) return;
      if (Date.now() > until) throw new Error(`etcd is not ready: ${this.#said}`);
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    if (this.#child) await end(this.#child);
    this.#child = undefined;
  }

  /** As a machine that loses power. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    this.#child = undefined;
  }

  #ctl(words: readonly string[], input?: string) {
    return spawnSync('ip', ['netns', 'exec', this.namespace.name, 'etcdctl', ...PATIENCE, ...words], {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
      ...(input === undefined ? {} : { input }),
    });
  }

  /** Runs etcdctl and returns what it printed. */
  ctl(...words: string[]): string {
    const { status, stdout, stderr } = this.#ctl(words);
    if (status !== 0) throw new Error(`etcdctl ${words.join(' ')}: ${stderr.trim()}`);
    return stdout;
  }

  /** Forgets every revision before the present one. */
  compact(): void {
    const [{ Status: status }] = JSON.parse(this.ctl('endpoint', 'status', '-w', 'json'));
    this.ctl('compact', `${status.header.revision}`);
  }

  /** Keys and values under a prefix. */
  list(prefix: string): Record<string, string> {
    const { kvs = [] } = JSON.parse(this.ctl('get', '--prefix', prefix, '-w', 'json'));
    const text = (base64: string) => Buffer.from(base64, 'base64').toString();
    return Object.fromEntries(
      kvs.map((kv: { key: string; value: string }) => [text(kv.key), text(kv.value)]),
    );
  }
}
