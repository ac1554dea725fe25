/*
 * The way in: datagrams from a UDP socket -> frames for TAPs. In packet order, with the names of the kernel
 * driver's own steps in brackets; the functions below stand in this order.
 *
 *   1. the received message: truncated? which TOS? one datagram or a UDP_GRO bundle?
 *   2. per datagram: length, I flag, VNI -> domain -> device    [vxlan_rcv, vxlan_vs_find_vni]
 *   3. reserved bits; for a GPE device the next protocol        [vxlan_parse_gpe_proto]
 *   4. the inner frame's length
 *   5. is the sender known (ours); remote checksum offload, group policy
 *                                                               [vxlan_remcsum, vxlan_parse_gbp_hdr]
 *   6. our own MAC                                              [vxlan_set_mac]
 *   7. is the frame its peer's (ours); learning                 [vxlan_snoop]
 *   8. the inner IP header, ECN                                 [vxlan_ecn_decapsulate]
 *   9. where the device has a hook: shown to a program (ours)
 *  10. merged into a super-frame, or written as it is           [gro_cells_receive]
 *
 * Learning comes before 8, as in the kernel: a frame dropped there has still taught its source. `latelearning` has it
 * after all checks.
 * The walk stops when writes run out; the host writes what there is and calls again.
 */
import * as coalesce from './coalesce';
import * as counter from './count';
import { deliver } from './deliver';
import * as ecn from './ecn';
import * as fdb from './fdb';
import * as hook from './hook';
import { park } from './hook-decap';
import {
  AF_INET,
  ARRIVAL_ADDRESS_OFFSET,
  ARRIVAL_BYTES,
  ARRIVAL_COUNT,
  ARRIVAL_LENGTH_OFFSET,
  ARRIVAL_LISTENER_OFFSET,
  ARRIVALS_OFFSET,
  CMSGHDR_BYTES,
  DECAP_GOES_ON_OFFSET,
  DECAP_MESSAGE_OFFSET,
  DECAP_PACKETS,
  DECAP_PARKED_OFFSET,
  DECAP_POSITION_OFFSET,
  DECAP_STATE_OFFSET,
  DECAP_WARM_OFFSET,
  DEVICE_BYTES,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_GBP,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_HONOUR_DONT_LEARN,
  DEVICE_FLAG_KNOWN_PEERS,
  DEVICE_FLAG_KNOWN_SENDERS,
  DEVICE_FLAG_LATE_LEARNING,
  DEVICE_FLAG_LEARNING,
  DEVICE_FLAG_LINK_LOCAL,
  DEVICE_FLAG_REMCSUM_RX,
  DEVICE_FLAGS_OFFSET,
  DEVICE_MAC_OFFSET,
  DEVICE_RESERVED_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_ECN,
  DROP_GPE_HEADER,
  DROP_GPE_PROTOCOL,
  DROP_LOCAL_MAC,
  DROP_NO_VNI_FLAG,
  DROP_POLICY,
  DROP_RESERVED_BITS,
  DROP_SHORT_DATAGRAM,
  DROP_SHORT_INNER_FRAME,
  DROP_SHORT_INNER_IP_RECEIVED,
  DROP_SHORT_REMCSUM,
  DROP_TRUNCATED,
  DROP_UNKNOWN_SENDER,
  DROP_UNKNOWN_VNI,
  DROP_UNMAPPED_VNI,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  GPE_PROTOCOL_IPV4,
  GPE_PROTOCOL_IPV6,
  GPE_PROTOCOL_MPLS,
  IP_TOS,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  LISTENER_BYTES,
  LISTENER_RECEIVE_OFFSET,
  LISTENERS_BASE,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  MSG_TRUNC,
  RECEIPT_BYTES,
  RECEIPT_CONTROL_BYTES,
  RECEIPT_CONTROL_OFFSET,
  RECEIPT_IOVEC_OFFSET,
  RECEIPT_NAME_OFFSET,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_COUNT,
  RECEIVE_GPE,
  RECEIVE_STRIDE_BYTES,
  RECEIVES_OFFSET,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_GRO,
  VXLAN_FLAG_RCO,
  VXLAN_GPE_OAM,
  VXLAN_GPE_PROTOCOL,
  VXLAN_GPE_VERSION,
  VXLAN_HEADER_BYTES,
  VXLAN_RCO_START,
  VXLAN_RCO_UDP,
} from './layout';
import * as learning from './learning';
import { absolute } from './message';
import * as peers from './peer';
import * as policy from './policy';
import * as senders from './sender';
import * as vlan from './vlan';
import * as vni from './vni';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';
import * as vxlan from './wire/vxlan';
import * as writes from './write';

const MAC_BYTES = 6;
const SOCKADDR_IN6_SCOPE_OFFSET = 24;
/** struct in6_pktinfo */
const IN6_PKTINFO_IFINDEX_OFFSET = 16;
/** Flags of devices that look at more than the VNI. */
const EXTENSIONS: u32 =
  DEVICE_FLAG_GPE |
  DEVICE_FLAG_GBP |
  DEVICE_FLAG_REMCSUM_RX |
  DEVICE_FLAG_EXTERNAL |
  DEVICE_FLAG_KNOWN_SENDERS;
/** Flags of devices that look at the source of a frame. */
const LOOKING: u32 = DEVICE_FLAG_LEARNING | DEVICE_FLAG_KNOWN_PEERS;
/** Flags of devices that do not do so as the kernel does. */
const CAREFUL: u32 = DEVICE_FLAG_LATE_LEARNING | DEVICE_FLAG_HONOUR_DONT_LEARN | DEVICE_FLAG_KNOWN_PEERS;

/** Lays out every mmsghdr for recvmmsg and every write, once. */
export function prepare(worker: usize): void {
  writes.prepare(worker);
  for (let index = 0; index < RECEIVE_COUNT; ++index) {
    const header = worker + RECEIVES_OFFSET + index * MMSGHDR_BYTES;
    const receipt = worker + RECEIPTS_OFFSET + index * RECEIPT_BYTES;
    const iovec = receipt + RECEIPT_IOVEC_OFFSET;
    store<u64>(iovec, absolute(bufferOf(worker, index)));
    store<u64>(iovec, RECEIVE_BUFFER_BYTES, 8);
    store<u64>(header, absolute(receipt + RECEIPT_NAME_OFFSET), MMSGHDR_NAME_OFFSET);
    store<u64>(header, absolute(iovec), MMSGHDR_IOVEC_OFFSET);
    store<u64>(header, 1, MMSGHDR_IOVEC_COUNT_OFFSET);
    store<u64>(header, absolute(receipt + RECEIPT_CONTROL_OFFSET), MMSGHDR_CONTROL_OFFSET);
    rearm(header);
  }
}

/**
 * Walks `received` messages of one listener. Returns the number of writes, or less than 0: so many
 * records for a program, and then `decapVerdicts` returns it. `decapDone` tells whether all messages have been walked
 * or the same call, with the same arguments, must be made again.
 */
export function decap(worker: usize, listener: u32, received: i32): i32 {
  const state = worker + DECAP_STATE_OFFSET;
  if (load<u32>(state, DECAP_GOES_ON_OFFSET) === 0) writes.begin(worker);
  let message = load<i32>(state, DECAP_MESSAGE_OFFSET);
  if (fdb.isLarge()) warm(worker, listener, message, received);
  while (message < received && receive(worker, listener, message)) ++message;
  store<i32>(state, message, DECAP_MESSAGE_OFFSET);
  const isParked = load<u32>(state, DECAP_PARKED_OFFSET) !== 0;
  store<u32>(state, isParked && message < received ? 1 : 0, DECAP_GOES_ON_OFFSET);
  peers.settle(worker);
  return finish(worker);
}

/**
 * Walks `count` datagrams that a program hands over itself, from the arrival of number `first` on; there is room for all
 * of them. Returns as `decap`.
 */
export function decapArrivals(worker: usize, first: i32, count: i32): i32 {
  const end = worker + ARRIVALS_OFFSET + min(first + count, ARRIVAL_COUNT) * ARRIVAL_BYTES;
  writes.begin(worker);
  if (fdb.isLarge()) warmArrivals(worker, first, end);
  for (let at = worker + ARRIVALS_OFFSET + first * ARRIVAL_BYTES; at < end; at += ARRIVAL_BYTES) {
    // Listener, TOS and segment size.
    const word = load<u32>(at, ARRIVAL_LISTENER_OFFSET);
    const tos = (word >>> 8) & 0xff;
    const bytes = load<i32>(at, ARRIVAL_LENGTH_OFFSET);
    const address = <usize>load<u32>(at, ARRIVAL_ADDRESS_OFFSET);
    if (word >>> 16 === 0) datagram(worker, word & 0xff, at, tos, address, bytes, 0);
    else bundle(worker, word & 0xff, at, tos, address, bytes, <i32>(word >>> 16));
  }
  peers.settle(worker);
  return finish(worker);
}

/** Datagrams of `segment` bytes, of which the last may be shorter, or one with a super-frame. */
function bundle(
  worker: usize,
  listener: u32,
  arrival: usize,
  tos: u32,
  at: usize,
  bytes: i32,
  segment: i32,
): void {
  if (segment >= bytes || isSuperFrame(listener, at, bytes)) {
    datagram(worker, listener, arrival, tos, at, bytes, segment);
    return;
  }
  for (let position = 0; position < bytes; position += segment)
    datagram(worker, listener, arrival, tos, at + position, min(segment, bytes - position), 0);
}

/** The number of writes, or less than 0: the records that a program is to look at before `decapVerdicts`. */
function finish(worker: usize): i32 {
  const parked = load<i32>(worker + DECAP_STATE_OFFSET, DECAP_PARKED_OFFSET);
  return parked === 0 ? coalesce.finish(worker) : -parked;
}

/** As `warm`. */
function warmArrivals(worker: usize, first: i32, end: usize): void {
  let sum = 0;
  for (let at = worker + ARRIVALS_OFFSET + first * ARRIVAL_BYTES; at < end; at += ARRIVAL_BYTES) {
    if (load<i32>(at, ARRIVAL_LENGTH_OFFSET) < VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES) continue;
    const bytes = <usize>load<u32>(at, ARRIVAL_ADDRESS_OFFSET);
    const domain = vni.lookup(load<u8>(at, ARRIVAL_LISTENER_OFFSET), vxlan.vni(bytes));
    sum += fdb.find(domain, bytes + VXLAN_HEADER_BYTES + MAC_BYTES);
  }
  store<i32>(worker + DECAP_STATE_OFFSET, sum, DECAP_WARM_OFFSET);
}

/**
 * Fetches the FDB entries of the senders in a batch, those of the first datagram in a message. Their sum is of no
 * use but to keep the compiler from leaving it out.
 */
function warm(worker: usize, listener: u32, message: i32, received: i32): void {
  let sum = 0;
  for (; message < received; ++message) {
    const length = load<i32>(worker + RECEIVES_OFFSET + message * MMSGHDR_BYTES, MMSGHDR_LENGTH_OFFSET);
    if (length < VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES) continue;
    const at = bufferOf(worker, message);
    const domain = vni.lookup(listener, vxlan.vni(at));
    sum += fdb.find(domain, at + VXLAN_HEADER_BYTES + MAC_BYTES);
  }
  store<i32>(worker + DECAP_STATE_OFFSET, sum, DECAP_WARM_OFFSET);
}

/** Have all `received` messages been walked? Then the next batch begins at the first. */
export function decapDone(worker: usize, received: i32): boolean {
  const state = worker + DECAP_STATE_OFFSET;
  if (load<i32>(state, DECAP_MESSAGE_OFFSET) < received) return false;
  store<i32>(state, 0, DECAP_MESSAGE_OFFSET);
  return true;
}

function bufferOf(worker: usize, message: i32): usize {
  return worker + RECEIVE_BUFFERS_OFFSET + message * RECEIVE_STRIDE_BYTES;
}

/** The kernel writes these three; it wants to find them as they were. */
function rearm(header: usize): void {
  store<u64>(header, SOCKADDR_IN6_BYTES, MMSGHDR_NAME_LENGTH_OFFSET);
  store<u64>(header, RECEIPT_CONTROL_BYTES, MMSGHDR_CONTROL_LENGTH_OFFSET);
  store<u64>(header, 0, MMSGHDR_FLAGS_OFFSET);
}

/** One message. False: no room for more writes, come back. */
function receive(worker: usize, listener: u32, message: i32): boolean {
  const state = worker + DECAP_STATE_OFFSET;
  const header = worker + RECEIVES_OFFSET + message * MMSGHDR_BYTES;
  const receipt = worker + RECEIPTS_OFFSET + message * RECEIPT_BYTES;
  const buffer = bufferOf(worker, message);
  const length = min(load<i32>(header, MMSGHDR_LENGTH_OFFSET), RECEIVE_BUFFER_BYTES);
  const control = receipt + RECEIPT_CONTROL_OFFSET;
  const controlEnd =
    control + <usize>min(load<u64>(header, MMSGHDR_CONTROL_LENGTH_OFFSET), RECEIPT_CONTROL_BYTES);
  const bundle = controlOf(control, controlEnd, SOL_UDP, UDP_GRO, -1, 4);
  const outer =
    load<u16>(receipt, RECEIPT_NAME_OFFSET) === AF_INET
      ? controlOf(control, controlEnd, SOL_IP, IP_TOS, 0, 1)
      : controlOf(control, controlEnd, SOL_IPV6, IPV6_TCLASS, 0, 4);

  let position = load<i32>(state, DECAP_POSITION_OFFSET);
  if ((load<u32>(header, MMSGHDR_FLAGS_OFFSET) & MSG_TRUNC) !== 0) {
    counter.one(worker, 0, DROP_TRUNCATED);
  } else if (length === 0 || bundle <= 0 || bundle >= length || isSuperFrame(listener, buffer, length)) {
    if (!writes.hasRoom(worker)) return false;
    datagram(worker, listener, receipt, outer, buffer, length, max(bundle, 0));
  } else {
    for (; position < length; position += bundle) {
      if (!writes.hasRoom(worker)) {
        store<i32>(state, position, DECAP_POSITION_OFFSET);
        return false;
      }
      datagram(worker, listener, receipt, outer, buffer + position, min(bundle, length - position), 0);
    }
  }
  store<i32>(state, 0, DECAP_POSITION_OFFSET);
  rearm(header);
  return true;
}

/**
 * The value of a control message, or of its field at `offset`, of 1 or 4 `bytes`, or `absent`. Lengths are looked at
 * before they are believed.
 */
function controlOf(
  control: usize,
  end: usize,
  level: i32,
  type: i32,
  absent: i32,
  bytes: i32,
  offset: i32 = 0,
): i32 {
  let at = control;
  while (at + CMSGHDR_BYTES <= end) {
    const length = load<u64>(at);
    if (length < <u64>CMSGHDR_BYTES || length > <u64>(end - at)) return absent;
    if (load<i32>(at, 8) === level && load<i32>(at, 12) === type) {
      if (length < <u64>(CMSGHDR_BYTES + offset + bytes)) return absent;
      const value = at + <usize>offset;
      return bytes === 1 ? load<u8>(value, CMSGHDR_BYTES) : load<i32>(value, CMSGHDR_BYTES);
    }
    at += (<usize>length + 7) & ~7;
  }
  return absent;
}

/**
 * A kernel peer on a virtual link sends a super-frame as one datagram. For UDP inside, the socket then
 * reports the inner segment size as if it were a bundle's: but the inner packet says that it is one.
 */
function isSuperFrame(listener: u32, datagram: usize, length: i32): boolean {
  const inner = datagram + VXLAN_HEADER_BYTES;
  const bytes = length - VXLAN_HEADER_BYTES;
  const receive = load<u32>(LISTENERS_BASE + listener * LISTENER_BYTES, LISTENER_RECEIVE_OFFSET);
  if ((receive & RECEIVE_GPE) !== 0) {
    const protocol = vxlan.word(datagram) & 0xff;
    if (protocol === GPE_PROTOCOL_IPV4) return isWhole(ETHERTYPE_IPV4, inner, bytes);
    return protocol === GPE_PROTOCOL_IPV6 && isWhole(ETHERTYPE_IPV6, inner, bytes);
  }
  if (bytes < ETHERNET_HEADER_BYTES) return false;
  const l3 = ethernet.networkOffset(inner, bytes);
  return isWhole(ethernet.etherTypeBefore(inner, l3), inner + l3, bytes - l3);
}

/** Does an IP packet say that it is as long as this? */
function isWhole(type: u32, ip: usize, bytes: i32): boolean {
  if (bytes < IPV4_HEADER_BYTES) return false;
  if (type === ETHERTYPE_IPV4) return ip4.totalLength(ip) === bytes;
  return type === ETHERTYPE_IPV6 && ip6.payloadLength(ip) === bytes - IPV6_HEADER_BYTES;
}

/** One datagram; there is room for its write. Returns its verdict. */
function datagram(
  worker: usize,
  listener: u32,
  sender: usize,
  outer: u32,
  at: usize,
  length: i32,
  gsoSize: i32,
): i32 {
  if (length < VXLAN_HEADER_BYTES) return counter.lost(worker, 0, 0, DROP_SHORT_DATAGRAM);
  if (!vxlan.hasVni(at)) return counter.lost(worker, 0, 0, DROP_NO_VNI_FLAG);
  const found = vni.find(listener, vxlan.vni(at));
  const domain = vni.domainOf(found);
  const device = vni.deviceOf(found);
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  const flags = load<u32>(record, DEVICE_FLAGS_OFFSET);
  if (
    device === 0 ||
    ((flags & DEVICE_FLAG_LINK_LOCAL) !== 0 && !vni.hears(device, arrivalOf(worker, sender)))
  )
    return counter.lost(worker, 0, 0, DROP_UNKNOWN_VNI);
  if ((load<u64>(at) & load<u64>(record, DEVICE_RESERVED_OFFSET)) !== 0)
    return counter.lost(worker, device, domain, DROP_RESERVED_BITS);

  const frame = at + VXLAN_HEADER_BYTES;
  const bytes = length - VXLAN_HEADER_BYTES;
  const isPacket = (flags & DEVICE_FLAG_GPE) !== 0;
  const head = isPacket ? 0 : ETHERNET_HEADER_BYTES;
  let verdict = 0;
  if (bytes < head) verdict = DROP_SHORT_INNER_FRAME;
  else if ((flags & EXTENSIONS) !== 0) verdict = readExtensions(worker, found, flags, sender, at, bytes);
  // Nothing can be learned from a packet without Ethernet header.
  if (verdict === 0 && !isPacket) {
    if (ethernet.source(frame) === load<u64>(record, DEVICE_MAC_OFFSET)) verdict = DROP_LOCAL_MAC;
    else if ((flags & LOOKING) !== 0)
      verdict =
        (flags & CAREFUL) === 0
          ? learning.snoop(worker, device, domain, frame, sender, scopeOf(sender))
          : lookCarefully(worker, device, domain, flags, sender, outer, at, bytes);
  }
  if (verdict === 0)
    verdict = decapsulateEcn(ethernet.etherTypeBefore(frame, head), frame + head, bytes - head, outer);
  if (verdict === 0 && load<u32>(record, DEVICE_STATE_OFFSET) !== DEVICE_UP) verdict = DROP_DEVICE_DOWN;
  if (verdict !== 0) return counter.lost(worker, device, domain, verdict);

  // Both apart from this function, which has to be short.
  if (!hook.isHooked(worker, device)) deliver(worker, found, frame, bytes, isPacket, gsoSize);
  else park(worker, found, sender, outer, frame, bytes, isPacket, gsoSize);
  return DECAP_PACKETS;
}

/**
 * Is it its peer's? Then learning, with an eye on the D bit and on what comes after. Returns 0 or the verdict to drop
 * the datagram with.
 */
function lookCarefully(
  worker: usize,
  device: u32,
  domain: u32,
  flags: u32,
  sender: usize,
  outer: u32,
  at: usize,
  bytes: i32,
): i32 {
  const frame = at + VXLAN_HEADER_BYTES;
  if ((flags & DEVICE_FLAG_KNOWN_PEERS) !== 0) {
    const verdict = peers.admit(worker, device, sender, frame, bytes);
    if (verdict !== 0) return verdict;
    if ((flags & DEVICE_FLAG_LEARNING) === 0) return 0;
  }
  if (learning.isForbidden(flags, vxlan.word(at))) return 0;
  if ((flags & DEVICE_FLAG_LATE_LEARNING) !== 0) {
    // Done again behind learning, it changes nothing more: a mark that has been carried over is there.
    const ip = frame + ETHERNET_HEADER_BYTES;
    const type = ethernet.etherTypeBefore(frame, ETHERNET_HEADER_BYTES);
    const verdict = decapsulateEcn(type, ip, bytes - ETHERNET_HEADER_BYTES, outer);
    if (verdict !== 0) return verdict;
    // What is dropped there is dropped behind learning.
    const record = DEVICES_BASE + device * DEVICE_BYTES;
    if (load<u32>(record, DEVICE_STATE_OFFSET) !== DEVICE_UP) return 0;
  }
  return learning.snoop(worker, device, domain, frame, sender, scopeOf(sender));
}

/** Returns 0 or the verdict to drop the datagram with. */
function readExtensions(worker: usize, place: u32, flags: u32, sender: usize, at: usize, bytes: i32): i32 {
  const device = vni.deviceOf(place);
  if ((flags & DEVICE_FLAG_KNOWN_SENDERS) !== 0 && !senders.isKnown(device, sender))
    return DROP_UNKNOWN_SENDER;
  const word = vxlan.word(at);
  if ((flags & DEVICE_FLAG_GPE) !== 0) return readProtocol(at, word);
  if ((flags & DEVICE_FLAG_EXTERNAL) !== 0 && vlan.isCutOff(device, vni.domainOf(place)))
    return DROP_UNMAPPED_VNI;
  if ((flags & DEVICE_FLAG_REMCSUM_RX) !== 0 && (word & VXLAN_FLAG_RCO) !== 0) {
    if (!completeChecksum(at + VXLAN_HEADER_BYTES, bytes, vxlan.tail(at))) return DROP_SHORT_REMCSUM;
  }
  if ((flags & DEVICE_FLAG_GBP) !== 0 && !policy.admits(worker, device, word)) return DROP_POLICY;
  return 0;
}

/** Remote checksum offload: the sum that the sender left open, complemented where it belongs. */
function completeChecksum(frame: usize, bytes: i32, tail: u32): boolean {
  const start = <i32>((tail & VXLAN_RCO_START) << 1);
  const field = start + ((tail & VXLAN_RCO_UDP) !== 0 ? udp.CHECKSUM_OFFSET : tcp.CHECKSUM_OFFSET);
  if (field + 2 > bytes) return false;
  const sum = ~checksum.sum(frame + start, bytes - start) & 0xffff;
  store<u16>(frame + field, sum === 0 ? 0xffff : <u16>sum);
  return true;
}

/** GPE: what the next protocol is stands where an EtherType would. Returns 0 or the verdict to drop with. */
function readProtocol(at: usize, word: u32): i32 {
  if ((word & VXLAN_GPE_PROTOCOL) === 0 || (word & (VXLAN_GPE_VERSION | VXLAN_GPE_OAM)) !== 0)
    return DROP_GPE_HEADER;
  const protocol = (word & 0xff) as i32;
  if (protocol === 0 || protocol > GPE_PROTOCOL_MPLS) return DROP_GPE_HEADER;
  if (protocol > GPE_PROTOCOL_IPV6) return DROP_GPE_PROTOCOL;
  // The VXLAN header has been read: its last bytes are free.
  const type = protocol === GPE_PROTOCOL_IPV6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  store<u16>(at, bswap<u16>(type as u16), VXLAN_HEADER_BYTES - 2);
  return 0;
}

/** Where a datagram over IPv6 came in: the sockets of devices with link-local addresses are told. 0 = not known. */
function arrivalOf(worker: usize, receipt: usize): u32 {
  const message = (receipt - worker - RECEIPTS_OFFSET) / RECEIPT_BYTES;
  const header = worker + RECEIVES_OFFSET + message * MMSGHDR_BYTES;
  const control = receipt + RECEIPT_CONTROL_OFFSET;
  const end = control + <usize>min(load<u64>(header, MMSGHDR_CONTROL_LENGTH_OFFSET), RECEIPT_CONTROL_BYTES);
  const told = controlOf(control, end, SOL_IPV6, IPV6_PKTINFO, 0, 4, IN6_PKTINFO_IFINDEX_OFFSET);
  return told !== 0 ? told : scopeOf(receipt);
}

/** Where the datagram came in, which the kernel tells of a link-local sender only; else 0. */
function scopeOf(sender: usize): u32 {
  return load<u16>(sender) === AF_INET ? 0 : load<u32>(sender, SOCKADDR_IN6_SCOPE_OFFSET);
}

/** RFC 6040 for an inner IP packet. Returns 0 or the verdict to drop it with. */
function decapsulateEcn(type: u32, ip: usize, bytes: i32, outer: u32): i32 {
  if (type === ETHERTYPE_IPV4) {
    if (bytes < IPV4_HEADER_BYTES) return DROP_SHORT_INNER_IP_RECEIVED;
    if ((outer & 3) === 0) return 0;
    const inner = ip4.tos(ip) & 3;
    const result = ecn.decapsulate(outer & 3, inner);
    if (result < 0) return DROP_ECN;
    if (<u32>result !== inner) ecn.applyIpv4(ip, result);
  } else if (type === ETHERTYPE_IPV6) {
    if (bytes < IPV6_HEADER_BYTES) return DROP_SHORT_INNER_IP_RECEIVED;
    if ((outer & 3) === 0) return 0;
    const inner = ip6.trafficClass(ip) & 3;
    const result = ecn.decapsulate(outer & 3, inner);
    if (result < 0) return DROP_ECN;
    if (<u32>result !== inner) ecn.applyIpv6(ip, result);
  }
  return 0;
}
