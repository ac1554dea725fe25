/** What the parts of a queue have in common, and how a thread comes by its blocks of memory. */
import {
  DECAP_STATE_BYTES,
  DECAP_STATE_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_BYTES,
  ENCAP_STATE_OFFSET,
  FRAME_SLOT_COUNT,
  HEADER_BASE,
  HEADER_QUEUES_OFFSET,
  RECEIVE_COUNT,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  WORKER_BYTES,
  WORKER_ROUNDS_OFFSET,
  WORKERS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { EngineExports } from './exports.ts';
import { type Views, workerBase } from './memory.ts';

/** One for each direction. */
export const QUEUE_BLOCKS = 2;
const QUEUES_WORD = (HEADER_BASE + HEADER_QUEUES_OFFSET) >>> 2;

/** Slots of one kind that nobody has. */
export class Pool {
  readonly #kind: string;
  readonly #free: number[];

  constructor(kind: string, count: number) {
    this.#kind = kind;
    this.#free = Array.from({ length: count }, (_, index) => count - 1 - index);
  }

  get size(): number {
    return this.#free.length;
  }

  /** @throws VtepError USAGE, NO_SPACE */
  claim(count: number): number[] {
    if (!Number.isInteger(count) || count < 1)
      throw new VtepError('USAGE', `${this.#kind}: ${count} slots: give a whole number from 1`);
    if (count > this.#free.length) {
      throw new VtepError(
        'NO_SPACE',
        `${this.#kind}: ${count} slots are wanted, ${this.#free.length} are free: release a batch first`,
      );
    }
    return this.#free.splice(-count).reverse();
  }

  release(slots: readonly number[]): void {
    this.#free.push(...[...slots].reverse());
  }
}

export class QueueState {
  readonly views: Views;
  readonly u16: Uint16Array;
  readonly exports: EngineExports;
  readonly number: number;
  /** Addresses of its blocks. */
  readonly encapBase: number;
  readonly decapBase: number;
  readonly frames = new Pool('frames', FRAME_SLOT_COUNT);
  readonly datagrams = new Pool('datagrams', RECEIVE_COUNT);
  closed = false;
  /** Those that have not been released. */
  readonly batches = new Set<{ end(): void }>();
  /** Whose datagrams, whose frames the engine's records are. */
  sent: object | undefined;
  arrived: object | undefined;
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
