/**
 * Writes the table that assembly/peer.ts reads: (device, MAC) -> where frames of that MAC may come from. There is one
 * writer. Each change is made while the table's version is odd; readers begin again when they saw that. So slots of
 * the index may be moved: one that goes leaves no mark, those behind it close the gap (Knuth, The Art of Computer
 * Programming, volume 3, section 6.4, algorithm R). Entries never move. assembly/layout.ts has both (PEER_*).
 *
 * Workers add to the counters of an entry without a lock, after a look at its key. So an entry that goes waits until
 * others have gone after it before it is another peer's.
 */
import {
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_PEER_VERSION_OFFSET,
  PEER_ADDRESS_DROPS_OFFSET,
  PEER_ADDRESS_OFFSET,
  PEER_BYTES,
  PEER_COUNT,
  PEER_HASH_MULTIPLIER,
  PEER_HASH_SHIFT,
  PEER_IPV4_MASK_OFFSET,
  PEER_IPV4_OFFSET,
  PEER_IPV6_MASK_OFFSET,
  PEER_IPV6_OFFSET,
  PEER_KEY_OFFSET,
  PEER_LAST_OFFSET,
  PEER_RX_BYTES_OFFSET,
  PEER_RX_PACKETS_OFFSET,
  PEER_SLOT_COUNT,
  PEER_SLOT_ENTRY_MASK,
  PEER_SLOTS_BASE,
  PEER_SUBNET_DROPS_OFFSET,
  PEER_TAG_SHIFT,
  PEER_TX_BYTES_OFFSET,
  PEER_TX_PACKETS_OFFSET,
  PEERS_BASE,
} from '../../assembly/layout.ts';
import type { Mac } from './fdb-text.ts';

const WORD_BYTES = 4;
const ENTRY_WORDS = PEER_BYTES / WORD_BYTES;
const KEY_WORD = PEER_KEY_OFFSET / WORD_BYTES;
const ADDRESS_WORD = PEER_ADDRESS_OFFSET / WORD_BYTES;
/** How far the device stands in the high word of a key, behind two bytes of the MAC. */
const DEVICE_SHIFT = 16;
/** Entries that wait at least before one of them is used again, while there are fresh ones. */
const WAITING_LEAST = 64;

/** A network and its mask, in network order: four bytes, or sixteen. */
export interface Prefix {
  readonly network: Uint8Array;
  readonly mask: Uint8Array;
}

export interface Peer {
  /** 16 bytes: an IPv4 address in the first four, the rest zero. */
  readonly address: Uint8Array;
  readonly ipv4: Prefix | undefined;
  readonly ipv6: Prefix | undefined;
}

export interface PeerCounters {
  rxPackets: number;
  rxBytes: number;
  addressDrops: number;
  subnetDrops: number;
  txPackets: number;
  txBytes: number;
  /** Seconds, as HEADER_NOW; 0 = never. */
  last: number;
}

/** No source is in it: nothing under an empty mask is all ones. */
const NO_IPV4: Prefix = { network: new Uint8Array(4).fill(0xff), mask: new Uint8Array(4) };
const NO_IPV6: Prefix = { network: new Uint8Array(16).fill(0xff), mask: new Uint8Array(16) };

export class PeerTable {
  readonly #view: DataView;
  readonly #version: Int32Array;
  readonly #slots: Uint32Array;
  readonly #words: Uint32Array;
  /** Entries handed out so far; those below it that are free wait in a row. */
  #fresh = 0;
  #waiting: number[] = [];

  constructor(view: DataView) {
    const { buffer } = view;
    this.#view = view;
    this.#version = new Int32Array(buffer, HEADER_BASE + HEADER_PEER_VERSION_OFFSET, 1);
    this.#slots = new Uint32Array(buffer, PEER_SLOTS_BASE, PEER_SLOT_COUNT);
    this.#words = new Uint32Array(buffer, PEERS_BASE, PEER_COUNT * ENTRY_WORDS);
  }

  get count(): number {
    return this.#fresh - this.#waiting.length;
  }

  /** -1 = there is none. */
  find(device: number, mac: Mac): number {
    return (this.#slots[this.#slotOf(mac.low, highOf(device, mac))]! & PEER_SLOT_ENTRY_MASK) - 1;
  }

  /** Makes or changes an entry; counters of one that is there go on. @returns whether there was room */
  set(device: number, mac: Mac, peer: Peer): boolean {
    const high = highOf(device, mac);
    const slot = this.#slotOf(mac.low, high);
    const known = (this.#slots[slot]! & PEER_SLOT_ENTRY_MASK) - 1;
    if (known >= 0) {
      this.#change(() => this.#write(known, peer));
      return true;
    }
    const entry = this.#take();
    if (entry < 0) return false;
    const at = entry * ENTRY_WORDS;
    this.#words.fill(0, at, at + ENTRY_WORDS);
    this.#change(() => {
      this.#write(entry, peer);
      this.#store(at + KEY_WORD, mac.low);
      this.#store(at + KEY_WORD + 1, high);
      const tag = this.#hash(mac.low, high) << PEER_TAG_SHIFT;
      Atomics.store(this.#slots, slot, (tag | (entry + 1)) >>> 0);
    });
    return true;
  }

  /** @returns whether there was one to remove */
  remove(device: number, mac: Mac): boolean {
    return this.#removeAt(this.#slotOf(mac.low, highOf(device, mac)));
  }

  /** Removes all entries of a device. */
  clear(device: number): void {
    for (const entry of this.each(device)) {
      const { low, high } = this.macOf(entry);
      this.#removeAt(this.#slotOf(low, highOf(device, { low, high })));
    }
  }

  /** The entries of a device, or of all, in the order of their places. */
  *each(device = 0): Generator<number> {
    for (let entry = 0; entry < this.#fresh; entry++) {
      const owner = this.deviceOf(entry);
      if (owner !== 0 && (device === 0 || owner === device)) yield entry;
    }
  }

  /** 0 = the entry is free. */
  deviceOf(entry: number): number {
    return this.#words[entry * ENTRY_WORDS + KEY_WORD + 1]! >>> DEVICE_SHIFT;
  }

  macOf(entry: number): Mac {
    const at = entry * ENTRY_WORDS + KEY_WORD;
    return { low: this.#words[at]!, high: this.#words[at + 1]! & 0xffff };
  }

  read(entry: number): Peer {
    const bytes = (offset: number, length: number) =>
      new Uint8Array(this.#view.buffer, PEERS_BASE + entry * PEER_BYTES + offset, length).slice();
    const ipv4 = { network: bytes(PEER_IPV4_OFFSET, 4), mask: bytes(PEER_IPV4_MASK_OFFSET, 4) };
    const ipv6 = { network: bytes(PEER_IPV6_OFFSET, 16), mask: bytes(PEER_IPV6_MASK_OFFSET, 16) };
    return {
      address: bytes(PEER_ADDRESS_OFFSET, 16),
      ipv4: isNone(ipv4) ? undefined : ipv4,
      ipv6: isNone(ipv6) ? undefined : ipv6,
    };
  }

  counters(entry: number): PeerCounters {
    const at = PEERS_BASE + entry * PEER_BYTES;
    const count = (offset: number) => Number(this.#view.getBigUint64(at + offset, true));
    return {
      rxPackets: count(PEER_RX_PACKETS_OFFSET),
      rxBytes: count(PEER_RX_BYTES_OFFSET),
      addressDrops: count(PEER_ADDRESS_DROPS_OFFSET),
      subnetDrops: count(PEER_SUBNET_DROPS_OFFSET),
      txPackets: count(PEER_TX_PACKETS_OFFSET),
      txBytes: count(PEER_TX_BYTES_OFFSET),
      last: this.#view.getUint32(at + PEER_LAST_OFFSET, true),
    };
  }

  /** A free entry, -1 = there is none. */
  #take(): number {
    if (this.#waiting.length > (this.#fresh < PEER_COUNT ? WAITING_LEAST : 0)) return this.#waiting.shift()!;
    return this.#fresh < PEER_COUNT ? this.#fresh++ : -1;
  }

  #write(entry: number, { address, ipv4 = NO_IPV4, ipv6 = NO_IPV6 }: Peer): void {
    let word = entry * ENTRY_WORDS + ADDRESS_WORD;
    for (const bytes of [address, ipv4.network, ipv4.mask, ipv6.network, ipv6.mask]) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 0; at < bytes.length; at += WORD_BYTES) this.#store(word++, view.getUint32(at, true));
    }
  }

  /** The entries behind it, up to an empty slot, move up where they would be found no more. */
  #removeAt(slot: number): boolean {
    const entry = (this.#slots[slot]! & PEER_SLOT_ENTRY_MASK) - 1;
    if (entry < 0) return false;
    this.#change(() => {
      let gap = slot;
      for (let at = after(gap); this.#slots[at] !== 0; at = after(at)) {
        if (steps(this.#homeOf(at), at) < steps(gap, at)) continue;
        Atomics.store(this.#slots, gap, this.#slots[at]!);
        gap = at;
      }
      Atomics.store(this.#slots, gap, 0);
      this.#store(entry * ENTRY_WORDS + KEY_WORD, 0);
      this.#store(entry * ENTRY_WORDS + KEY_WORD + 1, 0);
    });
    this.#waiting.push(entry);
    return true;
  }

  /** Look-ups begin again that read while `write` ran. */
  #change(write: () => void): void {
    const odd = this.#version[0]! | 1;
    Atomics.store(this.#version, 0, odd);
    try {
      write();
    } finally {
      Atomics.store(this.#version, 0, odd + 1);
    }
  }

  /** The slot of a key, or the empty one where it would be. */
  #slotOf(low: number, high: number): number {
    let slot = this.#hash(low, high) >>> PEER_HASH_SHIFT;
    for (; this.#slots[slot] !== 0; slot = after(slot)) {
      const at = ((this.#slots[slot]! & PEER_SLOT_ENTRY_MASK) - 1) * ENTRY_WORDS + KEY_WORD;
      if (this.#words[at] === low && this.#words[at + 1] === high) return slot;
    }
    return slot;
  }

  #homeOf(slot: number): number {
    const at = ((this.#slots[slot]! & PEER_SLOT_ENTRY_MASK) - 1) * ENTRY_WORDS + KEY_WORD;
    return this.#hash(this.#words[at]!, this.#words[at + 1]!) >>> PEER_HASH_SHIFT;
  }

  #hash(low: number, high: number): number {
    return mix(mix(this.#view.getUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, true), low), high);
  }

  #store(word: number, value: number): void {
    Atomics.store(this.#words, word, value);
  }
}

/** The high word of a key. */
function highOf(device: number, mac: Mac): number {
  return (mac.high | (device << DEVICE_SHIFT)) >>> 0;
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, PEER_HASH_MULTIPLIER);
  return mixed ^ (mixed >>> 15);
}

function after(slot: number): number {
  return (slot + 1) & (PEER_SLOT_COUNT - 1);
}

/** How far a look-up that begins at `from` walks to `to`. */
function steps(from: number, to: number): number {
  return (to - from) & (PEER_SLOT_COUNT - 1);
}

function isNone({ network, mask }: Prefix): boolean {
  return mask.every((byte) => byte === 0) && network.every((byte) => byte === 0xff);
}
