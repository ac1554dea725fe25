/**
 * VNIs of external devices as commands see them: listed by `vni add` on a device with `vnifilter`, mapped to
 * VLANs on any external device. Each has a domain of its own, and so an FDB.
 *
 *   vni-request.ts      a request -> numbers, or a refusal
 *   vni-table.ts        the VNIs, and the steps by which they change
 *   vlan-map.ts         VLANs of the VNIs; vlans.ts: (device, VLAN) -> domain in memory
 *   vni.ts              (listener, VNI) -> domain in memory
 *   domain-counters.ts  what passed, by domain
 *
 * A VNI is received while its device is up: where there is `vnifilter` if it is listed, else if a VLAN is
 * mapped to it. Its domain outlives it while there are FDB entries, which the kernel keeps as well.
 *
 * Deliberate differences from the kernel (6.18): a refused request changes nothing (there a range is left half
 * done); a new destination takes the old one's place (there the old one stays, even when the VNI is deleted);
 * VNI 0 is refused in a range too, 16777216 and an IPv6 remote on an IPv4 device always.
 */
import { VtepError } from '../errors.ts';
import type { VniInfo, VniRequest, VtepEvent } from '../types.ts';
import { findDevice } from './device-names.ts';
import { readDomainStats } from './domain-counters.ts';
import { VlanMap } from './vlan-map.ts';
import type { Vni } from './vni.ts';
import {
  type Destination,
  isGroupAddress,
  readDestination,
  readDevice,
  readVnis,
  type VniDevice,
} from './vni-request.ts';
import {
  inUse,
  isKnown,
  isSame,
  takeBack,
  type Undo,
  type VniEntry,
  type VniState,
  type VnisHost,
  VniTable,
} from './vni-table.ts';

export type { Destination } from './vni-request.ts';
export { setDefault, type VnisHost } from './vni-table.ts';

export class Vnis {
  readonly #host: VnisHost;
  readonly #table: VniTable;
  readonly #vlans: VlanMap;

  constructor(host: VnisHost, vni: Vni) {
    this.#host = host;
    this.#table = new VniTable(host, vni);
    this.#vlans = new VlanMap(host.view, this.#table);
  }

  /** @throws VtepError USAGE, UNSUPPORTED, EXISTS, IN_USE, NOT_FOUND or NO_SPACE; then nothing has changed */
  apply(request: VniRequest): void {
    const { op, dev, vlan } = request;
    const what = `${vlan ? 'vlan' : 'vni'} ${op} dev ${dev}`;
    const device = this.#deviceOf(what, dev);
    if (!device.external) throw unsupported(what, 'external');
    if (!vlan && !device.vnifilter) throw unsupported(what, 'external vnifilter');
    const state = this.#table.stateOf(device.index);
    const events: VtepEvent[] = [];
    this.#whole(state, (undo) => {
      if (vlan) this.#vlans.apply(what, request, vlan, state, undo);
      else if (op === 'add') this.#add(what, request, device, state, events, undo);
      else this.#delete(what, request, device, state, events, undo);
    });
    for (const event of events) this.#host.emit(event);
  }

  /** Listed and mapped ones, by device, then by VNI. @param dev absent: all devices. @throws VtepError NOT_FOUND */
  show(dev?: string): VniInfo[] {
    const only = dev === undefined ? 0 : this.#deviceOf(`vni show dev ${dev}`, dev).index;
    const { view, workers } = this.#host;
    return this.#table
      .states()
      .filter(({ index }) => only === 0 || index === only)
      .flatMap((state) =>
        [...state.entries.values()]
          .filter(isKnown)
          .sort((one, other) => one.vni - other.vni)
          .map((entry) => ({
            ...this.#describe(state, entry),
            stats: readDomainStats(view, workers, entry.domain),
          })),
      );
  }

  /**
   * The domain of a VNI of an external device; VNI 0 is the device's own. 0 = it is neither listed nor mapped and has no FDB entries.
   * @param make give it one: FDB entries may come before `vni add`, as in the kernel
   * @throws VtepError NO_SPACE
   */
  domainOf(device: number, vni: number, make = false): number {
    if (!readDevice(this.#host.view, device, '').external) return 0;
    if (vni === 0) return device;
    const known = this.#table.find(device)?.entries.get(vni);
    if (known || !make) return known?.domain ?? 0;
    const state = this.#table.stateOf(device);
    const { domain } = this.#table.ensure(state, vni);
    // Not `reap`: the entry that it is made for is yet to come.
    this.#host.rebind(device);
    state.changed = false;
    return domain;
  }

  /** Whether a VNI is listed or mapped. */
  has(device: number, vni: number): boolean {
    const entry = this.#table.find(device)?.entries.get(vni);
    return entry !== undefined && isKnown(entry);
  }

  /**
   * The device comes up, or listens elsewhere.
   * @param listeners of both families
   * @throws VtepError IN_USE or NO_SPACE, or what joining a group throws; then it is as when down
   */
  open(device: number, listeners: readonly number[]): void {
    this.close(device);
    const state = this.#table.stateOf(device);
    state.listeners = listeners;
    this.#whole(state, (undo) => {
      undo.push(() => {
        state.listeners = undefined;
      });
      for (const entry of state.entries.values()) {
        if (this.#table.isReceived(state, entry)) this.#table.place(state, entry, undo);
        if (entry.own) this.#table.join(state, entry.own, undo);
      }
    });
  }

  /** The device goes down: none of its VNIs is received any more. */
  close(device: number): void {
    const state = this.#table.find(device);
    if (state?.listeners === undefined) return;
    for (const entry of state.entries.values()) {
      this.#table.displace(state, entry);
      if (entry.own) this.#table.leave(state, entry.own, []);
    }
    state.listeners = undefined;
  }

  /** The device's own default destination: VNIs that are listed and have none of theirs follow it. */
  setRemote(device: number, remote: Destination | undefined): void {
    const state = this.#table.stateOf(device);
    this.#whole(state, (undo) => {
      for (const entry of state.entries.values()) {
        if (entry.listed && !entry.own) this.#table.move(state, entry, remote, undo);
      }
    });
    state.remote = remote;
  }

  /** The device goes. Flush its FDB first: its entries are told by their domains. */
  remove(device: number): void {
    const state = this.#table.find(device);
    if (state === undefined) return;
    this.close(device);
    this.#vlans.release(device);
    this.#table.forget(state);
  }

  /** All of it or nothing. */
  #whole(state: VniState, work: (undo: Undo) => void): void {
    const undo: Undo = [];
    try {
      work(undo);
    } catch (error) {
      takeBack(undo);
      throw error;
    } finally {
      this.#table.reap(state);
    }
  }

  #add(
    what: string,
    request: VniRequest,
    device: VniDevice,
    state: VniState,
    events: VtepEvent[],
    undo: Undo,
  ): void {
    const vnis = readVnis(what, request.vni);
    const own = readDestination(what, request, device);
    for (const vni of vnis) {
      this.#checkUse(what, vni, device);
      const entry = this.#list(state, vni, own, undo);
      if (entry) events.push(this.#event(state, entry, false));
    }
  }

  /** @returns the entry if something changed */
  #list(state: VniState, vni: number, own: Destination | undefined, undo: Undo): VniEntry | undefined {
    const entry = this.#table.ensure(state, vni);
    const { own: before, listed } = entry;
    if (before && own && isSame(before, own)) return undefined;
    entry.listed = true;
    undo.push(() => {
      entry.listed = listed;
      entry.own = before;
    });
    this.#table.place(state, entry, undo);
    this.#table.move(state, entry, own ?? state.remote, undo);
    if (own) this.#table.join(state, own, undo);
    if (before) this.#table.leave(state, before, undo);
    entry.own = own;
    return !listed || entry.current || before ? entry : undefined;
  }

  #delete(
    what: string,
    request: VniRequest,
    device: VniDevice,
    state: VniState,
    events: VtepEvent[],
    undo: Undo,
  ): void {
    // A destination makes no difference here, but has to be a possible one, as in the kernel.
    readDestination(what, request, device);
    for (const vni of readVnis(what, request.vni)) {
      const entry = state.entries.get(vni);
      if (!entry?.listed) {
        throw new VtepError(
          'NOT_FOUND',
          `${what}: No such file or directory: VNI ${vni} is not listed; "vni show" shows those that are`,
        );
      }
      const { own } = entry;
      events.push(this.#event(state, entry, true));
      undo.push(() => {
        Object.assign(entry, { listed: true, own });
        this.#table.place(state, entry, []);
      });
      this.#table.move(state, entry, undefined, undo);
      if (own) this.#table.leave(state, own, undo);
      this.#table.displace(state, entry);
      Object.assign(entry, { listed: false, own: undefined });
    }
  }

  /** As the kernel: a VNI belongs to one of the devices that would share its socket, up or down. */
  #checkUse(what: string, vni: number, device: VniDevice): void {
    for (const { index, entries } of this.#table.states()) {
      if (index === device.index || !entries.get(vni)?.listed) continue;
      const other = readDevice(this.#host.view, index, this.#host.deviceName(index));
      const shares = other.port === device.port && other.receive === device.receive;
      if (shares && other.family === device.family) throw inUse(what, vni, other.name);
    }
  }

  #event(state: VniState, entry: VniEntry, deleted: boolean): VtepEvent {
    return { event: 'vni', deleted, entry: this.#describe(state, entry) };
  }

  #describe(state: VniState, { vni, listed, own, vlan, untagged, domain }: VniEntry): Omit<VniInfo, 'stats'> {
    const key = own && isGroupAddress(own.address) ? 'group' : 'remote';
    return {
      ifname: this.#host.deviceName(state.index),
      vni,
      listed,
      ...(own && { [key]: own.address }),
      ...(vlan !== undefined && { vlan }),
      ...(state.pvid?.domain === domain && { pvid: true }),
      ...(untagged && { untagged }),
    };
  }

  #deviceOf(what: string, name: string): VniDevice {
    return readDevice(this.#host.view, findDevice(this.#host, what, name, 'vxlan device'), name);
  }
}

function unsupported(what: string, needed: string): VtepError {
  return new VtepError(
    'UNSUPPORTED',
    `${what}: Operation not supported: the device is not ${needed}; add it with "${needed}"`,
  );
}
