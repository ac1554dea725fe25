/*
 * What doesn't fit through the tunnel is answered with ICMP, as if the remote end had sent it, so that senders behind
 * a bridge find the path MTU.                                    [skb_tunnel_check_pmtu]
 *
 *   IPv4   RFC 792, RFC 1191   type 3 code 4, up to 576 bytes of packet
 *   IPv6   RFC 4443            type 2, up to 1280 bytes of packet
 *
 * The kernel's bytes, and its conditions, with two differences where it misses what it means to do: it
 * looks for ICMPv6 errors and fragments behind extension headers in the wrong place, and it
 * answers multicast sources of most scopes and ::1. RFC 4443 section 2.4 (e) forbids all of these.
 */
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IP_PROTOCOL_ICMP,
  IP_PROTOCOL_ICMPV6,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
} from './layout';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as extension from './wire/extension';
import * as icmp from './wire/icmp';
import * as ipv4 from './wire/ipv4';
import * as ipv6 from './wire/ipv6';

/** What every host takes in one piece, RFC 791 section 3.1; the smallest link MTU, RFC 8200 section 5. */
const IPV4_LEAST_BYTES: i32 = 576;
const IPV6_LEAST_BYTES: i32 = 1280;
const IPV4_SOURCE_OFFSET = 12;
const IPV4_DESTINATION_OFFSET = 16;
const IPV4_FRAGMENT_OFFSET = 6;
/** DF alone: the bytes 0x40, 0x00. */
const IPV4_DF = 0x0040;
const IPV6_SOURCE_OFFSET = 8;
const IPV6_DESTINATION_OFFSET = 24;

/**
 * @param frame that is too big, as it is; a super-frame too
 * @param l3 where its network header begins
 * @param mtu path MTU less the tunnel's overhead: what the sender is told
 * @param reply room for INJECT_REPLY_BYTES
 * @returns bytes of the frame at `reply`; 0 = this frame must not be answered
 */
export function answer(frame: usize, length: i32, l3: i32, mtu: u32, reply: usize): i32 {
  // Tagged frames are not answered.
  if (l3 !== ETHERNET_HEADER_BYTES || length < ETHERNET_HEADER_BYTES) return 0;
  const type = ethernet.etherType(frame);
  const bytes = length - l3;
  if (type === ETHERTYPE_IPV4 && mayAnswerIpv4(frame + l3, bytes, mtu)) {
    return answerIpv4(frame, bytes, mtu, reply);
  }
  if (type === ETHERTYPE_IPV6 && mayAnswerIpv6(frame + l3, bytes, mtu)) {
    return answerIpv6(frame, bytes, mtu, reply);
  }
  return 0;
}

function mayAnswerIpv4(ip: usize, bytes: i32, mtu: u32): bool {
  if (mtu < (IPV4_LEAST_BYTES as u32) || bytes < IPV4_HEADER_BYTES) return false;
  if (load<u16>(ip, IPV4_FRAGMENT_OFFSET) !== IPV4_DF) return false;
  const source = load<u32>(ip, IPV4_SOURCE_OFFSET);
  if (isGroupIpv4(load<u32>(ip, IPV4_DESTINATION_OFFSET))) return false;
  // 0.0.0.0 and 127.0.0.0/8 are nobody to write to either.
  if (source === 0 || (source & 0xff) === 127 || isGroupIpv4(source)) return false;
  if (ipv4.protocol(ip) !== IP_PROTOCOL_ICMP) return true;
  const headerBytes = ipv4.headerBytes(ip);
  return headerBytes < IPV4_HEADER_BYTES || headerBytes >= bytes || !icmp.isError(load<u8>(ip + headerBytes));
}

/** Multicast, or the broadcast of all networks. Memory order: the first byte is the lowest. */
function isGroupIpv4(address: u32): bool {
  return (address & 0xf0) === 0xe0 || address === 0xffffffff;
}

function mayAnswerIpv6(ip: usize, bytes: i32, mtu: u32): bool {
  if (mtu < (IPV6_LEAST_BYTES as u32) || bytes < IPV6_HEADER_BYTES) return false;
  if (!isSourceIpv6(ip + IPV6_SOURCE_OFFSET)) return false;
  const upper = extension.upperLayer(ip, bytes);
  if (upper < 0) return false;
  if ((upper & 0xff) !== IP_PROTOCOL_ICMPV6) return true;
  const at = upper >> 8;
  return at < bytes && !icmp.isErrorV6(load<u8>(ip + at));
}

/** Neither ::, nor ::1, nor multicast. */
function isSourceIpv6(address: usize): bool {
  const low = load<u64>(address, 8);
  if (load<u64>(address) === 0 && (low === 0 || low === (1 as u64) << 56)) return false;
  return load<u8>(address) !== 0xff;
}

function answerIpv4(frame: usize, bytes: i32, mtu: u32, reply: usize): i32 {
  const asked = frame + ETHERNET_HEADER_BYTES;
  const ip = reply + ETHERNET_HEADER_BYTES;
  const message = ip + IPV4_HEADER_BYTES;
  const quote = min(bytes, IPV4_LEAST_BYTES - IPV4_HEADER_BYTES - icmp.ICMP_HEADER_BYTES);
  const sum = checksum.copyAndSum(asked, message + icmp.ICMP_HEADER_BYTES, quote);
  emitEthernet(reply, frame);
  icmp.emitFragmentationNeeded(message, mtu, sum);
  icmp.emitIpv4(
    ip,
    icmp.ICMP_HEADER_BYTES + quote,
    ipv4.ttl(asked),
    load<u32>(asked, IPV4_DESTINATION_OFFSET),
    load<u32>(asked, IPV4_SOURCE_OFFSET),
  );
  return ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + icmp.ICMP_HEADER_BYTES + quote;
}

function answerIpv6(frame: usize, bytes: i32, mtu: u32, reply: usize): i32 {
  const asked = frame + ETHERNET_HEADER_BYTES;
  const ip = reply + ETHERNET_HEADER_BYTES;
  const quote = min(bytes, IPV6_LEAST_BYTES - IPV6_HEADER_BYTES - icmp.ICMP_HEADER_BYTES);
  const message = icmp.ICMP_HEADER_BYTES + quote;
  const sum = checksum.copyAndSum(asked, ip + IPV6_HEADER_BYTES + icmp.ICMP_HEADER_BYTES, quote);
  emitEthernet(reply, frame);
  const source = asked + IPV6_DESTINATION_OFFSET;
  icmp.emitIpv6(ip, message, 0, ipv6.hopLimit(asked), source, asked + IPV6_SOURCE_OFFSET);
  icmp.emitTooBig(ip, mtu, message, sum);
  return ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES + message;
}

/** Back where the frame came from, from where it was going. */
function emitEthernet(reply: usize, frame: usize): void {
  const sender = ethernet.source(frame);
  const receiver = ethernet.destination(frame);
  store<u64>(reply, sender | (receiver << 48));
  store<u32>(reply, (receiver >>> 16) as u32, 8);
  store<u16>(reply, load<u16>(frame, 12), 12);
}
