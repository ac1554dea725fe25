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
  FRAME_SLOT_BYTES,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FrameBatch, FrameSlot } from './batch.ts';
import type { QueueState } from './queue-state.ts';
import { Sent } from './sent.ts';

/** Bytes of the longest frame. */
export const FRAME_BYTES = FRAME_MAX_BYTES - VIRTIO_HEADER_BYTES;

const DESCRIPTOR_WORDS = DESCRIPTOR_BYTES >> 2;
const STATE_WORD = (DEVICES_BASE + DEVICE_STATE_OFFSET) >>> 2;

/** A claim on slots; ends once. */
export class Claim {
  readonly #what: string;
  isOver = false;

  constructor(what: string) {
    this.#what = what;
  }

  /** @throws VtepError USAGE */
  check(): void {
    if (this.isOver)
      throw new VtepError('USAGE', `${this.#what}: the batch has been released: claim another one`);
  }
}

class Slot implements FrameSlot {
  readonly #claim: Claim;
  readonly #bytes: Uint8Array;
  length = 0;
  device = 0;

  constructor(claim: Claim, bytes: Uint8Array) {
    this.#claim = claim;
    this.#bytes = bytes;
  }

  get bytes(): Uint8Array {
    this.#claim.check();
    return this.#bytes;
  }

  write(frame: Uint8Array): void {
    if (frame.length > FRAME_BYTES) throw tooLong(frame.length);
    this.bytes.set(frame);
    this.length = frame.length;
  }
}

export class Frames implements FrameBatch {
  readonly slots: readonly Slot[];
  readonly #state: QueueState;
  readonly #claim = new Claim('frames');
  readonly #numbers: readonly number[];
  /** Addresses of the virtio headers, by slot. */
  readonly #headers: Uint32Array;
  readonly #sent: Sent;
  readonly #ring: number;

  constructor(state: QueueState, count: number, walk: () => number) {
    this.#state = state;
    this.#numbers = state.frames.claim(count);
    this.#headers = Uint32Array.from(
      this.#numbers,
      (number) =>
        state.encapBase +
        ENCAP_ARENA_OFFSET +
        number * FRAME_SLOT_BYTES +
        FRAME_HEADROOM_BYTES -
        VIRTIO_HEADER_BYTES,
    );
    const { buffer } = state.views.memory;
    this.slots = Array.from(
      this.#headers,
      (header) => new Slot(this.#claim, new Uint8Array(buffer, header + VIRTIO_HEADER_BYTES, FRAME_BYTES)),
    );
    this.#sent = new Sent(state, walk);
    state.batches.add(this);
    this.#ring = (state.encapBase + ENCAP_RING_OFFSET) >>> 2;
  }

  isOf(state: QueueState): boolean {
    return state === this.#state;
  }

  /** Puts the first `count` frames into the ring and walks it. */
  send(count: number): Sent {
    this.#claim.check();
    this.#fill(count);
    this.#sent.begin();
    return this.#sent;
  }

  release(): void {
    this.#claim.check();
    this.end();
    this.#state.frames.release(this.#numbers);
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
    const cursor = u32[ring + (RING_FILLED_OFFSET >> 2)]!;
    if (u32[ring + (RING_TAKEN_OFFSET >> 2)] !== cursor)
      throw new VtepError(
        'USAGE',
        'encap: datagrams of the last batch are left: take them all, or release it',
      );
    const { slots } = this;
    if (!(count >= 0 && count <= slots.length && Number.isInteger(count)))
      throw new VtepError('USAGE', `encap: ${count} frames of a batch of ${slots.length}`);
    const headers = this.#headers;
    let known = -1;
    for (let index = 0; index < count; ++index) {
      const { length, device } = slots[index]!;
      if (!(length >= 0 && length <= FRAME_BYTES && Number.isInteger(length))) throw tooLong(length);
      if (device !== known) {
        if (!isUp(u32, device)) throw noDevice(device);
        known = device;
      }
      const header = headers[index]!;
      const descriptor =
        ring +
        (RING_DESCRIPTORS_OFFSET >> 2) +
        ((cursor + index) & (ENCAP_RING_COUNT - 1)) * DESCRIPTOR_WORDS;
      u32[descriptor + (DESCRIPTOR_ADDRESS_OFFSET >> 2)] = header;
      u32[descriptor + (DESCRIPTOR_LENGTH_OFFSET >> 2)] = length;
      // The domain behind it is not known yet.
      u32[descriptor + (DESCRIPTOR_DEVICE_OFFSET >> 2)] = device;
      // Flags and GSO type; nothing reads the rest, which the VXLAN header is written over.
      u16[header >>> 1] = 0;
    }
    u32[ring + (RING_FREED_OFFSET >> 2)] = cursor;
    Atomics.store(u32, ring + (RING_FILLED_OFFSET >> 2), (cursor + count) >>> 0);
  }
}

function isUp(u32: Uint32Array, device: number): boolean {
  return (
    device > 0 &&
    device < DEVICE_COUNT &&
    Number.isInteger(device) &&
    u32[STATE_WORD + device * (DEVICE_BYTES >> 2)] === DEVICE_UP
  );
}

function tooLong(length: number): VtepError {
  return new VtepError('USAGE', `encap: a frame of ${length} bytes: give 0 to ${FRAME_BYTES}`);
}

function noDevice(device: number): VtepError {
  return new VtepError('NOT_FOUND', `encap: device ${device}: there is none of that number`);
}
