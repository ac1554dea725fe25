/**
 * The VNIs that an external device has, and the single steps by which they change: domains, reception, default
 * destinations, groups. A step that can be taken back says how in `undo`; vnis.ts puts steps together and, when
 * one is refused, takes back those before it.
 */
import { VtepError } from '../errors.ts';
import type { VtepEvent } from '../types.ts';
import type { DeviceNames } from './device-names.ts';
import { clearDomainStats } from './domain-counters.ts';
import { freeDomain, releaseDomain, setPolicy, writeDomain } from './domains.ts';
import type { Fdb } from './fdb.ts';
import { readKey } from './fdb-record.ts';
import type { Vni } from './vni.ts';
import { type Destination, isGroupAddress, readDevice } from './vni-request.ts';

/** The surroundings: memory, engine, names, and who carries out what is more than memory. */
export interface VnisHost extends DeviceNames {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  readonly exports: { fdbNext(device: number, from: number): number };
  /** Worker blocks in the memory. */
  readonly workers: number;
  /** `setDefault` below, on the dataplane's FDB. @throws VtepError, then nothing has changed */
  setDefault(
    device: number,
    domain: number,
    before: Destination | undefined,
    after: Destination | undefined,
  ): void;
  /** Once for each group that VNIs of a device that is up send to; others may have joined it too. */
  joinGroup(device: number, address: string): void;
  leaveGroup(device: number, address: string): void;
  emit(event: VtepEvent): void;
  /** A VNI is neither listed nor mapped: what else is set for it goes too. */
  forgetVni(device: number, vni: number): void;
  /** Domains of a device have come or gone, and none of them is another VNI's yet. */
  rebind(device: number): void;
}

export interface VniEntry {
  readonly vni: number;
  readonly domain: number;
  listed: boolean;
  /** Of its own; absent: the device's. */
  own: Destination | undefined;
  /** What stands in the FDB. */
  current: Destination | undefined;
  /** On the device's listeners. */
  placed: boolean;
  vlan: number | undefined;
  untagged: boolean;
}

export interface VniState {
  readonly index: number;
  readonly entries: Map<number, VniEntry>;
  /** Where the device listens; undefined: it is down. */
  listeners: readonly number[] | undefined;
  /** The device's own default destination. */
  remote: Destination | undefined;
  /** The VNI that untagged frames from the TAP are of. */
  pvid: VniEntry | undefined;
  /** How many VNIs have joined a group. */
  readonly groups: Map<string, number>;
  /** Its domains are other ones than the host was told of. */
  changed: boolean;
}

/** How to take back what has been done, in the order of the doing. */
export type Undo = (() => void)[];

export function takeBack(undo: Undo): void {
  for (const step of undo.reverse()) step();
}

/** Listed or mapped: there for commands to see. Others only keep their FDB entries. */
export function isKnown(entry: VniEntry): boolean {
  return entry.listed || entry.vlan !== undefined;
}

export function isSame(one: Destination, other: Destination): boolean {
  return one.address === other.address && one.ifindex === other.ifindex;
}

/**
 * Moves the default destination of a VNI: `after` is appended to its all-zeros entry, `dst A vni N src_vni N`, then
 * `before` leaves it, if it is there; each through its own interface.
 */
export function setDefault(
  fdb: Pick<Fdb, 'setDefaultRemote'>,
  device: number,
  domain: number,
  before: Destination | undefined,
  after: Destination | undefined,
): void {
  if (after) fdb.setDefaultRemote(device, undefined, after.address, after.ifindex, domain);
  if (before) fdb.setDefaultRemote(device, before.address, undefined, before.ifindex, domain);
}

export class VniTable {
  readonly #host: VnisHost;
  readonly #vni: Vni;
  readonly #states = new Map<number, VniState>();
  /** Where to look for a free domain. */
  #cursor = 0;

  constructor(host: VnisHost, vni: Vni) {
    this.#host = host;
    this.#vni = vni;
  }

  /** By index. */
  states(): VniState[] {
    return [...this.#states.values()].sort((one, other) => one.index - other.index);
  }

  find(device: number): VniState | undefined {
    return this.#states.get(device);
  }

  stateOf(device: number): VniState {
    const known = this.#states.get(device);
    if (known) return known;
    const state: VniState = {
      index: device,
      entries: new Map(),
      listeners: undefined,
      remote: undefined,
      pvid: undefined,
      groups: new Map(),
      changed: false,
    };
    this.#states.set(device, state);
    return state;
  }

  /** The VNI's entry, made with a domain if need be; `reap` takes it away again unless something keeps it. */
  ensure(state: VniState, vni: number): VniEntry {
    const known = state.entries.get(vni);
    if (known) return known;
    const { view, workers } = this.#host;
    const domain = this.#freeDomain();
    this.#cursor = domain + 1;
    clearDomainStats(view, workers, domain);
    writeDomain(view, domain, { device: state.index, vni });
    const entry = { vni, domain, listed: false, placed: false, untagged: false };
    const made: VniEntry = { ...entry, own: undefined, current: undefined, vlan: undefined };
    state.entries.set(vni, made);
    state.changed = true;
    return made;
  }

  #freeDomain(): number {
    try {
      return freeDomain(this.#host.view, this.#cursor);
    } catch (error) {
      // Domains whose FDB entries have aged out since may be left.
      for (const state of this.#states.values()) this.reap(state);
      if (error instanceof VtepError) return freeDomain(this.#host.view, this.#cursor);
      throw error;
    }
  }

  /** After changes: frees the domains of VNIs that are neither listed nor mapped and have no FDB entries any more. */
  reap(state: VniState): void {
    const { view } = this.#host;
    const idle = [...state.entries.values()].filter((entry) => !isKnown(entry));
    const inUse = idle.length === 0 ? new Set() : this.#domainsInUse(state.index);
    for (const { vni, domain } of idle) {
      setPolicy(view, domain, undefined);
      this.#host.forgetVni(state.index, vni);
      if (inUse.has(domain)) continue;
      releaseDomain(view, domain);
      state.entries.delete(vni);
      state.changed = true;
    }
    if (state.changed) this.#host.rebind(state.index);
    state.changed = false;
  }

  /** Those that have FDB entries. */
  #domainsInUse(device: number): Set<number> {
    const { view, exports } = this.#host;
    const found = new Set<number>();
    for (let at = exports.fdbNext(device, 0); at >= 0; at = exports.fdbNext(device, at + 1)) {
      found.add(readKey(view, at).domain);
    }
    return found;
  }

  /** The device's FDB has been flushed. */
  forget(state: VniState): void {
    for (const { domain } of state.entries.values()) releaseDomain(this.#host.view, domain);
    this.#states.delete(state.index);
  }

  /** Whether datagrams of the VNI are the device's while it is up. */
  isReceived(state: VniState, entry: VniEntry): boolean {
    const { vnifilter } = readDevice(this.#host.view, state.index, '');
    return vnifilter ? entry.listed : entry.vlan !== undefined;
  }

  /** The VNI is received from now on, if the device is up. @throws VtepError IN_USE, NO_SPACE */
  place(state: VniState, entry: VniEntry, undo: Undo): void {
    if (entry.placed || state.listeners === undefined) return;
    const done: number[] = [];
    const remove = () => {
      for (const listener of done) this.#vni.remove(listener, entry.vni);
      entry.placed = false;
    };
    try {
      for (const listener of state.listeners) {
        this.#vni.add(listener, entry.vni, entry.domain, state.index);
        done.push(listener);
      }
    } catch (error) {
      remove();
      if (!(error instanceof VtepError) || error.code !== 'EXISTS') throw error;
      throw inUse(`dev ${this.#host.deviceName(state.index)}`, entry.vni, 'another device');
    }
    entry.placed = true;
    undo.push(remove);
  }

  displace(state: VniState, entry: VniEntry): void {
    if (!entry.placed) return;
    entry.placed = false;
    for (const listener of state.listeners ?? []) this.#vni.remove(listener, entry.vni);
  }

  /** Gives the VNI another default destination. Where it has this one already, it is put back if it was flushed. */
  move(state: VniState, entry: VniEntry, after: Destination | undefined, undo: Undo): void {
    const { domain, current: before } = entry;
    if (!before && !after) return;
    const stays = before !== undefined && after !== undefined && isSame(before, after);
    this.#host.setDefault(state.index, domain, stays ? undefined : before, after);
    entry.current = after;
    undo.push(() => {
      if (!stays) this.#host.setDefault(state.index, domain, after, before);
      entry.current = before;
    });
  }

  /** A VNI of a device that is up sends to a group; unicast destinations need nothing. */
  join(state: VniState, { address }: Destination, undo: Undo): void {
    if (state.listeners === undefined || !isGroupAddress(address)) return;
    const users = state.groups.get(address) ?? 0;
    if (users === 0) this.#host.joinGroup(state.index, address);
    state.groups.set(address, users + 1);
    undo.push(() => this.#drop(state, address));
  }

  leave(state: VniState, destination: Destination, undo: Undo): void {
    const { address } = destination;
    if (state.listeners === undefined || !isGroupAddress(address)) return;
    this.#drop(state, address);
    undo.push(() => this.join(state, destination, []));
  }

  #drop(state: VniState, address: string): void {
    const users = state.groups.get(address) ?? 0;
    if (users > 1) state.groups.set(address, users - 1);
    else if (state.groups.delete(address)) this.#host.leaveGroup(state.index, address);
  }
}

export function inUse(what: string, vni: number, holder: string): VtepError {
  return new VtepError(
    'IN_USE',
    `${what}: VNI in use.: ${holder} has VNI ${vni} on this port; delete it there first`,
  );
}
