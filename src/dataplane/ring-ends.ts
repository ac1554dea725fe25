/** The ends of a ring, in whatever thread. */
import {
  CACHE_LINE_BYTES,
  DEVICE_COUNT,
  FRAME_HEADROOM_BYTES,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FrameSlot } from './batch.ts';
import { askedBy, checkBytes, checkVirtio, strideOf } from './claim.ts';
import type { RingConsumer, RingProducer, SharedRing } from './ring.ts';

// Cursors and who has the ends, each on a cache line of its own; then a record of each slot; then the slots.
export const RING_FILLED = 0;
export const RING_FREED = CACHE_LINE_BYTES;
const PRODUCER = 2 * CACHE_LINE_BYTES;
const CONSUMER = 3 * CACHE_LINE_BYTES;
/** The ring's number, as long as it lasts; the next one in this memory has another. */
export const RING_IDENTITY = 4 * CACHE_LINE_BYTES;
export const RING_RECORDS = 5 * CACHE_LINE_BYTES;
/** u32: length in the first bits, above them flags and GSO type of a virtio header; u32 device */
export const RECORD_BYTES = 8;
export const RECORD_LENGTH_MASK = 0x1ffff;
const RECORD_FLAGS_SHIFT = 17;
const RECORD_FLAGS_MASK = 0x7f;
const RECORD_TYPE_SHIFT = 24;
export const RECORD_DEVICE = 4;

export const ENDS = { producer: PRODUCER, consumer: CONSUMER } as const;
export type End = keyof typeof ENDS;

/** From the ring's base: where the slots begin; and how many bytes all of it has. */
export function slotsOffset(count: number): number {
  return RING_RECORDS + Math.ceil((count * RECORD_BYTES) / CACHE_LINE_BYTES) * CACHE_LINE_BYTES;
}

export function ringBytes({ count, bytes }: Pick<SharedRing, 'count' | 'bytes'>): number {
  return slotsOffset(count) + count * ringStride(bytes);
}

/** As `askedBy`, of the first word of a record. */
export function askedIn(word: number): number {
  return ((word >>> RECORD_FLAGS_SHIFT) & RECORD_FLAGS_MASK) | ((word >>> RECORD_TYPE_SHIFT) << 8);
}

export function ringStride(bytes: number): number {
  return strideOf(FRAME_HEADROOM_BYTES + bytes);
}

class Slot implements FrameSlot {
  readonly #end: RingView;
  readonly #bytes: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #virtio: Uint8Array;
  readonly #record: number;

  constructor(end: RingView, u32: Uint32Array, bytes: Uint8Array, virtio: Uint8Array, record: number) {
    this.#end = end;
    this.#u32 = u32;
    this.#bytes = bytes;
    this.#virtio = virtio;
    this.#record = record;
  }

  get bytes(): Uint8Array {
    this.#end.assertOpen();
    return this.#bytes;
  }

  get length(): number {
    return this.#u32[this.#record]! & RECORD_LENGTH_MASK;
  }

  set length(length: number) {
    if (!(Number.isInteger(length) && length >= 0 && length <= this.#bytes.length))
      throw new VtepError(
        'USAGE',
        `ring: a frame of ${String(length)} bytes: these slots take 0 to ${this.#bytes.length}`,
      );
    this.#end.assertOpen();
    this.#u32[this.#record] = length;
  }

  get device(): number {
    return this.#u32[this.#record + (RECORD_DEVICE >> 2)]!;
  }

  set device(device: number) {
    if (!(Number.isInteger(device) && device > 0 && device < DEVICE_COUNT))
      throw new VtepError('USAGE', `ring: device ${String(device)}: give the number that addDevice gave`);
    this.#end.assertOpen();
    this.#u32[this.#record + (RECORD_DEVICE >> 2)] = device;
  }

  get virtio(): Uint8Array | undefined {
    this.#end.assertOpen();
    return this.#u32[this.#record]! > RECORD_LENGTH_MASK ? this.#virtio : undefined;
  }

  write(frame: Uint8Array, virtio?: Uint8Array): void {
    checkBytes('ring', frame);
    if (virtio !== undefined) checkVirtio('ring', virtio);
    this.length = frame.length;
    this.#bytes.set(frame);
    if (virtio === undefined || askedBy(virtio) === 0) return;
    this.#virtio.set(virtio);
    const flags = (virtio[0]! & RECORD_FLAGS_MASK) << RECORD_FLAGS_SHIFT;
    this.#u32[this.#record]! |= flags | (virtio[1]! << RECORD_TYPE_SHIFT);
  }
}

/** One end as its thread sees it. */
class RingView {
  readonly #what: End;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  /** Words. */
  readonly #filled: number;
  readonly #freed: number;
  readonly #identityWord: number;
  readonly #identity: number;
  readonly #owner: number;
  readonly #slots: readonly Slot[];
  #isClosed = false;

  /** @throws VtepError USAGE, IN_USE */
  constructor(shared: SharedRing, what: End) {
    const { memory, base, count, bytes, identity } = checked(shared);
    const { buffer } = memory;
    this.#what = what;
    this.#u32 = new Uint32Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#filled = (base + RING_FILLED) >>> 2;
    this.#freed = (base + RING_FREED) >>> 2;
    this.#identityWord = (base + RING_IDENTITY) >>> 2;
    this.#identity = identity;
    this.#owner = (base + ENDS[what]) >>> 2;
    const first = base + slotsOffset(count) + FRAME_HEADROOM_BYTES;
    this.#slots = Array.from({ length: count }, (_, slot) => {
      const at = first + slot * ringStride(bytes);
      const view = new Uint8Array(buffer, at, bytes);
      const virtio = new Uint8Array(buffer, at - VIRTIO_HEADER_BYTES, VIRTIO_HEADER_BYTES);
      return new Slot(this, this.#u32, view, virtio, (base + RING_RECORDS + slot * RECORD_BYTES) >>> 2);
    });
    if (!this.#lasts) throw over(what);
    if (Atomics.compareExchange(this.#u32, this.#owner, 0, 1) !== 0)
      throw new VtepError(
        'IN_USE',
        `ring: it has a ${what}: close that one, or reclaim it when its thread has ended`,
      );
  }

  get count(): number {
    return this.#slots.length;
  }

  get filled(): number {
    return Atomics.load(this.#u32, this.#filled);
  }

  get freed(): number {
    return Atomics.load(this.#u32, this.#freed);
  }

  /** @throws VtepError USAGE */
  assertOpen(): void {
    if (this.#isClosed || !this.#lasts) throw over(this.#what);
  }

  slot(cursor: number): Slot {
    return this.#slots[cursor & (this.#slots.length - 1)]!;
  }

  fill(cursor: number): void {
    Atomics.store(this.#u32, this.#filled, cursor);
    Atomics.notify(this.#i32, this.#filled);
  }

  free(cursor: number): void {
    Atomics.store(this.#u32, this.#freed, cursor);
    Atomics.notify(this.#i32, this.#freed);
  }

  /** Sleeps while a cursor is what it was. @throws VtepError UNSUPPORTED where that is not possible */
  sleep(cursor: 'filled' | 'freed', was: number, milliseconds: number): void {
    try {
      Atomics.wait(this.#i32, cursor === 'filled' ? this.#filled : this.#freed, was | 0, milliseconds);
    } catch {
      throw new VtepError('UNSUPPORTED', 'ring: wait: this thread may not sleep: look again later');
    }
    this.assertOpen();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#lasts) Atomics.store(this.#u32, this.#owner, 0);
  }

  /** The memory of a ring that is over may be another's. */
  get #lasts(): boolean {
    return Atomics.load(this.#u32, this.#identityWord) === this.#identity;
  }
}

export class Producer implements RingProducer {
  readonly #ring: RingView;
  /** Slots before it have been claimed. */
  #claimed: number;

  constructor(shared: SharedRing) {
    this.#ring = new RingView(shared, 'producer');
    this.#claimed = this.#ring.filled;
  }

  claim(): FrameSlot | undefined {
    const ring = this.#ring;
    ring.assertOpen();
    if ((this.#claimed - ring.freed) >>> 0 >= ring.count) return undefined;
    const slot = ring.slot(this.#claimed);
    this.#claimed = (this.#claimed + 1) >>> 0;
    return slot;
  }

  publish(): void {
    this.#ring.assertOpen();
    if (this.#claimed !== this.#ring.filled) this.#ring.fill(this.#claimed);
  }

  wait(milliseconds = Number.POSITIVE_INFINITY): boolean {
    const ring = this.#ring;
    ring.assertOpen();
    const { freed } = ring;
    if ((this.#claimed - freed) >>> 0 < ring.count) return true;
    ring.sleep('freed', freed, milliseconds);
    return (this.#claimed - ring.freed) >>> 0 < ring.count;
  }

  close(): void {
    this.#ring.close();
  }
}

export class Consumer implements RingConsumer {
  readonly #ring: RingView;
  /** Slots before it have been peeked at. */
  #taken: number;

  constructor(shared: SharedRing) {
    this.#ring = new RingView(shared, 'consumer');
    this.#taken = this.#ring.freed;
  }

  peek(): FrameSlot | undefined {
    const ring = this.#ring;
    ring.assertOpen();
    if (this.#taken === ring.filled) return undefined;
    const slot = ring.slot(this.#taken);
    this.#taken = (this.#taken + 1) >>> 0;
    return slot;
  }

  /** How many there are to peek at. */
  get waiting(): number {
    this.#ring.assertOpen();
    return (this.#ring.filled - this.#taken) >>> 0;
  }

  /** Takes `count` frames unseen. @returns the cursor of the first */
  take(count: number): number {
    const first = this.#taken;
    this.#taken = (first + count) >>> 0;
    return first;
  }

  release(): void {
    this.#ring.assertOpen();
    if (this.#taken !== this.#ring.freed) this.#ring.free(this.#taken);
  }

  wait(milliseconds = Number.POSITIVE_INFINITY): boolean {
    const ring = this.#ring;
    ring.assertOpen();
    if (this.#taken !== ring.filled) return true;
    ring.sleep('filled', this.#taken, milliseconds);
    return this.#taken !== ring.filled;
  }

  close(): void {
    this.#ring.close();
  }
}

/**
 * The end that fills a ring, in another thread than the ring's own.
 * @throws VtepError USAGE (not what `share` gave; the ring is closed), IN_USE
 */
export function attachProducer(shared: SharedRing): RingProducer {
  return new Producer(shared);
}

/** The end that reads it. @throws VtepError USAGE, IN_USE */
export function attachConsumer(shared: SharedRing): RingConsumer {
  return new Consumer(shared);
}

function checked(shared: SharedRing): SharedRing {
  const { memory, base, count, bytes, identity } = shared ?? {};
  const isRing =
    memory instanceof WebAssembly.Memory &&
    [base, count, bytes, identity].every((number) => Number.isInteger(number) && number >= 0) &&
    (count & (count - 1)) === 0 &&
    base % CACHE_LINE_BYTES === 0 &&
    base + ringBytes(shared) <= memory.buffer.byteLength;
  if (!isRing) throw new VtepError('USAGE', 'ring: give what share() of a ring gave');
  return shared;
}

function over(what: End): VtepError {
  return new VtepError('USAGE', `ring: ${what}: it has been closed: attach to another ring`);
}
