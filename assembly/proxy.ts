/*
 * ARP and ND suppression (`proxy`): requests for neighbours that this host knows are answered here, and no request
 * crosses the tunnel. As the kernel driver does it:                                [arp_reduce, neigh_reduce]
 *
 *   - An untagged ARP frame never goes on, answered or not; nor does an untagged neighbour solicitation
 *     whose ICMPv6 header directly follows the IPv6 header. Checksum and hop limit are not looked at.
 *   - Answered is what asks for a neighbour in a connected state, unless the FDB has its MAC behind the "any" address:
 *     that one is on this side of the tunnel and answers for itself.
 *   - With `proxyforward`, ours, what nobody here can answer goes on, and so do ARP replies: a neighbour beyond the
 *     tunnel that asked must hear them. What could only be answered wrongly is swallowed still.
 *   - The reply comes from the neighbour, in Ethernet as in ARP or ND.
 */
import * as counter from './count';
import * as fdb from './fdb';
import { lookUp, recordOf } from './fdb-index';
import {
  AF_INET,
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FLAG_NOARP,
  DEVICE_FLAG_PROXY_FORWARD,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  DROP_SHORT_REQUEST,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  FANOUT_OFFSET,
  FDB_FLAGS_OFFSET,
  HEADER_BASE,
  HEADER_NOW_OFFSET,
  IP_PROTOCOL_ICMPV6,
  IPV6_HEADER_BYTES,
  NTF_NEXTHOP,
  NTF_ROUTER,
  PROXY_REPLIES,
  PROXY_SWALLOWED,
  REMOTE_ADDRESS_OFFSET,
} from './layout';
import * as neighbour from './neighbour';
import * as arp from './wire/arp';
import * as ethernet from './wire/ethernet';
import * as icmp from './wire/icmp';
import * as ipv6 from './wire/ipv6';

/** `reduce`: the frame is not for the proxy; it was consumed without an answer. */
const REDUCE_NOT_MINE = 0;
const REDUCE_CONSUMED = -1;

const DOMAIN_SHIFT = 48;
const IPV6_SOURCE_OFFSET = 8;
const IPV6_DESTINATION_OFFSET = 24;
const HOP_LIMIT = 255;
/** Of the source MAC in a frame. */
const SOURCE_OFFSET = 6;
const SOLICITATION_OFFSET = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES;

/** What the FDB says of a neighbour's MAC. */
const BEHIND_TUNNEL = 0;
const BEHIND_TUNNEL_ROUTER = 1;
const BEHIND_BRIDGE = 2;

/**
 * @param reply room for INJECT_REPLY_BYTES
 * @returns REDUCE_NOT_MINE, REDUCE_CONSUMED, or the bytes of the frame at `reply`, for the device's own TAP
 */
export function reduce(
  worker: usize,
  device: u32,
  domain: u32,
  frame: usize,
  length: i32,
  reply: usize,
): i32 {
  if (length < ETHERNET_HEADER_BYTES) return REDUCE_NOT_MINE;
  const type = ethernet.etherType(frame);
  if (type === ETHERTYPE_ARP) return reduceArp(worker, device, domain, frame, length, reply);
  if (type === ETHERTYPE_IPV6 && isSolicitation(frame, length)) {
    return reduceSolicitation(worker, device, domain, frame, length, reply);
  }
  return REDUCE_NOT_MINE;
}

function reduceArp(worker: usize, device: u32, domain: u32, frame: usize, length: i32, reply: usize): i32 {
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  if ((flags & DEVICE_FLAG_NOARP) !== 0) return pass(worker, device);
  if (length < ETHERNET_HEADER_BYTES + arp.ARP_BYTES) {
    counter.dropped(worker, device, domain, DROP_SHORT_REQUEST);
    return REDUCE_CONSUMED;
  }
  const request = frame + ETHERNET_HEADER_BYTES;
  const target = arp.targetIp(request);
  if (!arp.isRequest(request)) return pass(worker, device);
  if (isLoopbackOrMulticast(target)) return swallow(worker, device);
  const found = neighbour.find(device, AF_INET, target);
  if (found === 0) neighbour.missed(worker, device, domain, AF_INET, target);
  if (neighbour.stateOf(found) !== neighbour.NEIGHBOUR_CONNECTED) return pass(worker, device);
  const mac = neighbour.macOf(found);
  if (placeOf(worker, domain, mac) === BEHIND_BRIDGE) return swallow(worker, device);
  emitEthernet(reply, arp.senderMac(request), mac, ETHERTYPE_ARP);
  arp.emitReply(reply + ETHERNET_HEADER_BYTES, request, mac);
  counter.one(worker, device, PROXY_REPLIES);
  return ETHERNET_HEADER_BYTES + arp.ARP_BYTES;
}

/** Shorter ones go on as any frame does. */
function isSolicitation(frame: usize, length: i32): bool {
  return (
    length >= SOLICITATION_OFFSET + icmp.SOLICITATION_BYTES &&
    ipv6.nextHeader(frame + ETHERNET_HEADER_BYTES) === IP_PROTOCOL_ICMPV6 &&
    icmp.isSolicitation(frame + SOLICITATION_OFFSET)
  );
}

function reduceSolicitation(
  worker: usize,
  device: u32,
  domain: u32,
  frame: usize,
  length: i32,
  reply: usize,
): i32 {
  const ip = frame + ETHERNET_HEADER_BYTES;
  const request = frame + SOLICITATION_OFFSET;
  const target = icmp.solicitationTarget(request);
  if (isLoopbackV6(ip + IPV6_DESTINATION_OFFSET) || isMulticastV6(target)) return swallow(worker, device);
  const found = neighbour.find(device, AF_INET6, target);
  if (found === 0) neighbour.missed(worker, device, domain, AF_INET6, target);
  if (neighbour.stateOf(found) !== neighbour.NEIGHBOUR_CONNECTED) return pass(worker, device);
  const mac = neighbour.macOf(found);
  const place = placeOf(worker, domain, mac);
  if (place === BEHIND_BRIDGE) return swallow(worker, device);
  const option = icmp.solicitationMacOffset(request, length - SOLICITATION_OFFSET);
  if (option < 0) return swallow(worker, device);
  // ethernet.source loads the 8 bytes that end with the MAC, so that nothing behind an option is read.
  const requester = ethernet.source(option === 0 ? frame : request + option - SOURCE_OFFSET);
  emitEthernet(reply, requester, mac, ETHERTYPE_IPV6);
  const replyIp = reply + ETHERNET_HEADER_BYTES;
  // The low half of the first byte alone is copied: the kernel's `priority`, as the field was before RFC 2474.
  const priority = load<u8>(ip) & 15;
  icmp.emitIpv6(replyIp, icmp.ADVERTISEMENT_BYTES, priority, HOP_LIMIT, target, ip + IPV6_SOURCE_OFFSET);
  icmp.emitAdvertisement(replyIp, target, mac, place === BEHIND_TUNNEL_ROUTER);
  counter.one(worker, device, PROXY_REPLIES);
  return SOLICITATION_OFFSET + icmp.ADVERTISEMENT_BYTES;
}

/** There is no answer here. */
function pass(worker: usize, device: u32): i32 {
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  return (flags & DEVICE_FLAG_PROXY_FORWARD) !== 0 ? REDUCE_NOT_MINE : swallow(worker, device);
}

function swallow(worker: usize, device: u32): i32 {
  counter.one(worker, device, PROXY_SWALLOWED);
  return REDUCE_CONSUMED;
}

/** Where a neighbour is by the FDB, whose entry counts as used. The fan-out is free: this frame goes nowhere else. */
function placeOf(worker: usize, domain: u32, mac: u64): i32 {
  const entry = lookUp(mac | ((domain as u64) << DOMAIN_SHIFT));
  if (entry < 0) return BEHIND_TUNNEL;
  fdb.touch(entry, load<u32>(HEADER_BASE, HEADER_NOW_OFFSET));
  const remote = worker + FANOUT_OFFSET;
  const flags = atomic.load<u16>(recordOf(entry), FDB_FLAGS_OFFSET);
  if (fdb.collect(entry, domain, mac, remote, 1) === 0) return BEHIND_TUNNEL;
  // Members of a nexthop group are not looked at.
  const low = load<u64>(remote, REMOTE_ADDRESS_OFFSET);
  const high = load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8);
  if ((low | high) === 0 && (flags & NTF_NEXTHOP) === 0) return BEHIND_BRIDGE;
  return (flags & NTF_ROUTER) === 0 ? BEHIND_TUNNEL : BEHIND_TUNNEL_ROUTER;
}

/** MACs have their first byte lowest. */
function emitEthernet(frame: usize, destination: u64, source: u64, type: u32): void {
  store<u64>(frame, destination | (source << 48));
  store<u32>(frame, (source >>> 16) as u32, 8);
  store<u16>(frame, bswap<u16>(type as u16), 12);
}

function isLoopbackOrMulticast(address: usize): bool {
  const first = load<u8>(address);
  return first === 127 || (first & 0xf0) === 0xe0;
}

/** ::1 */
function isLoopbackV6(address: usize): bool {
  return load<u64>(address) === 0 && load<u64>(address, 8) === (1 as u64) << 56;
}

function isMulticastV6(address: usize): bool {
  return load<u8>(address) === 0xff;
}
