/**
 * Entries and remotes of the FDB where they lie in memory (assembly/layout.ts). Whoever calls this
 * holds the FDB's lock.
 */
import {
  DEVICE_BYTES,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  FDB_ENTRIES_BASE,
  FDB_ENTRY_BYTES,
  FDB_KEY_OFFSET,
  FDB_REMOTE_OFFSET,
  FDB_REMOTES_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  REMOTE_NEXT_OFFSET,
  REMOTE_PORT_OFFSET,
  REMOTE_VNI_OFFSET,
  REMOTE_WEIGHT_OFFSET,
  REMOTES_BASE,
} from '../../assembly/layout.ts';
import { type Address, type Mac, sameAddress } from './fdb-text.ts';

const ADDRESS_BYTES = 16;

/** Identity is all but the weight. */
export interface Remote {
  readonly address: Address;
  /** 0 = the device's */
  readonly port: number;
  /** REMOTE_VNI_DEFAULT = the device's */
  readonly vni: number;
  /** 0 = by route */
  readonly ifindex: number;
  /** Of a member of a nexthop group, 1 to 256; absent = 1. */
  readonly weight?: number;
}

export function sameRemote(one: Remote, other: Remote): boolean {
  return (
    one.port === other.port &&
    one.vni === other.vni &&
    one.ifindex === other.ifindex &&
    sameAddress(one.address, other.address)
  );
}

export function deviceRecord(device: number): number {
  return DEVICES_BASE + device * DEVICE_BYTES;
}

/** Has a table for each VNI. */
export function isExternal(view: DataView, device: number): boolean {
  return (view.getUint32(deviceRecord(device) + DEVICE_FLAGS_OFFSET, true) & DEVICE_FLAG_EXTERNAL) !== 0;
}

export function entryRecord(entry: number): number {
  return FDB_ENTRIES_BASE + entry * FDB_ENTRY_BYTES;
}

/** Address of the first remote of an entry: the one inside the entry. */
export function firstRemote(entry: number): number {
  return entryRecord(entry) + FDB_REMOTE_OFFSET;
}

/** A key is a MAC, then the domain, which is 0 where there is no entry. */
export function readKey(view: DataView, entry: number): { mac: Mac; domain: number } {
  const key = entryRecord(entry) + FDB_KEY_OFFSET;
  return {
    mac: { low: view.getUint32(key, true), high: view.getUint16(key + 4, true) },
    domain: view.getUint16(key + 6, true),
  };
}

export function countRemotes(view: DataView, entry: number): number {
  return view.getUint16(entryRecord(entry) + FDB_REMOTES_OFFSET, true);
}

/** In the order of the list. */
export function readRemotes(view: DataView, entry: number): Remote[] {
  const remotes: Remote[] = [];
  let record = firstRemote(entry);
  for (let left = countRemotes(view, entry); left > 0; left--) {
    remotes.push(readRemote(view, record));
    record = REMOTES_BASE + (view.getUint16(record + REMOTE_NEXT_OFFSET, true) - 1) * REMOTE_BYTES;
  }
  return remotes;
}

function readRemote(view: DataView, record: number): Remote {
  return {
    address: {
      family: view.getUint8(record + REMOTE_FAMILY_OFFSET),
      bytes: readAddress(view, record + REMOTE_ADDRESS_OFFSET),
    },
    port: view.getUint16(record + REMOTE_PORT_OFFSET, true),
    vni: view.getUint32(record + REMOTE_VNI_OFFSET, true),
    ifindex: view.getUint32(record + REMOTE_IFINDEX_OFFSET, true),
    weight: view.getUint8(record + REMOTE_WEIGHT_OFFSET) + 1,
  };
}

/** Byte by byte: a view of the shared memory costs more than the whole rest of a request. */
function readAddress(view: DataView, at: number): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  for (let byte = 0; byte < ADDRESS_BYTES; byte++) bytes[byte] = view.getUint8(at + byte);
  return bytes;
}

/** All but its place in the list. */
export function writeRemote(view: DataView, record: number, remote: Remote): void {
  view.setUint32(record + REMOTE_IFINDEX_OFFSET, remote.ifindex, true);
  view.setUint32(record + REMOTE_VNI_OFFSET, remote.vni, true);
  view.setUint16(record + REMOTE_PORT_OFFSET, remote.port, true);
  view.setUint8(record + REMOTE_FAMILY_OFFSET, remote.address.family);
  view.setUint8(record + REMOTE_WEIGHT_OFFSET, (remote.weight ?? 1) - 1);
  const { bytes } = remote.address;
  for (let byte = 0; byte < ADDRESS_BYTES; byte++) {
    view.setUint8(record + REMOTE_ADDRESS_OFFSET + byte, bytes[byte]!);
  }
}
