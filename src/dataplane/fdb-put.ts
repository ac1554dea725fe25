/**
 * What `add`, `append` and `replace` make of an entry, in the kernel's terms (`vxlan_fdb_update`), and how entries
 * with a nexthop group follow it. All of it expects the lock but `followNexthops`, which takes it.
 */
import {
  DEVICE_FDB_COUNT_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  FANOUT_MAX,
  FDB_CAPACITY,
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  NTF_ADDED_BY_USER,
  NTF_EXT_LEARNED,
  NTF_NEXTHOP,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FdbHost } from './fdb.ts';
import type { Change, FdbEntries, FdbExports, Snapshot } from './fdb-entries.ts';
import {
  countRemotes,
  deviceRecord,
  entryRecord,
  firstRemote,
  type Remote,
  readRemotes,
  sameRemote,
  writeRemote,
} from './fdb-record.ts';
import type { FdbDevice, Wanted } from './fdb-request.ts';
import { isGroup } from './fdb-text.ts';
import { type Nexthops, sameGroup } from './nexthops.ts';

export class FdbPut {
  readonly #view: DataView;
  readonly #exports: FdbExports;
  readonly #entries: FdbEntries;
  readonly #nexthops: Nexthops;
  /** Does anybody want to be told of changes? */
  readonly #isHeard: () => boolean;

  constructor(
    { view, exports, isHeard }: Pick<FdbHost, 'view' | 'exports' | 'isHeard'>,
    entries: FdbEntries,
    nexthops: Nexthops,
  ) {
    this.#view = view;
    this.#exports = exports;
    this.#isHeard = () => isHeard?.() ?? true;
    this.#entries = entries;
    this.#nexthops = nexthops;
  }

  /**
   * @returns what is to be told; undefined when nothing has changed, or nobody is to be told
   * @throws VtepError EXISTS, UNSUPPORTED, NO_SPACE, or what the group is refused with; then nothing has changed
   */
  put(device: FdbDevice, domain: number, wanted: Wanted, now: number): Change | undefined {
    const entry = this.#entries.find(domain, wanted.mac);
    if (entry < 0) return this.#create(device, domain, wanted, now);
    if (wanted.op !== 'add') return this.#update(device, entry, wanted, now);
    throw new VtepError(
      'EXISTS',
      `${wanted.what}: File exists; use "replace", or "append" for one remote more`,
    );
  }

  /** Gives every entry with a nexthop group the members that the group has now; without a group it goes, untold. */
  followNexthops(): void {
    for (const [entry, nhid] of this.#entries.nhids) {
      this.#entries.locked(() => {
        const remotes = this.#nexthops.remotesOf(nhid);
        if (remotes === undefined) this.#entries.erase(entry);
        else if (!sameGroup(readRemotes(this.#view, entry), remotes)) {
          this.#rewrite(entry, remotes);
          this.#entries.follow(entry);
        }
      });
    }
  }

  #create(device: FdbDevice, domain: number, wanted: Wanted, now: number): Change | undefined {
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
    if (nhid) this.#entries.nhids.set(entry, nhid);
    this.#exports.fdbPublish(entry);
    this.#entries.follow(entry);
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
    const before = this.#entries.read(entry);
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
        this.#entries.nhids.set(entry, nhid!);
        this.#rewrite(entry, members);
      }
      this.#entries.follow(entry);
    }
    if (changes || wanted.refresh) view.setUint32(record + FDB_UPDATED_OFFSET, now, true);
    if (changes) return this.#told(entry, appends || replaces ? remote : undefined);
    return undefined;
  }

  /** The change of an entry that exists. @param remote absent: the first one */
  #told(entry: number, remote?: Remote): Change | undefined {
    if (!this.#isHeard()) return undefined;
    const after = this.#entries.read(entry);
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
    while (countRemotes(this.#view, entry) > 0) this.#exports.fdbRemoveRemote(entry, 0);
  }

  /** @returns whether there was room for all */
  #fill(entry: number, remotes: readonly Remote[]): boolean {
    return remotes.every((remote) => {
      const place = this.#exports.fdbAddRemote(entry);
      if (place !== 0) writeRemote(this.#view, place, remote);
      return place !== 0;
    });
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
