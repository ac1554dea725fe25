/** The datagrams of a batch, read from the engine's parcels one after the other. */
import {
  AF_INET,
  ENCAP_ARENA_OFFSET,
  ENCAP_FANOUT_COUNT_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  FRAME_SLOT_BYTES,
  FRAME_SLOT_COUNT,
  PARCEL_ADDRESS_OFFSET,
  PARCEL_BYTES,
  PARCEL_DEVICE_OFFSET,
  PARCEL_FAMILY_OFFSET,
  PARCEL_FRAME_OFFSET,
  PARCEL_HEADED_OFFSET,
  PARCEL_HEADER_OFFSET,
  PARCEL_LABEL_OFFSET,
  PARCEL_LENGTH_OFFSET,
  PARCEL_MARKS_OFFSET,
  PARCEL_PORT_OFFSET,
  PARCEL_SOURCE_OFFSET,
  PARCELS_OFFSET,
  RING_FILLED_OFFSET,
  RING_TAKEN_OFFSET,
  SOURCE_PORT_COUNT,
  VXLAN_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { SentDatagrams } from './batch.ts';
import { formatAddress } from './fdb-text.ts';
import type { QueueState } from './queue-state.ts';
import { SlotViews } from './slot-views.ts';

const PARCEL_WORDS = PARCEL_BYTES >> 2;
const ADDRESS_WORD = PARCEL_ADDRESS_OFFSET >> 2;

export class Sent implements SentDatagrams {
  readonly #state: QueueState;
  readonly #u32: Uint32Array;
  readonly #walk: () => number;
  /** Words: the first parcel, the one at hand, and the end of them. */
  readonly #first: number;
  #at = 0;
  #end = 0;
  readonly #views: SlotViews;
  /** By slot: the encap in which a header was put before a frame that has several remotes. */
  readonly #headed = new Uint32Array(FRAME_SLOT_COUNT);
  #copy: Uint8Array | undefined;
  /** The last address that was asked for, and its words. */
  #address = '';
  readonly #words = new Uint32Array(5);

  /** @param walk lets the engine walk the ring; returns how many parcels there are then */
  constructor(state: QueueState, walk: () => number) {
    this.#state = state;
    this.#u32 = state.views.u32;
    this.#walk = walk;
    this.#first = (state.encapBase + PARCELS_OFFSET) >>> 2;
    const base = state.encapBase + ENCAP_ARENA_OFFSET;
    this.#views = new SlotViews(state.views.memory, base, FRAME_SLOT_BYTES, FRAME_SLOT_COUNT);
  }

  begin(): void {
    this.#state.sent = this;
    this.#state.walks = (this.#state.walks + 1) >>> 0;
    this.#walkOn();
  }

  /** What is left in the ring goes nowhere. */
  end(): void {
    const { sent, encapBase } = this.#state;
    if (sent !== this) return;
    this.#state.sent = undefined;
    const ring = (encapBase + ENCAP_RING_OFFSET) >>> 2;
    this.#u32[ring + (RING_TAKEN_OFFSET >> 2)] = this.#u32[ring + (RING_FILLED_OFFSET >> 2)]!;
    this.#u32[(encapBase + ENCAP_STATE_OFFSET + ENCAP_FANOUT_COUNT_OFFSET) >>> 2] = 0;
  }

  next(): boolean {
    if (this.#state.sent !== this) throw over();
    this.#at += PARCEL_WORDS;
    if (this.#at >= this.#end && !this.#more()) return false;
    const at = this.#at;
    this.#copy = undefined;
    if (this.#state.views.bytes[at * 4 + PARCEL_HEADED_OFFSET] === 0) this.#head(at);
    return true;
  }

  get bytes(): Uint8Array {
    const at = this.#here();
    if (this.#copy !== undefined) return this.#copy;
    const start = this.#u32[at + (PARCEL_FRAME_OFFSET >> 2)]! - VXLAN_HEADER_BYTES;
    return this.#views.of(start, this.#u32[at + (PARCEL_LENGTH_OFFSET >> 2)]! + VXLAN_HEADER_BYTES);
  }

  get offset(): number {
    const at = this.#here();
    return this.#copy === undefined ? this.#u32[at + (PARCEL_FRAME_OFFSET >> 2)]! - VXLAN_HEADER_BYTES : -1;
  }

  get length(): number {
    return this.#u32[this.#here() + (PARCEL_LENGTH_OFFSET >> 2)]! + VXLAN_HEADER_BYTES;
  }

  get address(): string {
    const at = this.#here();
    const words = this.#words;
    const u32 = this.#u32;
    const family = this.#family(at);
    let isKnown = words[0] === family && words[1] === u32[at + ADDRESS_WORD];
    for (let word = 1; isKnown && family !== AF_INET && word < 4; ++word)
      isKnown = words[word + 1] === u32[at + ADDRESS_WORD + word];
    if (isKnown) return this.#address;
    words[0] = family;
    for (let word = 0; word < 4; ++word) words[word + 1] = u32[at + ADDRESS_WORD + word]!;
    const bytes = new Uint8Array(words.buffer.slice(4));
    this.#address = formatAddress({ family, bytes });
    return this.#address;
  }

  get port(): number {
    return this.#state.u16[this.#here() * 2 + (PARCEL_PORT_OFFSET >> 1)]!;
  }

  get flow(): number {
    return this.#source() % SOURCE_PORT_COUNT;
  }

  /** The second source group has it. */
  get df(): boolean {
    return this.#source() >= SOURCE_PORT_COUNT;
  }

  get tos(): number {
    return this.#u32[this.#here() + (PARCEL_MARKS_OFFSET >> 2)]! & 0xff;
  }

  get ttl(): number {
    return this.#u32[this.#here() + (PARCEL_MARKS_OFFSET >> 2)]! >>> 8;
  }

  get flowLabel(): number {
    return this.#u32[this.#here() + (PARCEL_LABEL_OFFSET >> 2)]!;
  }

  get device(): number {
    return this.#state.u16[this.#here() * 2 + (PARCEL_DEVICE_OFFSET >> 1)]!;
  }

  #source(): number {
    return this.#u32[this.#here() + (PARCEL_SOURCE_OFFSET >> 2)]!;
  }

  #family(at: number): number {
    return this.#state.views.bytes[at * 4 + PARCEL_FAMILY_OFFSET]!;
  }

  #here(): number {
    const at = this.#at;
    if (this.#state.sent !== this || at < this.#first || at >= this.#end) throw over();
    return at;
  }

  #walkOn(): void {
    this.#at = this.#first - PARCEL_WORDS;
    this.#end = this.#first + this.#walk() * PARCEL_WORDS;
  }

  /** The parcels are at their end: the rest of the ring, if there is any. */
  #more(): boolean {
    const ring = (this.#state.encapBase + ENCAP_RING_OFFSET) >>> 2;
    const u32 = this.#u32;
    while (u32[ring + (RING_TAKEN_OFFSET >> 2)] !== u32[ring + (RING_FILLED_OFFSET >> 2)]) {
      this.#walkOn();
      this.#at = this.#first;
      if (this.#at < this.#end) return true;
    }
    this.#at = this.#end;
    return false;
  }

  /**
   * One of several copies of a frame: its header goes before the frame, where the one of the first copy is already
   * when they are the same; else there must be a copy indeed.
   */
  #head(at: number): void {
    const { bytes } = this.#state.views;
    const frame = this.#u32[at + (PARCEL_FRAME_OFFSET >> 2)]!;
    const header = at * 4 + PARCEL_HEADER_OFFSET;
    const start = frame - VXLAN_HEADER_BYTES;
    const slot = this.#views.slotOf(start);
    if (this.#headed[slot] !== this.#state.walks) {
      this.#headed[slot] = this.#state.walks;
      bytes.copyWithin(start, header, header + VXLAN_HEADER_BYTES);
      return;
    }
    for (let byte = 0; byte < VXLAN_HEADER_BYTES; ++byte) {
      if (bytes[start + byte] === bytes[header + byte]) continue;
      const length = this.#u32[at + (PARCEL_LENGTH_OFFSET >> 2)]!;
      this.#copy = new Uint8Array(VXLAN_HEADER_BYTES + length);
      this.#copy.set(bytes.subarray(header, header + VXLAN_HEADER_BYTES));
      this.#copy.set(bytes.subarray(frame, frame + length), VXLAN_HEADER_BYTES);
      return;
    }
  }
}

function over(): VtepError {
  return new VtepError(
    'USAGE',
    'encap: no datagram at hand: call next() first, and take all before the next encap',
  );
}
