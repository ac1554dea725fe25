/**
 * Writes a table of (device, IP address) that the engine looks up without a lock. There is one writer. Each change is
 * made while the table's version is odd; readers begin again when they saw that. So slots may be moved: one that goes
 * leaves no mark, those behind it close the gap (Knuth, The Art of Computer Programming, volume 3, section 6.4,
 * algorithm R). assembly/layout.ts has the slots (NEIGHBOUR_*) and says how the hash is made.
 */
import {
  DEVICE_COUNT,
  HEADER_BASE,
  HEADER_BYTES,
  HEADER_HASH_SEED_OFFSET,
  NEIGHBOUR_ADDRESS_OFFSET,
  NEIGHBOUR_CONNECTED_OFFSET,
  NEIGHBOUR_FAMILY_OFFSET,
  NEIGHBOUR_HASH_MULTIPLIER,
  NEIGHBOUR_MAC_OFFSET,
  NEIGHBOUR_SLOT_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { Address, Mac } from './fdb-text.ts';

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
const SEED_WORD = HEADER_HASH_SEED_OFFSET / WORD_BYTES;

/** Where a table lies. */
export interface TablePlace {
  readonly base: number;
  readonly slots: number;
  /** A look-up begins at slot hash >>> shift. */
  readonly shift: number;
  /** Of the version, in the header. */
  readonly versionOffset: number;
}

interface Key {
  /** Device and family as in a slot's first word. */
  first: number;
  address: readonly number[];
}

export class AddressTable {
  readonly #header: Uint32Array;
  readonly #words: Uint32Array;
  readonly #place: TablePlace;
  readonly #versionWord: number;
  #count = 0;

  constructor(memory: { readonly buffer: ArrayBufferLike }, place: TablePlace) {
    this.#header = new Uint32Array(memory.buffer, HEADER_BASE, HEADER_BYTES / WORD_BYTES);
    this.#words = new Uint32Array(memory.buffer, place.base, place.slots * SLOT_WORDS);
    this.#place = place;
    this.#versionWord = place.versionOffset / WORD_BYTES;
  }

  /**
   * Makes or changes an entry.
   * @param device 1 to 255
   * @returns whether there was room
   * @throws VtepError USAGE when the device is out of range
   */
  set(device: number, address: Address, mac: Mac, connected: boolean): boolean {
    const key = keyOf(device, address);
    const at = this.#find(key);
    if (this.#word(at) === EMPTY) {
      // One slot stays empty: there a look-up of an unknown address ends.
      if (this.#count === this.#place.slots - 1) return false;
      this.#count++;
    }
    this.#change(() => {
      this.#store(at, 0, key.first | (connected ? 1 << CONNECTED_SHIFT : 0));
      this.#store(at, MAC_WORD, mac.low);
      this.#store(at, MAC_WORD + 1, mac.high);
      for (const [i, word] of key.address.entries()) this.#store(at, ADDRESS_WORD + i, word);
    });
    return true;
  }

  /** @returns whether there was one to remove */
  remove(device: number, address: Address): boolean {
    const at = this.#find(keyOf(device, address));
    if (this.#word(at) === EMPTY) return false;
    this.#change(() => this.#erase(at));
    return true;
  }

  /** Removes all entries of a device. */
  clear(device: number): void {
    checkDevice(device);
    for (let slot = 0; slot < this.#place.slots; slot++) {
      // Another one of the device may take the place.
      while ((this.#word(slot) & DEVICE_MASK) === device) this.#change(() => this.#erase(slot));
    }
  }

  /** Look-ups begin again that read while `write` ran. */
  #change(write: () => void): void {
    const odd = (this.#header[this.#versionWord]! | 1) >>> 0;
    Atomics.store(this.#header, this.#versionWord, odd);
    try {
      write();
    } finally {
      Atomics.store(this.#header, this.#versionWord, (odd + 1) >>> 0);
    }
  }

  /** The entries behind it, up to an empty slot, move up where they would be found no more. */
  #erase(slot: number): void {
    let gap = slot;
    for (let at = this.#after(gap); this.#word(at) !== EMPTY; at = this.#after(at)) {
      if (this.#steps(this.#homeOf(at), at) < this.#steps(gap, at)) continue;
      for (let word = 0; word < SLOT_WORDS; word++) this.#store(gap, word, this.#word(at, word));
      gap = at;
    }
    for (let word = 0; word < SLOT_WORDS; word++) this.#store(gap, word, 0);
    this.#count--;
  }

  /** The slot of a key, or the empty one where it would be. */
  #find({ first, address }: Key): number {
    let at = this.#home(first, address);
    for (; this.#word(at) !== EMPTY; at = this.#after(at)) {
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
    return hash >>> this.#place.shift;
  }

  #after(slot: number): number {
    return (slot + 1) % this.#place.slots;
  }

  /** How far a look-up that begins at `from` walks to `to`. */
  #steps(from: number, to: number): number {
    return (to + this.#place.slots - from) % this.#place.slots;
  }

  #word(slot: number, word = 0): number {
    return this.#words[slot * SLOT_WORDS + word]!;
  }

  #store(slot: number, word: number, value: number): void {
    Atomics.store(this.#words, slot * SLOT_WORDS + word, value);
  }
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
