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
  HOOK_AREA_BYTES,
  HOOK_AREAS_OFFSET,
  WORKER_BATCHES_OFFSET,
  WORKER_ROUNDS_OFFSET,
  WORKER_SLEEPS_OFFSET,
  WORKER_STOP_OFFSET,
  WORKER_SYSCALLS_OFFSET,
} from '../../assembly/layout.ts';
import { type Views, workerBase } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import { closePoller, openPoller, type Poller, unwatch, wake, watch } from '../io/poller.ts';
import type { HookDirection } from '../types.ts';
import { HookLine } from './hook-line.ts';
import { CALLING, type HookOrder, type HookReport, type HookState, type Seat } from './hook-messages.ts';
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
  worker: Worker;
  readonly hooks: HookLine;
  /** It has been ended from here, and another one takes its place. */
  isReplaced: boolean;
}

type HookFault = Extract<HookReport, { fault: string }>;

export class Workers {
  readonly #views: Views;
  readonly #threads: Thread[] = [];
  readonly #options: WorkerOptions;
  #refused = '';

  #failed: (reason: string) => void = () => {};
  #heard: (worker: number) => void = () => {};
  #stopping = false;

  /** Hears of programs that fail, and of a thread that has ended within JavaScript of one. Set by who sets hooks. */
  onHookFault: (fault: HookFault) => void = () => {};
  onLeft: (thread: number) => void = () => {};

  /** Blocks that the memory of `queues` queues must have: encap, decap, and what decap's hooks send into tunnels. */
  static blocks(queues: number): number {
    return 3 * queues;
  }

  /** Those of them that carry packets, hooks or not. */
  static packetBlocks(queues: number): number[] {
    return rolesOf(queues, false).flatMap((roles) => roles.map(({ index }) => index));
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

  /** Blocks in use: their counters are summed up. */
  get count(): number {
    return Workers.blocks(this.#queues);
  }

  get #queues(): number {
    return this.#threads.reduce((sum, { start }) => sum + start.roles.length, 0) / 2;
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
    this.#failed = failed;
    this.#heard = heard;
    // Encap workers answer the walk's questions about paths (paths.ts).
    this.#views.view.setUint32(HEADER_BASE + HEADER_PATHS_OFFSET, 1, true);
    const { engine, spin } = this.#options;
    const ready = rolesOf(queues, this.#options.paired).map((roles) => {
      const memory = this.#views.memory;
      const start: WorkerStart = { roles, memory, module, address, engine, spin, poller: openPoller() };
      const hooks = new HookLine((fault) => this.onHookFault(fault));
      this.#threads.push({ start, hooks, isReplaced: false, worker: undefined as unknown as Worker });
      return this.#run(this.#threads.length - 1, { programs: [], closed: [] });
    });
    process.on('exit', this.#leave);
    await Promise.all(ready);
  }

  /** Starts a thread. Resolves when it waits for work. */
  #run(number: number, state: HookState, reason = ''): Promise<void> {
    const thread = this.#threads[number]!;
    const { start } = thread;
    const name = nameOf(start.roles);
    const hooks = thread.hooks.start(state, reason);
    const worker = new Worker(fileURLToPath(import.meta.resolve('#worker')), {
      workerData: { ...start, hooks },
      transferList: [hooks.port],
      name: `vxlane ${name}`,
      execArgv: [],
    });
    thread.worker = worker;
    thread.isReplaced = false;
    // The number of the block that events have been written in.
    worker.on('message', (message) => typeof message === 'number' && this.#heard(message));
    worker.on('error', (error) => this.#failed(`${name} worker: ${error.stack ?? error.message}`));
    worker.once('exit', () => {
      if (!this.#stopping && !thread.isReplaced && thread.hooks.under !== undefined) this.onLeft(number);
    });
    return new Promise<void>((resolve, reject) => {
      worker.once('message', (refused: string) => {
        this.#refused ||= refused;
        resolve();
      });
      worker.once('error', (error) => reject(new VtepError('SYSTEM', `${name} worker: ${error.message}`)));
      // A program has kept it from starting: another one takes its place.
      worker.once('exit', () => resolve());
    });
  }

  /**
   * Has all threads of a direction carry it out. Waits for all of them.
   * @throws Error with the first thread's reason
   */
  async orderHooks(direction: HookDirection, order: HookOrder): Promise<void> {
    const all = this.#threads.filter(({ start }) => start.roles.some(({ kind }) => kind === direction));
    const done = all.map(({ hooks, start }) => {
      const answer = hooks.order(order);
      wake(start.poller);
      return answer;
    });
    const failed = (await Promise.allSettled(done)).find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Of each thread: what JavaScript of a hook it is in, undefined = in none. */
  underJavaScript(): ({ calls: number; isCall: boolean; seat: Seat; generation: number } | undefined)[] {
    return this.#threads.map(({ hooks: { under } }) =>
      under === undefined ? undefined : { ...under, isCall: under.state === CALLING },
    );
  }

  /** Packets that were shown to the program of a seat. */
  shown(seat: Seat): number {
    return this.#threads.reduce((sum, { hooks }) => sum + hooks.shown(seat), 0);
  }

  /** Addresses of what the instances of a module keep. @param thread of this one alone; absent: of all */
  areasOf(seat: Seat, generation: number, thread?: number): number[] {
    const threads = thread === undefined ? this.#threads : [this.#threads[thread]!];
    return threads.flatMap(({ start, hooks }) => {
      const area = hooks.areaOf(seat, generation);
      const role = start.roles.find(({ kind }) => kind === seat.direction);
      if (area === undefined || role === undefined) return [];
      return workerBase(role.index) + HOOK_AREAS_OFFSET + area * HOOK_AREA_BYTES;
    });
  }

  /**
   * Ends a thread that does not come back and starts another one in its place. It goes on where the other one was: all
   * that it held is in the memory.
   * @param stateNow asked once, when orders to the old thread have been refused and those to the new one are kept for it
   */
  async replaceThread(number: number, stateNow: () => HookState, reason: string): Promise<void> {
    const thread = this.#threads[number]!;
    thread.isReplaced = true;
    await thread.worker.terminate();
    if (this.#stopping) return;
    thread.hooks.closeDescriptors();
    const kinds = thread.start.roles.map(({ kind }) => kind as string);
    const isIts = ({ direction }: Seat) => kinds.includes(direction);
    const { programs, closed } = stateNow();
    const state = { programs: programs.filter(isIts), closed: closed.filter(isIts) };
    await this.#run(number, state, reason).catch((error: Error) => this.#failed(error.message));
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
    this.#stopping = true;
    this.#leave();
    process.off('exit', this.#leave);
    await Promise.all(this.#threads.map(({ worker }) => ended(worker)));
    for (const { start, hooks } of this.#threads) {
      closePoller(start.poller);
      hooks.close();
    }
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

/**
 * The roles of each thread. Encap of queue 0 has block 0, decap block 1, what goes on from decap into tunnels block 2, and
 * so on.
 */
function rolesOf(queues: number, paired: boolean): Role[][] {
  const queue = (number: number): Role[] => [
    { kind: 'encap', index: 3 * number, queue: number },
    { kind: 'decap', index: 3 * number + 1, queue: number },
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
