/*
 * The walk of the mirror sink, in packet order: messages of the kernel in, pcapng blocks out.
 *
 *   walk       each message: its control messages (bundle, time), its datagrams
 *   datagram   length -> which protocol it is -> I flag -> inner frame -> the host's filter
 *   slotOf     (VNI, outer source) -> interface; the host writes the block of a new one
 *   block      Enhanced Packet Block: original length from the inner IP header, snapshot length
 *
 * A module of its own, for it shares no memory with the engine. It asks the host three things, and only the first
 * for each packet, when there is a filter.
 */
import {
  AF_INET,
  AF_INET6,
  CMSGHDR_BYTES,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_QINQ,
  ETHERTYPE_VLAN,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MSG_TRUNC,
  SO_TIMESTAMPNS,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
  VLAN_TAG_BYTES,
  VXLAN_FLAG_GBP,
  VXLAN_FLAG_VNI,
  VXLAN_GPE_PROTOCOL,
  VXLAN_HEADER_BYTES,
} from './layout';
import {
  PCAPNG_OPTION_COMMENT,
  PCAPNG_PACKET_BLOCK,
  PCAPNG_PACKET_DATA_OFFSET,
  SINK_BLOCK_EXTRA_BYTES,
  SINK_BUFFER_BYTES,
  SINK_BUFFERS_BASE,
  SINK_COUNTERS_BASE,
  SINK_DATAGRAM_OCTETS,
  SINK_DATAGRAMS,
  SINK_DROP_FILTER,
  SINK_DROP_GENEVE,
  SINK_DROP_GPE,
  SINK_DROP_INTERFACES,
  SINK_DROP_NO_VNI_FLAG,
  SINK_DROP_SHORT_DATAGRAM,
  SINK_DROP_SHORT_INNER_FRAME,
  SINK_DROP_TRUNCATED,
  SINK_DROP_VNI,
  SINK_INTERFACE_BYTES,
  SINK_INTERFACE_ID_OFFSET,
  SINK_INTERFACE_OCTETS_OFFSET,
  SINK_INTERFACE_PACKETS_OFFSET,
  SINK_INTERFACE_SLOTS,
  SINK_INTERFACE_VNI_OFFSET,
  SINK_INTERFACES_BASE,
  SINK_KEEP,
  SINK_LAYOUT_VERSION,
  SINK_MESSAGES,
  SINK_PACKET_OCTETS,
  SINK_PACKETS,
  SINK_RECEIPT_BYTES,
  SINK_RECEIPT_CONTROL_OFFSET,
  SINK_RECEIPTS_BASE,
  SINK_RECEIVES_BASE,
  SINK_REFUSE_VNI,
  SINK_RESERVED_BITS,
  SINK_SNAPPED,
  SINK_STATE_ASK_OFFSET,
  SINK_STATE_BASE,
  SINK_STATE_END_OFFSET,
  SINK_STATE_LAST_OFFSET,
  SINK_STATE_NEXT_OFFSET,
  SINK_STATE_SEED_OFFSET,
  SINK_STATE_SNAPLEN_OFFSET,
  SINK_TRUNCATED,
} from './sink-layout';

/** Is the packet of this VNI wanted? SINK_KEEP or why not. */
declare function accept(packet: u32, bytes: u32, vni: u32): u32;
/** Writes the block of a new interface and answers its number, or -1 when there are too many. */
declare function admit(source: u32, vni: u32): i32;
/** Takes what has been written, so that there is room again. The table may be empty afterwards. */
declare function flush(): void;

const NANOSECONDS: u64 = 1000000000;
/** Ethertype in the third and fourth byte of a Geneve header that carries Ethernet. */
const TRANSPARENT_ETHERNET: u32 = 0x6558;

/** Of the memory map that it was compiled with. */
export function layoutVersion(): u32 {
  return SINK_LAYOUT_VERSION;
}

/** "VXLAN header 0x" and 16 digits. */
const COMMENT_TEXT_BYTES: u32 = 31;
const COMMENT_BYTES: u32 = 4 + 32 + 4;

export function walk(count: u32): void {
  for (let index: u32 = 0; index < count; ++index) {
    const message = SINK_RECEIVES_BASE + index * MMSGHDR_BYTES;
    const receipt = SINK_RECEIPTS_BASE + index * SINK_RECEIPT_BYTES;
    const bytes = load<u32>(message, MMSGHDR_LENGTH_OFFSET);
    bump(SINK_MESSAGES, 1);
    if (load<u32>(message, MMSGHDR_FLAGS_OFFSET) & MSG_TRUNC) {
      bump(SINK_DATAGRAMS, 1);
      bump(SINK_DROP_TRUNCATED, 1);
      continue;
    }
    let segment = bytes;
    let time: u64 = 0;
    const control = receipt + SINK_RECEIPT_CONTROL_OFFSET;
    const end = control + load<u32>(message, MMSGHDR_CONTROL_LENGTH_OFFSET);
    for (let at = control; at + CMSGHDR_BYTES <= end; ) {
      const level = load<u32>(at, 8);
      const kind = load<u32>(at, 12);
      if (level === SOL_SOCKET && kind === SO_TIMESTAMPNS)
        time = load<u64>(at, CMSGHDR_BYTES) * NANOSECONDS + load<u64>(at, CMSGHDR_BYTES + 8);
      else if (level === SOL_UDP && kind === UDP_GRO) segment = load<u16>(at, CMSGHDR_BYTES);
      const length = load<u32>(at);
      if (length < <u32>CMSGHDR_BYTES) break;
      at += (length + 7) & ~7;
    }
    if (segment === 0) segment = bytes;
    const buffer = SINK_BUFFERS_BASE + index * SINK_BUFFER_BYTES;
    let at: u32 = 0;
    do {
      const rest = bytes - at;
      const size = min<u32>(rest, segment);
      bump(SINK_DATAGRAMS, 1);
      bump(SINK_DATAGRAM_OCTETS, size);
      bump(datagram(buffer + at, size, receipt, time), 1);
      at += segment;
    } while (at < bytes);
  }
}

/** Returns the counter of what became of it. */
function datagram(at: u32, bytes: u32, name: u32, time: u64): u32 {
  if (bytes < <u32>VXLAN_HEADER_BYTES) return SINK_DROP_SHORT_DATAGRAM;
  const flags = bswap<u32>(load<u32>(at));
  const last = bswap<u32>(load<u32>(at, 4));
  if (isGeneve(flags, last, bytes)) return SINK_DROP_GENEVE;
  if (flags & VXLAN_GPE_PROTOCOL && !(flags & VXLAN_FLAG_GBP)) return SINK_DROP_GPE;
  if (!(flags & VXLAN_FLAG_VNI)) return SINK_DROP_NO_VNI_FLAG;
  const packet = at + VXLAN_HEADER_BYTES;
  const length = bytes - VXLAN_HEADER_BYTES;
  if (length < <u32>ETHERNET_HEADER_BYTES) return SINK_DROP_SHORT_INNER_FRAME;
  const vni = last >>> 8;
  if (load<u32>(SINK_STATE_BASE, SINK_STATE_ASK_OFFSET)) {
    const verdict = accept(packet, length, vni);
    if (verdict !== SINK_KEEP) return verdict === SINK_REFUSE_VNI ? SINK_DROP_VNI : SINK_DROP_FILTER;
  }
  const snaplen = load<u32>(SINK_STATE_BASE, SINK_STATE_SNAPLEN_OFFSET);
  const kept = min<u32>(length, snaplen);
  // First, for the host may begin a new file, whose interfaces are numbered anew.
  const next = load<u32>(SINK_STATE_BASE, SINK_STATE_NEXT_OFFSET);
  if (next + kept + SINK_BLOCK_EXTRA_BYTES > load<u32>(SINK_STATE_BASE, SINK_STATE_END_OFFSET)) flush();
  const slot = slotOf(name, vni);
  if (slot === 0) return SINK_DROP_INTERFACES;

  const original = originalLength(packet, length);
  if (original > length) bump(SINK_TRUNCATED, 1);
  if (kept < length) bump(SINK_SNAPPED, 1);
  bump(SINK_PACKET_OCTETS, original);
  store<u64>(slot, load<u64>(slot, SINK_INTERFACE_PACKETS_OFFSET) + 1, SINK_INTERFACE_PACKETS_OFFSET);
  store<u64>(slot, load<u64>(slot, SINK_INTERFACE_OCTETS_OFFSET) + original, SINK_INTERFACE_OCTETS_OFFSET);
  const unusual = flags !== VXLAN_FLAG_VNI || (last & 0xff) !== 0;
  if (unusual) bump(SINK_RESERVED_BITS, 1);
  block(load<u32>(slot, SINK_INTERFACE_ID_OFFSET), time, packet, kept, original, unusual);
  return SINK_PACKETS;
}

/** Version 0, a known protocol where VXLAN has reserved bits, and options that fit. */
function isGeneve(flags: u32, last: u32, bytes: u32): bool {
  if (flags & 0xc0000000 || (last & 0xff) !== 0) return false;
  const protocol = flags & 0xffff;
  const known = protocol === ETHERTYPE_IPV4 || protocol === ETHERTYPE_IPV6;
  if (protocol !== TRANSPARENT_ETHERNET && !(known && !(flags & VXLAN_FLAG_VNI))) return false;
  return <u32>8 + ((flags >>> 24) & 0x3f) * 4 <= bytes;
}

/** Bytes of the frame before it was cut, when its IP header tells; else those that are there. */
function originalLength(packet: u32, length: u32): u32 {
  let type = <u32>bswap<u16>(load<u16>(packet, 12));
  let header: u32 = ETHERNET_HEADER_BYTES;
  while ((type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ) && header + VLAN_TAG_BYTES <= length) {
    type = bswap<u16>(load<u16>(packet + header, 2));
    header += VLAN_TAG_BYTES;
  }
  let total: u32 = 0;
  if (type === ETHERTYPE_IPV4 && header + 4 <= length && load<u8>(packet + header) >>> 4 === 4) {
    total = bswap<u16>(load<u16>(packet + header, 2));
    if (total < <u32>IPV4_HEADER_BYTES) return length;
  } else if (type === ETHERTYPE_IPV6 && header + 6 <= length && load<u8>(packet + header) >>> 4 === 6) {
    const payload = <u32>bswap<u16>(load<u16>(packet + header, 4));
    // 0: a jumbogram, or nothing inside.
    total = payload === 0 ? 0 : payload + IPV6_HEADER_BYTES;
  }
  return header + total > length ? header + total : length;
}

/** The record of the interface; 0 when there can be no more. */
function slotOf(name: u32, vni: u32): u32 {
  let low: u64 = 0;
  let high: u64 = 0;
  const family = load<u16>(name);
  if (family === AF_INET) high = 0xffff0000 | ((<u64>load<u32>(name, 4)) << 32);
  else if (family === AF_INET6) {
    low = load<u64>(name, 8);
    high = load<u64>(name, 16);
  }
  const before = load<u32>(SINK_STATE_BASE, SINK_STATE_LAST_OFFSET);
  if (before !== 0 && isSlotOf(before, low, high, vni)) return before;
  let hash = load<u32>(SINK_STATE_BASE, SINK_STATE_SEED_OFFSET) ^ vni;
  hash = mix(mix(hash, <u32>low), <u32>(low >>> 32));
  hash = mix(mix(hash, <u32>high), <u32>(high >>> 32));
  for (let index = hash >>> 8; ; ++index) {
    const slot = SINK_INTERFACES_BASE + (index & (SINK_INTERFACE_SLOTS - 1)) * SINK_INTERFACE_BYTES;
    if (isSlotOf(slot, low, high, vni)) {
      store<u32>(SINK_STATE_BASE, slot, SINK_STATE_LAST_OFFSET);
      return slot;
    }
    if (load<u32>(slot, SINK_INTERFACE_VNI_OFFSET) !== 0) continue;
    store<u64>(slot, low);
    store<u64>(slot, high, 8);
    const id = admit(slot, vni);
    if (id < 0) return 0;
    store<u32>(slot, vni + 1, SINK_INTERFACE_VNI_OFFSET);
    store<u32>(slot, id, SINK_INTERFACE_ID_OFFSET);
    store<u64>(slot, 0, SINK_INTERFACE_PACKETS_OFFSET);
    store<u64>(slot, 0, SINK_INTERFACE_OCTETS_OFFSET);
    store<u32>(SINK_STATE_BASE, slot, SINK_STATE_LAST_OFFSET);
    return slot;
  }
}

function mix(hash: u32, word: u32): u32 {
  return rotl<u32>((hash ^ word) * 0x9e3779b1, 15) * 0x85ebca77;
}

function isSlotOf(slot: u32, low: u64, high: u64, vni: u32): bool {
  return (
    load<u32>(slot, SINK_INTERFACE_VNI_OFFSET) === vni + 1 &&
    load<u64>(slot) === low &&
    load<u64>(slot, 8) === high
  );
}

function block(id: u32, time: u64, packet: u32, kept: u32, original: u32, unusual: bool): void {
  const at = load<u32>(SINK_STATE_BASE, SINK_STATE_NEXT_OFFSET);
  const padded = (kept + 3) & ~3;
  const bytes = PCAPNG_PACKET_DATA_OFFSET + padded + (unusual ? COMMENT_BYTES : 0) + 4;
  store<u32>(at, PCAPNG_PACKET_BLOCK);
  store<u32>(at, bytes, 4);
  store<u32>(at, id, 8);
  store<u32>(at, <u32>(time >>> 32), 12);
  store<u32>(at, <u32>time, 16);
  store<u32>(at, kept, 20);
  store<u32>(at, original, 24);
  const data = at + PCAPNG_PACKET_DATA_OFFSET;
  // Zeroes behind the data; of an empty packet, what is written here is overwritten.
  if (padded !== kept) store<u32>(data + padded - 4, 0);
  memory.copy(data, packet, kept);
  if (unusual) comment(data + padded, packet - VXLAN_HEADER_BYTES);
  store<u32>(at + bytes - 4, bytes);
  store<u32>(SINK_STATE_BASE, at + bytes, SINK_STATE_NEXT_OFFSET);
}

/** opt_comment with the whole header in it, and opt_endofopt. */
function comment(at: u32, header: u32): void {
  store<u16>(at, PCAPNG_OPTION_COMMENT);
  store<u16>(at, COMMENT_TEXT_BYTES, 2);
  // "VXLA" "N he" "ader" " 0x"
  store<u32>(at, 0x414c5856, 4);
  store<u32>(at, 0x6568204e, 8);
  store<u32>(at, 0x72656461, 12);
  store<u32>(at, 0x00783020, 16);
  for (let digit: u32 = 0; digit < 16; ++digit) {
    const byte = load<u8>(header + (digit >>> 1));
    const nibble = digit & 1 ? byte & 15 : byte >>> 4;
    store<u8>(at + 19 + digit, nibble < 10 ? 48 + nibble : 87 + nibble);
  }
  store<u8>(at, 0, 35);
  store<u32>(at, 0, 36);
}

function bump(counter: u32, by: u64): void {
  const at = SINK_COUNTERS_BASE + counter * 8;
  store<u64>(at, load<u64>(at) + by);
}
