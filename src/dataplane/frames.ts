/** Frames to send: slots in the memory of a queue. */
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FrameBatch, FrameSlot } from './batch.ts';
import { askedBy, Claim, checkBytes, checkSlots, checkVirtio, strideOf } from './claim.ts';
import type { QueueState } from './queue-state.ts';
import { Sent } from './sent.ts';
import { SlotViews } from './slot-views.ts';

/** Bytes of the longest frame. */
export const FRAME_BYTES = FRAME_MAX_BYTES - VIRTIO_HEADER_BYTES;

const STATE_WORD = (DEVICES_BASE + DEVICE_STATE_OFFSET) >>> 2;

class Slot implements FrameSlot {
  readonly #claim: Claim;
  readonly #bytes: Uint8Array;
  readonly #virtio: Uint8Array;
  length = 0;
  device = 0;
  /** Flags and GSO type of the virtio header that the frame was given, for the next encap; 0 = none */
  asked = 0;

  constructor(claim: Claim, bytes: Uint8Array, virtio: Uint8Array) {
    this.#claim = claim;
    this.#bytes = bytes;
    this.#virtio = virtio;
  }

  get bytes(): Uint8Array {
    this.#claim.check();
    return this.#bytes;
  }

  get virtio(): Uint8Array | undefined {
    this.#claim.check();
    return this.asked === 0 ? undefined : this.#virtio;
  }

  write(frame: Uint8Array, virtio?: Uint8Array): void {
    checkBytes('encap', frame);
    if (frame.length > this.#bytes.length) throw wrongLength(frame.length, this.#bytes.length);
    if (virtio !== undefined) checkVirtio('encap', virtio);
    this.bytes.set(frame);
    this.length = frame.length;
    this.asked = virtio === undefined ? 0 : askedBy(virtio);
    if (this.asked === 0) return;
    this.#virtio.set(virtio!);
    this.#claim.isMarked = true;
  }
}

export class Frames implements FrameBatch {
  readonly slots: readonly Slot[];
  readonly #state: QueueState;
  readonly #claim = new Claim('frames');
  /** Of the slots, in the queue's memory for them. */
  readonly #start: number;
  readonly #size: number;
  /** Most bytes of a frame. */
  readonly #room: number;
  /** Addresses of the virtio headers, by slot. */
  readonly #headers: Uint32Array;
  readonly #sent: Sent;
  readonly #ring: number;

  /** @throws VtepError USAGE, NO_SPACE */
  constructor(state: QueueState, count: number, bytes: number, walk: (isFirst: boolean) => number) {
    checkSlots('frames', count, ENCAP_RING_COUNT, bytes, FRAME_BYTES);
    const stride = strideOf(FRAME_HEADROOM_BYTES + bytes);
    this.#state = state;
    this.#room = bytes;
    this.#size = count * stride;
    this.#start = state.frameBytes.claim(this.#size);
    const base = state.encapBase + ENCAP_ARENA_OFFSET + this.#start;
    this.#headers = Uint32Array.from(
      { length: count },
      (_, slot) => base + slot * stride + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES,
    );
    const { buffer } = state.views.memory;
    this.slots = Array.from(
      this.#headers,
      (header) =>
        new Slot(
          this.#claim,
          new Uint8Array(buffer, header + VIRTIO_HEADER_BYTES, bytes),
          new Uint8Array(buffer, header, VIRTIO_HEADER_BYTES),
        ),
    );
    this.#sent = new Sent(state, new SlotViews(state.views.memory, base, stride, count), walk);
    this.#ring = (state.encapBase + ENCAP_RING_OFFSET) >>> 2;
    state.batches.add(this);
  }

  isOf(state: QueueState): boolean {
    return state === this.#state;
  }

  /** Puts the first `count` frames into the ring and walks it. */
  send(count: number = this.slots.length): Sent {
    this.#claim.check();
    this.#fill(count);
    this.#sent.begin();
    return this.#sent;
  }

  release(): void {
    this.#claim.check();
    this.end();
    this.#state.frameBytes.release(this.#start, this.#size);
  }

  /** The batch is over, whoever ended it. */
  end(): void {
    this.#claim.isOver = true;
    this.#sent.end();
    this.#state.batches.delete(this);
  }

  #fill(count: number): void {
    const { u16, views } = this.#state;
    const { u32 } = views;
    const ring = this.#ring;
    if (u32[ring + (RING_TAKEN_OFFSET >> 2)] !== u32[ring + (RING_FILLED_OFFSET >> 2)])
      throw new VtepError(
        'USAGE',
        'encap: datagrams of the last batch are left: take them all, or release it',
      );
    const { slots } = this;
    if (!(Number.isInteger(count) && count >= 0 && count <= slots.length))
      throw new VtepError('USAGE', `encap: ${String(count)} frames of a batch of ${slots.length}`);
    const headers = this.#headers;
    const room = this.#room;
    let known = -1;
    let descriptor = ring + (RING_DESCRIPTORS_OFFSET >> 2);
    for (let index = 0; index < count; ++index) {
      const { length, device } = slots[index]!;
      if (typeof length !== 'number' || length >>> 0 !== length || length > room)
        throw wrongLength(length, room);
      if (device !== known) {
        if (!isUp(u32, device)) throw noDevice(device);
        known = device;
      }
      const header = headers[index]!;
      u32[descriptor + (DESCRIPTOR_ADDRESS_OFFSET >> 2)] = header;
      u32[descriptor + (DESCRIPTOR_LENGTH_OFFSET >> 2)] = length;
      // The domain behind it is not known yet.
      u32[descriptor + (DESCRIPTOR_DEVICE_OFFSET >> 2)] = device;
      // Flags and GSO type; nothing reads the rest without them, and the VXLAN header is written over it.
      u16[header >>> 1] = 0;
      descriptor += DESCRIPTOR_BYTES >> 2;
    }
    if (this.#claim.isMarked) this.#ask(count);
    // The ring is empty, and its three cursors are this thread's: it begins anew.
    u32[ring + (RING_TAKEN_OFFSET >> 2)] = 0;
    u32[ring + (RING_FREED_OFFSET >> 2)] = 0;
    Atomics.store(u32, ring + (RING_FILLED_OFFSET >> 2), count);
  }

  /** What came with virtio headers, which are in place. */
  #ask(count: number): void {
    this.#claim.isMarked = false;
    for (const [index, slot] of this.slots.entries()) {
      if (index < count) this.#state.u16[this.#headers[index]! >>> 1] = slot.asked;
      slot.asked = 0;
    }
  }
}

/** Whether there is a device of that number, and it sends. */
export function isUp(u32: Uint32Array, device: number): boolean {
  return (
    Number.isInteger(device) &&
    device > 0 &&
    device < DEVICE_COUNT &&
    u32[STATE_WORD + device * (DEVICE_BYTES >> 2)] === DEVICE_UP
  );
}

function wrongLength(length: number, room: number): VtepError {
  return new VtepError('USAGE', `encap: a frame of ${String(length)} bytes: these slots take 0 to ${room}`);
}

function noDevice(device: number): VtepError {
  return new VtepError('NOT_FOUND', `encap: device ${String(device)}: there is none of that number`);
}
