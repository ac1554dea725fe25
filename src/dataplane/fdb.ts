/**
 * The forwarding database as commands see it: add, append, replace, del, get, show, flush and
 * ageing, with the meanings that `bridge fdb` has on a kernel VXLAN device (6.18).
 *
 *   fdb-text.ts      MACs, addresses, states and flags as words
 *   fdb-request.ts   a request -> numbers, or a refusal
 *   fdb-flush.ts     what a flush chooses
 *   fdb-put.ts       what a request makes of an entry, under the lock
 *   fdb-entries.ts   reading, removing and ageing entries, under the lock
 *   fdb-record.ts    entries and remotes as bytes
 *   fdb-show.ts      an entry -> words
 *   senders.ts       who may send to a device with `knownsenders`
 *   nexthops.ts      nexthop groups, which entries may name instead of a remote
 *
 * The one deliberate difference: a request that is refused changes nothing. (The kernel's
 * `replace` of a multicast MAC fails after it has overwritten the entry's state and flags.)
 */
import {
  DEVICE_AGEING_OFFSET,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_REACHABLE,
  REMOTE_VNI_DEFAULT,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FdbEntry, FdbFlush, FdbRequest, VtepEvent } from '../types.ts';
import { type DeviceNames, findDevice } from './device-names.ts';
import { readDomain } from './domains.ts';
import { type Change, FdbEntries, type FdbExports, type Snapshot } from './fdb-entries.ts';
import { readFlush } from './fdb-flush.ts';
import { FdbPut } from './fdb-put.ts';
import { deviceRecord, type Remote, sameRemote } from './fdb-record.ts';
import {
  checkFamily,
  checkNumber,
  describe,
  type FdbDevice,
  readAddress,
  readFdbDevice,
  readMac,
  readRemoteOf,
  readWanted,
} from './fdb-request.ts';
import { formatEntries, formatEntry } from './fdb-show.ts';
import { type Address, isAny, isZero, type Mac, ZERO_MAC } from './fdb-text.ts';
import { type NexthopInfo, Nexthops } from './nexthops.ts';
import { Senders } from './senders.ts';

export type { FdbExports } from './fdb-entries.ts';

/** The table's surroundings: memory, engine, names and the clock. */
export interface FdbHost extends DeviceNames {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  readonly exports: FdbExports;
  /** Index of a network interface by its name; 0 = there is none. */
  ifindex(name: string): number;
  /** "" when it has gone: then entries show the index. */
  ifname(index: number): string;
  /** Seconds, of the clock that the engine is told. */
  now(): number;
  /**
   * Domain of a VNI (1 to 16777215) of an external device; 0 = it has none. Absent: no device has further VNIs.
   * @param make give it one now, an entry is about to be added
   */
  domainOf?(device: number, vni: number, make: boolean): number;
  /** Hears of each change, once it has been made and the lock is free. */
  emit?(event: VtepEvent): void;
  /** Whether anybody hears what is emitted; absent: always. */
  isHeard?(): boolean;
  /** Asks for all nexthops at once; called when a request names one that has not been reported (`setNexthops`). */
  readNexthops?(): readonly NexthopInfo[];
}

/** What removed an entry. */
type Reason = 'command' | 'aged' | 'flushed' | 'device';

/** Seconds between two runs of the kernel's ageing timer when nothing expires sooner. */
const AGE_INTERVAL_SECONDS = 10;

export class Fdb {
  readonly #host: FdbHost;
  readonly #nexthops = new Nexthops();
  readonly #senders: Senders;
  readonly #entries: FdbEntries;
  readonly #put: FdbPut;

  constructor(host: FdbHost) {
    this.#host = host;
    this.#senders = new Senders(host.view);
    this.#entries = new FdbEntries(host.view, host.exports, this.#senders);
    this.#put = new FdbPut(host, this.#entries, this.#nexthops);
  }

  /**
   * add, append, replace or del.
   * @throws VtepError EXISTS, NOT_FOUND, UNSUPPORTED, USAGE or NO_SPACE; then nothing has changed
   */
  apply(request: FdbRequest): void {
    const what = describe(request.op, request.mac, request.dev);
    const device = this.#deviceOf(what, request.dev);
    const ifindex = (name: string) => this.#host.ifindex(name);
    checkNumber(what, 'src_vni', request.src_vni ?? 0, VXLAN_VNI_MAX);
    checkNumber(what, 'nhid', request.nhid ?? 0, 0xffffffff);
    if (request.op !== 'del') {
      const wanted = readWanted(request, request.op, device, ifindex);
      const domain = this.#domainOf(what, device, request.src_vni, true);
      if (wanted.nhid && !this.#nexthops.has(wanted.nhid) && this.#host.readNexthops)
        this.setNexthops(this.#host.readNexthops());
      const change = this.#entries.locked(() => this.#put.put(device, domain, wanted, this.#host.now()));
      if (change) this.#tell([change]);
      return;
    }
    const mac = readMac(what, request.mac);
    const remote = readRemoteOf(what, request, device, ifindex);
    const domain = this.#domainOf(what, device, request.src_vni, false);
    const gone = this.#entries.locked(() => this.#entries.remove(domain, mac, remote));
    if (gone === undefined)
      throw new VtepError('NOT_FOUND', `${what}: No such file or directory; ${whereToLook(device.name)}`);
    this.#tell(gone, 'command');
  }

  /** @param dev absent: all devices. @returns one line for each remote, the newest entry first */
  show(dev?: string): FdbEntry[] {
    const device = dev === undefined ? 0 : this.#deviceOf(`fdb show dev ${dev}`, dev).index;
    return this.#collect(device).flatMap(({ entry }) => formatEntries(this.#host, entry));
  }

  /** The first remote of an entry. @param vni of an external device; absent: 0. @throws VtepError NOT_FOUND, USAGE */
  get(dev: string, mac: string, vni?: number): FdbEntry {
    const what = describe('get', mac, dev);
    const device = this.#deviceOf(what, dev);
    const key = readMac(what, mac);
    checkNumber(what, 'vni', vni ?? 0, VXLAN_VNI_MAX);
    const domain = this.#domainOf(what, device, vni, false);
    const found = this.#read(domain, key);
    if (found) return formatEntries(this.#host, found)[0]!;
    throw new VtepError('NOT_FOUND', `${what}: Fdb entry not found.; ${whereToLook(dev)}`);
  }

  /** Without a filter all goes, the default remotes too, as the kernel has it. @returns how many remotes went */
  flush(filter: FdbFlush): number {
    const what = `fdb flush dev ${filter.dev}`;
    const device = this.#deviceOf(what, filter.dev, 'bridge device');
    const match = readFlush(filter, device);
    const matches = (entry: Snapshot) =>
      match.entry({ ...entry, vni: readDomain(this.#host.view, entry.domain).vni });
    return this.#flush(device.index, 'flushed', matches, match.remote);
  }

  /** All entries of a device that is being deleted. Mark it down first, or it may learn in between. */
  flushDevice(device: number): number {
    return this.#flush(device, 'device', () => true);
  }

  /** What a device loses when it goes down: all that is dynamic but for the default remotes. Mark it down first. */
  flushDown(device: number): number {
    const matches = ({ mac, state }: Snapshot) => (state & (NUD_PERMANENT | NUD_NOARP)) === 0 && !isZero(mac);
    return this.#flush(device, 'device', matches);
  }

  /** Removes what has expired. @returns how many entries, and in how many seconds to come again */
  age(device: number): { removed: number; next: number } {
    const { view, exports } = this.#host;
    const now = this.#host.now();
    const ageing = view.getUint32(deviceRecord(device) + DEVICE_AGEING_OFFSET, true);
    const soon = (from: number) => exports.fdbNextExpired(device, from, now + AGE_INTERVAL_SECONDS, ageing);
    let removed = 0;
    let next = AGE_INTERVAL_SECONDS;
    for (let entry = soon(0); entry >= 0; entry = soon(entry + 1)) {
      const { left, gone } = this.#entries.locked(() => this.#entries.expire(entry, device, now, ageing));
      if (left === 0) removed++;
      else next = Math.min(next, left);
      this.#tell(gone, 'aged');
    }
    return { removed, next };
  }

  /** All nexthops that there are now. Entries follow: new members are theirs at once, and those whose group has gone go, untold. */
  setNexthops(nexthops: readonly NexthopInfo[]): void {
    this.#nexthops.set(nexthops);
    this.#put.followNexthops();
  }

  /** Keeps the table of those who may send to a device, or no longer. Have it on before the device's flag is. */
  setKnownSenders(device: number, on: boolean): void {
    if (on === this.#senders.has(device)) return;
    if (!on) {
      this.#senders.remove(device);
      return;
    }
    this.#senders.add(device);
    this.#entries.each(device, (entry) => this.#entries.follow(entry));
  }

  /**
   * Moves the default destination of a device or of one of its VNIs: the new one is appended to the all-zeros
   * entry, then the old one leaves it. Others that were appended by hand stay. Nothing happens when both are equal.
   * @param ifindex interface the default destination is reached through, 0 = by route
   * @param domain of a VNI of an external device; absent: the device's own
   * @throws VtepError USAGE, UNSUPPORTED or NO_SPACE; then nothing has changed
   */
  setDefaultRemote(
    device: number,
    before: string | undefined,
    after: string | undefined,
    ifindex: number,
    domain: number = device,
  ): void {
    const owner = readFdbDevice(this.#host, device);
    const { vni } = readDomain(this.#host.view, domain);
    const what = `link set ${owner.name} remote ${after ?? 'none'}`;
    const remote = (text: string | undefined): Remote | undefined => {
      const address = text === undefined ? undefined : readAddress(what, text);
      if (!address || isAny(address)) return undefined;
      checkFamily(what, address, owner);
      return { address, port: 0, vni: vni === owner.vni ? REMOTE_VNI_DEFAULT : vni, ifindex };
    };
    const old = remote(before);
    const wanted = remote(after);
    if (old && wanted && sameRemote(old, wanted)) return;
    const entry = { what, mac: ZERO_MAC, state: NUD_REACHABLE | NUD_PERMANENT, flags: NTF_SELF };
    const changes = this.#entries.locked(() => {
      const appended = wanted && { ...entry, op: 'append' as const, remote: wanted, refresh: false };
      const change = appended && this.#put.put(owner, domain, appended, this.#host.now());
      const gone = (old && this.#entries.remove(domain, ZERO_MAC, old)) ?? [];
      return change ? [change, ...gone] : gone;
    });
    this.#tell(changes, 'command');
  }

  /**
   * What to tell of a MAC that a worker has learned or moved (EVENT_LEARNED, EVENT_MOVED).
   * @param address of the sender. @param ifindex it came in through when that is link-local, else 0
   * @returns the entry as it is now; as it was learned when it has gone since
   */
  describeLearned(domain: number, mac: Mac, address: Address, ifindex: number): FdbEntry {
    const now = this.#host.now();
    const learned = { address, port: 0, vni: REMOTE_VNI_DEFAULT, ifindex };
    const found = this.#read(domain, mac);
    if (found) {
      // A move changes the address alone; the entry may have moved on since.
      const remote = found.remotes[0] && { ...found.remotes[0], address };
      return formatEntry(this.#host, found, found.nhid === 0 ? (remote ?? learned) : undefined);
    }
    const entry = { mac, domain, state: NUD_REACHABLE, flags: NTF_SELF, used: now, updated: now };
    return formatEntry(this.#host, { ...entry, created: 0, remotes: [learned], nhid: 0 }, learned);
  }

  #read(domain: number, mac: Mac): Snapshot | undefined {
    return this.#entries.locked(() => {
      const entry = domain === 0 ? -1 : this.#entries.find(domain, mac);
      return entry < 0 ? undefined : this.#entries.read(entry);
    });
  }

  /** The entries of a device (0 = of all) in the order of a dump: the newest first. */
  #collect(device: number): { at: number; entry: Snapshot }[] {
    const found: { at: number; entry: Snapshot }[] = [];
    this.#entries.each(device, (at) => found.push({ at, entry: this.#entries.read(at) }));
    return found.sort((one, other) => other.entry.created - one.entry.created);
  }

  #flush(
    device: number,
    reason: Reason,
    matches: (entry: Snapshot) => boolean,
    goes?: (remote: Remote) => boolean,
  ): number {
    let removed = 0;
    for (const { at, entry } of this.#collect(device)) {
      if (!matches(entry)) continue;
      const gone = this.#entries.locked(() =>
        this.#entries.find(entry.domain, entry.mac) === at ? this.#entries.removeRemotes(at, goes) : [],
      );
      removed += gone.length;
      this.#tell(gone, reason);
    }
    return removed;
  }

  #tell(changes: readonly Change[], reason?: Reason): void {
    const { emit } = this.#host;
    if (!emit || this.#host.isHeard?.() === false) return;
    for (const { deleted, entry, remote } of changes) {
      const told = formatEntry(this.#host, entry, remote);
      emit.call(this.#host, {
        event: 'fdb',
        deleted,
        entry: told,
        ...(deleted && reason !== undefined && { reason }),
      });
    }
  }

  /** @returns 0 when there is none */
  #domainOf(what: string, device: FdbDevice, vni: number | undefined, make: boolean): number {
    // Other devices have the one table, whatever the request names.
    if (!device.external || !vni) return device.index;
    const domain = this.#host.domainOf?.(device.index, vni, make) ?? 0;
    if (domain !== 0 || !make) return domain;
    throw new VtepError(
      'UNSUPPORTED',
      `${what}: ${device.name} has no table for src_vni ${vni}; leave it out`,
    );
  }

  #deviceOf(what: string, name: string, kind?: string): FdbDevice {
    return readFdbDevice(this.#host, findDevice(this.#host, what, name, kind));
  }
}

function whereToLook(dev: string): string {
  return `"fdb show dev ${dev}" lists what there is`;
}
