/** The frames of a batch of datagrams, read from the engine's writes one after the other. */
import {
  DOMAIN_BYTES,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  VIRTIO_CHECKSUM_FIELD_OFFSET,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_HEADER_BYTES,
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
import type { SlotViews } from './slot-views.ts';

const WRITE_IOVECS_BYTES = WRITE_IOVEC_MAX * IOVEC_BYTES;

export class Arrived implements ArrivedFrames {
  readonly #state: QueueState;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #views: SlotViews;
  readonly #writes: number;
  /** Word of the first write's frame: the first iovec is the virtio header. */
  readonly #iovecs: number;
  /** The write at hand, -1 = none, and the one before the next. */
  #at = -1;
  #last = -1;
  #count = 0;

  constructor(state: QueueState, views: SlotViews) {
    this.#state = state;
    this.#u16 = state.u16;
    this.#u32 = state.views.u32;
    this.#views = views;
    this.#writes = state.decapBase + WRITES_OFFSET;
    this.#iovecs = (state.decapBase + WRITE_IOVECS_BASE_OFFSET + IOVEC_BYTES) >>> 2;
  }

  begin(first: number, count: number): void {
    const state = this.#state;
    state.arrived?.overtake();
    state.arrived = this;
    this.#at = -1;
    this.#last = -1;
    state.enter();
    const writes = state.exports.decapArrivals(state.decapBase, first, count);
    this.#count = writes < 0 ? state.judge(-writes) : writes;
    state.leave();
  }

  /** Another batch has the engine's records now. */
  overtake(): void {
    this.#at = -1;
    // So that `next` looks whose turn it is.
    this.#count = 0;
    this.#state.arrived = undefined;
  }

  end(): void {
    if (this.#state.arrived === this) this.overtake();
  }

  next(): boolean {
    if (this.#last + 1 >= this.#count) {
      if (this.#state.arrived !== this) throw over();
      this.#at = -1;
      return false;
    }
    this.#at = ++this.#last;
    return true;
  }

  get bytes(): Uint8Array {
    const iovec = this.#iovec();
    return this.#views.of(this.#u32[iovec]!, this.#u32[iovec + (IOVEC_LENGTH_OFFSET >> 2)]!);
  }

  get offset(): number {
    return this.#u32[this.#iovec()]!;
  }

  get length(): number {
    return this.#u32[this.#iovec() + (IOVEC_LENGTH_OFFSET >> 2)]!;
  }

  get device(): number {
    return this.#u16[(this.#write() + WRITE_DEVICE_OFFSET) >>> 1]!;
  }

  get vni(): number {
    const domain = this.#u16[(this.#write() + WRITE_PLACE_OFFSET) >>> 1]!;
    return this.#u32[(DOMAINS_BASE + domain * DOMAIN_BYTES + DOMAIN_VNI_OFFSET) >>> 2]!;
  }

  get slot(): number {
    const { offset } = this;
    return this.#views.has(offset) ? this.#views.slotOf(offset) : -1;
  }

  get isPartial(): boolean {
    return (this.#state.views.bytes[this.#write() + WRITE_VIRTIO_OFFSET]! & VIRTIO_NEEDS_CHECKSUM) !== 0;
  }

  get isSuper(): boolean {
    return this.#state.views.bytes[this.#write() + WRITE_VIRTIO_OFFSET + VIRTIO_GSO_TYPE_OFFSET] !== 0;
  }

  get virtio(): Uint8Array {
    const at = this.#write() + WRITE_VIRTIO_OFFSET;
    return this.#state.views.bytes.subarray(at, at + VIRTIO_HEADER_BYTES);
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
    if (this.#at < 0) throw over();
    return this.#at;
  }
}

function over(): VtepError {
  return new VtepError(
    'USAGE',
    'decap: no frame at hand: call next() first, and take all before the next decap',
  );
}
