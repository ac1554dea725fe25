/** The frames of a batch of datagrams, read from the engine's writes one after the other. */
import {
  DOMAIN_BYTES,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_COUNT,
  RECEIVE_STRIDE_BYTES,
  VIRTIO_CHECKSUM_FIELD_OFFSET,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_NEEDS_CHECKSUM,
  WRITE_BYTES,
  WRITE_DEVICE_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_PLACE_OFFSET,
  WRITE_VIRTIO_OFFSET,
  WRITES_OFFSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { ArrivedFrames } from './batch.ts';
import type { QueueState } from './queue-state.ts';
import { SlotViews } from './slot-views.ts';

const WRITE_IOVECS_BYTES = WRITE_IOVEC_MAX * IOVEC_BYTES;

export class Arrived implements ArrivedFrames {
  readonly #state: QueueState;
  readonly #u32: Uint32Array;
  readonly #views: SlotViews;
  /** Place in the batch, by slot of the queue. */
  readonly #places: Uint8Array;
  readonly #writes: number;
  /** Word of the first write's frame: the first iovec is the virtio header. */
  readonly #iovecs: number;
  #at = -1;
  #count = 0;

  constructor(state: QueueState, slots: readonly number[]) {
    this.#state = state;
    this.#u32 = state.views.u32;
    const base = state.decapBase + RECEIVE_BUFFERS_OFFSET;
    this.#views = new SlotViews(state.views.memory, base, RECEIVE_STRIDE_BYTES, RECEIVE_COUNT);
    this.#places = new Uint8Array(RECEIVE_COUNT);
    for (const [place, slot] of slots.entries()) this.#places[slot] = place;
    this.#writes = state.decapBase + WRITES_OFFSET;
    this.#iovecs = (state.decapBase + WRITE_IOVECS_BASE_OFFSET + IOVEC_BYTES) >>> 2;
  }

  begin(datagrams: number): void {
    const state = this.#state;
    state.arrived = this;
    this.#at = -1;
    state.enter();
    this.#count = state.exports.decapArrivals(state.decapBase, datagrams);
    state.leave();
  }

  end(): void {
    if (this.#state.arrived === this) this.#state.arrived = undefined;
  }

  next(): boolean {
    if (this.#state.arrived !== this) throw over();
    if (this.#at + 1 >= this.#count) {
      this.#at = this.#count;
      return false;
    }
    ++this.#at;
    return true;
  }

  get bytes(): Uint8Array {
    return this.#views.of(this.offset, this.length);
  }

  get offset(): number {
    return this.#u32[this.#iovec()]!;
  }

  get length(): number {
    return this.#u32[this.#iovec() + (IOVEC_LENGTH_OFFSET >> 2)]!;
  }

  get device(): number {
    return this.#state.u16[(this.#write() + WRITE_DEVICE_OFFSET) >>> 1]!;
  }

  get vni(): number {
    const domain = this.#state.u16[(this.#write() + WRITE_PLACE_OFFSET) >>> 1]!;
    return this.#u32[(DOMAINS_BASE + domain * DOMAIN_BYTES + DOMAIN_VNI_OFFSET) >>> 2]!;
  }

  get slot(): number {
    return this.#places[this.#views.slotOf(this.offset)]!;
  }

  get isPartial(): boolean {
    return (this.#state.views.bytes[this.#write() + WRITE_VIRTIO_OFFSET]! & VIRTIO_NEEDS_CHECKSUM) !== 0;
  }

  complete(): void {
    if (!this.isPartial) return;
    const { view, bytes } = this.#state.views;
    const header = this.#write() + WRITE_VIRTIO_OFFSET;
    const start = view.getUint16(header + VIRTIO_CHECKSUM_START_OFFSET, true);
    const field = this.offset + start + view.getUint16(header + VIRTIO_CHECKSUM_FIELD_OFFSET, true);
    const sum = ~this.#state.exports.checksum(this.offset + start, this.length - start) & 0xffff;
    // 0 would say that there is none.
    view.setUint16(field, sum === 0 ? 0xffff : sum, true);
    bytes[header]! &= ~VIRTIO_NEEDS_CHECKSUM;
  }

  #write(): number {
    return this.#writes + this.#here() * WRITE_BYTES;
  }

  #iovec(): number {
    return this.#iovecs + this.#here() * (WRITE_IOVECS_BYTES >> 2);
  }

  #here(): number {
    const at = this.#at;
    if (this.#state.arrived !== this || at < 0 || at >= this.#count) throw over();
    return at;
  }
}

function over(): VtepError {
  return new VtepError(
    'USAGE',
    'decap: no frame at hand: call next() first, and take all before the next decap',
  );
}
