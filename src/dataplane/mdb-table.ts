/**
 * Writes what assembly/mdb.ts reads: (domain, group, source) -> an FDB entry under MDB_DOMAIN, which has the
 * remotes. There is one writer, and there are two tables: a change is made in the one that is not in use,
 * after the change before it, which that one has missed. Then the version is raised, and readers turn to it.
 * Who was reading the other one still notices by the version.
 */
import {
  FANOUT_MAX,
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  HEADER_BASE,
  HEADER_MDB_KEY_OFFSET,
  HEADER_MDB_VERSION_OFFSET,
  MDB_BASE,
  MDB_DOMAIN,
  MDB_NO_REMOTE,
  MDB_SLOT_BYTES,
  MDB_SLOT_COUNT,
  MDB_TABLE_BYTES,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
} from '../../assembly/layout.ts';
import type { FdbExports } from './fdb-entries.ts';
import { entryRecord, type Remote, writeRemote } from './fdb-record.ts';
import type { MdbGroup } from './mdb-text.ts';

export interface MdbExports extends FdbExports {
  mdbHome(slot: number): number;
}

/** An FDB entry under MDB_DOMAIN, and the number that is its MAC; absent where there is no remote. */
export interface Placed {
  readonly entry: number;
  readonly mac: number;
}

/** What becomes of a slot; `placed` null: it goes, absent: what matches is dropped. */
interface Step {
  readonly domain: number;
  readonly group: MdbGroup;
  readonly placed: Placed | undefined | null;
}

const SLOT_WORDS = MDB_SLOT_BYTES / 8;
const TABLE_WORDS = MDB_TABLE_BYTES / 8;
/** The words of a slot that are the key: all but entry and MAC, which are the high and the low half of two others. */
const LOW = 0xffffffffn;
const HIGH = LOW << 32n;
const KEY_MASKS = [LOW, HIGH, LOW | HIGH, LOW | HIGH, LOW | HIGH, LOW | HIGH];

export class MdbTable {
  readonly #view: DataView;
  readonly #exports: MdbExports;
  readonly #tables: readonly BigUint64Array[];
  /** The one that is being written. */
  #slots: BigUint64Array;
  readonly #key: BigUint64Array;
  readonly #version: Int32Array;
  /** Never given out twice, so that who looks for a MAC finds these remotes or none. */
  #lastMac = 0;
  /** Steps of the change being made, and of the one before. */
  #steps: Step[] = [];
  #lastSteps: Step[] = [];

  constructor(view: DataView, exports: MdbExports) {
    this.#view = view;
    this.#exports = exports;
    this.#tables = [0, 1].map(
      (table) => new BigUint64Array(view.buffer, MDB_BASE + table * MDB_TABLE_BYTES, TABLE_WORDS),
    );
    this.#slots = this.#tables[0]!;
    this.#key = new BigUint64Array(view.buffer, HEADER_BASE + HEADER_MDB_KEY_OFFSET, SLOT_WORDS);
    this.#version = new Int32Array(view.buffer, HEADER_BASE + HEADER_MDB_VERSION_OFFSET, 1);
  }

  /**
   * Puts remotes into the FDB, where nothing leads to them yet.
   * @returns undefined when there is no room
   */
  place(remotes: readonly Remote[], now: number): Placed | undefined {
    if (remotes.length > FANOUT_MAX) return undefined;
    const { fdbInsert, fdbAddRemote, fdbPublish } = this.#exports;
    this.#lastMac = this.#lastMac === 0xffffffff ? 1 : this.#lastMac + 1;
    const mac = this.#lastMac;
    return this.#locked(() => {
      const entry = fdbInsert(MDB_DOMAIN, mac, 0, now);
      if (entry < 0) return undefined;
      this.#view.setUint16(entryRecord(entry) + FDB_STATE_OFFSET, NUD_PERMANENT | NUD_NOARP, true);
      this.#view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, NTF_SELF, true);
      for (const remote of remotes) {
        const at = fdbAddRemote(entry);
        if (at === 0) {
          // An entry gives its remotes back when it is erased, and only what is published can be.
          fdbPublish(entry);
          this.#exports.fdbErase(entry);
          return undefined;
        }
        writeRemote(this.#view, at, remote);
      }
      fdbPublish(entry);
      return { entry, mac };
    });
  }

  displace({ entry }: Placed): void {
    this.#locked(() => this.#exports.fdbErase(entry));
  }

  /** Runs `change`, which calls `set` and `remove`; readers see all of it or nothing. */
  atOnce(change: () => void): void {
    this.#steps = [];
    change();
    const version = this.#version[0]! + 1;
    this.#slots = this.#tables[version & 1]!;
    for (const step of [...this.#lastSteps, ...this.#steps]) this.#take(step);
    this.#lastSteps = this.#steps;
    Atomics.store(this.#version, 0, version);
  }

  /** Adds or changes a slot; there are fewer than MDB_CAPACITY others. `placed` absent: what matches is dropped. */
  set(domain: number, group: MdbGroup, placed: Placed | undefined): void {
    this.#steps.push({ domain, group, placed });
  }

  remove(domain: number, group: MdbGroup): void {
    this.#steps.push({ domain, group, placed: null });
  }

  #take({ domain, group, placed }: Step): void {
    const { slot, found } = this.#walk(domain, group);
    if (placed === null) {
      if (found) this.#close(slot);
      return;
    }
    this.#key[0]! |= BigInt(placed?.entry ?? MDB_NO_REMOTE) << 32n;
    this.#key[1]! |= BigInt(placed?.mac ?? 0);
    this.#copy(this.#key, 0, slot * SLOT_WORDS);
  }

  /** Empties a slot. What lies behind it moves up, unless that were before its home. */
  #close(slot: number): void {
    let gap = slot;
    for (let at = next(gap); !this.#isEmpty(at); at = next(at)) {
      const home = this.#exports.mdbHome(this.#slots.byteOffset + at * MDB_SLOT_BYTES);
      if (distance(home, at) < distance(gap, at)) continue;
      this.#copy(this.#slots, at * SLOT_WORDS, gap * SLOT_WORDS);
      gap = at;
    }
    for (let word = 0; word < SLOT_WORDS; word++) Atomics.store(this.#slots, gap * SLOT_WORDS + word, 0n);
  }

  /** The slot that a key has, or else the empty one that it would get. Leaves the key in the header. */
  #walk(domain: number, { group, source }: MdbGroup): { slot: number; found: boolean } {
    const key = this.#key;
    key.fill(0n);
    key[0] = BigInt(domain);
    key[1] = BigInt(group.family) << 32n;
    const bytes = new Uint8Array(key.buffer, key.byteOffset + 16, 32);
    bytes.set(group.bytes);
    if (source) bytes.set(source.bytes, 16);
    let slot = this.#exports.mdbHome(key.byteOffset);
    while (!this.#isEmpty(slot)) {
      if (this.#has(slot)) return { slot, found: true };
      slot = next(slot);
    }
    return { slot, found: false };
  }

  #has(slot: number): boolean {
    return KEY_MASKS.every(
      (mask, word) => (this.#slots[slot * SLOT_WORDS + word]! & mask) === (this.#key[word]! & mask),
    );
  }

  #isEmpty(slot: number): boolean {
    return (this.#slots[slot * SLOT_WORDS]! & LOW) === 0n;
  }

  #copy(words: BigUint64Array, from: number, to: number): void {
    for (let word = 0; word < SLOT_WORDS; word++) {
      Atomics.store(this.#slots, to + word, words[from + word]!);
    }
  }

  #locked<Result>(run: () => Result): Result {
    this.#exports.fdbLock();
    try {
      return run();
    } finally {
      this.#exports.fdbUnlock();
    }
  }
}

function next(slot: number): number {
  return (slot + 1) % MDB_SLOT_COUNT;
}

/** Steps that a look-up takes from one slot to another. */
function distance(from: number, to: number): number {
  return (to - from + MDB_SLOT_COUNT) % MDB_SLOT_COUNT;
}
