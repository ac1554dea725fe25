/**
 * Writes the table that assembly/peer.ts reads: (device, MAC) -> where frames of that MAC may come from. There is one
 * writer; assembly/layout.ts has the index and the entries (PEER_*).
 *
 * Readers take no lock. A slot of the index never moves: it lies in its home bucket, or, where that is full, in the
 * next one with room, and every full bucket on the way counts it as passed, so that a look-up knows where to end. An
 * entry has a version, odd while it is being changed. The index learns of an entry last when it is made, and forgets
 * it first when it goes.
 *
 * Workers add to the counters of an entry after a look at its key. So an entry that goes waits until others have gone
 * after it before it is another peer's.
 */
import {
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  PEER_ADDRESS_DROPS_OFFSET,
  PEER_BUCKET_COUNT,
  PEER_BUCKET_WORDS,
  PEER_BUCKETS_BASE,
  PEER_BYTES,
  PEER_COUNT,
  PEER_HASH_MULTIPLIER,
  PEER_HASH_SHIFT,
  PEER_KEY_OFFSET,
  PEER_LAST_OFFSET,
  PEER_RX_BYTES_OFFSET,
  PEER_RX_PACKETS_OFFSET,
  PEER_SLOT_ENTRY_MASK,
  PEER_SOURCE_BYTES,
  PEER_SOURCE_OFFSET,
  PEER_SUBNET_DROPS_OFFSET,
  PEER_TAG_SHIFT,
  PEER_TX_BYTES_OFFSET,
  PEER_TX_PACKETS_OFFSET,
  PEER_VERSION_OFFSET,
  PEERS_BASE,
} from '../../assembly/layout.ts';
import type { Mac } from './fdb-text.ts';

const WORD_BYTES = 4;
const LONG_BYTES = 8;
const ENTRY_WORDS = PEER_BYTES / WORD_BYTES;
const ENTRY_LONGS = PEER_BYTES / LONG_BYTES;
const KEY_WORD = PEER_KEY_OFFSET / WORD_BYTES;
const VERSION_WORD = PEER_VERSION_OFFSET / WORD_BYTES;
const SOURCE_WORD = PEER_SOURCE_OFFSET / WORD_BYTES;
const SOURCE_WORDS = PEER_SOURCE_BYTES / WORD_BYTES;
/** How far the device stands in the high word of a key, behind two bytes of the MAC. */
const DEVICE_SHIFT = 16;
/** Entries that wait at least before one of them is used again, while there are fresh ones. */
const WAITING_LEAST = 64;

/** u64s. */
const COUNTERS = [
  PEER_RX_PACKETS_OFFSET,
  PEER_RX_BYTES_OFFSET,
  PEER_ADDRESS_DROPS_OFFSET,
  PEER_SUBNET_DROPS_OFFSET,
  PEER_TX_PACKETS_OFFSET,
  PEER_TX_BYTES_OFFSET,
];

interface Key {
  low: number;
  high: number;
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

export class PeerTable {
  readonly #view: DataView;
  /** Buckets: what was passed, then slots. */
  readonly #index: Uint32Array;
  readonly #words: Uint32Array;
  readonly #longs: BigUint64Array;
  /** Entries handed out so far; those below it that are free wait in a row. */
  #fresh = 0;
  #waiting: number[] = [];

  constructor(view: DataView) {
    const { buffer } = view;
    this.#view = view;
    this.#index = new Uint32Array(buffer, PEER_BUCKETS_BASE, PEER_BUCKET_COUNT * PEER_BUCKET_WORDS);
    this.#words = new Uint32Array(buffer, PEERS_BASE, PEER_COUNT * ENTRY_WORDS);
    this.#longs = new BigUint64Array(buffer, PEERS_BASE, PEER_COUNT * ENTRY_LONGS);
  }

  /**
   * Makes or changes an entry; counters of one that is there go on.
   * @param source PEER_SOURCE_BYTES as readers want them, at the front of a buffer
   * @returns whether there was room
   */
  set(device: number, mac: Mac, source: Uint8Array): boolean {
    const key = { low: mac.low, high: highOf(device, mac) };
    const known = this.#find(key);
    if (known !== undefined) {
      this.#change(known.entry, () => this.#write(known.entry, source));
      return true;
    }
    const entry = this.#take();
    if (entry < 0) return false;
    this.#change(entry, () => {
      this.#clear(entry);
      this.#write(entry, source);
      this.#storeKey(entry, key);
    });
    this.#add(key, entry);
    return true;
  }

  /** @returns whether there was one to remove */
  remove(device: number, mac: Mac): boolean {
    const key = { low: mac.low, high: highOf(device, mac) };
    const found = this.#find(key);
    if (found === undefined) return false;
    const { entry, bucket, slot } = found;
    Atomics.store(this.#index, slot, 0);
    for (let at = this.#homeOf(key); at !== bucket; at = after(at))
      Atomics.sub(this.#index, at * PEER_BUCKET_WORDS, 1);
    this.#change(entry, () => this.#storeKey(entry, { low: 0, high: 0 }));
    this.#waiting.push(entry);
    return true;
  }

  /** Removes all entries of a device. */
  clear(device: number): void {
    for (const entry of this.each(device)) this.remove(device, this.macOf(entry));
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

  /** A copy of PEER_SOURCE_BYTES. */
  read(entry: number): Uint8Array {
    const at = PEERS_BASE + entry * PEER_BYTES + PEER_SOURCE_OFFSET;
    return new Uint8Array(this.#view.buffer, at, PEER_SOURCE_BYTES).slice();
  }

  counters(entry: number): PeerCounters {
    const count = (offset: number) => Number(this.#longs[entry * ENTRY_LONGS + offset / LONG_BYTES]!);
    return {
      rxPackets: count(PEER_RX_PACKETS_OFFSET),
      rxBytes: count(PEER_RX_BYTES_OFFSET),
      addressDrops: count(PEER_ADDRESS_DROPS_OFFSET),
      subnetDrops: count(PEER_SUBNET_DROPS_OFFSET),
      txPackets: count(PEER_TX_PACKETS_OFFSET),
      txBytes: count(PEER_TX_BYTES_OFFSET),
      last: this.#words[entry * ENTRY_WORDS + PEER_LAST_OFFSET / WORD_BYTES]!,
    };
  }

  /** A free entry, -1 = there is none. */
  #take(): number {
    if (this.#waiting.length > (this.#fresh < PEER_COUNT ? WAITING_LEAST : 0)) return this.#waiting.shift()!;
    return this.#fresh < PEER_COUNT ? this.#fresh++ : -1;
  }

  #write(entry: number, source: Uint8Array): void {
    const words = new Uint32Array(source.buffer, 0, SOURCE_WORDS);
    const at = entry * ENTRY_WORDS + SOURCE_WORD;
    for (let word = 0; word < SOURCE_WORDS; word++) Atomics.store(this.#words, at + word, words[word]!);
  }

  #clear(entry: number): void {
    const at = entry * ENTRY_LONGS;
    for (const offset of COUNTERS) this.#longs[at + offset / LONG_BYTES] = 0n;
    this.#words[entry * ENTRY_WORDS + PEER_LAST_OFFSET / WORD_BYTES] = 0;
  }

  #storeKey(entry: number, { low, high }: Key): void {
    const at = entry * ENTRY_LONGS + PEER_KEY_OFFSET / LONG_BYTES;
    Atomics.store(this.#longs, at, (BigInt(high) << 32n) | BigInt(low));
  }

  /** Readers pay no heed to what they see of the entry while `write` runs. */
  #change(entry: number, write: () => void): void {
    const at = entry * ENTRY_WORDS + VERSION_WORD;
    const version = this.#words[at]!;
    Atomics.store(this.#words, at, (version + 1) >>> 0);
    write();
    Atomics.store(this.#words, at, (version + 2) >>> 0);
  }

  /** Shows an entry to readers: there are more slots than entries. */
  #add(key: Key, entry: number): void {
    const tag = this.#hash(key) << PEER_TAG_SHIFT;
    for (let bucket = this.#homeOf(key); ; bucket = after(bucket)) {
      const line = bucket * PEER_BUCKET_WORDS;
      for (let slot = line + 1; slot < line + PEER_BUCKET_WORDS; slot++) {
        if (this.#index[slot] !== 0) continue;
        Atomics.store(this.#index, slot, (tag | (entry + 1)) >>> 0);
        return;
      }
      Atomics.add(this.#index, line, 1);
    }
  }

  #find(key: Key): { entry: number; bucket: number; slot: number } | undefined {
    let bucket = this.#homeOf(key);
    for (let step = 0; step < PEER_BUCKET_COUNT; step++) {
      const line = bucket * PEER_BUCKET_WORDS;
      for (let slot = line + 1; slot < line + PEER_BUCKET_WORDS; slot++) {
        const entry = (this.#index[slot]! & PEER_SLOT_ENTRY_MASK) - 1;
        if (entry < 0) continue;
        const at = entry * ENTRY_WORDS + KEY_WORD;
        if (this.#words[at] === key.low && this.#words[at + 1] === key.high) return { entry, bucket, slot };
      }
      if (this.#index[line] === 0) return undefined;
      bucket = after(bucket);
    }
    return undefined;
  }

  #homeOf(key: Key): number {
    return this.#hash(key) >>> PEER_HASH_SHIFT;
  }

  #hash({ low, high }: Key): number {
    return mix(mix(this.#view.getUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, true), low), high);
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

function after(bucket: number): number {
  return (bucket + 1) % PEER_BUCKET_COUNT;
}
