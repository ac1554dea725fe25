/**
 * Who may send to a device with `knownsenders`: the remotes of those entries of its FDB that a command made, or
 * a controller, and that learning did not. Writes the table that assembly/sender.ts reads.
 *
 * Each such entry is noted with the addresses that it stands for, and each address with how many entries' remotes
 * have it: a change of one entry costs as much as that entry has remotes, however large the FDB is.
 */
import {
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  HEADER_SENDER_VERSION_OFFSET,
  NTF_EXT_LEARNED,
  NTF_NEXTHOP,
  NUD_NOARP,
  NUD_PERMANENT,
  SENDER_HASH_SHIFT,
  SENDER_SLOT_COUNT,
  SENDERS_BASE,
} from '../../assembly/layout.ts';
import { AddressTable } from './address-table.ts';
import { readDomain } from './domains.ts';
import { entryRecord, readKey, readRemotes } from './fdb-record.ts';
import { type Address, formatAddress, isAny, ZERO_MAC } from './fdb-text.ts';

interface Noted {
  device: number;
  addresses: readonly Address[];
}

export class Senders {
  readonly #view: DataView;
  readonly #table: AddressTable;
  readonly #devices = new Set<number>();
  /** Entry -> what it stands for. */
  readonly #noted = new Map<number, Noted>();
  /** "device address" -> remotes that have it */
  readonly #users = new Map<string, number>();

  constructor(view: DataView) {
    this.#view = view;
    this.#table = new AddressTable(view, {
      base: SENDERS_BASE,
      slots: SENDER_SLOT_COUNT,
      shift: SENDER_HASH_SHIFT,
      versionOffset: HEADER_SENDER_VERSION_OFFSET,
    });
  }

  /** Is the table kept for a device? */
  has(device: number): boolean {
    return this.#devices.has(device);
  }

  /** From now on; the device's entries are to be followed once each. */
  add(device: number): void {
    this.#devices.add(device);
  }

  remove(device: number): void {
    this.#devices.delete(device);
    for (const [entry, noted] of this.#noted) if (noted.device === device) this.#forget(entry, noted);
  }

  /** To be called when an entry was made, changed or removed, under the lock of the FDB. */
  follow(entry: number): void {
    if (this.#devices.size === 0) return;
    const before = this.#noted.get(entry);
    const now = this.#read(entry);
    // First what is new, so that an address that stays is never unknown in between.
    for (const address of now?.addresses ?? []) this.#use(now!.device, address);
    if (before) this.#forget(entry, before);
    if (now) this.#noted.set(entry, now);
  }

  #read(entry: number): Noted | undefined {
    const view = this.#view;
    const { domain } = readKey(view, entry);
    const device = domain === 0 ? 0 : readDomain(view, domain).device;
    if (!this.#devices.has(device)) return undefined;
    const state = view.getUint16(entryRecord(entry) + FDB_STATE_OFFSET, true);
    const flags = view.getUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, true);
    const isMade =
      (state & (NUD_PERMANENT | NUD_NOARP)) !== 0 || (flags & (NTF_EXT_LEARNED | NTF_NEXTHOP)) !== 0;
    if (!isMade) return undefined;
    const addresses = readRemotes(view, entry).map(({ address }) => address);
    return { device, addresses: addresses.filter((address) => !isAny(address)) };
  }

  #forget(entry: number, { device, addresses }: Noted): void {
    this.#noted.delete(entry);
    for (const address of addresses) {
      const key = keyOf(device, address);
      const users = this.#users.get(key)! - 1;
      if (users > 0) {
        this.#users.set(key, users);
        continue;
      }
      this.#users.delete(key);
      this.#table.remove(device, address);
    }
  }

  /** There is room for as many as there can be remotes. */
  #use(device: number, address: Address): void {
    const key = keyOf(device, address);
    const users = this.#users.get(key) ?? 0;
    this.#users.set(key, users + 1);
    if (users === 0) this.#table.set(device, address, ZERO_MAC, false);
  }
}

function keyOf(device: number, address: Address): string {
  return `${device} ${formatAddress(address)}`;
}
