/** The test's side of a node on the kernel's vxlan device (kernel-node-main.ts says what it does). */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { end, type Namespace } from './netns.ts';

const PROGRAM = fileURLToPath(new URL('./kernel-node-main.ts', import.meta.url));

export interface NodeOptions {
  endpoints: readonly string[];
  /** Interface of the underlay. */
  iface: string;
  subnetFile: string;
  /** etcd's time to live of the node's lease, and how long before its end it is renewed. */
  leaseSeconds?: number;
  marginSeconds?: number;
  /** Further flags. */
  flags?: readonly string[];
}

/** A process of a node that is ready when it has said a certain word. */
export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #ready: RegExp;
  #said = '';
  #heard: () => void = () => undefined;

  constructor(namespace: Namespace, words: readonly string[], ready: RegExp, env: NodeJS.ProcessEnv = {}) {
    this.#ready = ready;
    this.#child = namespace.spawn(process.execPath, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    const hear = (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-65_536);
      this.#heard();
    };
    this.#child.stdout?.on('data', hear);
    this.#child.stderr?.on('data', hear);
    this.#child.on('exit', () => this.#heard());
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get said(): string {
    return this.#said;
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it has said its word. */
  async ready(withinMs = 15_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`node ${why}: ${this.#said}`));
      const late = setTimeout(() => fail('is not ready'), withinMs);
      this.#heard = () => {
        if (!this.alive) fail(`ended (${this.#child.signalCode ?? this.#child.exitCode})`);
        else if (this.#ready.test(this.#said)) resolve();
        else return;
        clearTimeout(late);
      };
      this.#heard();
    });
    this.#heard = () => undefined;
  }

  /** Rejects when it ends. */
  failed(): Promise<never> {
    const ended = new Promise<never>((_resolve, reject) => {
      this.#child.once('exit', (code, signal) =>
        reject(new Error(`node ended (${signal ?? code}): ${this.#said}`)),
      );
    });
    ended.catch(() => undefined);
    return ended;
  }

  async stop(): Promise<void> {
    await end(this.#child);
  }

  async kill(): Promise<void> {
    if (!this.alive) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}

export function startKernelNode(namespace: Namespace, options: NodeOptions): NodeProcess {
  const { endpoints, iface, subnetFile, leaseSeconds = 86_400, marginSeconds = 3600, flags = [] } = options;
  const words = [
    ...['--import', 'tsx', PROGRAM, '--etcd-endpoints', endpoints.join(',')],
    ...['--iface', iface, '--subnet-file', subnetFile],
    ...['--lease-seconds', `${leaseSeconds}`, '--margin-seconds', `${marginSeconds}`, ...flags],
  ];
  return new NodeProcess(namespace, words, /^node ready: /m);
}
