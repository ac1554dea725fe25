/*
 * Datagrams for a program that takes them itself: one short record each, in the order of the frames, instead of what
 * sendmmsg reads. The frame stays where it is. The VXLAN header of a frame that goes to one place only stands before
 * it; copies have theirs in the record, for they share the frame.
 */
import {
  AF_INET,
  ENCAP_LABEL_OFFSET,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_PARCELS_OFFSET,
  PARCEL_ADDRESS_OFFSET,
  PARCEL_BYTES,
  PARCEL_COUNT,
  PARCEL_DEVICE_OFFSET,
  PARCEL_FAMILY_OFFSET,
  PARCEL_FRAME_OFFSET,
  PARCEL_HEADED_OFFSET,
  PARCEL_HEADER_OFFSET,
  PARCEL_IFINDEX_OFFSET,
  PARCEL_LABEL_OFFSET,
  PARCEL_LENGTH_OFFSET,
  PARCEL_MARKS_OFFSET,
  PARCEL_PORT_OFFSET,
  PARCEL_SOURCE_OFFSET,
  PARCELS_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as vxlan from './wire/vxlan';

/** Does the program take datagrams this way? */
export function areWanted(): boolean {
  return load<u32>(HEADER_BASE, HEADER_PARCELS_OFFSET) !== 0;
}

export function used(worker: usize): u32 {
  return load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_MESSAGES_USED_OFFSET);
}

export function hasRoom(worker: usize, datagrams: u32): boolean {
  return used(worker) + datagrams <= (PARCEL_COUNT as u32);
}

/**
 * Adds one; room has been asked for.
 *
 * @param alone the frame has this one remote
 * @param word  first word of its VXLAN header as a number; @param tail last byte of the second
 * @param marks outer TOS | TTL << 8
 */
export function add(
  worker: usize,
  device: u32,
  domain: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  word: u32,
  vni: u32,
  tail: u32,
  frame: usize,
  length: i32,
  alone: boolean,
): void {
  const state = worker + ENCAP_STATE_OFFSET;
  const index = used(worker);
  store<u32>(state, index + 1, ENCAP_MESSAGES_USED_OFFSET);
  const parcel = worker + PARCELS_OFFSET + index * PARCEL_BYTES;
  const family = <u32>load<u8>(remote, REMOTE_FAMILY_OFFSET);
  store<u32>(parcel, <u32>frame, PARCEL_FRAME_OFFSET);
  store<i32>(parcel, length, PARCEL_LENGTH_OFFSET);
  vxlan.emit(alone ? frame - VXLAN_HEADER_BYTES : parcel + PARCEL_HEADER_OFFSET, word, vni, tail);
  store<u8>(parcel, <u8>family, PARCEL_FAMILY_OFFSET);
  store<u8>(parcel, alone ? 1 : 0, PARCEL_HEADED_OFFSET);
  store<u16>(parcel, <u16>port, PARCEL_PORT_OFFSET);
  store<u32>(parcel, source, PARCEL_SOURCE_OFFSET);
  store<u32>(parcel, marks, PARCEL_MARKS_OFFSET);
  store<u32>(parcel, load<u32>(state, ENCAP_LABEL_OFFSET), PARCEL_LABEL_OFFSET);
  store<u32>(parcel, load<u32>(remote, REMOTE_IFINDEX_OFFSET), PARCEL_IFINDEX_OFFSET);
  store<u32>(parcel, device | (domain << 16), PARCEL_DEVICE_OFFSET);
  store<u64>(parcel, load<u64>(remote, REMOTE_ADDRESS_OFFSET), PARCEL_ADDRESS_OFFSET);
  if (family !== AF_INET)
    store<u64>(parcel, load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8), PARCEL_ADDRESS_OFFSET + 8);
}
