/**
 * The threads of a VTEP: for each queue one encap and one decap worker, their blocks, their pollers.
 * The main thread never carries packets; it puts descriptors into the pollers and waits for rounds.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import {
  HEADER_BASE,
  HEADER_PATHS_OFFSET,
  WORKER_BATCHES_OFFSET,
  WORKER_ROUNDS_OFFSET,
  WORKER_SLEEPS_OFFSET,
  WORKER_STOP_OFFSET,
  WORKER_SYSCALLS_OFFSET,
} from '../../assembly/layout.ts';
import { type Views, workerBase } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import { closePoller, openPoller, type Poller, unwatch, wake, watch } from '../io/poller.ts';
import type { EngineChoice } from './io-engine.ts';
import { EVENTS, type WorkerStart } from './worker-context.ts';

interface Thread {
  readonly start: WorkerStart;
  readonly worker: Worker;
}

export class Workers {
  readonly #views: Views;
  readonly #threads: Thread[] = [];
  readonly #engine: EngineChoice;
  #refused = '';

  /** Blocks that the memory of `queues` queues must have. */
  static blocks(queues: number): number {
    return 2 * queues;
  }

  constructor(views: Views, engine: EngineChoice) {
    this.#views = views;
    this.#engine = engine;
  }

  /** Why a worker does without io_uring though it was wanted; '' = none does. */
  get refused(): string {
    return this.#refused;
  }

  /** Is io_uring in use? "on", or "off: why". */
  get uring(): string {
    if (this.#engine === 'batched') return 'off: by configuration';
    return this.#refused === '' ? 'on' : `off: ${this.#refused}`;
  }

  get count(): number {
    return this.#threads.length;
  }

  /**
   * Resolves when all threads wait for work. `failed` hears of a thread that ends without being asked to,
   * `heard` of one that has written events.
   */
  async start(
    queues: number,
    module: WebAssembly.Module,
    address: number,
    failed: (reason: string) => void,
    heard: (worker: number) => void,
  ): Promise<void> {
    const entry = fileURLToPath(import.meta.resolve('#worker'));
    // Encap workers answer the walk's questions about paths (paths.ts).
    this.#views.view.setUint32(HEADER_BASE + HEADER_PATHS_OFFSET, 1, true);
    const ready: Promise<void>[] = [];
    for (let queue = 0; queue < queues; ++queue) {
      for (const kind of ['encap', 'decap'] as const) {
        const index = this.#threads.length;
        const memory = this.#views.memory;
        const engine = this.#engine;
        const start: WorkerStart = {
          kind,
          index,
          queue,
          memory,
          module,
          address,
          engine,
          poller: openPoller(),
        };
        const worker = new Worker(entry, {
          workerData: start,
          name: `vxlane ${kind} ${queue}`,
          execArgv: [],
        });
        this.#threads.push({ start, worker });
        ready.push(
          new Promise((resolve, reject) => {
            worker.once('message', (refused: string) => {
              this.#refused ||= refused;
              resolve();
            });
            worker.once('error', (error) =>
              reject(new VtepError('SYSTEM', `${kind} worker: ${error.message}`)),
            );
          }),
        );
        worker.on('message', (message) => message === EVENTS && heard(index));
        worker.on('error', (error) => failed(`${kind} worker ${queue}: ${error.stack ?? error.message}`));
      }
    }
    await Promise.all(ready);
  }

  /** Encap worker of a queue: wake for this TAP. */
  watchTap(fds: readonly number[], device: number): void {
    for (const { start } of this.#threads) {
      const fd = fds[start.queue];
      if (start.kind === 'encap' && fd !== undefined) watch(start.poller, fd, device);
    }
  }

  unwatchTap(fds: readonly number[]): void {
    for (const { start } of this.#threads) {
      const fd = fds[start.queue];
      if (start.kind === 'encap' && fd !== undefined) unwatch(start.poller, fd);
    }
  }

  /** A listener has one socket, so one decap worker serves it: which one depends on its number. */
  watchListener(fd: number, listener: number): void {
    watch(this.#decapPoller(listener), fd, listener);
  }

  unwatchListener(fd: number, listener: number): void {
    unwatch(this.#decapPoller(listener), fd);
  }

  /** Resolves when no worker can still hold what was read from the tables before this call. */
  async quiesce(): Promise<void> {
    const { u32 } = this.#views;
    const waiting = this.#threads.map(({ start }) => {
      const at = (workerBase(start.index) + WORKER_ROUNDS_OFFSET) >>> 2;
      return { at, before: Atomics.load(u32, at), poller: start.poller };
    });
    for (const { poller } of waiting) wake(poller);
    for (const { at, before, poller } of waiting) {
      while (Atomics.load(u32, at) === before) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        wake(poller);
      }
    }
  }

  statistics(): {
    name: string;
    index: number;
    kind: string;
    syscalls: number;
    batches: number;
    sleeps: number;
  }[] {
    const { view } = this.#views;
    return this.#threads.map(({ start: { index, kind, queue } }) => {
      const base = workerBase(index);
      return {
        name: `${kind} ${queue}`,
        index,
        kind,
        syscalls: view.getFloat64(base + WORKER_SYSCALLS_OFFSET, true),
        batches: view.getFloat64(base + WORKER_BATCHES_OFFSET, true),
        sleeps: view.getFloat64(base + WORKER_SLEEPS_OFFSET, true),
      };
    });
  }

  async stop(): Promise<void> {
    for (const { start } of this.#threads) {
      Atomics.store(this.#views.i32, (workerBase(start.index) + WORKER_STOP_OFFSET) >>> 2, 1);
      wake(start.poller);
    }
    await Promise.all(this.#threads.map(({ worker }) => ended(worker)));
    for (const { start } of this.#threads) closePoller(start.poller);
    this.#threads.length = 0;
  }

  #decapPoller(listener: number): Poller {
    const decap = this.#threads.filter(({ start }) => start.kind === 'decap');
    return decap[listener % decap.length]!.start.poller;
  }
}

/** A thread that has left its loop has nothing left to do and ends by itself. */
function ended(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.threadId === -1) resolve();
    else worker.once('exit', () => resolve());
  });
}
