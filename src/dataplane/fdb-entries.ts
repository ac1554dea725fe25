/**
 * Changes to the FDB, entry by entry, in the kernel's terms (what `vxlan_fdb_update` and its
 * siblings do). Workers read and learn at any time, so all of this expects the lock, which
 * `locked` takes; `each` takes it anew for every entry, so that a worker waits for one entry and
 * never for a dump.
 */
import {
  DEVICE_FDB_COUNT_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  FANOUT_MAX,
  FDB_CAPACITY,
  FDB_CREATED_OFFSET,
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  FDB_USED_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_MAC_OFFSET,
  NTF_ADDED_BY_USER,
  NTF_EXT_LEARNED,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { readDomain } from './domains.ts';
import {
  deviceRecord,
  entryRecord,
  firstRemote,
  type Remote,
  readKey,
  readRemotes,
  sameRemote,
  writeRemote,
} from './fdb-record.ts';
import type { FdbDevice, Wanted } from './fdb-request.ts';
import { isAny, isGroup, type Mac } from './fdb-text.ts';

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
}

export class FdbEntries {
  readonly #view: DataView;
  readonly #exports: FdbExports;

  constructor(view: DataView, exports: FdbExports) {
    this.#view = view;
    this.#exports = exports;
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
      created: view.getUint32(record + FDB_CREATED_OFFSET, true),
      remotes: readRemotes(view, entry),
    };
  }

  /** @throws VtepError EXISTS, UNSUPPORTED or NO_SPACE; then nothing has changed */
  put(device: FdbDevice, wanted: Wanted, now: number): void {
    const entry = this.find(device.domain, wanted.mac);
    if (entry < 0) this.#create(device, wanted, now);
    else if (wanted.op === 'add') {
      throw new VtepError(
        'EXISTS',
        `${wanted.what}: File exists; use "replace", or "append" for one remote more`,
      );
    } else this.#update(entry, wanted, now);
  }

  /**
   * Removes a remote (absent or 0.0.0.0: the whole entry).
   * @returns whether there is such an entry; a remote that it doesn't have is no error
   */
  remove(domain: number, mac: Mac, remote: Remote | undefined): boolean {
    const entry = this.find(domain, mac);
    if (entry < 0) return false;
    const all = !remote || isAny(remote.address);
    this.removeRemotes(entry, (known) => all || sameRemote(known, remote));
    return true;
  }

  /** @returns how many went; the entry goes with the last one */
  removeRemotes(entry: number, goes: (remote: Remote) => boolean): number {
    const remotes = readRemotes(this.#view, entry);
    const going = remotes.flatMap((remote, position) => (goes(remote) ? [position] : []));
    if (going.length === remotes.length) this.#exports.fdbErase(entry);
    else if (going.length > 0) {
      this.#exports.fdbBeginChange(entry);
      for (const position of going.reverse()) this.#exports.fdbRemoveRemote(entry, position);
      this.#exports.fdbEndChange(entry);
    }
    return going.length;
  }

  /**
   * Removes an entry if nobody has heard of it for `ageing` seconds.
   * @returns how many seconds it has left, 0 = it went, Infinity = it doesn't age
   */
  expire(entry: number, device: number, now: number, ageing: number): number {
    const view = this.#view;
    const left = view.getUint32(entryRecord(entry) + FDB_UPDATED_OFFSET, true) + ageing - now;
    // Asked for the moment when it is due, the engine says whether it is one that ages.
    const due = now + Math.max(0, left);
    if (!this.#isOf(entry, device) || this.#exports.fdbNextExpired(device, entry, due, ageing) !== entry) {
      return Number.POSITIVE_INFINITY;
    }
    if (left > 0) return left;
    this.#exports.fdbErase(entry);
    return 0;
  }

  #create(device: FdbDevice, { what, op, mac, remote, state, flags }: Wanted, now: number): void {
    const view = this.#view;
    if (op === 'replace' && isGroup(mac)) {
      throw new VtepError(
        'UNSUPPORTED',
        `${what}: Operation not supported; use "append" for a multicast MAC`,
      );
    }
    const entry = this.#exports.fdbInsert(device.domain, mac.low, mac.high, now);
    if (entry < 0) {
      throw new VtepError('NO_SPACE', `${what}: No space left on device; ${this.#whyFull(device)}`);
    }
    view.setUint16(entryRecord(entry) + FDB_STATE_OFFSET, state, true);
    view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, flags, true);
    writeRemote(view, this.#exports.fdbAddRemote(entry), remote);
    this.#exports.fdbPublish(entry);
  }

  #whyFull(device: FdbDevice): string {
    const view = this.#view;
    const record = deviceRecord(device.index);
    const limit = view.getUint32(record + DEVICE_FDB_LIMIT_OFFSET, true);
    if (limit !== 0 && view.getUint32(record + DEVICE_FDB_COUNT_OFFSET, true) >= limit) {
      return `${device.name} has maxaddress ${limit}; remove entries first`;
    }
    const entries = view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true);
    return `all devices together have ${entries} of ${FDB_CAPACITY} entries; remove some first`;
  }

  #update(entry: number, wanted: Wanted, now: number): void {
    const view = this.#view;
    const { what, op, remote } = wanted;
    const record = entryRecord(entry);
    const before = this.read(entry);
    const group = isGroup(wanted.mac);
    if (op === 'replace' && group) {
      throw new VtepError(
        'UNSUPPORTED',
        `${what}: Cannot replace non-unicast fdb entries.; use "append" and "del" with "dst"`,
      );
    }
    // What was learned elsewhere does not take over what a command made.
    const keeps = (wanted.flags & NTF_EXT_LEARNED) !== 0 && (before.flags & NTF_ADDED_BY_USER) !== 0;
    const { state, flags } = keeps ? before : wanted;
    const isThere = before.remotes.some((known) => sameRemote(known, remote));
    // A unicast MAC has one remote: appending to it changes state and flags and nothing else.
    const appends = op === 'append' && group && !isThere;
    const replaces = op === 'replace' && !isThere;
    if (appends && before.remotes.length >= FANOUT_MAX) throw noRemote(what);
    const changes = state !== before.state || flags !== before.flags || appends || replaces;
    if (changes) {
      this.#exports.fdbBeginChange(entry);
      const place = appends ? this.#exports.fdbAddRemote(entry) : firstRemote(entry);
      if (place !== 0) {
        if (appends || replaces) writeRemote(view, place, remote);
        view.setUint16(record + FDB_STATE_OFFSET, state, true);
        view.setUint16(record + FDB_FLAGS_OFFSET, flags, true);
      }
      this.#exports.fdbEndChange(entry);
      if (place === 0) throw noRemote(what);
    }
    if (changes || wanted.refresh) view.setUint32(record + FDB_UPDATED_OFFSET, now, true);
  }

  /** Whether the entry is there still. @param device 0 = any */
  #isOf(entry: number, device: number): boolean {
    const { domain } = readKey(this.#view, entry);
    const owner = domain === 0 ? 0 : readDomain(this.#view, domain).device;
    return owner !== 0 && (device === 0 || owner === device);
  }
}

function noRemote(what: string): VtepError {
  return new VtepError(
    'NO_SPACE',
    `${what}: No space left on device; a MAC has at most ${FANOUT_MAX} remotes, remove some first`,
  );
}
