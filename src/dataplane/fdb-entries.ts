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
  FDB_REMOTES_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  FDB_USED_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_MAC_OFFSET,
  NTF_ADDED_BY_USER,
  NTF_EXT_LEARNED,
  NTF_NEXTHOP,
  NUD_STALE,
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
import { type Nexthops, sameGroup } from './nexthops.ts';

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
  readonly #nexthops: Nexthops;
  /** Entry -> nexthop group. Workers neither make such entries nor take any away, so the host alone keeps this. */
  readonly #nhids = new Map<number, number>();

  constructor(view: DataView, exports: FdbExports, nexthops: Nexthops) {
    this.#view = view;
    this.#exports = exports;
    this.#nexthops = nexthops;
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
      nhid: this.#nhids.get(entry) ?? 0,
    };
  }

  /**
   * @returns what is to be told; undefined when nothing has changed
   * @throws VtepError EXISTS, UNSUPPORTED, NO_SPACE, or what the group is refused with; then nothing has changed
   */
  put(device: FdbDevice, domain: number, wanted: Wanted, now: number): Change | undefined {
    const entry = this.find(domain, wanted.mac);
    if (entry < 0) return this.#create(device, domain, wanted, now);
    if (wanted.op !== 'add') return this.#update(device, entry, wanted, now);
    throw new VtepError(
      'EXISTS',
      `${wanted.what}: File exists; use "replace", or "append" for one remote more`,
    );
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
    return this.#nhids.has(entry) ? [] : this.removeRemotes(entry, (known) => sameRemote(known, remote));
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
    }
    return going.map((position) => ({ deleted: true, entry: before, remote: remotes[position]! }));
  }

  erase(entry: number): void {
    this.#nhids.delete(entry);
    this.#exports.fdbErase(entry);
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

  /** Gives every entry with a nexthop group the members that the group has now; without a group it goes, untold. */
  followNexthops(): void {
    for (const [entry, nhid] of this.#nhids) {
      this.locked(() => {
        const remotes = this.#nexthops.remotesOf(nhid);
        if (remotes === undefined) this.erase(entry);
        else if (!sameGroup(readRemotes(this.#view, entry), remotes)) this.#rewrite(entry, remotes);
      });
    }
  }

  #create(device: FdbDevice, domain: number, wanted: Wanted, now: number): Change {
    const view = this.#view;
    const { what, op, mac, nhid, state, flags } = wanted;
    if (op === 'replace' && isGroup(mac)) {
      throw new VtepError(
        'UNSUPPORTED',
        `${what}: Operation not supported; use "append" for a multicast MAC`,
      );
    }
    const entry = this.#exports.fdbInsert(domain, mac.low, mac.high, now);
    if (entry < 0) {
      throw new VtepError('NO_SPACE', `${what}: No space left on device; ${this.#whyFull(device)}`);
    }
    // A reservation that is not published counts for nothing, should the group be refused.
    const remotes = nhid ? this.#nexthops.requested(what, nhid, device.family) : [wanted.remote!];
    view.setUint16(entryRecord(entry) + FDB_STATE_OFFSET, state, true);
    view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, flags | (nhid ? NTF_NEXTHOP : 0), true);
    if (!this.#fill(entry, remotes)) {
      this.#clear(entry);
      throw noRemote(what);
    }
    if (nhid) this.#nhids.set(entry, nhid);
    this.#exports.fdbPublish(entry);
    return this.#told(entry);
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

  #update(device: FdbDevice, entry: number, wanted: Wanted, now: number): Change | undefined {
    const view = this.#view;
    const { what, op, remote, nhid } = wanted;
    const record = entryRecord(entry);
    const before = this.read(entry);
    const group = isGroup(wanted.mac);
    checkUpdate(wanted, before, group);
    // What was learned elsewhere does not take over what a command made.
    const keeps = (wanted.flags & NTF_EXT_LEARNED) !== 0 && (before.flags & NTF_ADDED_BY_USER) !== 0;
    const state = keeps ? before.state : wanted.state;
    const flags = keeps ? before.flags : wanted.flags | (before.flags & NTF_NEXTHOP);
    const members =
      nhid && nhid !== before.nhid ? this.#nexthops.requested(what, nhid, device.family) : undefined;
    // An entry with a group keeps it whatever remote a request names.
    const isNew = before.nhid === 0 && !before.remotes.some((known) => sameRemote(known, remote!));
    // A unicast MAC has one remote: appending to it changes state and flags and nothing else.
    const appends = op === 'append' && group && isNew;
    const replaces = op === 'replace' && isNew;
    if (appends && before.remotes.length >= FANOUT_MAX) throw noRemote(what);
    const changes = state !== before.state || flags !== before.flags || appends || replaces || members;
    if (changes) {
      this.#exports.fdbBeginChange(entry);
      const place = appends ? this.#exports.fdbAddRemote(entry) : firstRemote(entry);
      if (place !== 0) {
        if (appends || replaces) writeRemote(view, place, remote!);
        view.setUint16(record + FDB_STATE_OFFSET, state, true);
        view.setUint16(record + FDB_FLAGS_OFFSET, flags, true);
      }
      this.#exports.fdbEndChange(entry);
      if (place === 0) throw noRemote(what);
      if (members) {
        this.#nhids.set(entry, nhid!);
        this.#rewrite(entry, members);
      }
    }
    if (changes || wanted.refresh) view.setUint32(record + FDB_UPDATED_OFFSET, now, true);
    if (changes) return this.#told(entry, appends || replaces ? remote : undefined);
    return undefined;
  }

  /** The change of an entry that exists. @param remote absent: the first one */
  #told(entry: number, remote?: Remote): Change {
    const after = this.read(entry);
    return { deleted: false, entry: after, ...(after.nhid === 0 && { remote: remote ?? after.remotes[0]! }) };
  }

  /** The pool may not have room for all members: then flows go to those that have. */
  #rewrite(entry: number, remotes: readonly Remote[]): void {
    this.#exports.fdbBeginChange(entry);
    this.#clear(entry);
    this.#fill(entry, remotes);
    this.#exports.fdbEndChange(entry);
  }

  #clear(entry: number): void {
    const count = () => this.#view.getUint32(entryRecord(entry) + FDB_REMOTES_OFFSET, true);
    while (count() > 0) this.#exports.fdbRemoveRemote(entry, 0);
  }

  /** @returns whether there was room for all */
  #fill(entry: number, remotes: readonly Remote[]): boolean {
    return remotes.every((remote) => {
      const place = this.#exports.fdbAddRemote(entry);
      if (place !== 0) writeRemote(this.#view, place, remote);
      return place !== 0;
    });
  }

  /** Whether the entry is there still. @param device 0 = any */
  #isOf(entry: number, device: number): boolean {
    const { domain } = readKey(this.#view, entry);
    const owner = domain === 0 ? 0 : readDomain(this.#view, domain).device;
    return owner !== 0 && (device === 0 || owner === device);
  }
}

/** @throws VtepError UNSUPPORTED: what the entry can't become */
function checkUpdate({ what, op, nhid }: Wanted, before: Snapshot, group: boolean): void {
  const refuse = (why: string) => {
    throw new VtepError('UNSUPPORTED', `${what}: ${why}`);
  };
  if (nhid && before.nhid === 0)
    refuse('Cannot replace an existing non nexthop fdb with a nexthop.; delete it first');
  if (nhid && op === 'append') refuse('Cannot append to a nexthop fdb.; add the nexthop to its group');
  if (op === 'replace' && group)
    refuse('Cannot replace non-unicast fdb entries.; use "append" and "del" with "dst"');
}

function noRemote(what: string): VtepError {
  return new VtepError(
    'NO_SPACE',
    `${what}: No space left on device; a MAC has at most ${FANOUT_MAX} remotes, remove some first`,
  );
}
