/*
 * One copy of a frame to one remote [vxlan_xmit_one]. In packet order:
 *
 *   1. "any" remotes: a drop, or back into the device after a route short circuit
 *   2. port and VNI: the remote's, else the device's
 *   3. the path: does the copy end here? detour.ts                            [vxlan_get_route, encap_bypass_if_local]
 *   4. socket, TOS, TTL, flow label: outer.ts                                 [udp_flow_src_port]
 *   5. VXLAN header, segments, messages                                       [vxlan_build_skb]
 */
import * as counter from './count';
import * as detour from './detour';
import {
  AF_INET,
  DEVICE_BYTES,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_GSO_TUNNEL,
  DEVICE_FLAG_KNOWN_PEERS,
  DEVICE_FLAGS_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_VNI_OFFSET,
  DOMAINS_BASE,
  DROP_BAD_OFFLOAD,
  DROP_NO_REMOTE,
  ENCAP_DOMAIN_OFFSET,
  ENCAP_FRAME_FLAGS_OFFSET,
  ENCAP_FRAME_SHORT_CIRCUITED,
  ENCAP_STATE_OFFSET,
  ENCAP_TAIL_OFFSET,
  ENCAP_WORD_OFFSET,
  ETHERNET_HEADER_BYTES,
  HEADER_BASE,
  HEADER_PATHS_OFFSET,
  PARCEL_FLOW_UNTOLD,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_PORT_OFFSET,
  REMOTE_VNI_DEFAULT,
  REMOTE_VNI_OFFSET,
  SEGMENT_MAX,
  SEGMENTS_SENT,
  SOURCE_PORT_COUNT,
  SUPER_FRAMES_SPLIT,
  SUPER_FRAMES_WHOLE,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as local from './local';
import * as message from './message';
import * as outer from './outer';
import * as parcel from './parcel';
import * as peers from './peer';
import * as segment from './segment';
import * as tunnelGso from './tunnel-gso';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

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
    if ((load<u8>(state, ENCAP_FRAME_FLAGS_OFFSET) & ENCAP_FRAME_SHORT_CIRCUITED) === 0)
      return drop(worker, device, domain, DROP_NO_REMOTE);
    return local.deliver(worker, device, domain, domain, remote, header, length);
  }
  let port = <u32>load<u16>(remote, REMOTE_PORT_OFFSET);
  if (port === 0) port = load<u16>(record, DEVICE_PORT_OFFSET);
  let vni = load<u32>(remote, REMOTE_VNI_OFFSET);
  if (vni === REMOTE_VNI_DEFAULT) vni = load<u32>(DOMAINS_BASE + domain * DOMAIN_BYTES, DOMAIN_VNI_OFFSET);

  if (load<u32>(HEADER_BASE, HEADER_PATHS_OFFSET) !== 0) {
    const fate = detour.follow(worker, device, record, flags, domain, remote, port, vni, header, length, l3);
    if (fate !== detour.GOES_OUT) return fate === detour.ENDS_HERE;
  }

  const frame = header + VIRTIO_HEADER_BYTES;
  // A GPE packet's Ethernet header is not its own and stays behind.
  const skipped = (flags & DEVICE_FLAG_GPE) !== 0 ? ETHERNET_HEADER_BYTES : 0;
  const inParcels = parcel.areWanted();
  // Whoever has the whole frame can hash it himself.
  const source =
    inParcels && skipped === 0
      ? outer.groupOf(record, frame) * SOURCE_PORT_COUNT + PARCEL_FLOW_UNTOLD
      : outer.source(worker, record, frame, length, l3);
  const marks = outer.marks(record, flags, remote, frame, l3);
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE)
    return transmitSuper(
      worker,
      device,
      flags,
      domain,
      alone && skipped === 0 && (flags & DEVICE_FLAG_GSO_TUNNEL) !== 0,
      source,
      remote,
      port,
      marks,
      vni,
      header,
      skipped,
      length,
      l3,
    );

  const inner = frame + skipped;
  const bytes = length - skipped;
  const counted = length - l3;
  const word = load<u32>(state, ENCAP_WORD_OFFSET);
  const tail = <u32>load<u8>(state, ENCAP_TAIL_OFFSET);
  if (inParcels) {
    if (!parcel.hasRoom(worker, 1)) return false;
    parcel.add(worker, device, domain, source, remote, port, marks, word, vni, tail, inner, bytes, alone);
    counter.sent(worker, device, domain, 1, counted);
    if ((flags & DEVICE_FLAG_KNOWN_PEERS) !== 0) peers.sent(worker, device, frame, 1, counted);
    return true;
  }
  if (!message.hasRoom(worker, flags, source, 1, bytes)) return false;
  // The header of a frame that goes to one place only is written over its virtio header, which such a frame has
  // no more use for; else it stands by itself.
  let head = inner - VXLAN_HEADER_BYTES;
  let headBytes = VXLAN_HEADER_BYTES + bytes;
  let bodyBytes = 0;
  if (!alone) {
    if (!segment.hasRoom(worker, 1)) return false;
    head = segment.claimHeader(worker);
    headBytes = VXLAN_HEADER_BYTES;
    bodyBytes = bytes;
  }
  vxlan.emit(head, word, vni, tail);
  const overhead = bytes - counted;
  message.append(worker, device, source, remote, port, marks, overhead, head, headBytes, inner, bodyBytes);
  counter.sent(worker, device, domain, 1, counted);
  if ((flags & DEVICE_FLAG_KNOWN_PEERS) !== 0) peers.sent(worker, device, frame, 1, counted);
  return true;
}

function drop(worker: usize, device: u32, domain: u32, verdict: i32): boolean {
  counter.dropped(worker, device, domain, verdict);
  return true;
}

/** 0.0.0.0 or :: marks a MAC that is not tunnelled. */
function isAny(remote: usize): boolean {
  const address = remote + REMOTE_ADDRESS_OFFSET;
  if (load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET) return load<u32>(address) === 0;
  return (load<u64>(address) | load<u64>(address, 8)) === 0;
}

/** A super-frame to one remote, without its first `skipped` bytes. False: no room. */
function transmitSuper(
  worker: usize,
  device: u32,
  flags: u32,
  domain: u32,
  mayBeWhole: boolean,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  header: usize,
  skipped: i32,
  length: i32,
  l3: i32,
): boolean {
  const frame = header + VIRTIO_HEADER_BYTES;
  const headers = segment.headerBytes(header, frame, length, l3);
  if (headers === 0) return drop(worker, device, domain, DROP_BAD_OFFLOAD);
  const size = virtio.gsoSize(header);
  const segments = segment.count(length - headers, size);
  const word = load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_WORD_OFFSET);
  const known = mayBeWhole ? tunnelGso.find(worker, source, remote, marks, header, headers, length) : 0;
  if (known !== 0) {
    if (!tunnelGso.hasRoom(worker)) return false;
    tunnelGso.append(
      worker,
      device,
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
    counter.one(worker, device, SUPER_FRAMES_WHOLE);
    // One, as the kernel's device counts it.
    counter.sent(worker, device, domain, 1, length - l3);
    if ((flags & DEVICE_FLAG_KNOWN_PEERS) !== 0) peers.sent(worker, device, frame, 1, length - l3);
    return true;
  }
  const inParcels = parcel.areWanted();
  const most = inParcels ? SEGMENT_MAX : message.datagramMax(flags, source);
  if (segments > most) return drop(worker, device, domain, DROP_BAD_OFFLOAD);
  const each = min(size, length - headers) + headers - skipped + VXLAN_HEADER_BYTES;
  const isRoomy = inParcels
    ? segment.hasRoomInParcels(worker, segments, each)
    : message.hasRoom(worker, flags, source, segments, each) && segment.hasRoom(worker, segments);
  if (!isRoomy) return false;
  segment.split(
    worker,
    device,
    source,
    remote,
    port,
    marks,
    vni,
    word,
    frame + skipped,
    length - skipped,
    l3 - skipped,
    virtio.checksumStart(header) - skipped,
    headers - skipped,
    size,
    virtio.gsoType(header) === VIRTIO_GSO_UDP,
  );
  counter.one(worker, device, SUPER_FRAMES_SPLIT);
  counter.add(worker, device, SEGMENTS_SENT, segments);
  const counted = segments * (headers - l3) + length - headers;
  counter.sent(worker, device, domain, segments, counted);
  if ((flags & DEVICE_FLAG_KNOWN_PEERS) !== 0) peers.sent(worker, device, frame, segments, counted);
  return true;
}
