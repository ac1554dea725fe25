/*
 * The flow of an inner frame: a hash, and the outer UDP source port made of it (RFC 7348
 * section 5), so that routers and network cards of the underlay spread the flows of one tunnel
 * and keep each of them in order.
 *
 * What counts is what Linux's flow dissector was seen to count:
 *
 *   IPv4, IPv6           addresses, protocol, and the ports of TCP, UDP and SCTP
 *   fragments            addresses and protocol: a later fragment has no ports to read
 *   tagged with a VLAN   addresses only
 *   anything else        the ethertype
 *
 * MAC addresses, lengths, TTL and TOS never count. Both directions of a flow have one hash:
 * each end (address and port) is hashed by itself and the two are added. The seed is random,
 * so that who sends frames can't choose their ports.
 *
 * Nothing is read behind the frame's `length`: what is cut off doesn't count.
 */

import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IP_PROTOCOL_SCTP,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
} from './layout';
import * as ethernet from './wire/ethernet';
import * as ipv4 from './wire/ipv4';
import * as ipv6 from './wire/ipv6';

const IPV4_SOURCE_OFFSET = 12;
const IPV4_DESTINATION_OFFSET = 16;
const IPV6_SOURCE_OFFSET = 8;
const IPV6_DESTINATION_OFFSET = 24;

/** RFC 8200 section 4: all but the fragment header begin with next header and length in units. */
const EXTENSION_UNIT_BYTES = 8;
const EXTENSION_LENGTH_OFFSET = 1;
const EXTENSION_HOP_BY_HOP = 0;
const EXTENSION_ROUTING = 43;
const EXTENSION_FRAGMENT = 44;
const EXTENSION_DESTINATION_OPTIONS = 60;
/** RFC 8200 section 4.1 has each of them once, destination options twice. */
const EXTENSION_MAX = 6;

/** Source and destination port, side by side at the start of TCP, UDP and SCTP. */
const PORTS_BYTES = 4;
const PROTOCOL_SHIFT = 32;

/** Hash of the flow that the Ethernet frame of `length` bytes belongs to. */
export function hash(frame: usize, length: i32, seed: u32): u32 {
  if (length < ETHERNET_HEADER_BYTES) return finish(seed, 0);
  return hashAt(frame, length, ethernet.networkOffset(frame, length), seed);
}

/** The same, where it is known already where the network header begins. */
export function hashAt(frame: usize, length: i32, offset: i32, seed: u32): u32 {
  const type = ethernet.etherTypeBefore(frame, offset);
  const ip = frame + offset;
  const rest = length - offset;
  const tagged = offset > ETHERNET_HEADER_BYTES;
  let source: u32 = 0;
  let destination: u32 = 0;
  let transport: u64 = 0;
  if (type === ETHERTYPE_IPV4 && rest >= IPV4_HEADER_BYTES) {
    source = stir(seed, load<u32>(ip, IPV4_SOURCE_OFFSET));
    destination = stir(seed, load<u32>(ip, IPV4_DESTINATION_OFFSET));
    if (!tagged) transport = transportIpv4(ip, rest);
  } else if (type === ETHERTYPE_IPV6 && rest >= IPV6_HEADER_BYTES) {
    source = stirAddress(seed, ip + IPV6_SOURCE_OFFSET);
    destination = stirAddress(seed, ip + IPV6_DESTINATION_OFFSET);
    if (!tagged) transport = transportIpv6(ip, rest);
  } else {
    return finish(seed, type);
  }
  // In one place, so that the compiler puts it here instead of calling it.
  return join(source, destination, transport as u32, (transport >>> PROTOCOL_SHIFT) as u32);
}

/** A port of [min, max): the kernel's range is half-open too. `min` when the range is empty. */
export function port(hash: u32, min: u32, max: u32): u32 {
  return min + slot(hash, max - min);
}

/** A number of [0, count), evenly over all hashes. */
export function slot(hash: u32, count: u32): u32 {
  // The kernel's own step: low bits count too, should the high ones be poor.
  const spread = hash ^ (hash << 16);
  return (((spread as u64) * (count as u64)) >>> 32) as u32;
}

/** What is above IP: the ports in the low half, the protocol in the high one. */
function transportIpv4(ip: usize, length: i32): u64 {
  const protocol = ipv4.protocol(ip);
  const headerBytes = ipv4.headerBytes(ip);
  if (ipv4.isFragment(ip) || headerBytes < IPV4_HEADER_BYTES) return (protocol as u64) << PROTOCOL_SHIFT;
  return transport(ip, headerBytes, length, protocol);
}

function transportIpv6(ip: usize, length: i32): u64 {
  let protocol = ipv6.nextHeader(ip);
  let at = IPV6_HEADER_BYTES;
  for (let i = 0; i < EXTENSION_MAX && at + EXTENSION_UNIT_BYTES <= length; i++) {
    if (protocol === EXTENSION_FRAGMENT) return (load<u8>(ip + at) as u64) << PROTOCOL_SHIFT;
    if (!isOption(protocol)) break;
    protocol = load<u8>(ip + at);
    at += (load<u8>(ip + at, EXTENSION_LENGTH_OFFSET) + 1) * EXTENSION_UNIT_BYTES;
  }
  return transport(ip, at, length, protocol);
}

function transport(ip: usize, at: i32, length: i32, protocol: u32): u64 {
  return (loadPorts(ip, at, length, protocol) as u64) | ((protocol as u64) << PROTOCOL_SHIFT);
}

/** Both ports in memory order, the source in the low half; 0 where the protocol has none or they are cut off. */
function loadPorts(ip: usize, at: i32, length: i32, protocol: u32): u32 {
  if (protocol !== IP_PROTOCOL_TCP && protocol !== IP_PROTOCOL_UDP && protocol !== IP_PROTOCOL_SCTP) return 0;
  return at + PORTS_BYTES <= length ? load<u32>(ip + at) : 0;
}

function isOption(protocol: u32): bool {
  return (
    protocol === EXTENSION_HOP_BY_HOP ||
    protocol === EXTENSION_ROUTING ||
    protocol === EXTENSION_DESTINATION_OPTIONS
  );
}

/**
 * One end takes its port, and the sum forgets which end was which. Each end is scrambled first: the sum of
 * two lightly stirred ends would let neighbouring addresses on one side cancel those on the other.
 */
function join(source: u32, destination: u32, ports: u32, protocol: u32): u32 {
  const ends = scramble(stir(source, ports & 0xffff)) + scramble(stir(destination, ports >>> 16));
  return finish(ends, protocol);
}

function stirAddress(state: u32, address: usize): u32 {
  state = stir(state, load<u32>(address));
  state = stir(state, load<u32>(address, 4));
  state = stir(state, load<u32>(address, 8));
  return stir(state, load<u32>(address, 12));
}

/** One round: multiply, then bring the well-mixed high bits down. No two words give one state. */
function stir(state: u32, word: u32): u32 {
  const mixed = (state ^ word) * 0x9e3779b1;
  return mixed ^ (mixed >>> 15);
}

function finish(state: u32, kind: u32): u32 {
  return scramble(stir(state, kind));
}

/** MurmurHash3's 32-bit finaliser: every bit of the state reaches every bit of the hash. */
function scramble(state: u32): u32 {
  state = (state ^ (state >>> 16)) * 0x85ebca6b;
  state = (state ^ (state >>> 13)) * 0xc2b2ae35;
  return state ^ (state >>> 16);
}
