/**
 * VLANs on the TAP of an external device and the VNIs they stand for, one for one: what `bridge vlan ...
 * tunnel_info` is to a bridge port, since a TAP carries no tunnel metadata. `pvid` and `untagged` mean on the TAP
 * what they mean on a bridge port.
 */
import { VtepError } from '../errors.ts';
import type { NumberRange, VniRequest } from '../types.ts';
import { setVlan } from './domains.ts';
import { Vlans } from './vlans.ts';
import { readVlans, readVnis } from './vni-request.ts';
import type { Undo, VniEntry, VniState, VniTable } from './vni-table.ts';

export class VlanMap {
  readonly #view: DataView;
  readonly #table: VniTable;
  readonly #vlans: Vlans;

  constructor(view: DataView, table: VniTable) {
    this.#view = view;
    this.#table = table;
    this.#vlans = new Vlans(view);
  }

  /** The device goes. */
  release(device: number): void {
    this.#vlans.release(device);
  }

  /** @throws VtepError USAGE, EXISTS, IN_USE or NO_SPACE; then `undo` takes back what has been done */
  apply(what: string, request: VniRequest, range: NumberRange, state: VniState, undo: Undo): void {
    const [first, last] = readVlans(what, range);
    if (request.remote !== undefined || request.group !== undefined) {
      throw new VtepError(
        'USAGE',
        `${what}: a VLAN has no remote or group: give it to the VNI with "vni add"`,
      );
    }
    if (request.op === 'del') {
      // VLANs without a mapping are no error, and which VNI is named makes no difference, as in the kernel.
      for (const entry of state.entries.values()) {
        if (entry.vlan !== undefined && entry.vlan >= first && entry.vlan <= last) this.#unmap(state, entry);
      }
      this.#tidy(state);
      return;
    }
    const vnis = readVnis(what, request.vni);
    if (vnis.length !== last - first + 1) {
      throw new VtepError(
        'USAGE',
        `${what}: Invalid argument: ${last - first + 1} VLANs and ${vnis.length} VNIs; give as many of one as of the other`,
      );
    }
    if (request.pvid && first !== last) {
      throw new VtepError('USAGE', `${what}: pvid cannot be configured for a vlan range: name one VLAN`);
    }
    this.#vlans.retain(what, state.index);
    undo.push(() => this.#tidy(state));
    for (const [step, vni] of vnis.entries()) this.#map(what, request, state, vni, first + step, undo);
  }

  #map(what: string, request: VniRequest, state: VniState, vni: number, vlan: number, undo: Undo): void {
    const entry = this.#table.ensure(state, vni);
    const { vlan: before, untagged } = entry;
    const { pvid } = state;
    const changes = (request.untagged && !untagged) || (request.pvid && pvid !== entry);
    const domain = this.#vlans.domainOf(state.index, vlan);
    if (before === vlan ? !changes : before !== undefined || domain !== 0) {
      const [taken, by] = before === undefined ? [vlan, `domain ${domain}`] : [before, `VNI ${vni}`];
      throw new VtepError(
        'EXISTS',
        `${what}: File exists: VLAN ${taken} is mapped to ${by}; delete that mapping first`,
      );
    }
    undo.push(() => {
      if (before === undefined) this.#unmap(state, entry);
      else this.#write(state, entry, vlan, untagged);
      state.pvid = pvid;
      this.#vlans.setUntagged(state.index, pvid?.domain ?? 0);
    });
    this.#write(state, entry, vlan, untagged || request.untagged === true);
    // Untagged frames are of one VLAN: whichever had them loses them.
    if (request.pvid) state.pvid = entry;
    this.#vlans.setUntagged(state.index, state.pvid?.domain ?? 0);
    if (this.#table.isReceived(state, entry)) this.#table.place(state, entry, undo);
  }

  #unmap(state: VniState, entry: VniEntry): void {
    if (entry.vlan === undefined) return;
    this.#vlans.set(state.index, entry.vlan, 0);
    if (state.pvid === entry) {
      state.pvid = undefined;
      this.#vlans.setUntagged(state.index, 0);
    }
    entry.vlan = undefined;
    entry.untagged = false;
    setVlan(this.#view, entry.domain, {});
    if (!this.#table.isReceived(state, entry)) this.#table.displace(state, entry);
  }

  #write(state: VniState, entry: VniEntry, vlan: number, untagged: boolean): void {
    entry.vlan = vlan;
    entry.untagged = untagged;
    setVlan(this.#view, entry.domain, { vlan, untagged });
    this.#vlans.set(state.index, vlan, entry.domain);
  }

  /** A device without mappings needs no table. */
  #tidy(state: VniState): void {
    for (const { vlan } of state.entries.values()) if (vlan !== undefined) return;
    this.#vlans.release(state.index);
  }
}
