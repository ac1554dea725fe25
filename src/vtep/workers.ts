/**
 * The threads of a VTEP: for each queue one encap and one decap worker, on a thread each or both on one; their
 * blocks, their pollers.
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
import type { IoEngine } from './io-engine.ts';
import { LISTENER_TOKEN, type Role, type WorkerStart } from './worker-context.ts';

export interface WorkerOptions {
  readonly engine: IoEngine;
  /** One thread for both directions of a queue, instead of one for each. */
  readonly paired: boolean;
  /** Microseconds of looking after work before a thread sleeps. */
  readonly spin: number;
}

interface Thread {
  readonly start: WorkerStart;
  readonly worker: Worker;
}

export class Workers {
  readonly #views: Views;
  readonly #threads: Thread[] = [];
  readonly #options: WorkerOptions;
  #refused = '';

  /** Blocks that the memory of `queues` queues must have. */
  static blocks(queues: number): number {
    return 2 * queues;
  }

  constructor(views: Views, options: WorkerOptions) {
    this.#views = views;
    this.#options = options;
  }

  /** Why a worker does without io_uring though it was wanted; '' = none does. */
  get refused(): string {
    return this.#refused;
  }

  /** Is io_uring in use? "on", or "off: why". */
  get uring(): string {
    if (this.#options.engine === 'batched') return 'off: not asked for';
    return this.#refused === '' ? 'on' : `off: ${this.#refused}`;
  }

  /** Blocks in use. */
  get count(): number {
    return this.#threads.reduce((sum, { start }) => sum + start.roles.length, 0);
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
    const { engine, paired, spin } = this.#options;
    const ready = rolesOf(queues, paired).map((roles) => {
      const memory = this.#views.memory;
      const poller = openPoller();
      const start: WorkerStart = { roles, memory, module, address, engine, spin, poller };
      const name = nameOf(roles);
      const worker = new Worker(entry, { workerData: start, name: `vxlane ${name}`, execArgv: [] });
      this.#threads.push({ start, worker });
      // The number of the block that events have been written in.
      worker.on('message', (message) => typeof message === 'number' && heard(message));
      worker.on('error', (error) => failed(`${name} worker: ${error.stack ?? error.message}`));
      return new Promise<void>((resolve, reject) => {
        worker.once('message', (refused: string) => {
          this.#refused ||= refused;
          resolve();
        });
        worker.once('error', (error) => reject(new VtepError('SYSTEM', `${name} worker: ${error.message}`)));
      });
    });
    process.on('exit', this.#leave);
    await Promise.all(ready);
  }

  /** Encap worker of a queue: wake for this TAP. */
  watchTap(fds: readonly number[], device: number): void {
    fds.forEach((fd, queue) => {
      watch(this.#pollerOf('encap', queue), fd, device);
    });
  }

  unwatchTap(fds: readonly number[]): void {
    fds.forEach((fd, queue) => {
      unwatch(this.#pollerOf('encap', queue), fd);
    });
  }

  /** Decap worker of a queue: wake for this socket of a listener. */
  watchListener(sockets: readonly number[], listener: number): void {
    sockets.forEach((fd, queue) => {
      watch(this.#pollerOf('decap', queue), fd, LISTENER_TOKEN | listener);
    });
  }

  unwatchListener(sockets: readonly number[]): void {
    sockets.forEach((fd, queue) => {
      unwatch(this.#pollerOf('decap', queue), fd);
    });
  }

  /** Resolves when no worker can still hold what was read from the tables before this call. */
  async quiesce(): Promise<void> {
    await this.responds(Number.POSITIVE_INFINITY);
  }

  /** Whether every thread has finished a round within this time; one that has died never does. */
  async responds(milliseconds: number): Promise<boolean> {
    const { u32 } = this.#views;
    const until = performance.now() + milliseconds;
    const waiting = this.#threads.map(({ start }) => {
      const at = (threadBase(start) + WORKER_ROUNDS_OFFSET) >>> 2;
      return { at, before: Atomics.load(u32, at), poller: start.poller };
    });
    for (const { poller } of waiting) wake(poller);
    for (const { at, before, poller } of waiting) {
      while (Atomics.load(u32, at) === before) {
        if (performance.now() > until) return false;
        await new Promise((resolve) => setTimeout(resolve, 1));
        wake(poller);
      }
    }
    return true;
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
    const roles = this.#threads.flatMap(({ start }) => start.roles);
    return roles.map((role) => {
      const { index, kind } = role;
      const base = workerBase(index);
      return {
        ...{ name: nameOf([role]), index, kind },
        syscalls: view.getFloat64(base + WORKER_SYSCALLS_OFFSET, true),
        batches: view.getFloat64(base + WORKER_BATCHES_OFFSET, true),
        sleeps: view.getFloat64(base + WORKER_SLEEPS_OFFSET, true),
      };
    });
  }

  async stop(): Promise<void> {
    this.#leave();
    process.off('exit', this.#leave);
    await Promise.all(this.#threads.map(({ worker }) => ended(worker)));
    for (const { start } of this.#threads) closePoller(start.poller);
    this.#threads.length = 0;
  }

  /** Also when the process ends with its VTEP open: it waits for its threads, and one asleep in epoll would never end. */
  readonly #leave = (): void => {
    for (const { start } of this.#threads) {
      Atomics.store(this.#views.i32, (threadBase(start) + WORKER_STOP_OFFSET) >>> 2, 1);
      wake(start.poller);
    }
  };

  #pollerOf(kind: Role['kind'], queue: number): Poller {
    const serves = ({ start }: Thread) =>
      start.roles.some((role) => role.kind === kind && role.queue === queue);
    return this.#threads.find(serves)!.start.poller;
  }
}

/** The roles of each thread. Encap of queue 0 has block 0, decap block 1, and so on. */
function rolesOf(queues: number, paired: boolean): Role[][] {
  const queue = (number: number): Role[] => [
    { kind: 'encap', index: 2 * number, queue: number },
    { kind: 'decap', index: 2 * number + 1, queue: number },
  ];
  const pairs = Array.from({ length: queues }, (_, number) => queue(number));
  return paired ? pairs : pairs.flat().map((role) => [role]);
}

/** "encap 0", "encap + decap 1" */
function nameOf(roles: readonly Role[]): string {
  return `${roles.map(({ kind }) => kind).join(' + ')} ${roles[0]!.queue}`;
}

/** The block that a thread counts its rounds in and is stopped by: that of its first role. */
function threadBase({ roles }: WorkerStart): number {
  return workerBase(roles[0]!.index);
}

/** A thread that has left its loop has nothing left to do and ends by itself. */
function ended(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.threadId === -1) resolve();
    else worker.once('exit', () => resolve());
  });
}
