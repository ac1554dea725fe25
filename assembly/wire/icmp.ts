/*
 * ICMP (RFC 792, RFC 1191) and ICMPv6 (RFC 4443, RFC 4861): errors, neighbour discovery, and the IP headers in
 * front of them. `icmp` is where the ICMP message begins, `ip` where the IP header does.
 */
import { IP_PROTOCOL_ICMP, IP_PROTOCOL_ICMPV6, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES } from '../layout';
import * as checksum from './checksum';

export const ICMP_HEADER_BYTES = 8;
/** Header and target, without options. */
export const SOLICITATION_BYTES = 24;
/** Header, target, and the option with the target's MAC. */
export const ADVERTISEMENT_BYTES = 32;

const TYPE_UNREACHABLE = 3;
const CODE_FRAGMENTATION_NEEDED = 4;
const TYPE_SOURCE_QUENCH = 4;
const TYPE_REDIRECT = 5;
const TYPE_TIME_EXCEEDED = 11;
const TYPE_PARAMETER_PROBLEM = 12;
/** RFC 4443 section 2.1: error messages have the top bit clear; Linux counts the four that it knows. */
const V6_TYPE_UNREACHABLE = 1;
const V6_TYPE_TOO_BIG = 2;
const V6_TYPE_TIME_EXCEEDED = 3;
const V6_TYPE_PARAMETER_PROBLEM = 4;
const V6_TYPE_SOLICITATION = 135;
const V6_TYPE_ADVERTISEMENT = 136;
const V6_TYPE_REDIRECT = 137;

const CHECKSUM_OFFSET = 2;
/** u16 in network order, of ICMP type 3 code 4 */
const V4_MTU_OFFSET = 6;
/** u32 in network order, of ICMPv6 type 2 */
const V6_MTU_OFFSET = 4;
const TARGET_OFFSET = 8;
const FLAGS_OFFSET = 4;
const OPTION_OFFSET = 24;
const ADVERTISEMENT_ROUTER = 0x80;
const ADVERTISEMENT_SOLICITED = 0x40;
const ADVERTISEMENT_OVERRIDE = 0x20;
const OPTION_SOURCE_MAC = 1;
const OPTION_TARGET_MAC = 2;
const OPTION_UNIT_BYTES = 8;

/** Don't fragment, no offset: the bytes 0x40, 0x00. */
const IPV4_DF = 0x0040;

/** Whether a message of this type reports an error: none is sent about it. */
export function isError(type: u32): bool {
  return (
    type === TYPE_UNREACHABLE ||
    type === TYPE_SOURCE_QUENCH ||
    type === TYPE_REDIRECT ||
    type === TYPE_TIME_EXCEEDED ||
    type === TYPE_PARAMETER_PROBLEM
  );
}

/** The same for ICMPv6; a redirect counts too (RFC 4443 section 2.4 (e)). */
export function isErrorV6(type: u32): bool {
  return (
    type === V6_TYPE_UNREACHABLE ||
    type === V6_TYPE_TOO_BIG ||
    type === V6_TYPE_TIME_EXCEEDED ||
    type === V6_TYPE_PARAMETER_PROBLEM ||
    type === V6_TYPE_REDIRECT
  );
}

/** Needs 2 bytes. */
export function isSolicitation(icmp: usize): bool {
  return load<u8>(icmp) === V6_TYPE_SOLICITATION && load<u8>(icmp, 1) === 0;
}

/** Where the 16 bytes of the address asked for are. */
export function solicitationTarget(icmp: usize): usize {
  return icmp + TARGET_OFFSET;
}

/**
 * Where a solicitation of `bytes` bytes, all options included, has the MAC of its sender.
 * @returns 0 = it has none, -1 = an option is empty or cut off, and the whole invalid (RFC 4861 section 7.1.1)
 */
export function solicitationMacOffset(icmp: usize, bytes: i32): i32 {
  let at = SOLICITATION_BYTES;
  // A single byte is no option; Linux takes no offence at it.
  while (at + 1 < bytes) {
    const optionBytes = (load<u8>(icmp + at, 1) as i32) * OPTION_UNIT_BYTES;
    if (optionBytes === 0 || at + optionBytes > bytes) return -1;
    if (load<u8>(icmp + at) === OPTION_SOURCE_MAC) return at + 2;
    at += optionBytes;
  }
  return 0;
}

/** Writes a solicited advertisement of `target`, checksum and all. The IPv6 header at `ip` must be complete. */
export function emitAdvertisement(ip: usize, target: usize, mac: u64, isRouter: bool): void {
  const icmp = ip + IPV6_HEADER_BYTES;
  store<u64>(icmp, V6_TYPE_ADVERTISEMENT);
  const flags = ADVERTISEMENT_SOLICITED | ADVERTISEMENT_OVERRIDE | (isRouter ? ADVERTISEMENT_ROUTER : 0);
  store<u8>(icmp, flags as u8, FLAGS_OFFSET);
  store<u64>(icmp, load<u64>(target), TARGET_OFFSET);
  store<u64>(icmp, load<u64>(target, 8), TARGET_OFFSET + 8);
  store<u64>(icmp, OPTION_TARGET_MAC | (1 << 8) | (mac << 16), OPTION_OFFSET);
  const sum =
    checksum.sum(icmp, ADVERTISEMENT_BYTES) +
    checksum.pseudoIpv6(ip, IP_PROTOCOL_ICMPV6, ADVERTISEMENT_BYTES);
  store<u16>(icmp, (checksum.fold(sum) ^ 0xffff) as u16, CHECKSUM_OFFSET);
}

/** Writes the header of "fragmentation needed" in front of what it quotes, whose sum is `quoteSum`. */
export function emitFragmentationNeeded(icmp: usize, mtu: u32, quoteSum: u32): void {
  store<u64>(icmp, TYPE_UNREACHABLE | (CODE_FRAGMENTATION_NEEDED << 8));
  store<u16>(icmp, bswap<u16>(mtu as u16), V4_MTU_OFFSET);
  const sum = checksum.sum(icmp, ICMP_HEADER_BYTES) + quoteSum;
  store<u16>(icmp, (checksum.fold(sum) ^ 0xffff) as u16, CHECKSUM_OFFSET);
}

/** The same of "packet too big", for a message of `bytes` bytes. The IPv6 header at `ip` must be complete. */
export function emitTooBig(ip: usize, mtu: u32, bytes: u32, quoteSum: u32): void {
  const icmp = ip + IPV6_HEADER_BYTES;
  store<u32>(icmp, V6_TYPE_TOO_BIG);
  store<u32>(icmp, bswap<u32>(mtu), V6_MTU_OFFSET);
  const sum =
    checksum.sum(icmp, ICMP_HEADER_BYTES) + checksum.pseudoIpv6(ip, IP_PROTOCOL_ICMPV6, bytes) + quoteSum;
  store<u16>(icmp, (checksum.fold(sum) ^ 0xffff) as u16, CHECKSUM_OFFSET);
}

/** The IPv4 header of an ICMP message of `bytes` bytes: DF, no TOS, no identification. Addresses are in memory order. */
export function emitIpv4(ip: usize, bytes: i32, ttl: u32, source: u32, destination: u32): void {
  store<u16>(ip, 0x45);
  store<u16>(ip, bswap<u16>((IPV4_HEADER_BYTES + bytes) as u16), 2);
  store<u32>(ip, IPV4_DF << 16, 4);
  store<u32>(ip, ttl | (IP_PROTOCOL_ICMP << 8), 8);
  store<u32>(ip, source, 12);
  store<u32>(ip, destination, 16);
  store<u16>(ip, checksum.ipv4Header(ip, IPV4_HEADER_BYTES) as u16, 10);
}

/**
 * The IPv6 header of an ICMPv6 message of `bytes` bytes, without flow label.
 * @param priority the upper four bits of the traffic class; the lower ones are 0
 * @param source, destination addresses of 16 bytes
 */
export function emitIpv6(
  ip: usize,
  bytes: i32,
  priority: u32,
  hopLimit: u32,
  source: usize,
  destination: usize,
): void {
  store<u32>(ip, 0x60 | priority);
  store<u16>(ip, bswap<u16>(bytes as u16), 4);
  store<u8>(ip, IP_PROTOCOL_ICMPV6, 6);
  store<u8>(ip, hopLimit as u8, 7);
  store<u64>(ip, load<u64>(source), 8);
  store<u64>(ip, load<u64>(source, 8), 16);
  store<u64>(ip, load<u64>(destination), 24);
  store<u64>(ip, load<u64>(destination, 8), 32);
}
