/** The test's side of an agent: a process inside a namespace that captures, injects and talks (traffic-agent.ts). */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CapturedFrame, CaptureOptions, CaptureResult } from './capture.ts';
import type { Namespace } from './netns.ts';
import type { Operations, Reply, Request } from './traffic-agent.ts';

const PROGRAM = fileURLToPath(new URL('./traffic-agent.ts', import.meta.url));

type Result<K extends keyof Operations> = Awaited<ReturnType<Operations[K]>>;

/** A capture that runs in the agent's namespace. */
export interface RemoteCapture {
  /** Frames since the last call. */
  take(): Promise<CapturedFrame[]>;
  /**
   * Waits until `frames` have come (0: any number) and then `quietMs` passed without another, at most `withinMs`;
   * then ends the capture.
   */
  stop(wait?: { frames?: number; quietMs?: number; withinMs?: number }): Promise<CaptureResult>;
}

export class Agent {
  readonly namespace: Namespace;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { done: (value: unknown) => void; failed: (error: Error) => void }>();
  #next = 1;
  #stderr = '';

  private constructor(namespace: Namespace) {
    this.namespace = namespace;
    this.#child = namespace.spawn(process.execPath, ['--import', 'tsx', PROGRAM], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.#child.on('message', (reply: Reply) => this.#settle(reply));
    this.#child.on('exit', (code, signal) => {
      const error = new Error(`the agent in ${namespace.name} ended (${signal ?? code}): ${this.#stderr}`);
      for (const { failed } of this.#waiting.values()) failed(error);
      this.#waiting.clear();
    });
  }

  static async start(namespace: Namespace): Promise<Agent> {
    const agent = new Agent(namespace);
    await agent.call('ready');
    return agent;
  }

  #settle({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.done(result);
    else waiting?.failed(new Error(`in ${this.namespace.name}: ${error}`));
  }

  call<K extends keyof Operations>(operation: K, ...args: Parameters<Operations[K]>): Promise<Result<K>> {
    const id = this.#next++;
    const request: Request = { id, operation, args };
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done: done as (value: unknown) => void, failed });
      this.#child.send(request, (error) => error && failed(error));
    });
  }

  async capture(ifname: string, options: CaptureOptions = {}): Promise<RemoteCapture> {
    const id = await this.call('captureStart', ifname, options);
    return {
      take: () => this.call('captureTake', id),
      stop: async ({ frames = 0, quietMs = 60, withinMs = 3000 } = {}) => {
        await this.call('captureSettle', id, frames, quietMs, withinMs);
        return this.call('captureStop', id);
      },
    };
  }
}
