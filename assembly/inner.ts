/*
 * What merging asks of a received frame, as Linux's GRO does: where its transport header is, whether one set of
 * headers can stand for two frames, whether its checksums are right.
 */
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  TCP_HEADER_BYTES,
  UDP_HEADER_BYTES,
} from './layout';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';

const L3 = ETHERNET_HEADER_BYTES;
/** Where the transport header is behind an IPv4 header without options. */
export const PLAIN_IPV4_L4: i32 = L3 + IPV4_HEADER_BYTES;

export function isIpv4(frame: usize, l3: i32): boolean {
  return ethernet.etherTypeBefore(frame, l3) === ETHERTYPE_IPV4;
}

export function protocolOf(frame: usize, l3: i32): u32 {
  const ip = frame + l3;
  return isIpv4(frame, l3) ? ip4.protocol(ip) : ip6.nextHeader(ip);
}

/**
 * Offset of the TCP or UDP header of an unfragmented packet that fills its frame exactly, behind tags and
 * IPv4 options too; 0 for everything else. A padded frame is "everything else": its tail is no payload.
 */
export function transportOffset(frame: usize, length: i32, l3: i32): i32 {
  const type = ethernet.etherTypeBefore(frame, l3);
  const ip = frame + l3;
  let l4 = 0;
  if (type === ETHERTYPE_IPV4) {
    if (length < l3 + IPV4_HEADER_BYTES || ip4.totalLength(ip) !== length - l3) return 0;
    if (load<u8>(ip) < 0x45 || load<u8>(ip) > 0x4f || ip4.isFragment(ip)) return 0;
    l4 = l3 + ip4.headerBytes(ip);
  } else if (type === ETHERTYPE_IPV6) {
    if (length < l3 + IPV6_HEADER_BYTES || ip6.payloadLength(ip) !== length - l3 - IPV6_HEADER_BYTES)
      return 0;
    l4 = l3 + IPV6_HEADER_BYTES;
  }
  if (l4 === 0) return 0;
  const protocol = protocolOf(frame, l3);
  if (protocol === IP_PROTOCOL_UDP) return l4 + UDP_HEADER_BYTES <= length ? l4 : 0;
  if (protocol !== IP_PROTOCOL_TCP || l4 + TCP_HEADER_BYTES > length) return 0;
  const own = tcp.headerBytes(frame + l4);
  return own >= TCP_HEADER_BYTES && l4 + own <= length ? l4 : 0;
}

/**
 * The same question for what most frames are, in one go: an unfragmented IPv4 packet without tags and options that fills
 * its frame and whose checksum is finished. Returns IP_PROTOCOL_TCP or IP_PROTOCOL_UDP; 0: it is something else.
 */
export function finishedProtocol(frame: usize, length: i32): u32 {
  // EtherType, version and header length.
  if (length < PLAIN_IPV4_L4 + UDP_HEADER_BYTES || (load<u32>(frame, 12) & 0xffffff) !== 0x450008) return 0;
  const ip = frame + L3;
  if (ip4.totalLength(ip) !== length - L3 || ip4.isFragment(ip)) return 0;
  const protocol = ip4.protocol(ip);
  let field = udp.checksum(frame + PLAIN_IPV4_L4);
  if (protocol === IP_PROTOCOL_TCP) {
    if (length < PLAIN_IPV4_L4 + TCP_HEADER_BYTES) return 0;
    const own = tcp.headerBytes(frame + PLAIN_IPV4_L4);
    if (own < TCP_HEADER_BYTES || PLAIN_IPV4_L4 + own > length) return 0;
    field = tcp.checksum(frame + PLAIN_IPV4_L4);
  } else if (protocol !== IP_PROTOCOL_UDP) return 0;
  return field === checksum.pseudoIpv4(ip, protocol, length - PLAIN_IPV4_L4) ? 0 : protocol;
}

/** Neither tags nor options: merging asks for that, and l4 tells the families apart from here on. */
export function isPlain(frame: usize, l3: i32, l4: i32): boolean {
  return l3 === L3 && l4 - L3 === (isIpv4(frame, L3) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
}

export function pseudoSum(frame: usize, length: i32, l3: i32, l4: i32, protocol: u32): u32 {
  const ip = frame + l3;
  const sum = isIpv4(frame, l3)
    ? checksum.pseudoIpv4(ip, protocol, length - l4)
    : checksum.pseudoIpv6(ip, protocol, length - l4);
  return checksum.fold(sum);
}

/** Does the checksum field hold the pseudo header's sum only? */
export function isUnfinished(frame: usize, length: i32, l3: i32, l4: i32, isTcp: boolean): boolean {
  const field = isTcp ? tcp.checksum(frame + l4) : udp.checksum(frame + l4);
  return field === pseudoSum(frame, length, l3, l4, isTcp ? IP_PROTOCOL_TCP : IP_PROTOCOL_UDP);
}

export function sameAddresses(one: usize, other: usize, l4: i32): boolean {
  if (l4 === L3 + IPV4_HEADER_BYTES) return load<u64>(one + L3, 12) === load<u64>(other + L3, 12);
  return (
    load<u64>(one + L3, 8) === load<u64>(other + L3, 8) &&
    load<u64>(one + L3, 16) === load<u64>(other + L3, 16) &&
    load<u64>(one + L3, 24) === load<u64>(other + L3, 24) &&
    load<u64>(one + L3, 32) === load<u64>(other + L3, 32)
  );
}

/** MACs and EtherType, and TOS, DF and TTL, or the first word (version, traffic class, flow label) and hop limit. */
export function sameMarks(one: usize, other: usize, l4: i32): boolean {
  if (load<u64>(one) !== load<u64>(other) || load<u32>(one, 8) !== load<u32>(other, 8)) return false;
  const first = one + L3;
  const second = other + L3;
  if (l4 === L3 + IPV4_HEADER_BYTES) {
    return (
      ip4.tos(first) === ip4.tos(second) &&
      load<u16>(first, 6) === load<u16>(second, 6) &&
      ip4.ttl(first) === ip4.ttl(second)
    );
  }
  return load<u32>(first) === load<u32>(second) && ip6.hopLimit(first) === ip6.hopLimit(second);
}

/** Are the IPv4 header's checksum and that of TCP or UDP right? */
export function isRight(frame: usize, length: i32, l4: i32, protocol: u32): boolean {
  if (l4 === L3 + IPV4_HEADER_BYTES && checksum.sum(frame + L3, IPV4_HEADER_BYTES) !== 0xffff) return false;
  const sum = pseudoSum(frame, length, L3, l4, protocol) + checksum.sum(frame + l4, length - l4);
  return checksum.fold(sum) === 0xffff;
}
