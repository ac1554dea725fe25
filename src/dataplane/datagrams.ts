/** Datagrams that have come in: slots in the memory of a queue. */
import {
  AF_INET,
  AF_INET6,
  ARRIVAL_ADDRESS_OFFSET,
  ARRIVAL_BYTES,
  ARRIVAL_COUNT,
  ARRIVAL_LENGTH_OFFSET,
  ARRIVAL_LISTENER_OFFSET,
  ARRIVAL_NAME_OFFSET,
  ARRIVAL_SEGMENT_OFFSET,
  ARRIVALS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVE_BUFFERS_OFFSET,
  SOCKADDR_IN6_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { Arrived } from './arrived.ts';
import type { DatagramBatch, DatagramSlot } from './batch.ts';
import { Claim, checkBytes, checkSlots, strideOf } from './claim.ts';
import { type Address, parseAddress } from './fdb-text.ts';
import type { Views } from './memory.ts';
import type { QueueState } from './queue-state.ts';
import { SlotViews } from './slot-views.ts';

const MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

class Slot implements DatagramSlot {
  readonly #claim: Claim;
  readonly #bytes: Uint8Array;
  readonly #views: Views;
  /** Where the engine looks for the sender: struct sockaddr. */
  readonly #name: number;
  #sender = '';
  /** Of the sender; 0 = there is none. */
  family = 0;
  length = 0;
  tos = 0;
  #segment = 0;

  /** @param arrival address of the record that the engine reads; its sender's struct sockaddr comes first */
  constructor(claim: Claim, views: Views, bytes: Uint8Array, arrival: number) {
    this.#claim = claim;
    this.#bytes = bytes;
    this.#views = views;
    this.#name = arrival + ARRIVAL_NAME_OFFSET;
    views.view.setUint32(arrival + ARRIVAL_ADDRESS_OFFSET, bytes.byteOffset, true);
  }

  get bytes(): Uint8Array {
    this.#claim.check();
    return this.#bytes;
  }

  get segment(): number {
    return this.#segment;
  }

  set segment(bytes: number) {
    if (!(Number.isInteger(bytes) && bytes >= 0 && bytes <= RECEIVE_BUFFER_BYTES)) throw wrongSegment(bytes);
    this.#segment = bytes;
    if (bytes !== 0) this.#claim.isMarked = true;
  }

  get sender(): string {
    return this.#sender;
  }

  set sender(text: string) {
    if (this.family !== 0 && text === this.#sender) return;
    this.#claim.check();
    const { family, bytes } = readSender(text);
    const name = this.#name;
    this.#views.bytes.fill(0, name, name + SOCKADDR_IN6_BYTES);
    this.#views.view.setUint16(name, family, true);
    this.#views.bytes.set(
      family === AF_INET ? bytes.subarray(0, 4) : bytes,
      name + (family === AF_INET ? 4 : 8),
    );
    this.family = family;
    this.#sender = text;
  }

  write(datagram: Uint8Array, sender: string): void {
    checkBytes('decap', datagram);
    if (datagram.length > this.#bytes.length) throw wrongLength(datagram.length, this.#bytes.length);
    this.bytes.set(datagram);
    this.length = datagram.length;
    this.#segment = 0;
    this.sender = sender;
  }
}

export class Datagrams implements DatagramBatch {
  readonly slots: readonly Slot[];
  readonly #state: QueueState;
  readonly #claim = new Claim('datagrams');
  /** Of the slots, in the queue's memory for them; and the number of the first one's arrival. */
  readonly #start: number;
  readonly #size: number;
  readonly #first: number;
  /** Most bytes of a datagram. */
  readonly #room: number;
  readonly #arrived: Arrived;

  /** @throws VtepError USAGE, NO_SPACE */
  constructor(state: QueueState, count: number, bytes: number) {
    checkSlots('datagrams', count, ARRIVAL_COUNT, bytes, RECEIVE_BUFFER_BYTES);
    const { decapBase, views, datagramBytes, arrivals } = state;
    const stride = strideOf(bytes);
    this.#state = state;
    this.#room = bytes;
    this.#size = count * stride;
    this.#start = datagramBytes.claim(this.#size);
    try {
      this.#first = arrivals.claim(count);
    } catch (error) {
      datagramBytes.release(this.#start, this.#size);
      throw error;
    }
    const base = decapBase + RECEIVE_BUFFERS_OFFSET + this.#start;
    const records = decapBase + ARRIVALS_OFFSET + this.#first * ARRIVAL_BYTES;
    this.slots = Array.from({ length: count }, (_, slot) => {
      const view = new Uint8Array(views.memory.buffer, base + slot * stride, bytes);
      return new Slot(this.#claim, views, view, records + slot * ARRIVAL_BYTES);
    });
    this.#arrived = new Arrived(state, new SlotViews(views.memory, base, stride, count));
    state.batches.add(this);
  }

  isOf(state: QueueState): boolean {
    return state === this.#state;
  }

  /** Walks the first `count` datagrams. @param listeners of IPv4 and of IPv6, 0 = nobody listens */
  receive(count: number, listener4: number, listener6: number): Arrived {
    this.#claim.check();
    this.#fill(count, listener4, listener6);
    this.#arrived.begin(this.#first, count);
    return this.#arrived;
  }

  release(): void {
    this.#claim.check();
    this.end();
    this.#state.datagramBytes.release(this.#start, this.#size);
    this.#state.arrivals.release(this.#first, this.slots.length);
  }

  end(): void {
    this.#claim.isOver = true;
    this.#arrived.end();
    this.#state.batches.delete(this);
  }

  #fill(count: number, listener4: number, listener6: number): void {
    const { u32 } = this.#state.views;
    const { slots } = this;
    if (!(Number.isInteger(count) && count >= 0 && count <= slots.length))
      throw new VtepError('USAGE', `decap: ${String(count)} datagrams of a batch of ${slots.length}`);
    const room = this.#room;
    let arrival = (this.#state.decapBase + ARRIVALS_OFFSET + this.#first * ARRIVAL_BYTES) >>> 2;
    for (let index = 0; index < count; ++index) {
      const { length, family, tos } = slots[index]!;
      if (typeof length !== 'number' || length >>> 0 !== length || length > room)
        throw wrongLength(length, room);
      if (typeof tos !== 'number') throw new VtepError('USAGE', `decap: tos ${String(tos)}: give a number`);
      if (family === 0) throw new VtepError('USAGE', `decap: slot ${index} has no sender: set it`);
      const listener = family === AF_INET ? listener4 : listener6;
      u32[arrival + (ARRIVAL_LENGTH_OFFSET >> 2)] = length;
      // The two side by side, and no segment size beside them.
      u32[arrival + (ARRIVAL_LISTENER_OFFSET >> 2)] = listener | ((tos & 0xff) << 8);
      arrival += ARRIVAL_BYTES >> 2;
    }
    if (this.#claim.isMarked) this.#divide(count);
  }

  /** Says of what size the datagrams are of slots that hold several. @throws VtepError USAGE when they are too many */
  #divide(count: number): void {
    const { slots } = this;
    const { u16 } = this.#state;
    this.#claim.isMarked = slots.some(({ segment }) => segment !== 0);
    let datagrams = 0;
    for (let index = 0; index < count; ++index) {
      const { length, segment } = slots[index]!;
      datagrams += datagramsIn(length, segment);
      const arrival = this.#state.decapBase + ARRIVALS_OFFSET + (this.#first + index) * ARRIVAL_BYTES;
      if (segment < length) u16[(arrival + ARRIVAL_SEGMENT_OFFSET) >>> 1] = segment;
    }
    if (datagrams > ARRIVAL_COUNT)
      throw new VtepError(
        'USAGE',
        `decap: ${datagrams} datagrams in bundles: ${ARRIVAL_COUNT} are the most that a call takes`,
      );
  }
}

/** An IPv4 address that a socket of both families reports as IPv6 is the IPv4 address; a zone says nothing here. */
function readSender(text: string): Address {
  const zone = typeof text === 'string' ? text.indexOf('%') : -1;
  const address = typeof text === 'string' ? parseAddress(zone < 0 ? text : text.slice(0, zone)) : undefined;
  if (address === undefined)
    throw new VtepError(
      'USAGE',
      `sender: "${String(text)}" is not an IP address; write it as 192.0.2.1 or 2001:db8::1`,
    );
  if (address.family === AF_INET6 && MAPPED_PREFIX.every((byte, at) => byte === address.bytes[at])) {
    const bytes = new Uint8Array(16);
    bytes.set(address.bytes.subarray(12));
    return { family: AF_INET, bytes };
  }
  return address;
}

/** @param segment bytes of each but the last one, 0 = it is one */
export function datagramsIn(length: number, segment: number): number {
  return segment === 0 ? 1 : Math.max(1, Math.ceil(length / segment));
}

function wrongSegment(segment: number): VtepError {
  return new VtepError(
    'USAGE',
    `decap: segments of ${String(segment)} bytes: give a number of them, 0 = one datagram`,
  );
}

function wrongLength(length: number, room: number): VtepError {
  return new VtepError(
    'USAGE',
    `decap: a datagram of ${String(length)} bytes: these slots take 0 to ${room}`,
  );
}
