/** The datagrams of a batch, read from the engine's parcels one after the other. */
import {
  AF_INET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_HOOK_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  ENCAP_FANOUT_COUNT_OFFSET,
  ENCAP_MIRROR_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  PARCEL_ADDRESS_OFFSET,
  PARCEL_BYTES,
  PARCEL_DEVICE_OFFSET,
  PARCEL_FAMILY_OFFSET,
  PARCEL_FLOW_UNTOLD,
  PARCEL_FRAME_OFFSET,
  PARCEL_HEADED_OFFSET,
  PARCEL_HEADER_OFFSET,
  PARCEL_LABEL_OFFSET,
  PARCEL_LENGTH_OFFSET,
  PARCEL_MARKS_OFFSET,
  PARCEL_PORT_OFFSET,
  PARCEL_SOURCE_OFFSET,
  PARCELS_OFFSET,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_TAKEN_OFFSET,
  SOURCE_PORT_COUNT,
  VXLAN_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { SentDatagrams } from './batch.ts';
import { formatAddress } from './fdb-text.ts';
import type { QueueState } from './queue-state.ts';
import type { SlotViews } from './slot-views.ts';

const PARCEL_WORDS = PARCEL_BYTES >> 2;
const ADDRESS_WORD = PARCEL_ADDRESS_OFFSET >> 2;
const ADDRESS_WORDS = 4;
const SEED_WORD = (HEADER_BASE + HEADER_HASH_SEED_OFFSET) >>> 2;

export class Sent implements SentDatagrams {
  readonly #state: QueueState;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #walk: (isFirst: boolean) => number;
  /** Words: the first parcel, the one at hand (0 = none), and the end of them. */
  readonly #first: number;
  #at = 0;
  #last = 0;
  #end = 0;
  readonly #views: Pick<SlotViews, 'of' | 'slotOf'>;
  /** By slot: the encap in which a header was put before a frame that has several remotes. */
  readonly #headed = new Uint32Array(ENCAP_RING_COUNT);
  /** A datagram that no slot has, and the word of its parcel. */
  #copy = new Uint8Array(0);
  #copied = 0;
  /** The last address that was asked for: family, words, text. */
  readonly #known = new Uint32Array(1 + ADDRESS_WORDS);
  #address = '';

  /** @param walk lets the engine walk the ring; returns how many parcels there are then */
  constructor(
    state: QueueState,
    views: Pick<SlotViews, 'of' | 'slotOf'>,
    walk: (isFirst: boolean) => number,
  ) {
    const { bytes, u32 } = state.views;
    this.#state = state;
    this.#u8 = bytes;
    this.#u16 = state.u16;
    this.#u32 = u32;
    this.#walk = walk;
    this.#first = (state.encapBase + PARCELS_OFFSET) >>> 2;
    this.#views = views;
  }

  begin(): void {
    const state = this.#state;
    state.sent?.overtake();
    state.sent = this;
    state.walks = (state.walks + 1) >>> 0;
    this.#walkOn(true);
  }

  /** The ring has been filled for it: the first `next` walks it. */
  arm(): void {
    const state = this.#state;
    state.sent?.overtake();
    state.sent = this;
    state.walks = (state.walks + 1) >>> 0;
    this.#last = this.#first - PARCEL_WORDS;
    this.#end = this.#first;
  }

  /** All have been taken. */
  get isDone(): boolean {
    return this.#at === 0 && this.#last + PARCEL_WORDS >= this.#end && this.#isEmpty;
  }

  /** Numbers of the devices whose datagrams have not been taken, one for each. */
  *left(): Generator<number> {
    for (let at = this.#last + PARCEL_WORDS; at < this.#end; at += PARCEL_WORDS)
      yield this.#u16[at * 2 + (PARCEL_DEVICE_OFFSET >> 1)]!;
    const ring = (this.#state.encapBase + ENCAP_RING_OFFSET) >>> 2;
    const end = this.#u32[ring + (RING_FILLED_OFFSET >> 2)]!;
    for (
      let cursor = this.#u32[ring + (RING_TAKEN_OFFSET >> 2)]!;
      cursor !== end;
      cursor = (cursor + 1) >>> 0
    )
      yield this.#u16[descriptorOf(ring, cursor) * 2 + (DESCRIPTOR_DEVICE_OFFSET >> 1)]!;
  }

  /** The engine's records are its. */
  get isCurrent(): boolean {
    return this.#state.sent === this;
  }

  /** Another batch has the engine's records now. */
  overtake(): void {
    this.#at = 0;
    this.#copied = 0;
    // So that `next` looks whose turn it is.
    this.#end = 0;
    this.#state.sent = undefined;
  }

  /** What is left in the ring goes nowhere. */
  end(): void {
    if (this.#state.sent !== this) return;
    this.overtake();
    const { encapBase } = this.#state;
    const u32 = this.#u32;
    const ring = (encapBase + ENCAP_RING_OFFSET) >>> 2;
    const end = u32[ring + (RING_FILLED_OFFSET >> 2)]!;
    for (let cursor = u32[ring + (RING_TAKEN_OFFSET >> 2)]!; cursor !== end; cursor = (cursor + 1) >>> 0)
      u32[descriptorOf(ring, cursor) + (DESCRIPTOR_HOOK_OFFSET >> 2)] = 0;
    u32[ring + (RING_TAKEN_OFFSET >> 2)] = end;
    const state = encapBase + ENCAP_STATE_OFFSET;
    u32[(state + ENCAP_FANOUT_COUNT_OFFSET) >>> 2] = 0;
    u32[(state + ENCAP_MIRROR_OFFSET + DESCRIPTOR_LENGTH_OFFSET) >>> 2] = 0;
  }

  next(): boolean {
    this.#last += PARCEL_WORDS;
    if (this.#last >= this.#end && !this.#more()) return false;
    const at = this.#last;
    this.#at = at;
    if (this.#u8[at * 4 + PARCEL_HEADED_OFFSET] === 0) this.#head(at);
    return true;
  }

  get bytes(): Uint8Array {
    const at = this.#here();
    if (this.#copied === at) return this.#copy;
    const start = this.#u32[at + (PARCEL_FRAME_OFFSET >> 2)]! - VXLAN_HEADER_BYTES;
    return this.#views.of(start, this.#u32[at + (PARCEL_LENGTH_OFFSET >> 2)]! + VXLAN_HEADER_BYTES);
  }

  get offset(): number {
    const at = this.#here();
    return this.#copied === at ? -1 : this.#u32[at + (PARCEL_FRAME_OFFSET >> 2)]! - VXLAN_HEADER_BYTES;
  }

  get length(): number {
    return this.#u32[this.#here() + (PARCEL_LENGTH_OFFSET >> 2)]! + VXLAN_HEADER_BYTES;
  }

  get address(): string {
    const at = this.#here();
    const u32 = this.#u32;
    const known = this.#known;
    const family = this.#u8[at * 4 + PARCEL_FAMILY_OFFSET]!;
    if (known[0] !== family || known[1] !== u32[at + ADDRESS_WORD]) return this.#format(at, family);
    if (family === AF_INET) return this.#address;
    for (let word = 1; word < ADDRESS_WORDS; ++word)
      if (known[1 + word] !== u32[at + ADDRESS_WORD + word]) return this.#format(at, family);
    return this.#address;
  }

  get port(): number {
    return this.#u16[this.#here() * 2 + (PARCEL_PORT_OFFSET >> 1)]!;
  }

  get flow(): number {
    const at = this.#here();
    const source = this.#u32[at + (PARCEL_SOURCE_OFFSET >> 2)]!;
    if (source < PARCEL_FLOW_UNTOLD) return source % SOURCE_PORT_COUNT;
    const { flowHash, flowSlot } = this.#state.exports;
    const frame = this.#u32[at + (PARCEL_FRAME_OFFSET >> 2)]!;
    const length = this.#u32[at + (PARCEL_LENGTH_OFFSET >> 2)]!;
    return flowSlot(flowHash(frame, length, this.#u32[SEED_WORD]!), SOURCE_PORT_COUNT);
  }

  /** The second source group has it. */
  get df(): boolean {
    return this.#u32[this.#here() + (PARCEL_SOURCE_OFFSET >> 2)]! % PARCEL_FLOW_UNTOLD >= SOURCE_PORT_COUNT;
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
    return this.#u16[this.#here() * 2 + (PARCEL_DEVICE_OFFSET >> 1)]!;
  }

  #here(): number {
    if (this.#at === 0) throw over();
    return this.#at;
  }

  #format(at: number, family: number): string {
    const known = this.#known;
    known[0] = family;
    const address = at + ADDRESS_WORD;
    known.set(this.#u32.subarray(address, address + ADDRESS_WORDS), 1);
    this.#address = formatAddress({ family, bytes: new Uint8Array(known.buffer, 4) });
    return this.#address;
  }

  get #isEmpty(): boolean {
    const ring = (this.#state.encapBase + ENCAP_RING_OFFSET) >>> 2;
    return this.#u32[ring + (RING_TAKEN_OFFSET >> 2)] === this.#u32[ring + (RING_FILLED_OFFSET >> 2)];
  }

  #walkOn(isFirst: boolean): void {
    this.#at = 0;
    this.#copied = 0;
    this.#last = this.#first - PARCEL_WORDS;
    this.#end = this.#first + this.#walk(isFirst) * PARCEL_WORDS;
  }

  /** The parcels are at their end: the rest of the ring, if there is any. */
  #more(): boolean {
    if (this.#state.sent !== this) throw over();
    while (!this.#isEmpty) {
      this.#walkOn(false);
      this.#last = this.#first;
      if (this.#last < this.#end) return true;
    }
    this.#at = 0;
    this.#last = this.#end;
    return false;
  }

  /**
   * One of several copies of a frame: its header goes before the frame, where the one of the first copy is already
   * when they are the same; else there must be a copy indeed.
   */
  #head(at: number): void {
    const bytes = this.#u8;
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
      this.#copied = at;
      this.#copy = new Uint8Array(VXLAN_HEADER_BYTES + length);
      this.#copy.set(bytes.subarray(header, header + VXLAN_HEADER_BYTES));
      this.#copy.set(bytes.subarray(frame, frame + length), VXLAN_HEADER_BYTES);
      return;
    }
  }
}

/** What a decap's hooks have sent into tunnels: nothing, where they have not. */
export class Forwarded extends Sent {
  override next(): boolean {
    return this.isCurrent && super.next();
  }
}

/** Word of a descriptor. @param ring word of the ring */
function descriptorOf(ring: number, cursor: number): number {
  return ring + (RING_DESCRIPTORS_OFFSET >> 2) + (cursor % ENCAP_RING_COUNT) * (DESCRIPTOR_BYTES >> 2);
}

function over(): VtepError {
  return new VtepError(
    'USAGE',
    'encap: no datagram at hand: call next() first, and take all before the next encap',
  );
}
