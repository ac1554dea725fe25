/*
 * A super-frame that leaves whole: the outer headers are written here, once, and the host hands them and the frame,
 * where it lies, to the underlay TAP in one writev. From there the kernel forwards it as any packet, and whoever sends
 * it out cuts it (UDP tunnel GSO, Linux 6.17): the network card, or the kernel in front of it.
 *
 *   [virtio | Ethernet | IP | UDP | VXLAN]  in the message's envelope      1st iovec
 *   [inner frame]                           where the TAP read put it      2nd iovec
 *
 * It takes a message of its flow's lane like any datagram, so that a flow leaves in the order in which it was read.
 * What does not fit (see `fits`) is split by segment.ts.
 */
import * as dispatch from './dispatch';
import { envelopeOf, groupOf } from './envelope';
import {
  AF_INET,
  ENCAP_LABEL_OFFSET,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  ENVELOPE_CUT_FRAME_OFFSET,
  ENVELOPE_CUT_SOURCE_OFFSET,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_IFINDEX_OFFSET,
  ENVELOPE_LABEL_OFFSET,
  ENVELOPE_LENGTH_OFFSET,
  ENVELOPE_MARKS_OFFSET,
  ENVELOPE_NEXT_OFFSET,
  ENVELOPE_OVERHEAD_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_SOURCE_OFFSET,
  ENVELOPE_WHOLE_IOVECS_OFFSET,
  HEADER_BASE,
  HEADER_UNDERLAY_ON_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  MESSAGE_COUNT,
  PATH_FLAGS_OFFSET,
  PATH_MTU_OFFSET,
  PATH_SOURCE_OFFSET,
  PATH_WHOLE,
  PATH_WHOLE_CHECKSUM,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SOURCE_LOCAL_OFFSET,
  SOURCE_NO_CHECKSUM_OFFSET,
  SOURCE_UNDERLAY_TAP,
  UDP_HEADER_BYTES,
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as message from './message';
import * as path from './path';
import * as tunnelHeader from './tunnel-header';
import * as virtio from './wire/virtio';

const IP_TOTAL_MAX = 65535;

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
  if (tunnelHeader.portOf(group, source) === 0) return false;
  if (!isFrom(group, known)) return false;
  const hops = tunnelHeader.hopsOf(marks, known);
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
  store<u32>(envelope, 0, ENVELOPE_NEXT_OFFSET);
  store<u32>(envelope, source, ENVELOPE_CUT_SOURCE_OFFSET);
  store<u32>(envelope, <u32>header, ENVELOPE_CUT_FRAME_OFFSET);
  store<u32>(envelope, 1, ENVELOPE_SEGMENTS_OFFSET);
  store<u32>(envelope, length + VXLAN_HEADER_BYTES, ENVELOPE_LENGTH_OFFSET);
  store<u32>(envelope, marks, ENVELOPE_MARKS_OFFSET);
  store<u32>(envelope, load<u32>(remote, REMOTE_IFINDEX_OFFSET), ENVELOPE_IFINDEX_OFFSET);
  store<u32>(envelope, device, ENVELOPE_DEVICE_OFFSET);
  store<u64>(envelope, load<u64>(state, ENCAP_LABEL_OFFSET), ENVELOPE_LABEL_OFFSET);
  store<u32>(envelope, l3 + VXLAN_HEADER_BYTES, ENVELOPE_OVERHEAD_OFFSET);

  const bytes = tunnelHeader.emit(
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
  const iovecs = envelope + ENVELOPE_WHOLE_IOVECS_OFFSET;
  store<u64>(iovecs, message.absolute(envelope));
  store<u64>(iovecs, <u64>bytes, IOVEC_LENGTH_OFFSET);
  store<u64>(iovecs, message.absolute(header + VIRTIO_HEADER_BYTES), IOVEC_BYTES);
  store<u64>(iovecs, <u64>length, IOVEC_BYTES + IOVEC_LENGTH_OFFSET);
  // Behind what its flow has sent before.
  dispatch.enqueue(worker, used, source);
}
