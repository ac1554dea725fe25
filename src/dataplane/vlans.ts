/**
 * The VLAN tables that assembly/vni.ts reads: for an external device, which domain a VLAN on its TAP is.
 * Each change is one store.
 */
import {
  DEVICE_UNTAGGED_OFFSET,
  DEVICE_VLANS_OFFSET,
  VLAN_COUNT,
  VLAN_TABLE_COUNT,
  VLANS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { deviceRecord } from './fdb-record.ts';

/** VLAN 0 is a priority tag, 4095 is reserved (IEEE 802.1Q). */
export const VLAN_FIRST = 1;
export const VLAN_LAST = VLAN_COUNT - 2;

export class Vlans {
  readonly #view: DataView;
  /** The device that has the table, 0 = none. */
  readonly #owners = new Array<number>(VLAN_TABLE_COUNT).fill(0);

  constructor(view: DataView) {
    this.#view = view;
  }

  /** Gives a device its table, unless it has one. @throws VtepError NO_SPACE */
  retain(what: string, device: number): void {
    if (this.#owners.includes(device)) return;
    const table = this.#owners.indexOf(0);
    if (table < 0) {
      throw new VtepError(
        'NO_SPACE',
        `${what}: No space left on device: ${VLAN_TABLE_COUNT} devices have VLANs mapped to VNIs, the most there may be`,
      );
    }
    this.#owners[table] = device;
    this.#table(table).fill(0);
    this.#view.setUint16(deviceRecord(device) + DEVICE_VLANS_OFFSET, table + 1, true);
  }

  /** 0 = the VLAN is nobody's */
  domainOf(device: number, vlan: number): number {
    return this.#table(this.#owners.indexOf(device))[vlan] ?? 0;
  }

  /** @param domain 0 = the VLAN is nobody's; the device must have a table */
  set(device: number, vlan: number, domain: number): void {
    this.#table(this.#owners.indexOf(device))[vlan] = domain;
  }

  /** @param domain 0 = untagged frames are nobody's */
  setUntagged(device: number, domain: number): void {
    this.#view.setUint32(deviceRecord(device) + DEVICE_UNTAGGED_OFFSET, domain, true);
  }

  release(device: number): void {
    this.setUntagged(device, 0);
    this.#view.setUint16(deviceRecord(device) + DEVICE_VLANS_OFFSET, 0, true);
    const table = this.#owners.indexOf(device);
    if (table >= 0) this.#owners[table] = 0;
  }

  #table(table: number): Uint16Array {
    return new Uint16Array(this.#view.buffer, VLANS_BASE + table * VLAN_COUNT * 2, VLAN_COUNT);
  }
}
