/** Datagrams that have come in: slots in the memory of a queue. */
import {
  AF_INET,
  AF_INET6,
  ARRIVAL_BUFFER_OFFSET,
  ARRIVAL_BYTES,
  ARRIVAL_LENGTH_OFFSET,
  ARRIVALS_OFFSET,
  RECEIPT_BYTES,
  RECEIPT_NAME_OFFSET,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_STRIDE_BYTES,
  SOCKADDR_IN6_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { Arrived } from './arrived.ts';
import type { DatagramBatch, DatagramSlot } from './batch.ts';
import { type Address, parseAddress } from './fdb-text.ts';
import { Claim } from './frames.ts';
import type { Views } from './memory.ts';
import type { QueueState } from './queue-state.ts';

const ARRIVAL_WORDS = ARRIVAL_BYTES >> 2;
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

  constructor(claim: Claim, views: Views, buffer: number, name: number) {
    this.#claim = claim;
    this.#bytes = new Uint8Array(views.memory.buffer, buffer, RECEIVE_BUFFER_BYTES);
    this.#views = views;
    this.#name = name;
  }

  get bytes(): Uint8Array {
    this.#claim.check();
    return this.#bytes;
  }

  get sender(): string {
    return this.#sender;
  }

  set sender(text: string) {
    if (text === this.#sender) return;
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
    if (datagram.length > RECEIVE_BUFFER_BYTES) throw tooLong(datagram.length);
    this.bytes.set(datagram);
    this.length = datagram.length;
    this.sender = sender;
  }
}

export class Datagrams implements DatagramBatch {
  readonly slots: readonly Slot[];
  readonly #state: QueueState;
  readonly #claim = new Claim('datagrams');
  readonly #numbers: readonly number[];
  readonly #arrived: Arrived;
  readonly #arrivals: number;

  constructor(state: QueueState, count: number) {
    this.#state = state;
    this.#numbers = state.datagrams.claim(count);
    const { decapBase, views } = state;
    this.slots = this.#numbers.map(
      (number) =>
        new Slot(
          this.#claim,
          views,
          decapBase + RECEIVE_BUFFERS_OFFSET + number * RECEIVE_STRIDE_BYTES,
          decapBase + RECEIPTS_OFFSET + number * RECEIPT_BYTES + RECEIPT_NAME_OFFSET,
        ),
    );
    this.#arrived = new Arrived(state, this.#numbers);
    state.batches.add(this);
    this.#arrivals = (decapBase + ARRIVALS_OFFSET) >>> 2;
  }

  isOf(state: QueueState): boolean {
    return state === this.#state;
  }

  /** Walks the first `count` datagrams. @param listeners of IPv4 and of IPv6, 0 = nobody listens */
  receive(count: number, listener4: number, listener6: number): Arrived {
    this.#claim.check();
    this.#fill(count, listener4, listener6);
    this.#arrived.begin(count);
    return this.#arrived;
  }

  release(): void {
    this.#claim.check();
    this.end();
    this.#state.datagrams.release(this.#numbers);
  }

  end(): void {
    this.#claim.isOver = true;
    this.#arrived.end();
    this.#state.batches.delete(this);
  }

  #fill(count: number, listener4: number, listener6: number): void {
    const { u32 } = this.#state.views;
    const { slots } = this;
    if (!(count >= 0 && count <= slots.length && Number.isInteger(count)))
      throw new VtepError('USAGE', `decap: ${count} datagrams of a batch of ${slots.length}`);
    const numbers = this.#numbers;
    for (let index = 0; index < count; ++index) {
      const { length, family, tos } = slots[index]!;
      if (!(length >= 0 && length <= RECEIVE_BUFFER_BYTES && Number.isInteger(length))) throw tooLong(length);
      if (family === 0) throw new VtepError('USAGE', `decap: slot ${index} has no sender: set it`);
      const arrival = this.#arrivals + index * ARRIVAL_WORDS;
      const listener = family === AF_INET ? listener4 : listener6;
      u32[arrival + (ARRIVAL_LENGTH_OFFSET >> 2)] = length;
      // Buffer, listener and TOS side by side.
      u32[arrival + (ARRIVAL_BUFFER_OFFSET >> 2)] = numbers[index]! | (listener << 8) | ((tos & 0xff) << 16);
    }
  }
}

/** An IPv4 address that a socket of both families reports as IPv6 is the IPv4 address; a zone says nothing here. */
function readSender(text: string): Address {
  const zone = typeof text === 'string' ? text.indexOf('%') : -1;
  const address = typeof text === 'string' ? parseAddress(zone < 0 ? text : text.slice(0, zone)) : undefined;
  if (address === undefined)
    throw new VtepError(
      'USAGE',
      `sender: "${text}" is not an IP address; write it as 192.0.2.1 or 2001:db8::1`,
    );
  if (address.family === AF_INET6 && MAPPED_PREFIX.every((byte, at) => byte === address.bytes[at])) {
    const bytes = new Uint8Array(16);
    bytes.set(address.bytes.subarray(12));
    return { family: AF_INET, bytes };
  }
  return address;
}

function tooLong(length: number): VtepError {
  return new VtepError('USAGE', `decap: a datagram of ${length} bytes: give 0 to ${RECEIVE_BUFFER_BYTES}`);
}
