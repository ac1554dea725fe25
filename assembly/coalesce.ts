/*
 * Frames for the TAP, and wire segments -> super-frame (GRO). One write to a TAP costs the same for 60 bytes
 * as for many segments, so TCP segments that continue each other (stream.ts) and UDP datagrams that follow each
 * other (train.ts) are merged: the first frame stays where it is and the payloads of the others follow it as
 * iovecs; nothing is copied.
 *
 * Whatever does not qualify is written as it came, in order: a frame of the same flow closes what was open
 * before it. Nothing is held back from one batch to the next.
 *
 * A kernel peer on a virtual link hands over frames whose transport checksum is unfinished, and super-frames
 * in one datagram: these are passed on as such, with NEEDS_CSUM and, where longer than the MTU, as GSO.
 */
import * as counter from './count';
import * as inner from './inner';
import {
  CHECKSUMS_LEFT_PARTIAL,
  DECAP_STATE_OFFSET,
  DECAP_WRITES_USED_OFFSET,
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_FLAG_GRO_OFF,
  DEVICE_FLAG_USO_OFF,
  DEVICE_FLAGS_OFFSET,
  DEVICE_MTU_OFFSET,
  DEVICES_BASE,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_OFFLOADS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  OFFLOAD_COALESCE,
  SUPER_FRAMES_MERGED,
  SUPER_FRAMES_RECEIVED,
  UDP_HEADER_BYTES,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP,
  VLAN_TAG_BYTES,
  WRITE_FLAGS_OFFSET,
  WRITE_FRAME_OFFSET,
  WRITE_FRAMES_OFFSET,
  WRITE_IP_LENGTH_OFFSET,
  WRITE_IPV6,
  WRITE_L4_OFFSET,
  WRITE_LENGTH_OFFSET,
  WRITE_PAYLOAD_OFFSET,
  WRITE_PLACE_OFFSET,
  WRITE_SEGMENT_OFFSET,
  WRITE_UDP,
  WRITE_VIRTIO_OFFSET,
} from './layout';
import { absolute } from './message';
import * as stream from './stream';
import * as train from './train';
import * as vlan from './vlan';
import * as vni from './vni';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';
import * as virtio from './wire/virtio';
import * as writes from './write';

const L3 = ETHERNET_HEADER_BYTES;

/**
 * Takes one frame; room has been asked for.
 *
 * @param protocol of `inner.finishedProtocol`, which is not 0
 */
export function addPlain(worker: usize, place: u32, frame: usize, length: i32, protocol: u32): void {
  const isTcp = protocol === IP_PROTOCOL_TCP;
  if (!mayMerge(vni.deviceOf(place), isTcp)) writes.open(worker, place, frame, length);
  else if (isTcp) stream.add(worker, place, frame, length, inner.PLAIN_IPV4_L4);
  else train.add(worker, place, frame, length, inner.PLAIN_IPV4_L4);
}

/**
 * The same for any other frame.
 *
 * @param place   the device that it is for and the domain that it is of, as vni.ts finds them
 * @param l3      where its network header begins, behind its EtherType; 0 = a packet for a TUN, which is not merged
 * @param gsoSize segment size that the socket reported for a super-frame of UDP, else 0
 */
export function add(worker: usize, place: u32, frame: usize, length: i32, l3: i32, gsoSize: i32): void {
  const l4 = inner.transportOffset(frame, length, l3);
  if (l4 === 0) {
    closeHosts(worker, place, frame);
    writes.open(worker, place, frame, length);
    return;
  }
  const isTcp = inner.protocolOf(frame, l3) === IP_PROTOCOL_TCP;
  const isPlain = inner.isPlain(frame, l3, l4);
  if (inner.isUnfinished(frame, length, l3, l4, isTcp)) {
    if (!isPlain) closeHosts(worker, place, frame);
    else if (isTcp) stream.close(worker, place, frame, l4);
    else train.close(worker, place, frame, l4);
    const write = writes.open(worker, place, frame, length);
    passUnfinished(worker, vni.deviceOf(place), write, frame, length, l3, l4, isTcp, gsoSize);
  } else if (!mayMerge(vni.deviceOf(place), isTcp)) {
    writes.open(worker, place, frame, length);
  } else if (!isPlain) {
    closeHosts(worker, place, frame);
    writes.open(worker, place, frame, length);
  } else if (isTcp) {
    stream.add(worker, place, frame, length, l4);
  } else {
    train.add(worker, place, frame, length, l4);
  }
}

/** Writes the headers of all super-frames of the batch. Returns the number of writes. */
export function finish(worker: usize): i32 {
  const used = load<u32>(worker + DECAP_STATE_OFFSET, DECAP_WRITES_USED_OFFSET);
  for (let index: u32 = 0; index < used; ++index) {
    const write = writes.at(worker, index);
    if (load<u32>(write, WRITE_FRAMES_OFFSET) > 1) finishSuper(worker, write);
    const domain = vni.domainOf(load<u32>(write, WRITE_PLACE_OFFSET));
    if (domain >= (DEVICE_COUNT as u32)) tag(worker, write, vlan.tagOf(domain));
  }
  return used;
}

/** Do the VTEP and the device leave it on? */
function mayMerge(device: u32, isTcp: boolean): boolean {
  if ((load<u32>(HEADER_BASE, HEADER_OFFLOADS_OFFSET) & OFFLOAD_COALESCE) === 0) return false;
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  return (flags & (isTcp ? DEVICE_FLAG_GRO_OFF : DEVICE_FLAG_GRO_OFF | DEVICE_FLAG_USO_OFF)) === 0;
}

/** Puts a tag on the frame of an external device's VNI: its MACs move into the room that the VXLAN header had. */
function tag(worker: usize, write: usize, id: u32): void {
  if (id === 0) return;
  const iovecs = writes.iovecsOf(worker, write);
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
  const mtu = load<i32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_MTU_OFFSET);
  emitUnfinished(header, mtu, frame, length, l3, l4, isTcp, gsoSize);
  const isWhole = virtio.gsoType(header) !== VIRTIO_GSO_NONE;
  counter.one(worker, device, isWhole ? SUPER_FRAMES_RECEIVED : CHECKSUMS_LEFT_PARTIAL);
}

/** The virtio header of a frame that its sender left unfinished; what is longer than the MTU is to be cut. */
export function emitUnfinished(
  header: usize,
  mtu: i32,
  frame: usize,
  length: i32,
  l3: i32,
  l4: i32,
  isTcp: boolean,
  gsoSize: i32,
): void {
  const headers = isTcp ? l4 + tcp.headerBytes(frame + l4) : l4 + UDP_HEADER_BYTES;
  const field = isTcp ? tcp.CHECKSUM_OFFSET : udp.CHECKSUM_OFFSET;
  let type = VIRTIO_GSO_NONE;
  let size = 0;
  if (isTcp && length - l3 > mtu) {
    type = inner.isIpv4(frame, l3) ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6;
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
}

/**
 * A frame that is neither plain TCP nor plain UDP but may be of a flow that is open (a fragment, say, has no ports
 * to tell): what came before it is written before it.
 */
function closeHosts(worker: usize, place: u32, frame: usize): void {
  const type = ethernet.etherType(frame);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return;
  const protocol = inner.protocolOf(frame, L3);
  const isIpv4 = type === ETHERTYPE_IPV4;
  // Extension headers of IPv6 may hide either.
  const mayBeTcp = protocol === IP_PROTOCOL_TCP || (!isIpv4 && protocol !== IP_PROTOCOL_UDP);
  const mayBeUdp = protocol === IP_PROTOCOL_UDP || (!isIpv4 && protocol !== IP_PROTOCOL_TCP);
  const l4 = L3 + (isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
  if (mayBeTcp) stream.closeHosts(worker, place, frame, l4);
  if (mayBeUdp) train.closeHosts(worker, place, frame, l4);
}

/** One set of headers for the whole: lengths, checksums, and the virtio header that says how to cut it. */
function finishSuper(worker: usize, write: usize): void {
  const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
  const l4 = load<i32>(write, WRITE_L4_OFFSET);
  const ip = first + L3;
  const length = L3 + load<i32>(write, WRITE_IP_LENGTH_OFFSET);
  const flags = load<u32>(write, WRITE_FLAGS_OFFSET);
  const isIpv6 = (flags & WRITE_IPV6) !== 0;
  const isUdp = (flags & WRITE_UDP) !== 0;
  if (isIpv6) {
    ip6.setPayloadLength(ip, length - L3 - IPV6_HEADER_BYTES);
  } else {
    ip4.setTotalLength(ip, length - L3);
    ip4.setChecksum(ip, checksum.ipv4Header(ip, IPV4_HEADER_BYTES));
  }
  const seed = inner.pseudoSum(first, length, L3, l4, isUdp ? IP_PROTOCOL_UDP : IP_PROTOCOL_TCP);
  if (isUdp) {
    udp.setLength(first + l4, length - l4);
    udp.setSeed(first + l4, seed);
  } else {
    tcp.setChecksum(first + l4, seed);
  }
  virtio.emit(
    write + WRITE_VIRTIO_OFFSET,
    isUdp ? VIRTIO_GSO_UDP : isIpv6 ? VIRTIO_GSO_TCPV6 : VIRTIO_GSO_TCPV4,
    load<i32>(write, WRITE_PAYLOAD_OFFSET),
    load<i32>(write, WRITE_SEGMENT_OFFSET),
    l4,
    isUdp ? udp.CHECKSUM_OFFSET : tcp.CHECKSUM_OFFSET,
  );
  counter.one(worker, vni.deviceOf(load<u32>(write, WRITE_PLACE_OFFSET)), SUPER_FRAMES_MERGED);
}
