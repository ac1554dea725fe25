/*
 * The way out: frames from a TAP -> datagrams for UDP sockets. In packet order, with the names of the
 * kernel driver's own steps in brackets; the functions below stand in this order.
 *
 *   1. the ring: one descriptor per frame that the host has read
 *   2. the frame: Ethernet header, inner IP header                          [vxlan_xmit]
 *   3. FDB: the destination MAC, else the all-zeros entry, else a drop      [vxlan_find_mac]
 *   4. the checksum the stack left open, once for all copies
 *   5. for each remote, the first one last                                  [vxlan_xmit_one]
 *      socket and source port by flow hash, DF, TOS, TTL                    [udp_flow_src_port]
 *      VXLAN header, segments, messages                                     [vxlan_build_skb]
 *   6. messages grouped by socket: the host sends them                      [udp_tunnel_xmit_skb]
 *
 * The walk stops when messages run out, also between two copies of one frame; the host sends what there
 * is and calls again.
 */
import * as counter from './count';
import * as ecn from './ecn';
import * as fdb from './fdb';
import * as flow from './flow';
import {
  AF_INET,
  CHECKSUMS_COMPLETED,
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_DF_OFFSET,
  DEVICE_FLAG_TOS_INHERIT,
  DEVICE_FLAG_TTL_INHERIT,
  DEVICE_FLAGS_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_SOURCE_DF_OFFSET,
  DEVICE_SOURCE_OFFSET,
  DEVICE_TOS_OFFSET,
  DEVICE_TTL_OFFSET,
  DEVICE_VNI_OFFSET,
  DEVICES_BASE,
  DF_INHERIT,
  DF_SET,
  DROP_BAD_OFFLOAD,
  DROP_NO_REMOTE,
  DROP_NO_TARGET,
  DROP_SHORT_FRAME,
  DROP_SHORT_INNER_IP,
  ENCAP_BYTES_COUNTED,
  ENCAP_FANOUT_COUNT_OFFSET,
  ENCAP_FANOUT_NEXT_OFFSET,
  ENCAP_PACKETS,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  FANOUT_MAX,
  FANOUT_OFFSET,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NOW_OFFSET,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_FAMILY_OFFSET,
  REMOTE_PORT_OFFSET,
  REMOTE_VNI_DEFAULT,
  REMOTE_VNI_OFFSET,
  SEGMENTS_SENT,
  SOURCE_GROUP_BYTES,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCES_BASE,
  SUPER_FRAMES_SPLIT,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as message from './message';
import * as ring from './ring';
import * as segment from './segment';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

/** Walks the worker's ring. Returns the number of runs to send; frames left in the ring want another call. */
export function encap(worker: usize): i32 {
  const frames = worker + ENCAP_RING_OFFSET;
  const filled = ring.filled(frames);
  let cursor = ring.taken(frames);
  message.begin(worker);
  segment.begin(worker);
  while (cursor !== filled) {
    const descriptor = ring.descriptor(frames, cursor);
    const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
    const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
    const device = load<u32>(descriptor, DESCRIPTOR_DEVICE_OFFSET);
    if (!forward(worker, device, header, length)) break;
    ++cursor;
  }
  ring.take(frames, cursor);
  return message.runs(worker);
}

/** One frame to all its remotes. False: no room, come back. */
function forward(worker: usize, device: u32, header: usize, length: i32): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  const frame = header + VIRTIO_HEADER_BYTES;
  if (length < ETHERNET_HEADER_BYTES) return drop(worker, device, DROP_SHORT_FRAME);
  const l3 = ethernet.networkOffset(frame, length);
  let count = load<u32>(state, ENCAP_FANOUT_COUNT_OFFSET);
  if (count === 0) {
    if (!isWhole(frame, length, l3)) return drop(worker, device, DROP_SHORT_INNER_IP);
    count = resolve(worker, device, frame);
    if (count === 0) return drop(worker, device, DROP_NO_TARGET);
    if (!completeChecksum(worker, device, header, frame, length))
      return drop(worker, device, DROP_BAD_OFFLOAD);
    store<u32>(state, count, ENCAP_FANOUT_COUNT_OFFSET);
    store<u32>(state, 0, ENCAP_FANOUT_NEXT_OFFSET);
  }
  for (let next = load<u32>(state, ENCAP_FANOUT_NEXT_OFFSET); next < count; ++next) {
    // The kernel clones for the second remote and on, and sends the frame itself to the first, last.
    const position = next + 1 === count ? 0 : next + 1;
    const remote = worker + FANOUT_OFFSET + position * REMOTE_BYTES;
    if (!transmit(worker, device, remote, count === 1, header, frame, length, l3)) {
      store<u32>(state, next, ENCAP_FANOUT_NEXT_OFFSET);
      return false;
    }
  }
  store<u32>(state, 0, ENCAP_FANOUT_COUNT_OFFSET);
  return true;
}

function drop(worker: usize, device: u32, verdict: i32): boolean {
  counter.one(worker, device, verdict);
  return true;
}

/** Are the tags and the fixed part of an inner IP header there? Nothing else is asked of other frames. */
function isWhole(frame: usize, length: i32, l3: i32): boolean {
  const type = ethernet.etherTypeBefore(frame, l3);
  if (type === ETHERTYPE_IPV4) return l3 + IPV4_HEADER_BYTES <= length;
  if (type === ETHERTYPE_IPV6) return l3 + IPV6_HEADER_BYTES <= length;
  return true;
}

/** Copies the remotes of the frame's destination into the fan-out; returns how many. */
function resolve(worker: usize, device: u32, frame: usize): u32 {
  let entry = fdb.find(device, frame);
  let count = 0;
  if (entry >= 0) {
    fdb.touch(entry, load<u32>(HEADER_BASE, HEADER_NOW_OFFSET));
    count = fdb.collect(entry, device, ethernet.destination(frame), worker + FANOUT_OFFSET, FANOUT_MAX);
    if (count !== 0) return count;
  }
  entry = fdb.findZero(device);
  if (entry < 0) return 0;
  fdb.touch(entry, load<u32>(HEADER_BASE, HEADER_NOW_OFFSET));
  return fdb.collect(entry, device, 0, worker + FANOUT_OFFSET, FANOUT_MAX);
}

/**
 * A frame with NEEDS_CSUM carries the pseudo header's sum where the checksum belongs: sum it all, store
 * the complement. Super-frames are left alone: each of their segments gets a checksum of its own.
 */
function completeChecksum(worker: usize, device: u32, header: usize, frame: usize, length: i32): boolean {
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE || !virtio.needsChecksum(header)) return true;
  const start = virtio.checksumStart(header);
  const field = start + virtio.checksumField(header);
  if (start >= length || field + 2 > length) return false;
  const sum = ~checksum.sum(frame + start, length - start) & 0xffff;
  // As skb_checksum_help: zero would mean "none" in UDP, and all ones is the same number.
  store<u16>(frame + field, sum === 0 ? 0xffff : <u16>sum);
  virtio.clear(header);
  counter.one(worker, device, CHECKSUMS_COMPLETED);
  return true;
}

/** One copy to one remote. False: no room. */
function transmit(
  worker: usize,
  device: u32,
  remote: usize,
  alone: boolean,
  header: usize,
  frame: usize,
  length: i32,
  l3: i32,
): boolean {
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  if (isAny(remote)) return drop(worker, device, DROP_NO_REMOTE);
  const source = sourceOf(record, frame, length);
  const marks = marksOf(record, frame, l3);
  let port = <u32>load<u16>(remote, REMOTE_PORT_OFFSET);
  if (port === 0) port = load<u16>(record, DEVICE_PORT_OFFSET);
  let vni = load<u32>(remote, REMOTE_VNI_OFFSET);
  if (vni === REMOTE_VNI_DEFAULT) vni = load<u32>(record, DEVICE_VNI_OFFSET);

  // The header of a frame that goes to one place only is written over its virtio header, which such a
  // frame has no more use for unless it is a super-frame.
  if (!alone || virtio.gsoType(header) !== VIRTIO_GSO_NONE) {
    if (virtio.gsoType(header) !== VIRTIO_GSO_NONE) {
      return transmitSuper(worker, device, source, remote, port, marks, vni, header, frame, length, l3);
    }
    if (!message.hasRoom(worker, source, 1, length) || !segment.hasRoom(worker, 1)) return false;
    const head = segment.claimHeader(worker);
    vxlan.emit(head, vni);
    message.append(worker, device, source, remote, port, marks, l3, head, VXLAN_HEADER_BYTES, frame, length);
  } else {
    if (!message.hasRoom(worker, source, 1, length)) return false;
    const head = frame - VXLAN_HEADER_BYTES;
    vxlan.emit(head, vni);
    message.append(worker, device, source, remote, port, marks, l3, head, VXLAN_HEADER_BYTES + length, 0, 0);
  }
  counter.one(worker, device, ENCAP_PACKETS);
  counter.add(worker, device, ENCAP_BYTES_COUNTED, length - l3);
  return true;
}

/** A super-frame to one remote. False: no room. */
function transmitSuper(
  worker: usize,
  device: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  header: usize,
  frame: usize,
  length: i32,
  l3: i32,
): boolean {
  const headers = segment.headerBytes(header, frame, length, l3);
  if (headers === 0) return drop(worker, device, DROP_BAD_OFFLOAD);
  const size = virtio.gsoSize(header);
  const segments = segment.count(length - headers, size);
  if (segments > message.datagramMax(source)) return drop(worker, device, DROP_BAD_OFFLOAD);
  const each = min(size, length - headers) + headers + VXLAN_HEADER_BYTES;
  if (!message.hasRoom(worker, source, segments, each) || !segment.hasRoom(worker, segments)) return false;
  const l4 = virtio.checksumStart(header);
  const isUdp = virtio.gsoType(header) === VIRTIO_GSO_UDP;
  segment.split(
    worker,
    device,
    source,
    remote,
    port,
    marks,
    vni,
    frame,
    length,
    l3,
    l4,
    headers,
    size,
    isUdp,
  );
  counter.one(worker, device, SUPER_FRAMES_SPLIT);
  counter.add(worker, device, SEGMENTS_SENT, segments);
  counter.add(worker, device, ENCAP_PACKETS, segments);
  const headerTotal = segments * (headers - l3);
  counter.add(worker, device, ENCAP_BYTES_COUNTED, headerTotal + length - headers);
  return true;
}

/** 0.0.0.0 or :: marks a MAC that is not tunnelled. */
function isAny(remote: usize): boolean {
  const address = remote + REMOTE_ADDRESS_OFFSET;
  if (load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET) return load<u32>(address) === 0;
  return (load<u64>(address) | load<u64>(address, 8)) === 0;
}

/** The socket that the inner flow leaves from: with or without DF, and one source port per flow. */
function sourceOf(record: usize, frame: usize, length: i32): u32 {
  const df = load<u8>(record, DEVICE_DF_OFFSET);
  let set = df === DF_SET;
  if (df === DF_INHERIT) {
    const type = ethernet.etherType(frame);
    set =
      type === ETHERTYPE_IPV6 || (type === ETHERTYPE_IPV4 && ip4.dontFragment(frame + ETHERNET_HEADER_BYTES));
  }
  const group = <u32>load<u16>(record + (set ? DEVICE_SOURCE_DF_OFFSET : DEVICE_SOURCE_OFFSET));
  const ports = load<u32>(SOURCES_BASE + group * SOURCE_GROUP_BYTES, SOURCE_PORTS_OFFSET);
  const hash = flow.hash(frame, length, load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET));
  return group * SOURCE_PORT_COUNT + flow.slot(hash, ports);
}

/** Outer TOS | TTL << 8 (RFC 6040 for the ECN bits); 0 stands for the socket's own. */
function marksOf(record: usize, frame: usize, l3: i32): u32 {
  const flags = load<u32>(record, DEVICE_FLAGS_OFFSET);
  const type = ethernet.etherTypeBefore(frame, l3);
  const ip = frame + l3;
  let tos: u32 = load<u8>(record, DEVICE_TOS_OFFSET);
  let ttl: u32 = load<u8>(record, DEVICE_TTL_OFFSET);
  let inner: u32 = 0;
  let innerTtl: u32 = 0;
  if (type === ETHERTYPE_IPV4) {
    inner = ip4.tos(ip);
    innerTtl = ip4.ttl(ip);
  } else if (type === ETHERTYPE_IPV6) {
    inner = ip6.trafficClass(ip);
    innerTtl = ip6.hopLimit(ip);
  }
  if ((flags & DEVICE_FLAG_TTL_INHERIT) !== 0) ttl = innerTtl;
  if ((flags & DEVICE_FLAG_TOS_INHERIT) !== 0) tos = inner;
  return (tos & 0xfc) | ecn.encapsulate(inner & 3) | (ttl << 8);
}
