/**
 * The multicast database as commands see it: add, replace, del, get, show and flush, with the meanings that
 * `bridge mdb` has on a kernel VXLAN device (6.18).
 *
 *   mdb-text.ts      groups and protocols as words
 *   mdb-request.ts   a request -> numbers, or a refusal
 *   mdb-model.ts     what a request does to the entries of a device
 *   mdb-table.ts     entries as packets find them
 *
 * Deliberate differences: a request that is refused changes nothing; a remote must be of the device's
 * family; a source of all zeros is no source.
 */
import { DEVICE_FLAG_MDB, DEVICE_FLAGS_OFFSET, FANOUT_MAX, MDB_CAPACITY } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { MdbEntry, MdbFlush, MdbRequest } from '../types.ts';
import { type DeviceNames, findDevice } from './device-names.ts';
import { deviceRecord } from './fdb-record.ts';
import { type FdbDevice, readFdbDevice } from './fdb-request.ts';
import { formatAddress, parseAddress } from './fdb-text.ts';
import { eligible, MdbDraft, type MdbNotice, type MdbRecord, type MdbRemote } from './mdb-model.ts';
import { readFlush, readGroup, readWanted } from './mdb-request.ts';
import { type MdbExports, MdbTable, type Placed } from './mdb-table.ts';
import { formatProtocol, keyOf, type MdbGroup } from './mdb-text.ts';

export type { MdbExports } from './mdb-table.ts';

/** The database's surroundings: memory, engine, names and the clock. */
export interface MdbHost extends DeviceNames {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  readonly exports: MdbExports;
  /** Index of a device's own interface. */
  deviceIfindex(index: number): number;
  /** Domain that a device has for a VNI; 0 = none. */
  domainOf(index: number, vni: number): number;
  /** Index of a network interface by its name; 0 = there is none. */
  ifindex(name: string): number;
  /** Empty when the interface has gone. */
  ifname(index: number): string;
  /** Seconds, of the clock that the engine is told. */
  now(): number;
  /** Hears of each change, in the kernel's order, after it has been made. */
  emit(event: { event: 'mdb'; deleted: boolean; entry: MdbEntry }): void;
}

/** An entry, and where packets find it. */
interface Entry extends MdbRecord {
  /** 0 = there is no such VNI at present */
  readonly domain: number;
  /** Absent: nothing is to be sent. */
  readonly placed?: Placed;
}

type Entries = Map<string, Entry>;

export class Mdb {
  readonly #host: MdbHost;
  readonly #table: MdbTable;
  /** By device; entries in the order in which they were made. */
  readonly #devices = new Map<number, Entries>();

  constructor(host: MdbHost) {
    this.#host = host;
    this.#table = new MdbTable(host.view, host.exports);
  }

  /**
   * add, replace or del.
   * @throws VtepError EXISTS, NOT_FOUND, UNSUPPORTED, USAGE or NO_SPACE; then nothing has changed
   */
  apply(request: MdbRequest): void {
    const what = describe(request.op, request.grp, request.dev);
    const device = this.#deviceOf(what, request.dev);
    const { group, remote } = readWanted(what, request, device, (name) => this.#host.ifindex(name));
    const draft = new MdbDraft(what, this.#entriesOf(device.index));
    if (request.op === 'del') draft.remove(group, remote.address);
    else draft.add(group, remote, request.op === 'replace');
    this.#commit(what, device.index, draft);
  }

  /** @param dev absent: all devices. @returns one line for each remote, the newest entry first */
  show(dev?: string): MdbEntry[] {
    const devices =
      dev === undefined
        ? [...this.#devices.keys()].sort((one, other) => one - other)
        : [this.#deviceOf(`mdb show dev ${dev}`, dev).index];
    return devices.flatMap((device) =>
      [...this.#entriesOf(device).values()].reverse().flatMap((entry) => this.#lines(device, entry)),
    );
  }

  /** The remotes of one entry, newest first. @throws VtepError NOT_FOUND */
  get(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[] {
    const what = describe('get', grp, dev);
    const device = this.#deviceOf(what, dev);
    const named = { grp, ...(src !== undefined && { src }), ...(src_vni !== undefined && { src_vni }) };
    const entry = this.#entriesOf(device.index).get(keyOf(readGroup(what, named, device.vni)));
    if (entry) return this.#lines(device.index, entry);
    throw new VtepError(
      'NOT_FOUND',
      `${what}: vxlan: MDB entry not found. "mdb show dev ${dev}" lists what there is`,
    );
  }

  /** Without a filter all goes. @returns how many remotes went, those along with a (*, G) too */
  flush(filter: MdbFlush): number {
    const what = `mdb flush dev ${filter.dev}`;
    const { index } = this.#deviceOf(what, filter.dev);
    return this.#flush(what, index, readFlush(what, filter));
  }

  /** All entries of a device that is being deleted; to be called while it has its name still. */
  flushDevice(device: number): number {
    const removed = this.#flush('mdb flush', device, () => true);
    this.#devices.delete(device);
    return removed;
  }

  /**
   * To be called when VNIs of an external device have come or gone, and then before their domains are given
   * to another: entries stay, and packets find those only that have a domain. Also sets the device's flag
   * anew if its record was written over.
   */
  rebind(device: number): void {
    const entries = this.#entriesOf(device);
    const moved = [...entries.values()]
      .map((entry) => ({ entry, domain: this.#host.domainOf(device, entry.vni) }))
      .filter(({ entry, domain }) => domain !== entry.domain);
    if (moved.length > 0) {
      this.#table.atOnce(() => {
        for (const { entry, domain } of moved) {
          if (entry.domain !== 0) this.#table.remove(entry.domain, entry);
          if (domain !== 0) this.#table.set(domain, entry, entry.placed);
        }
      });
    }
    for (const { entry, domain } of moved) entries.set(keyOf(entry), { ...entry, domain });
    this.#setFlag(device, entries.size > 0);
  }

  #flush(what: string, device: number, matches: (record: MdbRecord, remote: MdbRemote) => boolean): number {
    const entries = this.#entriesOf(device);
    const draft = new MdbDraft(what, entries);
    for (const entry of [...entries.values()].reverse()) {
      for (const remote of entry.remotes) if (matches(entry, remote)) draft.removeRemote(entry, remote);
    }
    this.#commit(what, device, draft);
    return draft.notices.length;
  }

  /** Makes a draft true, for commands and packets at once. @throws VtepError NO_SPACE; then nothing has changed */
  #commit(what: string, device: number, { changes, notices }: MdbDraft): void {
    const entries = this.#entriesOf(device);
    this.#checkCapacity(what, entries, changes);
    const wanted = this.#placeAll(what, device, changes);
    this.#table.atOnce(() => {
      for (const [key, record] of changes) {
        const domain = entries.get(key)?.domain ?? this.#host.domainOf(device, record.vni);
        if (domain === 0) continue;
        if (record.remotes.length === 0) this.#table.remove(domain, record);
        else this.#table.set(domain, record, wanted.get(key));
      }
    });
    for (const [key, record] of changes) {
      const before = entries.get(key);
      if (before?.placed) this.#table.displace(before.placed);
      if (record.remotes.length === 0) {
        entries.delete(key);
        continue;
      }
      const domain = before?.domain ?? this.#host.domainOf(device, record.vni);
      const placed = wanted.get(key);
      entries.set(key, { ...record, domain, ...(placed && { placed }) });
    }
    if (entries.size > 0) this.#devices.set(device, entries);
    else this.#devices.delete(device);
    this.#setFlag(device, entries.size > 0);
    for (const notice of notices) this.#emit(device, notice);
  }

  #checkCapacity(what: string, entries: Entries, changes: ReadonlyMap<string, MdbRecord>): void {
    let count = 0;
    for (const { size } of this.#devices.values()) count += size;
    for (const [key, { remotes }] of changes) {
      count += Number(remotes.length > 0) - Number(entries.has(key));
    }
    if (count > MDB_CAPACITY) {
      throw noSpace(what, `all devices together may have ${MDB_CAPACITY} entries, remove some first`);
    }
  }

  #placeAll(what: string, device: number, changes: ReadonlyMap<string, MdbRecord>): Map<string, Placed> {
    const done = new Map<string, Placed>();
    for (const [key, record] of changes) {
      const remotes = eligible(record);
      if (remotes.length === 0) continue;
      const placed = this.#table.place(
        remotes.map((remote) => this.#onWire(device, record, remote)),
        this.#host.now(),
      );
      if (placed) {
        done.set(key, placed);
        continue;
      }
      for (const one of done.values()) this.#table.displace(one);
      throw noSpace(what, `an entry has at most ${FANOUT_MAX} remotes, or there are too many in all`);
    }
    return done;
  }

  #onWire(device: number, record: MdbRecord, { address, port, vni, ifindex }: MdbRemote) {
    const own = readFdbDevice(this.#host, device).port;
    return { address, port: port === own ? 0 : port, vni: vni || record.vni, ifindex };
  }

  #setFlag(device: number, on: boolean): void {
    const { view } = this.#host;
    const at = deviceRecord(device) + DEVICE_FLAGS_OFFSET;
    const flags = view.getUint32(at, true);
    view.setUint32(at, (on ? flags | DEVICE_FLAG_MDB : flags & ~DEVICE_FLAG_MDB) >>> 0, true);
  }

  #emit(device: number, { deleted, group, remote }: MdbNotice): void {
    this.#host.emit({ event: 'mdb', deleted, entry: this.#format(device, group, remote) });
  }

  #lines(device: number, entry: Entry): MdbEntry[] {
    return entry.remotes.map((remote) => this.#format(device, entry, remote));
  }

  #entriesOf(device: number): Entries {
    return this.#devices.get(device) ?? new Map();
  }

  #deviceOf(what: string, name: string): FdbDevice {
    return readFdbDevice(this.#host, findDevice(this.#host, what, name));
  }

  /** Keys in the order of `bridge -j -d mdb`; what is the device's own is left out. */
  #format(device: number, { vni, group, source }: MdbGroup, remote: MdbRemote): MdbEntry {
    const own = readFdbDevice(this.#host, device);
    return {
      index: this.#host.deviceIfindex(device),
      dev: own.name,
      grp: formatAddress(group),
      ...(source && { src: formatAddress(source) }),
      filter_mode: remote.mode,
      source_list: remote.sources.map(formatAddress),
      protocol: formatProtocol(remote.protocol),
      blocked: remote.blocked,
      dst: formatAddress(remote.address),
      ...(remote.port !== 0 && remote.port !== own.port && { dst_port: remote.port }),
      ...(remote.vni !== own.vni && { vni: remote.vni }),
      ...(own.external && vni !== 0 && { src_vni: vni }),
      // As iproute2 names an interface that has gone.
      ...(remote.ifindex !== 0 && { via: this.#host.ifname(remote.ifindex) || `if${remote.ifindex}` }),
    };
  }
}

/** Begins a message; the group in its one form, so that a typing error shows as it was typed. */
function describe(op: string, grp: string, dev: string): string {
  const group = parseAddress(grp);
  return `mdb ${op} ${group ? formatAddress(group) : grp} dev ${dev}`;
}

function noSpace(what: string, why: string): VtepError {
  return new VtepError('NO_SPACE', `${what}: No space left on device; ${why}`);
}
