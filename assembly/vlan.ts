/*
 * VLANs on the TAP of an external device, where they tell its VNIs apart: the outermost 802.1Q tag of a frame
 * to send is taken off and chooses the domain; a frame that arrives gets the tag of its domain.
 */
import {
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_UNTAGGED_OFFSET,
  DEVICE_VLANS_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_NO_VLAN,
  DOMAIN_UNTAGGED_OFFSET,
  DOMAIN_VLAN_OFFSET,
  DOMAINS_BASE,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_VLAN,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_HEADER_BYTES,
  VIRTIO_HEADER_LENGTH_OFFSET,
  VLAN_TAG_BYTES,
} from './layout';
import * as ethernet from './wire/ethernet';
import * as virtio from './wire/virtio';

const MACS_BYTES = 12;
const VLAN_MASK: u32 = 0xfff;

export function isTagged(frame: usize, length: i32): boolean {
  return length >= ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES && ethernet.etherType(frame) === ETHERTYPE_VLAN;
}

/** The VLAN that chooses a frame's domain, 0 = it is untagged (or its tag only has a priority). */
export function idOf(frame: usize, length: i32): u32 {
  return isTagged(frame, length) ? <u32>bswap<u16>(load<u16>(frame, ETHERNET_HEADER_BYTES)) & VLAN_MASK : 0;
}

/** Takes the outermost tag off: virtio header and MACs move over it. @returns where the virtio header is now */
export function strip(header: usize): usize {
  const moved = header + VLAN_TAG_BYTES;
  memory.copy(moved, header, VIRTIO_HEADER_BYTES + MACS_BYTES);
  shift(moved, -VLAN_TAG_BYTES);
  return moved;
}

/**
 * Has a domain of an external device no way onto its TAP? On one that maps VLANs, a VNI that is on none of them
 * would come out untagged, among the frames of another.
 */
export function isCutOff(device: u32, domain: u32): boolean {
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  if (load<u32>(record, DEVICE_UNTAGGED_OFFSET) === 0 && load<u16>(record, DEVICE_VLANS_OFFSET) === 0)
    return false;
  const own = DOMAINS_BASE + domain * DOMAIN_BYTES;
  return (
    load<u16>(own, DOMAIN_VLAN_OFFSET) === DOMAIN_NO_VLAN && load<u16>(own, DOMAIN_UNTAGGED_OFFSET) === 0
  );
}

/** Is a tag to be put on frames of this domain? Its VLAN, or 0. */
export function tagOf(domain: u32): u32 {
  if (domain < (DEVICE_COUNT as u32)) return 0;
  const record = DOMAINS_BASE + domain * DOMAIN_BYTES;
  const vlan = <u32>load<u16>(record, DOMAIN_VLAN_OFFSET);
  return vlan === DOMAIN_NO_VLAN || load<u16>(record, DOMAIN_UNTAGGED_OFFSET) !== 0 ? 0 : vlan;
}

/** Writes the MACs of a frame and a tag at `into`. @returns the bytes written */
export function writeTag(into: usize, frame: usize, vlan: u32): i32 {
  memory.copy(into, frame, MACS_BYTES);
  store<u16>(into, bswap<u16>(ETHERTYPE_VLAN as u16), MACS_BYTES);
  store<u16>(into, bswap<u16>(<u16>vlan), MACS_BYTES + 2);
  return MACS_BYTES + VLAN_TAG_BYTES;
}

/** Puts a domain's tag, if it has one, into a frame that has room behind it. @returns the frame's bytes now */
export function insertTag(domain: u32, frame: usize, bytes: i32): i32 {
  const tag = tagOf(domain);
  if (tag === 0) return bytes;
  memory.copy(frame + MACS_BYTES + VLAN_TAG_BYTES, frame + MACS_BYTES, bytes - MACS_BYTES);
  writeTag(frame, frame, tag);
  return bytes + VLAN_TAG_BYTES;
}

/** Everything behind the MACs has moved by `bytes`: so do the places that a virtio header names. */
export function shift(header: usize, bytes: i32): void {
  if (!virtio.needsChecksum(header)) return;
  const start = load<u16>(header, VIRTIO_CHECKSUM_START_OFFSET) + bytes;
  const headers = load<u16>(header, VIRTIO_HEADER_LENGTH_OFFSET);
  store<u16>(header, <u16>start, VIRTIO_CHECKSUM_START_OFFSET);
  // A TAP tells the length of a super-frame's headers only; else it is 0.
  if (headers !== 0) store<u16>(header, <u16>(headers + bytes), VIRTIO_HEADER_LENGTH_OFFSET);
}
