/**
 * Writes the table that assembly/neighbour.ts reads: (device, IP address) -> MAC. There is one writer,
 * the thread that follows the kernel's neighbours. Each change is made while the table's version is odd;
 * readers begin again when they saw that. So neighbours may be moved: one that goes leaves no mark, those behind it close
 * the gap (Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm R).
 */
import {
  DEVICE_COUNT,
  HEADER_BASE,
  HEADER_BYTES,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NEIGHBOUR_VERSION_OFFSET,
  NEIGHBOUR_ADDRESS_OFFSET,
  NEIGHBOUR_CONNECTED_OFFSET,
  NEIGHBOUR_FAMILY_OFFSET,
  NEIGHBOUR_HASH_MULTIPLIER,
  NEIGHBOUR_HASH_SHIFT,
  NEIGHBOUR_MAC_OFFSET,
  NEIGHBOUR_SLOT_BYTES,
  NEIGHBOUR_SLOT_COUNT,
  NEIGHBOURS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { type Address, formatAddress, type Mac } from './fdb-text.ts';

const WORD_BYTES = 4;
const SLOT_WORDS = NEIGHBOUR_SLOT_BYTES / WORD_BYTES;
const MAC_WORD = NEIGHBOUR_MAC_OFFSET / WORD_BYTES;
const ADDRESS_WORD = NEIGHBOUR_ADDRESS_OFFSET / WORD_BYTES;
const ADDRESS_WORDS = 4;
/** Where the fields of a slot's first word begin: device, family, connected. */
const FAMILY_SHIFT = NEIGHBOUR_FAMILY_OFFSET * 8;
const CONNECTED_SHIFT = NEIGHBOUR_CONNECTED_OFFSET * 8;
/** Device and family. */
const KEY_MASK = 0xffffff;
const DEVICE_MASK = 0xffff;
const EMPTY = 0;
const VERSION_WORD = HEADER_NEIGHBOUR_VERSION_OFFSET / WORD_BYTES;
const SEED_WORD = HEADER_HASH_SEED_OFFSET / WORD_BYTES;

interface Key {
  /** Device and family as in a slot's first word. */
  first: number;
  address: readonly number[];
}

export class Neighbours {
  readonly #header: Uint32Array;
  readonly #slots: Uint32Array;
  /** Neighbours in the table. */
  #count = 0;

  constructor(memory: { readonly buffer: ArrayBufferLike }) {
    this.#header = new Uint32Array(memory.buffer, HEADER_BASE, HEADER_BYTES / WORD_BYTES);
    this.#slots = new Uint32Array(memory.buffer, NEIGHBOURS_BASE, NEIGHBOUR_SLOT_COUNT * SLOT_WORDS);
  }

  /**
   * Makes or changes a neighbour.
   * @param device 1 to 255
   * @param connected its state is PERMANENT, NOARP or REACHABLE: the proxy may answer for it
   * @throws VtepError USAGE when the device is out of range, NO_SPACE when the table is full
   */
  set(device: number, address: Address, mac: Mac, connected: boolean): void {
    const key = keyOf(device, address);
    const at = this.#find(key);
    // One slot stays empty: there a look-up of an unknown address ends.
    if (this.#word(at) === EMPTY && this.#count === NEIGHBOUR_SLOT_COUNT - 1) {
      throw new VtepError(
        'NO_SPACE',
        `neighbour ${formatAddress(address)}: all ${NEIGHBOUR_SLOT_COUNT - 1} slots are taken; delete others first`,
      );
    }
    if (this.#word(at) === EMPTY) this.#count++;
    this.#change(() => {
      this.#store(at, 0, key.first | (connected ? 1 << CONNECTED_SHIFT : 0));
      this.#store(at, MAC_WORD, mac.low);
      this.#store(at, MAC_WORD + 1, mac.high);
      for (const [i, word] of key.address.entries()) this.#store(at, ADDRESS_WORD + i, word);
    });
  }

  /** @returns whether there was one to remove */
  remove(device: number, address: Address): boolean {
    const at = this.#find(keyOf(device, address));
    if (this.#word(at) === EMPTY) return false;
    this.#change(() => this.#erase(at));
    return true;
  }

  /** Removes all neighbours of a device. */
  clear(device: number): void {
    checkDevice(device);
    for (let slot = 0; slot < NEIGHBOUR_SLOT_COUNT; slot++) {
      // Another one of the device may take the place.
      while ((this.#word(slot) & DEVICE_MASK) === device) this.#change(() => this.#erase(slot));
    }
  }

  /** Look-ups begin again that read while `write` ran. */
  #change(write: () => void): void {
    const odd = (this.#header[VERSION_WORD]! | 1) >>> 0;
    Atomics.store(this.#header, VERSION_WORD, odd);
    try {
      write();
    } finally {
      Atomics.store(this.#header, VERSION_WORD, (odd + 1) >>> 0);
    }
  }

  /** The neighbours behind it, up to an empty slot, move up where they would be found no more. */
  #erase(slot: number): void {
    let gap = slot;
    for (let at = after(gap); this.#word(at) !== EMPTY; at = after(at)) {
      if (steps(this.#homeOf(at), at) < steps(gap, at)) continue;
      for (let word = 0; word < SLOT_WORDS; word++) this.#store(gap, word, this.#word(at, word));
      gap = at;
    }
    for (let word = 0; word < SLOT_WORDS; word++) this.#store(gap, word, 0);
    this.#count--;
  }

  /** The slot of a key, or the empty one where it would be. */
  #find({ first, address }: Key): number {
    let at = this.#home(first, address);
    for (; this.#word(at) !== EMPTY; at = after(at)) {
      if ((this.#word(at) & KEY_MASK) !== first) continue;
      if (address.every((word, i) => this.#word(at, ADDRESS_WORD + i) === word)) return at;
    }
    return at;
  }

  #homeOf(slot: number): number {
    const address = Array.from({ length: ADDRESS_WORDS }, (_, i) => this.#word(slot, ADDRESS_WORD + i));
    return this.#home(this.#word(slot) & KEY_MASK, address);
  }

  /** The slot that look-ups begin at. */
  #home(first: number, address: readonly number[]): number {
    let hash = this.#header[SEED_WORD]!;
    for (const word of [first, ...address]) {
      hash = Math.imul(hash ^ word, NEIGHBOUR_HASH_MULTIPLIER);
      hash ^= hash >>> 15;
    }
    return hash >>> NEIGHBOUR_HASH_SHIFT;
  }

  #word(slot: number, word = 0): number {
    return this.#slots[slot * SLOT_WORDS + word]!;
  }

  #store(slot: number, word: number, value: number): void {
    Atomics.store(this.#slots, slot * SLOT_WORDS + word, value);
  }
}

function after(slot: number): number {
  return (slot + 1) % NEIGHBOUR_SLOT_COUNT;
}

/** How far a look-up that begins at `from` walks to `to`. */
function steps(from: number, to: number): number {
  return (to + NEIGHBOUR_SLOT_COUNT - from) % NEIGHBOUR_SLOT_COUNT;
}

function keyOf(device: number, { family, bytes }: Address): Key {
  checkDevice(device);
  const view = new DataView(bytes.buffer, bytes.byteOffset, ADDRESS_WORDS * WORD_BYTES);
  const address = Array.from({ length: ADDRESS_WORDS }, (_, i) => view.getUint32(i * WORD_BYTES, true));
  return { first: device | (family << FAMILY_SHIFT), address };
}

function checkDevice(device: number): void {
  if (!Number.isInteger(device) || device < 1 || device >= DEVICE_COUNT) {
    throw new VtepError('USAGE', `device ${device}: give a whole number from 1 to ${DEVICE_COUNT - 1}`);
  }
}
