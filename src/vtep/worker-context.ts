/** What a worker works with: its block of the memory, the engine on it, the system calls. */
import {
  COUNTER_BYTES,
  COUNTER_ROW_BYTES,
  COUNTERS_OFFSET,
  DOMAIN_COUNTER_ROW_BYTES,
  DOMAIN_COUNTERS_OFFSET,
  WORKER_BATCHES_OFFSET,
  WORKER_SLEEPS_OFFSET,
  WORKER_SYSCALLS_OFFSET,
} from '../../assembly/layout.ts';
import type { EngineExports } from '../dataplane/exports.ts';
import { type Views, viewsOf, workerBase } from '../dataplane/memory.ts';
import type { Poller } from '../io/poller.ts';
import { type Syscalls, syscalls } from '../io/syscalls.ts';
import type { HookStart } from './hook-messages.ts';
import type { IoEngine } from './io-engine.ts';
import { timed } from './profile.ts';

/** One direction of one queue: what has a block of the memory. */
export interface Role {
  kind: 'encap' | 'decap';
  /** Number of the block. */
  index: number;
  queue: number;
}

/** Posted to a worker thread when it starts. */
export interface WorkerStart {
  /** Served by this thread: both directions of a queue where cores are few. */
  roles: readonly Role[];
  engine: IoEngine;
  /** Microseconds of looking after work before the thread sleeps. */
  spin: number;
  memory: WebAssembly.Memory;
  module: WebAssembly.Module;
  /** Where the memory lies in the process: the same in all threads. */
  address: number;
  poller: Poller;
}

export type WorkerData = WorkerStart & { hooks: HookStart };

/** epoll's token of a listener is its number and this bit, that of a TAP the number of its device. */
export const LISTENER_TOKEN = 0x10000;

export interface WorkerContext extends Views {
  readonly sys: Syscalls;
  readonly exports: EngineExports;
  readonly address: number;
  /** Address of the worker's block within the memory. */
  readonly base: number;
  readonly queue: number;
  readonly poller: Poller;
  /** Where epoll_wait leaves its events. */
  readonly f64: Float64Array;
}

export function contextOf(start: WorkerStart, role: Role, exports: EngineExports): WorkerContext {
  const context: WorkerContext = {
    ...viewsOf(start.memory),
    sys: syscalls(),
    exports,
    address: start.address,
    base: workerBase(role.index),
    queue: role.queue,
    poller: start.poller,
    f64: new Float64Array(start.memory.buffer),
  };
  return process.env.VXLANE_PROFILE ? timed(context) : context;
}

/** Adds to a counter of the worker's own block. Only on paths that are slow anyway. */
export function countOf(context: WorkerContext, device: number, counter: number, amount: number): void {
  const at = context.base + COUNTERS_OFFSET + device * COUNTER_ROW_BYTES + counter * COUNTER_BYTES;
  context.view.setBigUint64(at, context.view.getBigUint64(at, true) + BigInt(amount), true);
}

/** Adds to a counter of one VNI of an external device. */
export function countOfDomain(context: WorkerContext, domain: number, counter: number, amount: number): void {
  const row = context.base + DOMAIN_COUNTERS_OFFSET + domain * DOMAIN_COUNTER_ROW_BYTES;
  const at = row + counter * COUNTER_BYTES;
  context.view.setBigUint64(at, context.view.getBigUint64(at, true) + BigInt(amount), true);
}

/** Adds to the worker's own statistics, which are kept as doubles: JavaScript writes them without boxing. */
export function note(context: WorkerContext, calls: number, sleeps: number): void {
  const { f64, base } = context;
  f64[(base + WORKER_SYSCALLS_OFFSET) >>> 3]! += calls;
  f64[(base + WORKER_BATCHES_OFFSET) >>> 3]! += 1;
  f64[(base + WORKER_SLEEPS_OFFSET) >>> 3]! += sleeps;
}
