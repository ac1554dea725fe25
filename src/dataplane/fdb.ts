/**
 * The forwarding database as commands see it: add, append, replace, del, get, show, flush and
 * ageing, with the meanings that `bridge fdb` has on a kernel VXLAN device (6.18).
 *
 *   fdb-text.ts      MACs, addresses, states and flags as words
 *   fdb-request.ts   a request -> numbers, or a refusal
 *   fdb-entries.ts   what a request does to an entry, under the lock
 *   fdb-record.ts    entries and remotes as bytes
 *
 * The one deliberate difference: a request that is refused changes nothing. (The kernel's
 * `replace` of a multicast MAC fails after it has overwritten the entry's state and flags.)
 */
import {
  DEVICE_AGEING_OFFSET,
  DEVICE_FAMILY_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_VNI_OFFSET,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_REACHABLE,
  REMOTE_VNI_DEFAULT,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { FdbEntry, FdbFlush, FdbRequest } from '../types.ts';
import { readDomain } from './domains.ts';
import { FdbEntries, type FdbExports, type Snapshot } from './fdb-entries.ts';
import { deviceRecord, type Remote, sameRemote } from './fdb-record.ts';
import {
  checkFamily,
  describe,
  type FdbDevice,
  readAddress,
  readFlush,
  readMac,
  readRemoteOf,
  readWanted,
} from './fdb-request.ts';
import { formatAddress, formatFlags, formatMac, formatState, isAny, isZero, ZERO_MAC } from './fdb-text.ts';

export type { FdbExports } from './fdb-entries.ts';

/** The table's surroundings: memory, engine, names and the clock. */
export interface FdbHost {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  readonly exports: FdbExports;
  /** Index of a device by its name; 0 = there is none. */
  deviceIndex(name: string): number;
  deviceName(index: number): string;
  /** Index of a network interface by its name; 0 = there is none. */
  ifindex(name: string): number;
  ifname(index: number): string;
  /** Seconds, of the clock that the engine is told. */
  now(): number;
}

/** Seconds between two runs of the kernel's ageing timer when nothing expires sooner. */
export const AGE_INTERVAL_SECONDS = 10;

export class Fdb {
  readonly #host: FdbHost;
  readonly #entries: FdbEntries;

  constructor(host: FdbHost) {
    this.#host = host;
    this.#entries = new FdbEntries(host.view, host.exports);
  }

  /**
   * add, append, replace or del.
   * @throws VtepError EXISTS, NOT_FOUND, UNSUPPORTED, USAGE or NO_SPACE; then nothing has changed
   */
  apply(request: FdbRequest): void {
    const what = describe(request.op, request.mac, request.dev);
    const device = this.#deviceOf(what, request.dev);
    const ifindex = (name: string) => this.#host.ifindex(name);
    if (request.op !== 'del') {
      const wanted = readWanted({ ...request, op: request.op }, device, ifindex);
      this.#entries.locked(() => this.#entries.put(device, wanted, this.#host.now()));
      return;
    }
    const mac = readMac(what, request.mac);
    const remote = readRemoteOf(what, request, device, ifindex);
    if (!this.#entries.locked(() => this.#entries.remove(device.domain, mac, remote))) {
      throw new VtepError('NOT_FOUND', `${what}: No such file or directory; ${whereToLook(device.name)}`);
    }
  }

  /** @param dev absent: all devices. @returns one line for each remote, the newest entry first */
  show(dev?: string): FdbEntry[] {
    const device = dev === undefined ? 0 : this.#deviceOf(`fdb show dev ${dev}`, dev).index;
    const found: Snapshot[] = [];
    this.#entries.each(device, (entry) => found.push(this.#entries.read(entry)));
    found.sort((one, other) => other.created - one.created);
    return found.flatMap((entry) => entry.remotes.map((remote) => this.#format(entry, remote)));
  }

  /** The first remote of an entry. @throws VtepError NOT_FOUND */
  get(dev: string, mac: string): FdbEntry {
    const what = describe('get', mac, dev);
    const device = this.#deviceOf(what, dev);
    const key = readMac(what, mac);
    const found = this.#entries.locked(() => {
      const entry = this.#entries.find(device.domain, key);
      return entry < 0 ? undefined : this.#entries.read(entry);
    });
    if (found) return this.#format(found, found.remotes[0]!);
    throw new VtepError('NOT_FOUND', `${what}: Fdb entry not found; ${whereToLook(dev)}`);
  }

  /** Without a filter all goes, the default remotes too, as the kernel has it. @returns how many remotes went */
  flush(filter: FdbFlush): number {
    const device = this.#deviceOf(`fdb flush dev ${filter.dev}`, filter.dev);
    const match = readFlush(filter, device);
    return this.#flush(device.index, (entry) => match.entry(entry.state, entry.flags), match.remote);
  }

  /** All entries of a device that is being deleted. Mark it down first, or it may learn in between. */
  flushDevice(device: number): number {
    return this.#flush(device, () => true);
  }

  /** What a device loses when it goes down: all that is dynamic but for the default remotes. Mark it down first. */
  flushDown(device: number): number {
    return this.#flush(
      device,
      ({ mac, state }) => (state & (NUD_PERMANENT | NUD_NOARP)) === 0 && !isZero(mac),
    );
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
      const left = this.#entries.locked(() => this.#entries.expire(entry, device, now, ageing));
      if (left === 0) removed++;
      else next = Math.min(next, left);
    }
    return { removed, next };
  }

  /**
   * Moves a device's default destination: the new one is appended to the all-zeros entry, then the
   * old one leaves it. Others that were appended by hand stay. Nothing happens when both are equal.
   * @param ifindex interface the default destination is reached through, 0 = by route
   * @throws VtepError USAGE, UNSUPPORTED or NO_SPACE; then nothing has changed
   */
  setDefaultRemote(
    device: number,
    before: string | undefined,
    after: string | undefined,
    ifindex: number,
  ): void {
    const owner = this.#device(device);
    const what = `link set ${owner.name} remote ${after ?? 'none'}`;
    const remote = (text: string | undefined): Remote | undefined => {
      const address = text === undefined ? undefined : readAddress(what, text);
      if (!address || isAny(address)) return undefined;
      checkFamily(what, address, owner);
      return { address, port: 0, vni: REMOTE_VNI_DEFAULT, ifindex };
    };
    const old = remote(before);
    const wanted = remote(after);
    if (old && wanted && sameRemote(old, wanted)) return;
    const entry = { what, mac: ZERO_MAC, state: NUD_REACHABLE | NUD_PERMANENT, flags: NTF_SELF };
    this.#entries.locked(() => {
      if (wanted) {
        this.#entries.put(
          owner,
          { ...entry, op: 'append', remote: wanted, refresh: false },
          this.#host.now(),
        );
      }
      if (old) this.#entries.remove(device, ZERO_MAC, old);
    });
  }

  #flush(
    device: number,
    matches: (entry: Snapshot) => boolean,
    goes: (remote: Remote) => boolean = () => true,
  ): number {
    let removed = 0;
    this.#entries.each(device, (entry) => {
      if (matches(this.#entries.read(entry))) removed += this.#entries.removeRemotes(entry, goes);
    });
    return removed;
  }

  #deviceOf(what: string, name: string): FdbDevice {
    const index = this.#host.deviceIndex(name);
    if (index !== 0) return this.#device(index);
    throw new VtepError(
      'NOT_FOUND',
      `${what}: Cannot find device "${name}"; "link show" lists what there is`,
    );
  }

  #device(index: number): FdbDevice {
    const { view } = this.#host;
    const record = deviceRecord(index);
    return {
      index,
      domain: index,
      name: this.#host.deviceName(index),
      family: view.getUint8(record + DEVICE_FAMILY_OFFSET),
      vni: view.getUint32(record + DEVICE_VNI_OFFSET, true),
      port: view.getUint16(record + DEVICE_PORT_OFFSET, true),
    };
  }

  /** Keys in the order of `bridge -j fdb`; what is the device's own is left out. */
  #format(entry: Snapshot, remote: Remote): FdbEntry {
    const now = this.#host.now();
    return {
      mac: formatMac(entry.mac),
      ifname: this.#host.deviceName(readDomain(this.#host.view, entry.domain).device),
      dst: formatAddress(remote.address),
      ...(remote.port !== 0 && { port: remote.port }),
      ...(remote.vni !== REMOTE_VNI_DEFAULT && { vni: remote.vni }),
      ...(remote.ifindex !== 0 && { viaIf: this.#host.ifname(remote.ifindex) }),
      used: Math.max(0, now - entry.used),
      updated: Math.max(0, now - entry.updated),
      flags: formatFlags(entry.flags),
      state: formatState(entry.state),
    };
  }
}

function whereToLook(dev: string): string {
  return `"fdb show dev ${dev}" lists what there is`;
}
