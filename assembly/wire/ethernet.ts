/*
 * Ethernet II with 802.1Q and 802.1ad tags. MACs are held as 48 bits in memory order: the first byte
 * on the wire is the lowest.
 */
import { ETHERNET_HEADER_BYTES, ETHERTYPE_QINQ, ETHERTYPE_VLAN, VLAN_TAG_BYTES } from '../layout';

const MAC_MASK: u64 = 0xffffffffffff;
const TAGS_MAX = 7;

/** frame: at least 8 readable bytes */
export function destination(frame: usize): u64 {
  return load<u64>(frame) & MAC_MASK;
}

/** frame: at least 12 readable bytes */
export function source(frame: usize): u64 {
  return load<u64>(frame, 4) >>> 16;
}

/** The group bit: multicast and broadcast. */
export function isGroup(mac: u64): boolean {
  return (mac & 1) !== 0;
}

/** The outermost EtherType. */
export function etherType(frame: usize): u32 {
  return bswap<u16>(load<u16>(frame, 12));
}

/** The EtherType in front of a network header that begins at `l3`. */
export function etherTypeBefore(frame: usize, l3: i32): u32 {
  return bswap<u16>(load<u16>(frame + l3 - 2));
}

/**
 * Offset of the network header behind all tags. As the kernel: behind a tag that the frame ends within, or behind more
 * than seven, nothing is looked for, and what follows the addresses is not IP.
 */
export function networkOffset(frame: usize, length: i32): i32 {
  let offset = ETHERNET_HEADER_BYTES;
  if (length < offset) return offset;
  for (let tags = 0; isTag(etherTypeBefore(frame, offset)); ++tags) {
    if (tags === TAGS_MAX || offset + VLAN_TAG_BYTES > length) return ETHERNET_HEADER_BYTES;
    offset += VLAN_TAG_BYTES;
  }
  return offset;
}

function isTag(type: u32): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}
