/** What the parts of a queue have in common, and how a thread comes by its blocks of memory. */
import {
  ARRIVAL_COUNT,
  DECAP_STATE_BYTES,
  DECAP_STATE_OFFSET,
  DESCRIPTOR_BYTES,
  DEVICE_COUNT,
  ENCAP_ARENA_BYTES,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_BYTES,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_QUEUES_OFFSET,
  RECEIVE_BUFFERS_BYTES,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  WORKER_BYTES,
  WORKER_HOOKED_OFFSET,
  WORKER_ROUNDS_OFFSET,
  WORKERS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { EngineExports } from './exports.ts';
import { type Views, workerBase } from './memory.ts';
import { Space } from './space.ts';

/** One for each direction. */
export const QUEUE_BLOCKS = 2;
const QUEUES_WORD = (HEADER_BASE + HEADER_QUEUES_OFFSET) >>> 2;

export class QueueState {
  readonly views: Views;
  readonly u16: Uint16Array;
  readonly exports: EngineExports;
  readonly number: number;
  /** Addresses of its blocks. */
  readonly encapBase: number;
  readonly decapBase: number;
  /** What batches are made of: memory of slots, and records that lie side by side. */
  readonly frameBytes = new Space('frames: bytes', ENCAP_ARENA_BYTES);
  readonly datagramBytes = new Space('datagrams: bytes', RECEIVE_BUFFERS_BYTES);
  readonly arrivals = new Space('datagrams: slots', ARRIVAL_COUNT);
  closed = false;
  /** Those that have not been released. */
  readonly batches = new Set<{ end(): void }>();
  /** Whose datagrams, whose frames the engine's records are. */
  sent: { overtake(): void; readonly isDone: boolean } | undefined;
  arrived: { overtake(): void } | undefined;
  /** Shows a number of records to the hooks of decap; returns the number of writes. */
  judge: (records: number) => number = () => 0;
  /** A hook is running. */
  isShowing = false;
  /** Counts encaps. */
  walks = 0;
  readonly #roundsWord: number;

  constructor(views: Views, exports: EngineExports, number: number) {
    this.views = views;
    this.u16 = new Uint16Array(views.memory.buffer);
    this.exports = exports;
    this.number = number;
    this.encapBase = workerBase(number * QUEUE_BLOCKS);
    this.decapBase = workerBase(number * QUEUE_BLOCKS + 1);
    this.#roundsWord = roundsWordOf(number);
    this.#clean();
  }

  /** Between the two this thread may hold what it has read of the tables: an odd number of rounds says so. */
  enter(): void {
    const { u32 } = this.views;
    Atomics.store(u32, this.#roundsWord, (u32[this.#roundsWord]! + 1) >>> 0);
  }

  leave(): void {
    this.enter();
  }

  /** @throws VtepError USAGE */
  assertOpen(): void {
    if (this.closed)
      throw new VtepError('USAGE', `queue ${this.number}: it has been closed: attach another one`);
    if (this.isShowing)
      throw new VtepError('USAGE', `queue ${this.number}: a hook decides on packets, it carries none itself`);
  }

  /** Whoever had the blocks before may have gone in the middle of something. */
  #clean(): void {
    const { u32, bytes } = this.views;
    const ring = (this.encapBase + ENCAP_RING_OFFSET) >>> 2;
    const taken = u32[ring + (RING_FILLED_OFFSET >> 2)]!;
    u32[ring + (RING_TAKEN_OFFSET >> 2)] = taken;
    u32[ring + (RING_FREED_OFFSET >> 2)] = taken;
    const encap = this.encapBase + ENCAP_STATE_OFFSET;
    bytes.fill(0, encap, encap + ENCAP_STATE_BYTES);
    const decap = this.decapBase + DECAP_STATE_OFFSET;
    bytes.fill(0, decap, decap + DECAP_STATE_BYTES);
    for (const base of [this.encapBase, this.decapBase])
      bytes.fill(0, base + WORKER_HOOKED_OFFSET, base + WORKER_HOOKED_OFFSET + DEVICE_COUNT);
    const descriptors = this.encapBase + ENCAP_RING_OFFSET + RING_DESCRIPTORS_OFFSET;
    bytes.fill(0, descriptors, descriptors + ENCAP_RING_COUNT * DESCRIPTOR_BYTES);
    if ((u32[this.#roundsWord]! & 1) === 1) this.leave();
  }
}

/** How many queues a memory has blocks for. */
export function queuesIn(bytes: number): number {
  return Math.floor((bytes - WORKERS_BASE) / (WORKER_BYTES * QUEUE_BLOCKS));
}

/** Takes a queue that no thread has. @throws VtepError NO_SPACE */
export function claimQueue({ u32, bytes }: Views): number {
  const count = queuesIn(bytes.length);
  for (let number = 0; number < count; ++number) {
    const bit = 1 << number;
    if ((Atomics.or(u32, QUEUES_WORD, bit) & bit) === 0) return number;
  }
  throw new VtepError(
    'NO_SPACE',
    `queue: all ${count} are taken: close one, or create the dataplane with more "queues"`,
  );
}

export function releaseQueue({ u32 }: Views, number: number): void {
  Atomics.and(u32, QUEUES_WORD, ~(1 << number));
}

export function isClaimed({ u32 }: Views, number: number): boolean {
  return (Atomics.load(u32, QUEUES_WORD) & (1 << number)) !== 0;
}

export function roundsOf({ u32 }: Views, number: number): number {
  return Atomics.load(u32, roundsWordOf(number));
}

function roundsWordOf(number: number): number {
  return (workerBase(number * QUEUE_BLOCKS) + WORKER_ROUNDS_OFFSET) >>> 2;
}
