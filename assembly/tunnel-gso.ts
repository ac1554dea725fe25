/*
 * A super-frame that leaves whole: the outer headers are written here, once, and the host hands them and the frame,
 * where it lies, to the underlay TAP in one writev. From there the kernel forwards it as any packet, and whoever sends
 * it out cuts it (UDP tunnel GSO, Linux 6.17): the network card, or the kernel in front of it.
 *
 *   [virtio | Ethernet | IP | UDP | VXLAN]  in the message's envelope      1st iovec
 *   [inner frame]                           where the TAP read put it      2nd iovec
 *
 * It takes a message of the batch like any datagram, so that everything leaves in the order in which it was read.
 * What does not fit (see `fits`) is split by segment.ts.
 */
import * as counter from './count';
import { groupOf } from './envelope';
import {
  AF_INET,
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  ENCAP_CUT_REMOTE_OFFSET,
  ENCAP_LABEL_OFFSET,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_OUTER_ID_OFFSET,
  ENCAP_STATE_OFFSET,
  ENVELOPE_BYTES,
  ENVELOPE_CLOSED_OFFSET,
  ENVELOPE_CUT_FRAME_OFFSET,
  ENVELOPE_CUT_SOURCE_OFFSET,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_DOMAIN_OFFSET,
  ENVELOPE_IFINDEX_OFFSET,
  ENVELOPE_IOVECS_OFFSET,
  ENVELOPE_LABEL_OFFSET,
  ENVELOPE_LENGTH_OFFSET,
  ENVELOPE_MARKS_OFFSET,
  ENVELOPE_OVERHEAD_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_SOURCE_OFFSET,
  ENVELOPES_OFFSET,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_UNDERLAY_MAC_OFFSET,
  HEADER_UNDERLAY_ON_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  MESSAGE_COUNT,
  PATH_FLAGS_OFFSET,
  PATH_HOPS_OFFSET,
  PATH_MTU_OFFSET,
  PATH_SOURCE_OFFSET,
  PATH_WHOLE,
  PATH_WHOLE_CHECKSUM,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SEGMENTS_SENT,
  SOURCE_DF_OFFSET,
  SOURCE_LOCAL_OFFSET,
  SOURCE_NO_CHECKSUM_OFFSET,
  SOURCE_NUMBERS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_UNDERLAY_TAP,
  SUPER_FRAMES_REFUSED,
  SUPER_FRAMES_SPLIT,
  UDP_HEADER_BYTES,
  VIRTIO_FLAGS_OFFSET,
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_TUNNEL_IPV4,
  VIRTIO_GSO_TUNNEL_IPV6,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VIRTIO_INNER_L3_OFFSET,
  VIRTIO_NEEDS_CHECKSUM,
  VIRTIO_OUTER_L4_OFFSET,
  VIRTIO_TUNNEL_CHECKSUM,
  VIRTIO_TUNNEL_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as message from './message';
import * as path from './path';
import * as segment from './segment';
import * as checksum from './wire/checksum';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

const IP_TOTAL_MAX = 65535;
const IPV4_DF: u32 = 0x40;

/** The path that the super-frame may leave whole on, 0 = it must be split. */
export function find(
  worker: usize,
  source: u32,
  remote: usize,
  marks: u32,
  header: usize,
  headers: i32,
  length: i32,
): usize {
  if (load<u32>(HEADER_BASE, HEADER_UNDERLAY_ON_OFFSET) === 0) return 0;
  const known = path.find(worker, remote);
  if (known === 0) return 0;
  return fits(known, source, remote, marks, header, headers, length) ? known : 0;
}

function fits(
  known: usize,
  source: u32,
  remote: usize,
  marks: u32,
  header: usize,
  headers: i32,
  length: i32,
): boolean {
  const group = groupOf(source);
  const summed = load<u8>(group, SOURCE_NO_CHECKSUM_OFFSET) === 0;
  const needed: u32 = summed ? PATH_WHOLE_CHECKSUM : PATH_WHOLE;
  if ((load<u32>(known, PATH_FLAGS_OFFSET) & needed) === 0) return false;
  // The first datagram of a source port, which is small as a rule, opens its socket.
  if (portOf(group, source) === 0) return false;
  if (!isFrom(group, known)) return false;
  const hops = hopsOf(marks, known);
  // Forwarding takes one away.
  if (hops === 0 || hops === 255) return false;
  const outer =
    UDP_HEADER_BYTES +
    VXLAN_HEADER_BYTES +
    (load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
  const size = virtio.gsoSize(header);
  return (
    outer + length <= IP_TOTAL_MAX &&
    // One segment would be no super-frame to the kernel, and nobody would complete its checksums.
    headers + size < length &&
    outer + headers + size <= load<i32>(known, PATH_MTU_OFFSET) &&
    (load<u8>(header, VIRTIO_GSO_TYPE_OFFSET) & VIRTIO_GSO_ECN) === 0
  );
}

/** The device's own address, or the route's choice, is the one that the path was asked for. */
function isFrom(group: usize, known: usize): boolean {
  const low = load<u64>(group, SOURCE_LOCAL_OFFSET);
  const high = load<u64>(group, SOURCE_LOCAL_OFFSET + 8);
  if ((low | high) === 0) return true;
  return low === load<u64>(known, PATH_SOURCE_OFFSET) && high === load<u64>(known, PATH_SOURCE_OFFSET + 8);
}

function hopsOf(marks: u32, known: usize): u32 {
  return marks >>> 8 !== 0 ? marks >>> 8 : <u32>load<u8>(known, PATH_HOPS_OFFSET);
}

function portOf(group: usize, source: u32): u32 {
  return load<u16>(group + (source % SOURCE_PORT_COUNT) * 2, SOURCE_NUMBERS_OFFSET);
}

/** Is there room for one more? */
export function hasRoom(worker: usize): boolean {
  return load<i32>(worker + ENCAP_STATE_OFFSET, ENCAP_MESSAGES_USED_OFFSET) < MESSAGE_COUNT;
}

/**
 * Appends the super-frame as one message. Room has been asked for.
 *
 * @param known    what `find` found
 * @param headers  bytes of its Ethernet, IP and transport headers
 * @param segments that it will be cut into
 */
export function append(
  worker: usize,
  device: u32,
  known: usize,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  word: u32,
  header: usize,
  headers: i32,
  length: i32,
  l3: i32,
  segments: i32,
): void {
  const state = worker + ENCAP_STATE_OFFSET;
  const used = load<u32>(state, ENCAP_MESSAGES_USED_OFFSET);
  store<u32>(state, used + 1, ENCAP_MESSAGES_USED_OFFSET);
  const envelope = envelopeOf(worker, used);
  store<u32>(envelope, SOURCE_UNDERLAY_TAP, ENVELOPE_SOURCE_OFFSET);
  store<u32>(envelope, source, ENVELOPE_CUT_SOURCE_OFFSET);
  store<u32>(envelope, <u32>header, ENVELOPE_CUT_FRAME_OFFSET);
  store<u32>(envelope, 1, ENVELOPE_SEGMENTS_OFFSET);
  store<u32>(envelope, length + VXLAN_HEADER_BYTES, ENVELOPE_LENGTH_OFFSET);
  store<u32>(envelope, marks, ENVELOPE_MARKS_OFFSET);
  store<u32>(envelope, load<u32>(remote, REMOTE_IFINDEX_OFFSET), ENVELOPE_IFINDEX_OFFSET);
  store<u32>(envelope, device, ENVELOPE_DEVICE_OFFSET);
  store<u64>(envelope, load<u64>(state, ENCAP_LABEL_OFFSET), ENVELOPE_LABEL_OFFSET);
  store<u32>(envelope, l3 + VXLAN_HEADER_BYTES, ENVELOPE_OVERHEAD_OFFSET);

  const bytes = emit(
    envelope,
    state,
    known,
    source,
    remote,
    port,
    marks,
    vni,
    word,
    header,
    headers,
    length,
    l3,
    segments,
  );
  const iovecs = envelope + ENVELOPE_IOVECS_OFFSET;
  store<u64>(iovecs, message.absolute(envelope));
  store<u64>(iovecs, <u64>bytes, IOVEC_LENGTH_OFFSET);
  store<u64>(iovecs, message.absolute(header + VIRTIO_HEADER_BYTES), IOVEC_BYTES);
  store<u64>(iovecs, <u64>length, IOVEC_BYTES + IOVEC_LENGTH_OFFSET);
}

function envelopeOf(worker: usize, message: u32): usize {
  return worker + ENVELOPES_OFFSET + message * ENVELOPE_BYTES;
}

/** The block in front of the inner frame. Returns its bytes. */
function emit(
  block: usize,
  state: usize,
  known: usize,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  word: u32,
  header: usize,
  headers: i32,
  length: i32,
  l3: i32,
  segments: i32,
): i32 {
  const group = groupOf(source);
  const ipv4 = load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET;
  const summed = load<u8>(group, SOURCE_NO_CHECKSUM_OFFSET) === 0;
  const ipBytes = ipv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const outerL4 = ETHERNET_HEADER_BYTES + ipBytes;
  const inner = outerL4 + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES;
  const udpBytes = UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + length;

  virtio.emit(
    block,
    virtio.gsoType(header) | (ipv4 ? VIRTIO_GSO_TUNNEL_IPV4 : VIRTIO_GSO_TUNNEL_IPV6),
    inner + headers,
    virtio.gsoSize(header),
    inner + virtio.checksumStart(header),
    virtio.checksumField(header),
  );
  if (summed) store<u8>(block, VIRTIO_NEEDS_CHECKSUM | VIRTIO_TUNNEL_CHECKSUM, VIRTIO_FLAGS_OFFSET);
  store<u64>(block, 0, VIRTIO_HEADER_BYTES);
  store<u16>(block, 0, VIRTIO_HEADER_BYTES + 8);
  store<u16>(block, <u16>outerL4, VIRTIO_OUTER_L4_OFFSET);
  store<u16>(block, <u16>(inner + l3), VIRTIO_INNER_L3_OFFSET);

  const ethernet = block + VIRTIO_TUNNEL_HEADER_BYTES;
  const mac = load<u64>(HEADER_BASE, HEADER_UNDERLAY_MAC_OFFSET);
  store<u64>(ethernet, mac | (mac << 48));
  store<u32>(ethernet, <u32>(mac >>> 16), 8);
  store<u16>(
    ethernet,
    bswap<u16>((ipv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6) as u16),
    ETHERNET_HEADER_BYTES - 2,
  );

  const ip = ethernet + ETHERNET_HEADER_BYTES;
  const hops = hopsOf(marks, known) + 1;
  let seed: u32;
  if (ipv4) {
    const df: u32 = load<u8>(group, SOURCE_DF_OFFSET) !== 0 ? IPV4_DF : 0;
    const id = load<u32>(state, ENCAP_OUTER_ID_OFFSET);
    // Each segment has one of its own.
    store<u32>(state, id + segments, ENCAP_OUTER_ID_OFFSET);
    store<u16>(ip, <u16>(0x45 | ((marks & 0xff) << 8)));
    store<u16>(ip, bswap<u16>(<u16>(ipBytes + udpBytes)), 2);
    store<u16>(ip, bswap<u16>(<u16>id), 4);
    store<u16>(ip, <u16>df, 6);
    store<u32>(ip, hops | (IP_PROTOCOL_UDP << 8), 8);
    store<u32>(ip, load<u32>(known, PATH_SOURCE_OFFSET), 12);
    store<u32>(ip, load<u32>(remote, REMOTE_ADDRESS_OFFSET), 16);
    store<u16>(ip, <u16>checksum.ipv4Header(ip, IPV4_HEADER_BYTES), 10);
    seed = checksum.pseudoIpv4(ip, IP_PROTOCOL_UDP, udpBytes);
  } else {
    const label = load<u32>(state, ENCAP_LABEL_OFFSET);
    store<u32>(ip, bswap<u32>(0x60000000 | ((marks & 0xff) << 20) | label));
    store<u16>(ip, bswap<u16>(<u16>udpBytes), 4);
    store<u16>(ip, <u16>(IP_PROTOCOL_UDP | (hops << 8)), 6);
    store<u64>(ip, load<u64>(known, PATH_SOURCE_OFFSET), 8);
    store<u64>(ip, load<u64>(known, PATH_SOURCE_OFFSET + 8), 16);
    store<u64>(ip, load<u64>(remote, REMOTE_ADDRESS_OFFSET), 24);
    store<u64>(ip, load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8), 32);
    seed = checksum.pseudoIpv6(ip, IP_PROTOCOL_UDP, udpBytes);
  }
  const udp = ip + ipBytes;
  store<u16>(udp, bswap<u16>(<u16>portOf(group, source)));
  store<u16>(udp, bswap<u16>(<u16>port), 2);
  store<u16>(udp, bswap<u16>(<u16>udpBytes), 4);
  // The sum of the pseudo header, for whoever completes it.
  store<u16>(udp, summed ? <u16>seed : 0, 6);
  vxlan.emit(udp + UDP_HEADER_BYTES, word, vni, 0);
  return VIRTIO_TUNNEL_HEADER_BYTES + inner;
}

/**
 * A message of the batch that the underlay TAP has refused: its super-frame is split after all, into messages behind
 * those of the batch, which the host sends in its place. Returns how many; 0: there is no room.
 */
export function cut(worker: usize, refused: i32): i32 {
  const state = worker + ENCAP_STATE_OFFSET;
  const envelope = envelopeOf(worker, refused);
  const device = load<u32>(envelope, ENVELOPE_DEVICE_OFFSET);
  const domain = load<u32>(envelope, ENVELOPE_DOMAIN_OFFSET);
  const source = load<u32>(envelope, ENVELOPE_CUT_SOURCE_OFFSET);
  const header = <usize>load<u32>(envelope, ENVELOPE_CUT_FRAME_OFFSET);
  const length = load<i32>(envelope, ENVELOPE_LENGTH_OFFSET) - VXLAN_HEADER_BYTES;
  const l3 = load<i32>(envelope, ENVELOPE_OVERHEAD_OFFSET) - VXLAN_HEADER_BYTES;
  const frame = header + VIRTIO_HEADER_BYTES;
  const headers = segment.headerBytes(header, frame, length, l3);
  const size = virtio.gsoSize(header);
  const segments = segment.count(length - headers, size);
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  const each = size + headers + VXLAN_HEADER_BYTES;
  if (
    segments > message.datagramMax(flags, source) ||
    !message.hasRoom(worker, flags, source, segments, each) ||
    !segment.hasRoom(worker, segments)
  )
    return 0;

  const ip = envelope + VIRTIO_TUNNEL_HEADER_BYTES + ETHERNET_HEADER_BYTES;
  const remote = state + ENCAP_CUT_REMOTE_OFFSET;
  const ipv4 = load<u8>(ip) >>> 4 === 4;
  store<u8>(remote, <u8>(ipv4 ? AF_INET : AF_INET6), REMOTE_FAMILY_OFFSET);
  store<u32>(remote, load<u32>(envelope, ENVELOPE_IFINDEX_OFFSET), REMOTE_IFINDEX_OFFSET);
  store<u64>(remote, ipv4 ? <u64>load<u32>(ip, 16) : load<u64>(ip, 24), REMOTE_ADDRESS_OFFSET);
  store<u64>(remote, ipv4 ? 0 : load<u64>(ip, 32), REMOTE_ADDRESS_OFFSET + 8);
  const udp = ip + (ipv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
  const port = bswap<u16>(load<u16>(udp, 2));
  const outer = udp + UDP_HEADER_BYTES;

  // Nothing joins what comes later; and the frame that the walk may have stopped at keeps its label.
  const used = load<u32>(state, ENCAP_MESSAGES_USED_OFFSET);
  store<u32>(envelopeOf(worker, used - 1), 1, ENVELOPE_CLOSED_OFFSET);
  const label = load<u64>(state, ENCAP_LABEL_OFFSET);
  store<u64>(state, load<u64>(envelope, ENVELOPE_LABEL_OFFSET), ENCAP_LABEL_OFFSET);
  segment.split(
    worker,
    device,
    source,
    remote,
    port,
    load<u32>(envelope, ENVELOPE_MARKS_OFFSET),
    vxlan.vni(outer),
    vxlan.word(outer),
    frame,
    length,
    l3,
    virtio.checksumStart(header),
    headers,
    size,
    virtio.gsoType(header) === VIRTIO_GSO_UDP,
  );
  store<u64>(state, label, ENCAP_LABEL_OFFSET);
  counter.one(worker, device, SUPER_FRAMES_REFUSED);
  counter.one(worker, device, SUPER_FRAMES_SPLIT);
  counter.add(worker, device, SEGMENTS_SENT, segments);
  counter.sent(worker, device, domain, segments - 1, (segments - 1) * (headers - l3));
  return load<i32>(state, ENCAP_MESSAGES_USED_OFFSET) - used;
}
