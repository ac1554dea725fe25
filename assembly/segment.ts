/*
 * Super-frame -> wire segments. A TAP with TSO or USO hands over one frame of up to 64 KiB with one set of
 * headers; every segment gets its own copy of them, fixed up as Linux's tcp_gso_segment and
 * __udp_gso_segment do, and its payload by reference:
 *
 *   [VXLAN | Ethernet | IP | TCP or UDP]  in the worker's header memory     1st iovec of the datagram
 *   [payload]                             where the TAP read put it         2nd iovec
 *
 * A program that takes the datagrams itself (parcel.ts) is given them in one piece: there the payload is copied
 * behind its headers.
 *
 * IPv4 id rises by one per segment; TCP sequence numbers rise by the payload; FIN and PSH stay on the last
 * segment, CWR on the first. Every checksum is complete: nothing is left to the underlay's device.
 */
import {
  ENCAP_DOMAIN_OFFSET,
  ENCAP_FLOW_OFFSET,
  ENCAP_HEADERS_BYTES,
  ENCAP_HEADERS_OFFSET,
  ENCAP_HEADERS_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  SEGMENT_HEADER_MAX_BYTES,
  SEGMENT_MAX,
  TCP_HEADER_BYTES,
  UDP_HEADER_BYTES,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as message from './message';
import * as parcel from './parcel';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

const LINE_MASK = 63;

/**
 * Bytes of Ethernet, IP and transport headers of a super-frame, or 0 when its virtio header and its own
 * headers do not fit together. Nothing of it is believed before it has been checked against the frame:
 * the transport header begins where the checksum does; its length comes from itself.
 */
export function headerBytes(header: usize, frame: usize, length: i32, l3: i32): i32 {
  const type = virtio.gsoType(header);
  const l4 = virtio.checksumStart(header);
  const ipv4 = ethernet.etherTypeBefore(frame, l3) === ETHERTYPE_IPV4;
  if (!virtio.needsChecksum(header) || virtio.gsoSize(header) === 0) return 0;
  if (ipv4) {
    if (l3 + IPV4_HEADER_BYTES > length || l4 !== l3 + ip4.headerBytes(frame + l3)) return 0;
    if (l4 < l3 + IPV4_HEADER_BYTES || ip4.isFragment(frame + l3)) return 0;
  } else {
    if (ethernet.etherTypeBefore(frame, l3) !== ETHERTYPE_IPV6 || l4 < l3 + IPV6_HEADER_BYTES) return 0;
  }
  let bytes = 0;
  if (type === VIRTIO_GSO_UDP) {
    if (virtio.checksumField(header) !== udp.CHECKSUM_OFFSET) return 0;
    if (ipv4 && ip4.protocol(frame + l3) !== IP_PROTOCOL_UDP) return 0;
    bytes = l4 + UDP_HEADER_BYTES;
  } else if (type === (ipv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6)) {
    if (virtio.checksumField(header) !== tcp.CHECKSUM_OFFSET) return 0;
    if (ipv4 && ip4.protocol(frame + l3) !== IP_PROTOCOL_TCP) return 0;
    if (l4 + TCP_HEADER_BYTES > length) return 0;
    const own = tcp.headerBytes(frame + l4);
    if (own < TCP_HEADER_BYTES) return 0;
    bytes = l4 + own;
  }
  return bytes === 0 || bytes >= length || bytes + VXLAN_HEADER_BYTES > SEGMENT_HEADER_MAX_BYTES ? 0 : bytes;
}

/** Segments that a payload of `bytes` makes. */
export function count(bytes: i32, gsoSize: i32): i32 {
  return (bytes + gsoSize - 1) / gsoSize;
}

/** Is there header memory for `segments` more? */
export function hasRoom(worker: usize, segments: i32): boolean {
  return segments <= SEGMENT_MAX && hasBytes(worker, segments, SEGMENT_HEADER_MAX_BYTES);
}

/** Are there as many parcels, and memory for them? @param bytes of the longest, VXLAN header included */
export function hasRoomInParcels(worker: usize, segments: i32, bytes: i32): boolean {
  return parcel.hasRoom(worker, segments) && hasBytes(worker, segments, roomFor(bytes));
}

function hasBytes(worker: usize, segments: i32, each: i32): boolean {
  const used = load<i32>(worker + ENCAP_STATE_OFFSET, ENCAP_HEADERS_USED_OFFSET);
  return used + segments * each <= ENCAP_HEADERS_BYTES;
}

/** Of a datagram in one piece: whole lines, so that those of one size lie at the same places in every batch. */
function roomFor(bytes: i32): i32 {
  return (bytes + LINE_MASK) & ~LINE_MASK;
}

/** Begins a batch. */
export function begin(worker: usize): void {
  store<u32>(worker + ENCAP_STATE_OFFSET, 0, ENCAP_HEADERS_USED_OFFSET);
}

/** Room for one header; the caller has asked for it. */
export function claimHeader(worker: usize): usize {
  return claim(worker, SEGMENT_HEADER_MAX_BYTES);
}

function claim(worker: usize, bytes: i32): usize {
  const state = worker + ENCAP_STATE_OFFSET;
  const used = load<u32>(state, ENCAP_HEADERS_USED_OFFSET);
  store<u32>(state, used + bytes, ENCAP_HEADERS_USED_OFFSET);
  return worker + ENCAP_HEADERS_OFFSET + used;
}

/**
 * Appends one datagram per segment.
 *
 * @param word    first word of the VXLAN header
 * @param headers what headerBytes() found
 * @param l4      offset of the transport header
 */
export function split(
  worker: usize,
  device: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  word: u32,
  frame: usize,
  length: i32,
  l3: i32,
  l4: i32,
  headers: i32,
  gsoSize: i32,
  isUdp: boolean,
): void {
  const ipv4 = ethernet.etherTypeBefore(frame, l3) === ETHERTYPE_IPV4;
  const l4Bytes = headers - l4;
  const constant = constantSum(frame, l3, l4, l4Bytes, ipv4, isUdp);
  const ipConstant = ipv4 ? ipv4Constant(frame + l3, l4 - l3) : 0;
  const id = ipv4 ? ip4.identification(frame + l3) : 0;
  const sequence = isUdp ? 0 : tcp.sequence(frame + l4);
  const flags = isUdp ? 0 : tcp.flags(frame + l4);
  // Its segments make a message of their own, as long as they can: none of them ends another's.
  store<u32>(worker + ENCAP_STATE_OFFSET, 0, ENCAP_FLOW_OFFSET);
  const inParcels = parcel.areWanted();
  const domain = load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_DOMAIN_OFFSET);

  let index = 0;
  for (let at = headers; at < length; at += gsoSize, ++index) {
    const bytes = min(gsoSize, length - at);
    const whole = VXLAN_HEADER_BYTES + headers + bytes;
    const head = claim(worker, inParcels ? roomFor(whole) : SEGMENT_HEADER_MAX_BYTES);
    const copy = head + VXLAN_HEADER_BYTES;
    memory.copy(copy, frame, headers);

    const ip = copy + l3;
    if (ipv4) {
      const total = headers - l3 + bytes;
      ip4.setTotalLength(ip, total);
      store<u16>(ip, bswap<u16>(<u16>(id + index)), 4);
      const varying = <u32>bswap<u16>(<u16>total) + <u32>bswap<u16>(<u16>(id + index));
      ip4.setChecksum(ip, ~checksum.fold(ipConstant + varying));
    } else {
      ip6.setPayloadLength(ip, headers - l3 - IPV6_HEADER_BYTES + bytes);
    }

    const l4Header = copy + l4;
    const payloadSum = checksum.sum(frame + at, bytes);
    let varying = constant + payloadSum + <u32>bswap<u16>(<u16>(l4Bytes + bytes));
    if (isUdp) {
      udp.setLength(l4Header, l4Bytes + bytes);
      varying += <u32>bswap<u16>(<u16>(l4Bytes + bytes));
      udp.setChecksum(l4Header, ~checksum.fold(varying) & 0xffff);
    } else {
      let own = flags;
      if (at + gsoSize < length) own &= ~(tcp.FIN | tcp.PSH);
      if (index !== 0) own &= ~tcp.CWR;
      tcp.setSequence(l4Header, sequence + <u32>(at - headers));
      tcp.setFlags(l4Header, own);
      varying += load<u16>(l4Header, 4);
      varying += load<u16>(l4Header, 6);
      varying += own << 8;
      tcp.setChecksum(l4Header, ~checksum.fold(varying));
    }
    if (inParcels) {
      memory.copy(copy + headers, frame + at, bytes);
      const length = headers + bytes;
      parcel.add(worker, device, domain, source, remote, port, marks, word, vni, 0, copy, length, true);
      continue;
    }
    vxlan.emit(head, word, vni, 0);
    message.append(
      worker,
      device,
      source,
      remote,
      port,
      marks,
      l3,
      head,
      headers + VXLAN_HEADER_BYTES,
      frame + at,
      bytes,
    );
  }
}

/**
 * What the transport checksums of all segments share: the pseudo header without the length, and the
 * transport header without checksum, sequence number, flags (TCP) and length (UDP).
 */
function constantSum(frame: usize, l3: i32, l4: i32, l4Bytes: i32, ipv4: boolean, isUdp: boolean): u32 {
  const ip = frame + l3;
  const l4Header = frame + l4;
  const protocol = isUdp ? IP_PROTOCOL_UDP : IP_PROTOCOL_TCP;
  let sum = ipv4 ? checksum.pseudoIpv4(ip, protocol, 0) : checksum.pseudoIpv6(ip, protocol, 0);
  if (isUdp) return checksum.fold(sum + load<u16>(l4Header) + load<u16>(l4Header, 2));
  sum += checksum.sum(l4Header, 4);
  sum += checksum.sum(l4Header + 8, 4);
  // Data offset without the flags beside it, the window, the urgent pointer; then the options.
  sum += load<u8>(l4Header, 12);
  sum += load<u16>(l4Header, 14);
  sum += load<u16>(l4Header, 18);
  sum += checksum.sum(l4Header + TCP_HEADER_BYTES, l4Bytes - TCP_HEADER_BYTES);
  return checksum.fold(sum);
}

/** The IPv4 header's sum without length, id and checksum. */
function ipv4Constant(ip: usize, bytes: i32): u32 {
  const sum = <u32>load<u16>(ip) + checksum.sum(ip + 6, 4) + checksum.sum(ip + 12, bytes - 12);
  return checksum.fold(sum);
}
