/**
 * Reading, removing and ageing the FDB's entries; what requests make of them is in fdb-put.ts. Workers read and
 * learn at any time, so all of this expects the lock, which `locked` takes; `each` takes it anew for every entry,
 * so that a worker waits for one entry and never for a dump.
 */
import {
  FDB_CREATED_BYTES,
  FDB_CREATIONS_BASE,
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  FDB_USED_OFFSET,
  HEADER_BASE,
  HEADER_FDB_MAC_OFFSET,
  NUD_STALE,
} from '../../assembly/layout.ts';
import { readDomain } from './domains.ts';
import { entryRecord, type Remote, readKey, readRemotes, sameRemote } from './fdb-record.ts';
import { isAny, type Mac } from './fdb-text.ts';
import type { Senders } from './senders.ts';

/** What the table needs of the engine (assembly/fdb.ts). */
export interface FdbExports {
  fdbFind(domain: number, mac: number): number;
  fdbLock(): void;
  fdbUnlock(): void;
  fdbInsert(domain: number, macLow: number, macHigh: number, now: number): number;
  fdbPublish(entry: number): void;
  fdbErase(entry: number): void;
  fdbAddRemote(entry: number): number;
  fdbRemoveRemote(entry: number, position: number): void;
  fdbBeginChange(entry: number): void;
  fdbEndChange(entry: number): void;
  fdbNext(device: number, from: number): number;
  fdbNextExpired(device: number, from: number, now: number, ageing: number): number;
}

/** An entry as it was at one moment. */
export interface Snapshot {
  readonly mac: Mac;
  readonly domain: number;
  readonly state: number;
  readonly flags: number;
  readonly used: number;
  readonly updated: number;
  readonly created: number;
  readonly remotes: readonly Remote[];
  /** Nexthop group that the remotes are the members of; 0 = none. */
  readonly nhid: number;
}

/** What is to be told of an entry: it, or one of its remotes, is new, changed or gone. */
export interface Change {
  readonly deleted: boolean;
  /** As it is now, or as it was. */
  readonly entry: Snapshot;
  /** Absent for an entry with a nexthop group. */
  readonly remote?: Remote;
}

export class FdbEntries {
  readonly #view: DataView;
  readonly #exports: FdbExports;
  readonly #senders: Senders;
  /** Entry -> nexthop group. Workers neither make such entries nor take any away, so the host alone keeps this. */
  readonly nhids = new Map<number, number>();

  constructor(view: DataView, exports: FdbExports, senders: Senders) {
    this.#view = view;
    this.#exports = exports;
    this.#senders = senders;
  }

  locked<Result>(run: () => Result): Result {
    this.#exports.fdbLock();
    try {
      return run();
    } finally {
      this.#exports.fdbUnlock();
    }
  }

  /** Calls `visit` for each entry of a device (0 = of all) under the lock; not to be called under it. */
  each(device: number, visit: (entry: number) => void): void {
    const next = (from: number) => this.#exports.fdbNext(device, from);
    for (let entry = next(0); entry >= 0; entry = next(entry + 1)) {
      this.locked(() => {
        if (this.#isOf(entry, device)) visit(entry);
      });
    }
  }

  /** @returns the entry of a MAC, or -1 */
  find(domain: number, mac: Mac): number {
    const at = HEADER_BASE + HEADER_FDB_MAC_OFFSET;
    this.#view.setUint32(at, mac.low, true);
    this.#view.setUint32(at + 4, mac.high, true);
    return this.#exports.fdbFind(domain, at);
  }

  read(entry: number): Snapshot {
    const view = this.#view;
    const record = entryRecord(entry);
    return {
      ...readKey(view, entry),
      state: view.getUint16(record + FDB_STATE_OFFSET, true),
      flags: view.getUint16(record + FDB_FLAGS_OFFSET, true),
      used: view.getUint32(record + FDB_USED_OFFSET, true),
      updated: view.getUint32(record + FDB_UPDATED_OFFSET, true),
      created: view.getUint32(FDB_CREATIONS_BASE + entry * FDB_CREATED_BYTES, true),
      remotes: readRemotes(view, entry),
      nhid: this.nhids.get(entry) ?? 0,
    };
  }

  /**
   * Removes a remote (absent or 0.0.0.0: the whole entry).
   * @returns what went, undefined when there is no such entry; a remote that it doesn't have is no error
   */
  remove(domain: number, mac: Mac, remote: Remote | undefined): Change[] | undefined {
    const entry = domain === 0 ? -1 : this.find(domain, mac);
    if (entry < 0) return undefined;
    if (!remote || isAny(remote.address)) return this.removeRemotes(entry);
    // Members of a group are not the entry's to remove.
    return this.nhids.has(entry) ? [] : this.removeRemotes(entry, (known) => sameRemote(known, remote));
  }

  /** @param goes absent: all. @returns what went; the entry goes with the last one */
  removeRemotes(entry: number, goes?: (remote: Remote) => boolean): Change[] {
    const before = this.read(entry);
    const { remotes } = before;
    const going = remotes.flatMap((remote, position) => ((goes?.(remote) ?? true) ? [position] : []));
    if (goes === undefined || going.length === remotes.length) {
      this.erase(entry);
      if (before.nhid !== 0) return [{ deleted: true, entry: before }];
    } else if (going.length > 0) {
      this.#exports.fdbBeginChange(entry);
      for (const position of going.toReversed()) this.#exports.fdbRemoveRemote(entry, position);
      this.#exports.fdbEndChange(entry);
      this.follow(entry);
    }
    return going.map((position) => ({ deleted: true, entry: before, remote: remotes[position]! }));
  }

  erase(entry: number): void {
    this.nhids.delete(entry);
    this.#exports.fdbErase(entry);
    this.follow(entry);
  }

  /** An entry has been made or changed: who may send follows. */
  follow(entry: number): void {
    this.#senders.follow(entry);
  }

  /**
   * Removes an entry if nobody has heard of it for `ageing` seconds.
   * @returns how many seconds it has left (0 = it went, Infinity = it doesn't age), and what went
   */
  expire(entry: number, device: number, now: number, ageing: number): { left: number; gone: Change[] } {
    const view = this.#view;
    const left = view.getUint32(entryRecord(entry) + FDB_UPDATED_OFFSET, true) + ageing - now;
    // Asked for the moment when it is due, the engine says whether it is one that ages.
    const due = now + Math.max(0, left);
    if (!this.#isOf(entry, device) || this.#exports.fdbNextExpired(device, entry, due, ageing) !== entry) {
      return { left: Number.POSITIVE_INFINITY, gone: [] };
    }
    if (left > 0) return { left, gone: [] };
    const gone = this.removeRemotes(entry);
    return {
      left: 0,
      gone: gone.map((change) => ({ ...change, entry: { ...change.entry, state: NUD_STALE } })),
    };
  }

  /** Whether the entry is there still. @param device 0 = any */
  #isOf(entry: number, device: number): boolean {
    const { domain } = readKey(this.#view, entry);
    const owner = domain === 0 ? 0 : readDomain(this.#view, domain).device;
    return owner !== 0 && (device === 0 || owner === device);
  }
}
