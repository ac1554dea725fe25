/** A ring in a queue's memory, whose frames the queue sends in place. */
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  FRAME_HEADROOM_BYTES,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { checkSlots } from './claim.ts';
import { addToCounter } from './counters.ts';
import { FRAME_BYTES, isUp } from './frames.ts';
import { QUEUE_BLOCKS, type QueueState } from './queue-state.ts';
import type { FrameRing, RingConsumer, RingProducer, SharedRing } from './ring.ts';
import {
  askedIn,
  Consumer,
  ENDS,
  type End,
  Producer,
  RECORD_BYTES,
  RECORD_DEVICE,
  RECORD_LENGTH_MASK,
  RING_FILLED,
  RING_FREED,
  RING_IDENTITY,
  RING_RECORDS,
  ringBytes,
  ringStride,
  slotsOffset,
} from './ring-ends.ts';
import { Sent } from './sent.ts';
import { SlotViews } from './slot-views.ts';

/** Counters of frames whose device is none. */
const NO_DEVICE = 0;

export class Ring implements FrameRing {
  readonly #state: QueueState;
  readonly #shared: SharedRing;
  readonly #start: number;
  readonly #stride: number;
  readonly #sent: Sent;
  /** The end that `encap` and `wait` take, at their first use. */
  #own: Consumer | undefined;
  #isClosed = false;

  /** @throws VtepError USAGE, NO_SPACE */
  constructor(state: QueueState, count: number, bytes: number, walk: (isFirst: boolean) => number) {
    checkSlots('ring', count, ENCAP_RING_COUNT, bytes, FRAME_BYTES);
    if ((count & (count - 1)) !== 0)
      throw new VtepError('USAGE', `ring: ${count} slots: give a power of two`);
    const { views, encapBase, frameBytes } = state;
    this.#state = state;
    this.#start = frameBytes.claim(ringBytes({ count, bytes }));
    const base = encapBase + ENCAP_ARENA_OFFSET + this.#start;
    const identity = 1 + Math.floor(Math.random() * (2 ** 32 - 1));
    this.#shared = { memory: views.memory, base, count, bytes, identity };
    views.bytes.fill(0, base, base + slotsOffset(count));
    Atomics.store(views.u32, (base + RING_IDENTITY) >>> 2, identity);
    this.#stride = ringStride(bytes);
    const slots = new SlotViews(views.memory, base + slotsOffset(count), this.#stride, count);
    this.#sent = new Sent(state, slots, walk);
    state.batches.add(this);
  }

  isOf(state: QueueState): boolean {
    return state === this.#state;
  }

  share(): SharedRing {
    this.#assertOpen();
    if (this.#shared.memory.buffer instanceof ArrayBuffer)
      throw new VtepError(
        'UNSUPPORTED',
        'ring: the memory is for one thread: create the dataplane with "shared"',
      );
    return this.#shared;
  }

  produce(): RingProducer {
    this.#assertOpen();
    return new Producer(this.#shared);
  }

  consume(): RingConsumer {
    this.#assertOpen();
    return new Consumer(this.#shared);
  }

  get waiting(): number {
    return this.#consumer.waiting;
  }

  wait(milliseconds?: number): boolean {
    return this.#consumer.wait(milliseconds);
  }

  /** Puts what has been published into the engine's ring, at most `count` frames, and walks it. */
  send(count: number = this.#shared.count): Sent {
    if (!(Number.isInteger(count) && count >= 0))
      throw new VtepError('USAGE', `encap: ${String(count)} frames of a ring`);
    // Cursors may be anything: another thread writes one of them, and a hook of this queue could.
    this.#fill(Math.min(count, this.waiting, this.#shared.count));
    this.#sent.begin();
    return this.#sent;
  }

  release(): void {
    this.#sent.end();
    this.#consumer.release();
  }

  reclaim(end: End): void {
    this.#assertOpen();
    if (!Object.hasOwn(ENDS, end))
      throw new VtepError('USAGE', `ring: reclaim: ${String(end)}: give "producer" or "consumer"`);
    if (end === 'consumer') this.#own = undefined;
    Atomics.store(this.#state.views.u32, (this.#shared.base + ENDS[end]) >>> 2, 0);
  }

  close(): void {
    if (this.#isClosed) return;
    this.end();
    this.#state.frameBytes.release(this.#start, ringBytes(this.#shared));
  }

  end(): void {
    this.#isClosed = true;
    this.#sent.end();
    this.#state.batches.delete(this);
    const { u32, i32 } = this.#state.views;
    const { base } = this.#shared;
    Atomics.store(u32, (base + RING_IDENTITY) >>> 2, 0);
    // Whoever sleeps at the other end, or is about to, sees that something has changed.
    for (const cursor of [RING_FILLED, RING_FREED]) {
      Atomics.sub(u32, (base + cursor) >>> 2, 1);
      Atomics.notify(i32, (base + cursor) >>> 2);
    }
  }

  get #consumer(): Consumer {
    this.#assertOpen();
    this.#own ??= new Consumer(this.#shared);
    return this.#own;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new VtepError('USAGE', 'ring: it has been closed: make another one');
  }

  #fill(count: number): void {
    const { u16, views, encapBase, number } = this.#state;
    const { u32 } = views;
    const ring = (encapBase + ENCAP_RING_OFFSET) >>> 2;
    if (u32[ring + (RING_TAKEN_OFFSET >> 2)] !== u32[ring + (RING_FILLED_OFFSET >> 2)])
      throw new VtepError(
        'USAGE',
        'encap: datagrams of the last batch are left: take them all, or release it',
      );
    const { base, count: slots, bytes } = this.#shared;
    const first = this.#consumer.take(count);
    const frames = base + slotsOffset(slots) + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
    let filled = 0;
    for (let index = 0; index < count; ++index) {
      const slot = (first + index) & (slots - 1);
      const record = (base + RING_RECORDS + slot * RECORD_BYTES) >>> 2;
      // Read once: what another thread may still write is checked as it is used.
      const word = u32[record]!;
      const length = word & RECORD_LENGTH_MASK;
      const device = u32[record + (RECORD_DEVICE >> 2)]!;
      if (length > bytes || !isUp(u32, device)) {
        const reason = length > bytes ? 'drop_tap_read' : 'drop_device_down';
        addToCounter(views, number * QUEUE_BLOCKS, NO_DEVICE, reason, 1);
        continue;
      }
      const header = frames + slot * this.#stride;
      const descriptor = ring + ((RING_DESCRIPTORS_OFFSET + filled++ * DESCRIPTOR_BYTES) >> 2);
      u32[descriptor + (DESCRIPTOR_ADDRESS_OFFSET >> 2)] = header;
      u32[descriptor + (DESCRIPTOR_LENGTH_OFFSET >> 2)] = length;
      // The domain behind it is not known yet.
      u32[descriptor + (DESCRIPTOR_DEVICE_OFFSET >> 2)] = device;
      // Flags and GSO type; nothing reads the rest without them, and the VXLAN header is written over it.
      u16[header >>> 1] = word === length ? 0 : askedIn(word);
    }
    // The engine's ring is empty, and its three cursors are this thread's: it begins anew.
    u32[ring + (RING_TAKEN_OFFSET >> 2)] = 0;
    u32[ring + (RING_FREED_OFFSET >> 2)] = 0;
    Atomics.store(u32, ring + (RING_FILLED_OFFSET >> 2), filled);
  }
}
