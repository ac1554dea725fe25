/**
 * Writes the table that assembly/neighbour.ts reads: (device, IP address) -> MAC. There is one writer, the thread
 * that follows the kernel's neighbours.
 */
import {
  HEADER_NEIGHBOUR_VERSION_OFFSET,
  NEIGHBOUR_HASH_SHIFT,
  NEIGHBOUR_SLOT_COUNT,
  NEIGHBOURS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { AddressTable } from './address-table.ts';
import { type Address, formatAddress, type Mac } from './fdb-text.ts';

export class Neighbours {
  readonly #table: AddressTable;

  constructor(memory: { readonly buffer: ArrayBufferLike }) {
    this.#table = new AddressTable(memory, {
      base: NEIGHBOURS_BASE,
      slots: NEIGHBOUR_SLOT_COUNT,
      shift: NEIGHBOUR_HASH_SHIFT,
      versionOffset: HEADER_NEIGHBOUR_VERSION_OFFSET,
    });
  }

  /**
   * Makes or changes a neighbour.
   * @param device 1 to 255
   * @param connected its state is PERMANENT, NOARP or REACHABLE: the proxy may answer for it
   * @throws VtepError USAGE when the device is out of range, NO_SPACE when the table is full
   */
  set(device: number, address: Address, mac: Mac, connected: boolean): void {
    if (this.#table.set(device, address, mac, connected)) return;
    throw new VtepError(
      'NO_SPACE',
      `neighbour ${formatAddress(address)}: all ${NEIGHBOUR_SLOT_COUNT - 1} slots are taken; delete others first`,
    );
  }

  /** @returns whether there was one to remove */
  remove(device: number, address: Address): boolean {
    return this.#table.remove(device, address);
  }

  /** Removes all neighbours of a device. */
  clear(device: number): void {
    this.#table.clear(device);
  }
}
