/*
 * Frames for the TAP, and wire segments -> super-frame (GRO). One write to a TAP costs the same for 60 bytes
 * as for many segments, so TCP segments that continue each other are merged: the first frame stays where
 * it is and the payloads of the others follow it as iovecs; nothing is copied.
 *
 * A segment joins when the rules of Linux's own GRO hold: same device, addresses, ports and acknowledgement;
 * equal TOS, TTL, DF and TCP options; next in sequence; nothing but ACK and PSH set; no IP options, no
 * fragment, lengths that agree; not longer than the first; and both checksums right. PSH or a shorter
 * segment ends the super-frame. Whatever does not qualify is written as it came, in order: a frame of the
 * same flow closes what was open before it. Nothing is held back from one batch to the next.
 *
 * A kernel peer on a virtual link hands over frames whose transport checksum is unfinished, and super-frames
 * in one datagram: these are passed on as such, with NEEDS_CSUM and, where longer than the MTU, as GSO.
 */
import * as counter from './count';
import {
  CHECKSUMS_LEFT_PARTIAL,
  DECAP_FLOWS_USED_OFFSET,
  DECAP_STATE_OFFSET,
  DECAP_WRITES_USED_OFFSET,
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_FLAG_GRO_OFF,
  DEVICE_FLAGS_OFFSET,
  DEVICE_MTU_OFFSET,
  DEVICES_BASE,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  FLOW_COUNT,
  FLOWS_OFFSET,
  HEADER_BASE,
  HEADER_OFFLOADS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  MERGE_CHECKSUM_BAD,
  OFFLOAD_COALESCE,
  SEGMENTS_MERGED,
  SUPER_FRAMES_MERGED,
  SUPER_FRAMES_RECEIVED,
  TCP_HEADER_BYTES,
  UDP_HEADER_BYTES,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VLAN_TAG_BYTES,
  WRITE_BYTES,
  WRITE_COUNT,
  WRITE_FLAGS_OFFSET,
  WRITE_FRAME_OFFSET,
  WRITE_FRAMES_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITE_IP_LENGTH_OFFSET,
  WRITE_IPV6,
  WRITE_L4_OFFSET,
  WRITE_LENGTH_OFFSET,
  WRITE_NEXT_SEQUENCE_OFFSET,
  WRITE_OPEN,
  WRITE_PAYLOAD_OFFSET,
  WRITE_PLACE_OFFSET,
  WRITE_SEGMENT_OFFSET,
  WRITE_VERIFIED,
  WRITE_VIRTIO_OFFSET,
  WRITES_OFFSET,
} from './layout';
import { absolute } from './message';
import * as vlan from './vlan';
import * as vni from './vni';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';
import * as virtio from './wire/virtio';

const L3 = ETHERNET_HEADER_BYTES;
const IP_LENGTH_MAX = 65535;

/** Begins a batch: whatever was written before has gone to the TAPs. */
export function begin(worker: usize): void {
  store<u32>(worker + DECAP_STATE_OFFSET, 0, DECAP_WRITES_USED_OFFSET);
  store<u32>(worker + DECAP_STATE_OFFSET, 0, DECAP_FLOWS_USED_OFFSET);
}

/** Is there room for one more write? */
export function hasRoom(worker: usize): boolean {
  return load<i32>(worker + DECAP_STATE_OFFSET, DECAP_WRITES_USED_OFFSET) < WRITE_COUNT;
}

/**
 * Takes one frame; room has been asked for.
 *
 * @param place   the device that it is for and the domain that it is of, as vni.ts finds them
 * @param l3      where its network header begins, behind its EtherType; 0 = a packet for a TUN, which is not merged
 * @param gsoSize segment size that the socket reported for a super-frame of UDP, else 0
 */
export function add(worker: usize, place: u32, frame: usize, length: i32, l3: i32, gsoSize: i32): void {
  const l4 = transportOffset(frame, length, l3);
  if (l4 === 0) {
    closeHosts(worker, place, frame);
    open(worker, place, frame, length);
    return;
  }
  const isTcp = protocolOf(frame, l3) === IP_PROTOCOL_TCP;
  if (isUnfinished(frame, length, l3, l4, isTcp)) {
    if (isTcp && isPlain(frame, l3, l4)) closeFlow(worker, place, frame, l4);
    else if (isTcp) closeHosts(worker, place, frame);
    const write = open(worker, place, frame, length);
    passUnfinished(worker, vni.deviceOf(place), write, frame, length, l3, l4, isTcp, gsoSize);
    return;
  }
  if (!isTcp || !mayMerge(vni.deviceOf(place))) {
    open(worker, place, frame, length);
    return;
  }
  if (!isPlain(frame, l3, l4)) {
    closeHosts(worker, place, frame);
    open(worker, place, frame, length);
    return;
  }
  const headers = l4 + tcp.headerBytes(frame + l4);
  const flow = findFlow(worker, place, frame, l4);
  if (!isMergeable(frame, length, l4)) {
    if (flow !== 0) closeWrite(worker, flow);
    open(worker, place, frame, length);
    return;
  }
  if (flow !== 0) {
    if (
      continues(flow, frame, length, l4, headers) &&
      merge(worker, vni.deviceOf(place), flow, frame, length, l4, headers)
    )
      return;
    closeWrite(worker, flow);
  }
  const write = open(worker, place, frame, length);
  openFlow(worker, write, frame, length, l4, headers);
}

/** Writes the headers of all super-frames of the batch. Returns the number of writes. */
export function finish(worker: usize): i32 {
  const used = load<i32>(worker + DECAP_STATE_OFFSET, DECAP_WRITES_USED_OFFSET);
  for (let index = 0; index < used; ++index) {
    const write = worker + WRITES_OFFSET + index * WRITE_BYTES;
    if (load<u32>(write, WRITE_FRAMES_OFFSET) > 1) finishSuper(worker, write);
    const domain = vni.domainOf(load<u32>(write, WRITE_PLACE_OFFSET));
    if (domain >= (DEVICE_COUNT as u32)) tag(worker, write, vlan.tagOf(domain));
  }
  return used;
}

/** Do the VTEP and the device leave it on? */
function mayMerge(device: u32): boolean {
  return (
    (load<u32>(HEADER_BASE, HEADER_OFFLOADS_OFFSET) & OFFLOAD_COALESCE) !== 0 &&
    (load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET) & DEVICE_FLAG_GRO_OFF) === 0
  );
}

/** A new write that holds one frame, with a virtio header that asks for nothing. */
function open(worker: usize, place: u32, frame: usize, length: i32): usize {
  const state = worker + DECAP_STATE_OFFSET;
  const index = load<u32>(state, DECAP_WRITES_USED_OFFSET);
  store<u32>(state, index + 1, DECAP_WRITES_USED_OFFSET);
  const write = worker + WRITES_OFFSET + index * WRITE_BYTES;
  const iovecs = iovecsOf(worker, write);
  virtio.clear(write + WRITE_VIRTIO_OFFSET);
  store<u32>(write, place, WRITE_PLACE_OFFSET);
  store<u32>(write, 2, WRITE_IOVECS_OFFSET);
  store<u32>(write, VIRTIO_HEADER_BYTES + length, WRITE_LENGTH_OFFSET);
  store<u32>(write, 1, WRITE_FRAMES_OFFSET);
  store<u32>(write, 0, WRITE_FLAGS_OFFSET);
  store<u64>(iovecs, absolute(write + WRITE_VIRTIO_OFFSET));
  store<u64>(iovecs, VIRTIO_HEADER_BYTES, IOVEC_LENGTH_OFFSET);
  store<u64>(iovecs + IOVEC_BYTES, absolute(frame));
  store<u64>(iovecs + IOVEC_BYTES, <u64>length, IOVEC_LENGTH_OFFSET);
  return write;
}

/** Puts a tag on the frame of an external device's VNI: its MACs move into the room that the VXLAN header had. */
function tag(worker: usize, write: usize, id: u32): void {
  if (id === 0) return;
  const iovecs = iovecsOf(worker, write);
  const frame = <usize>(load<u64>(iovecs, IOVEC_BYTES) - absolute(0));
  vlan.writeTag(frame - VLAN_TAG_BYTES, frame, id);
  vlan.shift(write + WRITE_VIRTIO_OFFSET, VLAN_TAG_BYTES);
  store<u64>(iovecs, absolute(frame - VLAN_TAG_BYTES), IOVEC_BYTES);
  store<u64>(
    iovecs,
    load<u64>(iovecs, IOVEC_BYTES + IOVEC_LENGTH_OFFSET) + VLAN_TAG_BYTES,
    IOVEC_BYTES + IOVEC_LENGTH_OFFSET,
  );
  store<u32>(write, load<u32>(write, WRITE_LENGTH_OFFSET) + VLAN_TAG_BYTES, WRITE_LENGTH_OFFSET);
}

function iovecsOf(worker: usize, write: usize): usize {
  const index = (write - worker - WRITES_OFFSET) / WRITE_BYTES;
  return worker + WRITE_IOVECS_BASE_OFFSET + index * (WRITE_IOVEC_MAX * IOVEC_BYTES);
}

function isIpv4(frame: usize, l3: i32): boolean {
  return ethernet.etherTypeBefore(frame, l3) === ETHERTYPE_IPV4;
}

function protocolOf(frame: usize, l3: i32): u32 {
  const ip = frame + l3;
  return isIpv4(frame, l3) ? ip4.protocol(ip) : ip6.nextHeader(ip);
}

/**
 * Offset of the TCP or UDP header of an unfragmented packet that fills its frame exactly, behind tags and
 * IPv4 options too; 0 for everything else. A padded frame is "everything else": its tail is no payload.
 */
function transportOffset(frame: usize, length: i32, l3: i32): i32 {
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

/** Neither tags nor options: merging asks for that, and l4 tells the families apart from here on. */
function isPlain(frame: usize, l3: i32, l4: i32): boolean {
  return l3 === L3 && l4 - L3 === (isIpv4(frame, L3) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
}

function pseudoSum(frame: usize, length: i32, l3: i32, l4: i32, protocol: u32): u32 {
  const ip = frame + l3;
  const sum = isIpv4(frame, l3)
    ? checksum.pseudoIpv4(ip, protocol, length - l4)
    : checksum.pseudoIpv6(ip, protocol, length - l4);
  return checksum.fold(sum);
}

/** Does the checksum field hold the pseudo header's sum only? */
function isUnfinished(frame: usize, length: i32, l3: i32, l4: i32, isTcp: boolean): boolean {
  const field = isTcp ? tcp.checksum(frame + l4) : udp.checksum(frame + l4);
  return field === pseudoSum(frame, length, l3, l4, isTcp ? IP_PROTOCOL_TCP : IP_PROTOCOL_UDP);
}

/** NEEDS_CSUM, and GSO when the frame is longer than the TAP's MTU. */
function passUnfinished(
  worker: usize,
  device: u32,
  write: usize,
  frame: usize,
  length: i32,
  l3: i32,
  l4: i32,
  isTcp: boolean,
  gsoSize: i32,
): void {
  const header = write + WRITE_VIRTIO_OFFSET;
  const headers = isTcp ? l4 + tcp.headerBytes(frame + l4) : l4 + UDP_HEADER_BYTES;
  const field = isTcp ? tcp.CHECKSUM_OFFSET : udp.CHECKSUM_OFFSET;
  const mtu = load<i32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_MTU_OFFSET);
  let type = VIRTIO_GSO_NONE;
  let size = 0;
  if (isTcp && length - l3 > mtu) {
    type = isIpv4(frame, l3) ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6;
    size = mtu + l3 - headers;
  } else if (!isTcp && gsoSize > 0) {
    type = VIRTIO_GSO_UDP;
    size = gsoSize;
  }
  if (size <= 0 || length - headers <= size) {
    type = VIRTIO_GSO_NONE;
    size = 0;
  }
  virtio.emit(header, type, headers, size, l4, field);
  counter.one(worker, device, type === VIRTIO_GSO_NONE ? CHECKSUMS_LEFT_PARTIAL : SUPER_FRAMES_RECEIVED);
}

/** A TCP segment with payload and nothing special about it. */
function isMergeable(frame: usize, length: i32, l4: i32): boolean {
  const header = frame + l4;
  return (tcp.flags(header) & ~tcp.PSH) === tcp.ACK && length > l4 + tcp.headerBytes(header);
}

function flowAt(worker: usize, index: u32): usize {
  return worker + WRITES_OFFSET + load<u32>(worker + FLOWS_OFFSET + index * 4) * WRITE_BYTES;
}

/** The open super-frame of the frame's flow, or 0. */
function findFlow(worker: usize, place: u32, frame: usize, l4: i32): usize {
  const used = load<u32>(worker + DECAP_STATE_OFFSET, DECAP_FLOWS_USED_OFFSET);
  for (let index: u32 = 0; index < used; ++index) {
    const write = flowAt(worker, index);
    if ((load<u32>(write, WRITE_FLAGS_OFFSET) & WRITE_OPEN) === 0) continue;
    if (load<u32>(write, WRITE_PLACE_OFFSET) !== place || load<i32>(write, WRITE_L4_OFFSET) !== l4) continue;
    const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
    if (tcp.ports(first + l4) === tcp.ports(frame + l4) && sameAddresses(first, frame, l4)) return write;
  }
  return 0;
}

function sameAddresses(one: usize, other: usize, l4: i32): boolean {
  if (l4 === L3 + IPV4_HEADER_BYTES) return load<u64>(one + L3, 12) === load<u64>(other + L3, 12);
  return (
    load<u64>(one + L3, 8) === load<u64>(other + L3, 8) &&
    load<u64>(one + L3, 16) === load<u64>(other + L3, 16) &&
    load<u64>(one + L3, 24) === load<u64>(other + L3, 24) &&
    load<u64>(one + L3, 32) === load<u64>(other + L3, 32)
  );
}

/** The table holds few flows on purpose: it is walked for every segment. When it is full, one makes room. */
function openFlow(worker: usize, write: usize, frame: usize, length: i32, l4: i32, headers: i32): void {
  // PSH ends a super-frame, also before it has begun.
  if ((tcp.flags(frame + l4) & tcp.PSH) !== 0) return;
  const state = worker + DECAP_STATE_OFFSET;
  const index = <u32>((write - worker - WRITES_OFFSET) / WRITE_BYTES);
  const used = load<u32>(state, DECAP_FLOWS_USED_OFFSET);
  let place = used;
  for (let at: u32 = 0; at < used; ++at) {
    if ((load<u32>(flowAt(worker, at), WRITE_FLAGS_OFFSET) & WRITE_OPEN) === 0) {
      place = at;
      break;
    }
  }
  if (place === FLOW_COUNT) {
    closeWrite(worker, flowAt(worker, index % FLOW_COUNT));
    place = index % FLOW_COUNT;
  } else if (place === used) {
    store<u32>(state, used + 1, DECAP_FLOWS_USED_OFFSET);
  }
  store<u32>(worker + FLOWS_OFFSET + place * 4, index);
  const payload = length - headers;
  store<u32>(write, <u32>frame, WRITE_FRAME_OFFSET);
  store<u32>(write, l4, WRITE_L4_OFFSET);
  store<u32>(write, headers, WRITE_PAYLOAD_OFFSET);
  store<u32>(write, payload, WRITE_SEGMENT_OFFSET);
  store<u32>(write, tcp.sequence(frame + l4) + payload, WRITE_NEXT_SEQUENCE_OFFSET);
  store<u32>(write, length - L3, WRITE_IP_LENGTH_OFFSET);
  const ipv6: u32 = l4 === L3 + IPV4_HEADER_BYTES ? 0 : WRITE_IPV6;
  store<u32>(write, WRITE_OPEN | ipv6, WRITE_FLAGS_OFFSET);
}

function closeFlow(worker: usize, place: u32, frame: usize, l4: i32): void {
  const write = findFlow(worker, place, frame, l4);
  if (write !== 0) closeWrite(worker, write);
}

/**
 * A frame that is no plain TCP but may be of a flow that is open (a fragment, say, has no ports to tell):
 * what came before it is written before it.
 */
function closeHosts(worker: usize, place: u32, frame: usize): void {
  const type = ethernet.etherType(frame);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return;
  // Extension headers of IPv6 may hide TCP.
  const protocol = protocolOf(frame, L3);
  if (protocol !== IP_PROTOCOL_TCP && (type === ETHERTYPE_IPV4 || protocol === IP_PROTOCOL_UDP)) return;
  const l4 = L3 + (type === ETHERTYPE_IPV4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
  const used = load<u32>(worker + DECAP_STATE_OFFSET, DECAP_FLOWS_USED_OFFSET);
  for (let index: u32 = 0; index < used; ++index) {
    const write = flowAt(worker, index);
    if (load<u32>(write, WRITE_PLACE_OFFSET) !== place || load<i32>(write, WRITE_L4_OFFSET) !== l4) continue;
    if (sameAddresses(<usize>load<u32>(write, WRITE_FRAME_OFFSET), frame, l4)) closeWrite(worker, write);
  }
}

function closeWrite(_worker: usize, write: usize): void {
  store<u32>(write, load<u32>(write, WRITE_FLAGS_OFFSET) & ~WRITE_OPEN, WRITE_FLAGS_OFFSET);
}

/** Does the segment go on where the super-frame ends, with headers that one set can stand for? */
function continues(write: usize, frame: usize, length: i32, l4: i32, headers: i32): boolean {
  const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
  const bytes = length - headers;
  if (tcp.sequence(frame + l4) !== load<u32>(write, WRITE_NEXT_SEQUENCE_OFFSET)) return false;
  if (headers !== load<i32>(write, WRITE_PAYLOAD_OFFSET)) return false;
  if (bytes > load<i32>(write, WRITE_SEGMENT_OFFSET)) return false;
  if (load<i32>(write, WRITE_IP_LENGTH_OFFSET) + bytes > IP_LENGTH_MAX) return false;
  if (load<u32>(write, WRITE_IOVECS_OFFSET) === WRITE_IOVEC_MAX) return false;
  if (tcp.acknowledgement(first + l4) !== tcp.acknowledgement(frame + l4)) return false;
  // The data offset is equal; beside it are bits that one header can't tell apart (RFC 9293 section 3.1).
  if (load<u8>(first + l4, 12) !== load<u8>(frame + l4, 12)) return false;
  if (!sameMarks(first + L3, frame + L3, l4)) return false;
  if (load<u64>(first) !== load<u64>(frame) || load<u32>(first, 8) !== load<u32>(frame, 8)) return false;
  for (let at = l4 + TCP_HEADER_BYTES; at < headers; at += 4) {
    if (load<u32>(first + at) !== load<u32>(frame + at)) return false;
  }
  return true;
}

/** TOS, DF and TTL, or the first word (version, traffic class, flow label) and hop limit. */
function sameMarks(one: usize, other: usize, l4: i32): boolean {
  if (l4 === L3 + IPV4_HEADER_BYTES) {
    return (
      ip4.tos(one) === ip4.tos(other) &&
      load<u16>(one, 6) === load<u16>(other, 6) &&
      ip4.ttl(one) === ip4.ttl(other)
    );
  }
  return load<u32>(one) === load<u32>(other) && ip6.hopLimit(one) === ip6.hopLimit(other);
}

/** False: a checksum is wrong, the segment must stand alone. */
function merge(
  worker: usize,
  device: u32,
  write: usize,
  frame: usize,
  length: i32,
  l4: i32,
  headers: i32,
): boolean {
  const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
  if ((load<u32>(write, WRITE_FLAGS_OFFSET) & WRITE_VERIFIED) === 0) {
    if (!isRight(first, L3 + load<i32>(write, WRITE_IP_LENGTH_OFFSET), l4)) return reject(worker, device);
    store<u32>(write, load<u32>(write, WRITE_FLAGS_OFFSET) | WRITE_VERIFIED, WRITE_FLAGS_OFFSET);
  }
  if (!isRight(frame, length, l4)) return reject(worker, device);
  const bytes = length - headers;
  const count = load<u32>(write, WRITE_IOVECS_OFFSET);
  const iovec = iovecsOf(worker, write) + count * IOVEC_BYTES;
  store<u64>(iovec, absolute(frame + headers));
  store<u64>(iovec, <u64>bytes, IOVEC_LENGTH_OFFSET);
  store<u32>(write, count + 1, WRITE_IOVECS_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_FRAMES_OFFSET) + 1, WRITE_FRAMES_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_LENGTH_OFFSET) + bytes, WRITE_LENGTH_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_IP_LENGTH_OFFSET) + bytes, WRITE_IP_LENGTH_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_NEXT_SEQUENCE_OFFSET) + bytes, WRITE_NEXT_SEQUENCE_OFFSET);
  const push = tcp.flags(frame + l4) & tcp.PSH;
  if (push !== 0) tcp.setFlags(first + l4, tcp.flags(first + l4) | push);
  if (push !== 0 || bytes < load<i32>(write, WRITE_SEGMENT_OFFSET)) closeWrite(worker, write);
  counter.one(worker, device, SEGMENTS_MERGED);
  return true;
}

function reject(worker: usize, device: u32): boolean {
  counter.one(worker, device, MERGE_CHECKSUM_BAD);
  return false;
}

/** Are the IPv4 header's and the TCP checksum right? */
function isRight(frame: usize, length: i32, l4: i32): boolean {
  if (l4 === L3 + IPV4_HEADER_BYTES && checksum.sum(frame + L3, IPV4_HEADER_BYTES) !== 0xffff) return false;
  const sum = pseudoSum(frame, length, L3, l4, IP_PROTOCOL_TCP) + checksum.sum(frame + l4, length - l4);
  return checksum.fold(sum) === 0xffff;
}

/** One set of headers for the whole: lengths, checksums, and the virtio header that says how to cut it. */
function finishSuper(worker: usize, write: usize): void {
  const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
  const l4 = load<i32>(write, WRITE_L4_OFFSET);
  const ip = first + L3;
  const ipLength = load<i32>(write, WRITE_IP_LENGTH_OFFSET);
  const ipv6 = (load<u32>(write, WRITE_FLAGS_OFFSET) & WRITE_IPV6) !== 0;
  if (ipv6) {
    ip6.setPayloadLength(ip, ipLength - IPV6_HEADER_BYTES);
  } else {
    ip4.setTotalLength(ip, ipLength);
    ip4.setChecksum(ip, checksum.ipv4Header(ip, IPV4_HEADER_BYTES));
  }
  tcp.setChecksum(first + l4, pseudoSum(first, L3 + ipLength, L3, l4, IP_PROTOCOL_TCP));
  virtio.emit(
    write + WRITE_VIRTIO_OFFSET,
    ipv6 ? VIRTIO_GSO_TCPV6 : VIRTIO_GSO_TCPV4,
    load<i32>(write, WRITE_PAYLOAD_OFFSET),
    load<i32>(write, WRITE_SEGMENT_OFFSET),
    l4,
    tcp.CHECKSUM_OFFSET,
  );
  counter.one(worker, vni.deviceOf(load<u32>(write, WRITE_PLACE_OFFSET)), SUPER_FRAMES_MERGED);
}
