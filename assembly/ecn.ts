/*
 * Explicit Congestion Notification through a tunnel, RFC 6040, as Linux's driver does it.
 * The four codepoints (RFC 3168 section 5):
 *
 *   0  Not-ECT     1  ECT(1)     2  ECT(0)     3  CE
 *
 * Into the tunnel (RFC 6040 section 4.1, in the variant of RFC 3168's full functionality): the
 * outer header takes the inner codepoint, but CE becomes ECT(0), so that congestion met inside
 * the tunnel can be told from congestion met before it.
 *
 * Out of the tunnel (RFC 6040 section 4.2, figure 4), the new inner codepoint:
 *
 *   inner \ outer   Not-ECT   ECT(1)    ECT(0)    CE
 *   Not-ECT         Not-ECT   Not-ECT   Not-ECT   drop
 *   ECT(1)          ECT(1)    ECT(1)    ECT(1)    CE
 *   ECT(0)          ECT(0)    ECT(1)    ECT(0)    CE
 *   CE              CE        CE        CE        CE
 *
 * A sender that doesn't know ECN understands a loss only: hence the drop.
 */
import {
  DROP_ECN,
  DROP_SHORT_INNER_IP_RECEIVED,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
} from './layout';
import { update16 } from './wire/checksum';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';

const NOT_ECT = 0;
const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;

/** RFC 791 section 3.1: the codepoint is the low end of the second byte (RFC 3168 section 5). */
const IPV4_CHECKSUM_OFFSET = 10;
/** The codepoint in the header's first 16-bit word, in memory order. */
const IPV4_ECN_SHIFT = 8;
/** RFC 8200 section 3: the traffic class lies across the first two bytes. */
const IPV6_ECN_BYTE_OFFSET = 1;
const IPV6_ECN_SHIFT = 4;

/** The outer codepoint for an inner one. Bits above the lowest two don't count. */
export function encapsulate(inner: u32): u32 {
  inner &= 3;
  return inner === CE ? ECT_0 : inner;
}

/** The inner codepoint after the tunnel, or -1: drop the frame. Bits above the lowest two don't count. */
export function decapsulate(outer: u32, inner: u32): i32 {
  outer &= 3;
  inner &= 3;
  if (outer === CE) return inner === NOT_ECT ? -1 : CE;
  return outer === ECT_1 && inner === ECT_0 ? ECT_1 : inner;
}

/** Writes the codepoint into an IPv4 header and keeps its checksum as right (or wrong) as it was. */
export function applyIpv4(ip: usize, ecn: u32): void {
  const from = load<u16>(ip) as u32;
  const to = (from & ~(3 << IPV4_ECN_SHIFT)) | (ecn << IPV4_ECN_SHIFT);
  if (from === to) return;
  store<u16>(ip, to);
  store<u16>(ip, update16(load<u16>(ip, IPV4_CHECKSUM_OFFSET), from, to), IPV4_CHECKSUM_OFFSET);
}

/** Writes the codepoint into an IPv6 header, which has no checksum. */
export function applyIpv6(ip: usize, ecn: u32): void {
  const from = load<u8>(ip, IPV6_ECN_BYTE_OFFSET) as u32;
  store<u8>(ip, (from & ~(3 << IPV6_ECN_SHIFT)) | (ecn << IPV6_ECN_SHIFT), IPV6_ECN_BYTE_OFFSET);
}

/** Out of the tunnel, for an inner IP packet. Returns 0 or the verdict to drop it with. */
export function decapsulatePacket(type: u32, ip: usize, bytes: i32, outer: u32): i32 {
  if (type === ETHERTYPE_IPV4) {
    if (bytes < IPV4_HEADER_BYTES) return DROP_SHORT_INNER_IP_RECEIVED;
    if ((outer & 3) === 0) return 0;
    const inner = ip4.tos(ip) & 3;
    const result = decapsulate(outer & 3, inner);
    if (result < 0) return DROP_ECN;
    if (<u32>result !== inner) applyIpv4(ip, result);
  } else if (type === ETHERTYPE_IPV6) {
    if (bytes < IPV6_HEADER_BYTES) return DROP_SHORT_INNER_IP_RECEIVED;
    if ((outer & 3) === 0) return 0;
    const inner = ip6.trafficClass(ip) & 3;
    const result = decapsulate(outer & 3, inner);
    if (result < 0) return DROP_ECN;
    if (<u32>result !== inner) applyIpv6(ip, result);
  }
  return 0;
}
