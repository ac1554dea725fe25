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
import { type Address, formatAddress, type Mac, parseAddress, parseMac } from './fdb-text.ts';

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

  /**
   * What a program says of a neighbour of a device.
   * @param name the device's, for the words of errors
   * @param mac absent: it is no neighbour any more
   * @throws VtepError USAGE, NO_SPACE
   */
  apply(device: number, name: string, address: unknown, mac: unknown): void {
    const what = `neighbour ${String(address)} dev ${name}`;
    const parsed = typeof address === 'string' ? parseAddress(address) : undefined;
    if (parsed === undefined) throw new VtepError('USAGE', `${what}: that is no IP address`);
    if (mac === undefined) {
      this.remove(device, parsed);
      return;
    }
    const parsedMac = typeof mac === 'string' ? parseMac(mac) : undefined;
    if (parsedMac === undefined) throw new VtepError('USAGE', `${what}: "${String(mac)}" is no MAC`);
    this.set(device, parsed, parsedMac, true);
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
