/*
 * One copy of a frame to one remote [vxlan_xmit_one]. In packet order:
 *
 *   1. "any" remotes: a drop, or back into the device after a route short circuit
 *   2. port and VNI: the remote's, else the device's
 *   3. the path: into ourselves? back into the device? this host? too big?    [vxlan_get_route, encap_bypass_if_local,
 *                                                                              skb_tunnel_check_pmtu]
 *   4. socket and source port by flow hash, DF, TOS, TTL, flow label          [udp_flow_src_port]
 *   5. VXLAN header, segments, messages                                       [vxlan_build_skb]
 */
import * as counter from './count';
import * as ecn from './ecn';
import * as flow from './flow';
import * as inject from './inject';
import {
  AF_INET,
  DECAP_BYTES_COUNTED,
  DECAP_PACKETS,
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_DF_OFFSET,
  DEVICE_FLAG_BRIDGED,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_LABEL_INHERIT,
  DEVICE_FLAG_LOCALBYPASS,
  DEVICE_FLAG_TOS_INHERIT,
  DEVICE_FLAG_TTL_INHERIT,
  DEVICE_FLAGS_OFFSET,
  DEVICE_IFINDEX_OFFSET,
  DEVICE_LABEL_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_SOURCE_DF_OFFSET,
  DEVICE_SOURCE_OFFSET,
  DEVICE_TOS_OFFSET,
  DEVICE_TTL_OFFSET,
  DEVICES_BASE,
  DF_INHERIT,
  DF_SET,
  DOMAIN_BYTES,
  DOMAIN_ENCAP_BYTES,
  DOMAIN_ENCAP_PACKETS,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
  DROP_BAD_OFFLOAD,
  DROP_NO_REMOTE,
  DROP_ROUTE_LOOP,
  ENCAP_BYTES_COUNTED,
  ENCAP_DOMAIN_OFFSET,
  ENCAP_FRAME_FLAGS_OFFSET,
  ENCAP_FRAME_SHORT_CIRCUITED,
  ENCAP_LABEL_OFFSET,
  ENCAP_PACKETS,
  ENCAP_STATE_OFFSET,
  ENCAP_TAIL_OFFSET,
  ENCAP_WORD_OFFSET,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_PATHS_OFFSET,
  OVERHEAD_IPV4_BYTES,
  OVERHEAD_IPV6_BYTES,
  PATH_FLAGS_OFFSET,
  PATH_LOCAL,
  PATH_MTU_OFFSET,
  PATH_OUT_OFFSET,
  REMOTE_ADDRESS_OFFSET,
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
  TOO_BIG_REPLIES,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as local from './local';
import * as message from './message';
import * as path from './path';
import * as segment from './segment';
import * as tooBig from './too-big';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

/** What becomes of a copy on its path. */
const GOES_OUT = 0;
const ENDS_HERE = 1;
const COMES_BACK = 2;

/**
 * Sends one copy; what the copies share stands in the worker's state.
 * @param alone the frame has this one remote: its memory may be written over
 * @returns false: no room, or the path is not known: come back
 */
export function transmit(
  worker: usize,
  device: u32,
  remote: usize,
  alone: boolean,
  header: usize,
  length: i32,
  l3: i32,
): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  const record = DEVICES_BASE + device * DEVICE_BYTES;
  const flags = load<u32>(record, DEVICE_FLAGS_OFFSET);
  const domain = load<u32>(state, ENCAP_DOMAIN_OFFSET);
  if (isAny(remote)) {
    if ((load<u32>(state, ENCAP_FRAME_FLAGS_OFFSET) & ENCAP_FRAME_SHORT_CIRCUITED) === 0)
      return drop(worker, device, domain, DROP_NO_REMOTE);
    return local.deliver(worker, device, domain, domain, remote, header, length);
  }
  let port = <u32>load<u16>(remote, REMOTE_PORT_OFFSET);
  if (port === 0) port = load<u16>(record, DEVICE_PORT_OFFSET);
  let vni = load<u32>(remote, REMOTE_VNI_OFFSET);
  if (vni === REMOTE_VNI_DEFAULT) vni = load<u32>(DOMAINS_BASE + domain * DOMAIN_BYTES, DOMAIN_VNI_OFFSET);

  if (load<u32>(HEADER_BASE, HEADER_PATHS_OFFSET) !== 0) {
    const fate = follow(worker, device, record, flags, domain, remote, port, vni, header, length, l3);
    if (fate !== GOES_OUT) return fate === ENDS_HERE;
  }

  const frame = header + VIRTIO_HEADER_BYTES;
  const source = sourceOf(record, frame, length);
  const marks = marksOf(record, flags, remote, frame, l3);
  store<u32>(state, labelOf(record, flags, frame, l3), ENCAP_LABEL_OFFSET);
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE)
    return transmitSuper(worker, device, domain, source, remote, port, marks, vni, header, length, l3);

  // A GPE packet's Ethernet header is not its own and stays behind.
  const skipped = (flags & DEVICE_FLAG_GPE) !== 0 ? ETHERNET_HEADER_BYTES : 0;
  const inner = frame + skipped;
  const bytes = length - skipped;
  const counted = length - l3;
  const word = load<u32>(state, ENCAP_WORD_OFFSET);
  const tail = load<u32>(state, ENCAP_TAIL_OFFSET);
  if (!message.hasRoom(worker, source, 1, bytes)) return false;
  if (alone) {
    // The header of a frame that goes to one place only is written over its virtio header, which such a
    // frame has no more use for.
    const head = inner - VXLAN_HEADER_BYTES;
    vxlan.emit(head, word, vni, tail);
    message.append(
      worker,
      device,
      source,
      remote,
      port,
      marks,
      bytes - counted,
      head,
      VXLAN_HEADER_BYTES + bytes,
      0,
      0,
    );
  } else {
    if (!segment.hasRoom(worker, 1)) return false;
    const head = segment.claimHeader(worker);
    vxlan.emit(head, word, vni, tail);
    message.append(
      worker,
      device,
      source,
      remote,
      port,
      marks,
      bytes - counted,
      head,
      VXLAN_HEADER_BYTES,
      inner,
      bytes,
    );
  }
  sent(worker, device, domain, 1, counted);
  return true;
}

function drop(worker: usize, device: u32, domain: u32, verdict: i32): boolean {
  counter.dropped(worker, device, domain, verdict);
  return true;
}

function sent(worker: usize, device: u32, domain: u32, packets: i32, bytes: i32): void {
  counter.add(worker, device, ENCAP_PACKETS, packets);
  counter.add(worker, device, ENCAP_BYTES_COUNTED, bytes);
  if (domain < (DEVICE_COUNT as u32)) return;
  counter.ofDomain(worker, domain, DOMAIN_ENCAP_PACKETS, packets);
  counter.ofDomain(worker, domain, DOMAIN_ENCAP_BYTES, bytes);
}

/** 0.0.0.0 or :: marks a MAC that is not tunnelled. */
function isAny(remote: usize): boolean {
  const address = remote + REMOTE_ADDRESS_OFFSET;
  if (load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET) return load<u32>(address) === 0;
  return (load<u64>(address) | load<u64>(address, 8)) === 0;
}

/** Looks at the path. Returns GOES_OUT, ENDS_HERE or COMES_BACK. */
function follow(
  worker: usize,
  device: u32,
  record: usize,
  flags: u32,
  domain: u32,
  remote: usize,
  port: u32,
  vni: u32,
  header: usize,
  length: i32,
  l3: i32,
): i32 {
  const known = path.find(worker, remote);
  if (known === 0) {
    path.want(worker, remote);
    return COMES_BACK;
  }
  const isLocal = (load<u32>(known, PATH_FLAGS_OFFSET) & PATH_LOCAL) !== 0;
  if (isLocal && (flags & DEVICE_FLAG_LOCALBYPASS) !== 0) {
    const done = local.bypass(worker, device, domain, remote, port, vni, header, length);
    return done ? ENDS_HERE : COMES_BACK;
  }
  if (load<u32>(known, PATH_OUT_OFFSET) === load<u32>(record, DEVICE_IFINDEX_OFFSET)) {
    drop(worker, device, domain, DROP_ROUTE_LOOP);
    return ENDS_HERE;
  }
  if ((flags & DEVICE_FLAG_BRIDGED) === 0) return GOES_OUT;
  return answerTooBig(worker, device, domain, remote, load<i32>(known, PATH_MTU_OFFSET), header, length, l3);
}

/** A bridged frame that doesn't fit: whoever sent it is told. Returns as `follow`. */
function answerTooBig(
  worker: usize,
  device: u32,
  domain: u32,
  remote: usize,
  pathMtu: i32,
  header: usize,
  length: i32,
  l3: i32,
): i32 {
  const ipv4 = load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET;
  const mtu = pathMtu - (ipv4 ? OVERHEAD_IPV4_BYTES : OVERHEAD_IPV6_BYTES);
  const frame = header + VIRTIO_HEADER_BYTES;
  let bytes = length - l3;
  if (pathMtu === 0 || bytes <= mtu) return GOES_OUT;
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE) {
    bytes = segment.headerBytes(header, frame, length, l3) + virtio.gsoSize(header) - l3;
    if (bytes <= mtu) return GOES_OUT;
  }
  if (!inject.hasRoom(worker)) return COMES_BACK;
  const answer = tooBig.answer(frame, length, l3, <u32>mtu, inject.reply(worker));
  if (answer === 0) return GOES_OUT;
  inject.sendReply(worker, device, answer);
  counter.one(worker, device, TOO_BIG_REPLIES);
  // The kernel counts the answer as sent and received.
  sent(worker, device, domain, 1, answer);
  counter.one(worker, device, DECAP_PACKETS);
  counter.add(worker, device, DECAP_BYTES_COUNTED, answer);
  return ENDS_HERE;
}

/** A super-frame to one remote. False: no room. */
function transmitSuper(
  worker: usize,
  device: u32,
  domain: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  header: usize,
  length: i32,
  l3: i32,
): boolean {
  const frame = header + VIRTIO_HEADER_BYTES;
  const headers = segment.headerBytes(header, frame, length, l3);
  if (headers === 0) return drop(worker, device, domain, DROP_BAD_OFFLOAD);
  const size = virtio.gsoSize(header);
  const segments = segment.count(length - headers, size);
  if (segments > message.datagramMax(source)) return drop(worker, device, domain, DROP_BAD_OFFLOAD);
  const each = min(size, length - headers) + headers + VXLAN_HEADER_BYTES;
  if (!message.hasRoom(worker, source, segments, each) || !segment.hasRoom(worker, segments)) return false;
  segment.split(
    worker,
    device,
    source,
    remote,
    port,
    marks,
    vni,
    load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_WORD_OFFSET),
    frame,
    length,
    l3,
    virtio.checksumStart(header),
    headers,
    size,
    virtio.gsoType(header) === VIRTIO_GSO_UDP,
  );
  counter.one(worker, device, SUPER_FRAMES_SPLIT);
  counter.add(worker, device, SEGMENTS_SENT, segments);
  sent(worker, device, domain, segments, segments * (headers - l3) + length - headers);
  return true;
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
function marksOf(record: usize, flags: u32, remote: usize, frame: usize, l3: i32): u32 {
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
  // Only a fixed TTL that was not given is 1 for a group: an inherited one is what it is.
  else if (ttl === 0 && isMulticast(remote)) ttl = 1;
  if ((flags & DEVICE_FLAG_TOS_INHERIT) !== 0) tos = inner;
  return (tos & 0xfc) | ecn.encapsulate(inner & 3) | (ttl << 8);
}

function isMulticast(remote: usize): boolean {
  const first = load<u8>(remote, REMOTE_ADDRESS_OFFSET);
  return load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET ? (first & 0xf0) === 0xe0 : first === 0xff;
}

/** The outer flow label: fixed, or the inner IPv6 packet's. */
function labelOf(record: usize, flags: u32, frame: usize, l3: i32): u32 {
  if ((flags & DEVICE_FLAG_LABEL_INHERIT) === 0) return load<u32>(record, DEVICE_LABEL_OFFSET);
  return ethernet.etherTypeBefore(frame, l3) === ETHERTYPE_IPV6 ? ip6.flowLabel(frame + l3) : 0;
}
