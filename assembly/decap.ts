/*
 * The way in: datagrams from a UDP socket -> frames for TAPs. In packet order, with the names of the kernel
 * driver's own steps in brackets; the functions below, and in the files that are named, stand in this order.
 *
 *   1. the received message: truncated? which TOS? one datagram or a UDP_GRO bundle? receipt.ts
 *   2. per datagram: length, I flag, VNI -> domain -> device    [vxlan_rcv, vxlan_vs_find_vni]
 *   3. reserved bits; for a GPE device the next protocol        [vxlan_parse_gpe_proto]
 *   4. the inner frame's length
 *   5. is the sender known (ours); remote checksum offload, group policy: extension.ts
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
import * as extension from './extension';
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
  DECAP_GOES_ON_OFFSET,
  DECAP_MESSAGE_OFFSET,
  DECAP_PACKETS,
  DECAP_PARKED_OFFSET,
  DECAP_POSITION_OFFSET,
  DECAP_STATE_OFFSET,
  DECAP_WARM_OFFSET,
  DEVICE_BYTES,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_HONOUR_DONT_LEARN,
  DEVICE_FLAG_KNOWN_PEERS,
  DEVICE_FLAG_LATE_LEARNING,
  DEVICE_FLAG_LEARNING,
  DEVICE_FLAG_LINK_LOCAL,
  DEVICE_FLAGS_OFFSET,
  DEVICE_MAC_OFFSET,
  DEVICE_RESERVED_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_LOCAL_MAC,
  DROP_NO_VNI_FLAG,
  DROP_RESERVED_BITS,
  DROP_SHORT_DATAGRAM,
  DROP_SHORT_INNER_FRAME,
  DROP_TRUNCATED,
  DROP_UNKNOWN_VNI,
  ETHERNET_HEADER_BYTES,
  IP_TOS,
  IPV6_TCLASS,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MSG_TRUNC,
  RECEIPT_BYTES,
  RECEIPT_CONTROL_BYTES,
  RECEIPT_CONTROL_OFFSET,
  RECEIPT_NAME_OFFSET,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVES_OFFSET,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_GRO,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as learning from './learning';
import * as peers from './peer';
import * as receipts from './receipt';
import * as vni from './vni';
import * as ethernet from './wire/ethernet';
import * as vxlan from './wire/vxlan';
import * as writes from './write';

const MAC_BYTES = 6;
/** Flags of devices that look at the source of a frame. */
const LOOKING: u32 = DEVICE_FLAG_LEARNING | DEVICE_FLAG_KNOWN_PEERS;
/** Flags of devices that do not do so as the kernel does. */
const CAREFUL: u32 = DEVICE_FLAG_LATE_LEARNING | DEVICE_FLAG_HONOUR_DONT_LEARN | DEVICE_FLAG_KNOWN_PEERS;

/** Lays out every message for recvmmsg and every write, once. */
export function prepare(worker: usize): void {
  writes.prepare(worker);
  receipts.prepare(worker);
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
  if (segment >= bytes || receipts.isSuperFrame(listener, at, bytes)) {
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
    const at = receipts.bufferOf(worker, message);
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

/** One message. False: no room for more writes, come back. */
function receive(worker: usize, listener: u32, message: i32): boolean {
  const state = worker + DECAP_STATE_OFFSET;
  const header = worker + RECEIVES_OFFSET + message * MMSGHDR_BYTES;
  const receipt = worker + RECEIPTS_OFFSET + message * RECEIPT_BYTES;
  const buffer = receipts.bufferOf(worker, message);
  const length = min(load<i32>(header, MMSGHDR_LENGTH_OFFSET), RECEIVE_BUFFER_BYTES);
  const control = receipt + RECEIPT_CONTROL_OFFSET;
  const controlEnd =
    control + <usize>min(load<u64>(header, MMSGHDR_CONTROL_LENGTH_OFFSET), RECEIPT_CONTROL_BYTES);
  const bundle = receipts.controlOf(control, controlEnd, SOL_UDP, UDP_GRO, -1, 4);
  const outer =
    load<u16>(receipt, RECEIPT_NAME_OFFSET) === AF_INET
      ? receipts.controlOf(control, controlEnd, SOL_IP, IP_TOS, 0, 1)
      : receipts.controlOf(control, controlEnd, SOL_IPV6, IPV6_TCLASS, 0, 4);

  let position = load<i32>(state, DECAP_POSITION_OFFSET);
  if ((load<u32>(header, MMSGHDR_FLAGS_OFFSET) & MSG_TRUNC) !== 0) {
    counter.one(worker, 0, DROP_TRUNCATED);
  } else if (
    length === 0 ||
    bundle <= 0 ||
    bundle >= length ||
    receipts.isSuperFrame(listener, buffer, length)
  ) {
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
  receipts.rearm(header);
  return true;
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
    ((flags & DEVICE_FLAG_LINK_LOCAL) !== 0 && !vni.hears(device, receipts.arrivalOf(worker, sender)))
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
  else if ((flags & extension.FLAGS) !== 0) verdict = extension.read(worker, found, flags, sender, at, bytes);
  // Nothing can be learned from a packet without Ethernet header.
  if (verdict === 0 && !isPacket) {
    if (ethernet.source(frame) === load<u64>(record, DEVICE_MAC_OFFSET)) verdict = DROP_LOCAL_MAC;
    else if ((flags & LOOKING) !== 0)
      verdict =
        (flags & CAREFUL) === 0
          ? learning.snoop(worker, device, domain, frame, sender, receipts.scopeOf(sender))
          : lookCarefully(worker, device, domain, flags, sender, outer, at, bytes);
  }
  if (verdict === 0)
    verdict = ecn.decapsulatePacket(ethernet.etherTypeBefore(frame, head), frame + head, bytes - head, outer);
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
    const verdict = ecn.decapsulatePacket(type, ip, bytes - ETHERNET_HEADER_BYTES, outer);
    if (verdict !== 0) return verdict;
    // What is dropped there is dropped behind learning.
    const record = DEVICES_BASE + device * DEVICE_BYTES;
    if (load<u32>(record, DEVICE_STATE_OFFSET) !== DEVICE_UP) return 0;
  }
  return learning.snoop(worker, device, domain, frame, sender, receipts.scopeOf(sender));
}
