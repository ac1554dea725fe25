/*
 * Writes what sendmmsg reads: struct mmsghdr, iovec, sockaddr and control messages, side by side in the
 * worker's block and with addresses as the kernel knows them. No payload is copied: an iovec names it
 * where it lies.
 *
 * A datagram joins the last message of its lane (dispatch.ts) when both go from the same socket to the same place
 * and the sizes suit UDP_SEGMENT (equal, only the last one may be shorter). So the segments of a super-frame and
 * a run of equal small frames become one system call and one walk through the kernel, in the same way, whatever
 * came between them from other flows. A larger datagram may go before a smaller one of another flow, and so take it
 * along: of many flows with frames of any size two leave together.
 */
import * as dispatch from './dispatch';
import { envelopeOf, groupOf, isNamed, writeControl, writeControlHeader, writeName } from './envelope';
import {
  AF_INET,
  CMSGHDR_BYTES,
  DEVICE_FLAG_GSO_OFF,
  ENCAP_FLOW_OFFSET,
  ENCAP_IOVEC_COUNT,
  ENCAP_IOVECS_OFFSET,
  ENCAP_IOVECS_USED_OFFSET,
  ENCAP_LABEL_OFFSET,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_SHARED_OFFSET,
  ENCAP_STATE_OFFSET,
  ENVELOPE_CLOSED_OFFSET,
  ENVELOPE_CONTROL_OFFSET,
  ENVELOPE_CONTROL_USED_OFFSET,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_FLOW_OFFSET,
  ENVELOPE_IFINDEX_OFFSET,
  ENVELOPE_IOVEC_COUNT_OFFSET,
  ENVELOPE_IOVEC_ROOM_OFFSET,
  ENVELOPE_IOVECS_OFFSET,
  ENVELOPE_LABEL_OFFSET,
  ENVELOPE_LENGTH_OFFSET,
  ENVELOPE_MARKS_OFFSET,
  ENVELOPE_NEXT_OFFSET,
  ENVELOPE_OVERHEAD_OFFSET,
  ENVELOPE_SEGMENT_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_SOURCE_OFFSET,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  HEADER_OFFLOADS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  MESSAGE_COUNT,
  MESSAGE_MAX_BYTES,
  MESSAGE_SEGMENT_MAX,
  OFFLOAD_UDP_SEGMENT,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SEGMENT_MAX,
  SOL_UDP,
  SOURCE_SEGMENT_OFFSET,
  UDP_SEGMENT,
  VXLAN_HEADER_BYTES,
} from './layout';

/** Most iovecs that one move may take: those of a full message with two each, twice. */
const MOVE_IOVEC_MAX = 4 * MESSAGE_SEGMENT_MAX;

/** Begins a batch: whatever was written before has been sent. */
export function begin(worker: usize): void {
  const state = worker + ENCAP_STATE_OFFSET;
  store<u32>(state, 0, ENCAP_MESSAGES_USED_OFFSET);
  store<u32>(state, 0, ENCAP_IOVECS_USED_OFFSET);
}

/**
 * Is there room for `datagrams` more of `bytes` each, from this source, for a device with these flags? This also settles whether they may
 * share messages, for another thread can take that from the source between the question and the answer's use.
 */
export function hasRoom(worker: usize, flags: u32, source: u32, datagrams: i32, bytes: i32): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  const shared = maySegment(flags, source);
  store<u32>(state, shared ? 1 : 0, ENCAP_SHARED_OFFSET);
  let messages = datagrams;
  if (shared) {
    const each = min(MESSAGE_SEGMENT_MAX, MESSAGE_MAX_BYTES / max(bytes, 1));
    messages = datagrams / max(each, 1) + 2;
  }
  return (
    load<i32>(state, ENCAP_MESSAGES_USED_OFFSET) + messages <= MESSAGE_COUNT &&
    load<i32>(state, ENCAP_IOVECS_USED_OFFSET) + 2 * datagrams + MOVE_IOVEC_MAX <= ENCAP_IOVEC_COUNT
  );
}

/** The most datagrams of one frame that fit into an empty batch; header memory has room for no more either. */
export function datagramMax(flags: u32, source: u32): i32 {
  return maySegment(flags, source) ? SEGMENT_MAX : MESSAGE_COUNT;
}

/**
 * Adds one datagram: `head`, then `body` (which may be empty). Room has been asked for.
 *
 * @param remote where to, a REMOTE record
 * @param port   destination port in host order
 * @param marks  outer TOS | TTL << 8, 0 = the socket's own
 * @param l3     bytes of the inner Ethernet header with its tags, which the byte counter leaves out
 */
export function append(
  worker: usize,
  device: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  l3: i32,
  head: usize,
  headBytes: i32,
  body: usize,
  bodyBytes: i32,
): void {
  const bytes = headBytes + bodyBytes;
  const iovecs: u32 = bodyBytes === 0 ? 1 : 2;
  let envelope = dispatch.lastOf(worker, source);
  let iovec: usize = 0;
  if (envelope === 0 || !suits(worker, envelope, source, remote, port, marks, l3, bytes)) {
    envelope = open(worker, device, source, remote, port, marks, l3, bytes);
    iovec = claimIovecs(worker, envelope, iovecs);
  } else if (bytes <= load<i32>(envelope, ENVELOPE_SEGMENT_OFFSET)) {
    grow(envelope, bytes);
    iovec = claimIovecs(worker, envelope, iovecs);
  } else {
    lead(envelope, bytes);
    iovec = claimFirst(worker, envelope, iovecs);
  }
  store<u64>(iovec, absolute(head));
  store<u64>(iovec, <u64>headBytes, IOVEC_LENGTH_OFFSET);
  if (bodyBytes === 0) return;
  store<u64>(iovec, absolute(body), IOVEC_BYTES);
  store<u64>(iovec, <u64>bodyBytes, IOVEC_BYTES + IOVEC_LENGTH_OFFSET);
}

/** Where the kernel sees an address of this memory. */
export function absolute(address: usize): u64 {
  return load<u64>(HEADER_BASE, HEADER_ADDRESS_OFFSET) + <u64>address;
}

function maySegment(flags: u32, source: u32): boolean {
  return (
    (flags & DEVICE_FLAG_GSO_OFF) === 0 &&
    (load<u32>(HEADER_BASE, HEADER_OFFLOADS_OFFSET) & OFFLOAD_UDP_SEGMENT) !== 0 &&
    load<u8>(groupOf(source), SOURCE_SEGMENT_OFFSET) !== 0
  );
}

/** May the datagram join the message: at its end, or, larger than its only one, which is another flow's, before that? */
function suits(
  worker: usize,
  envelope: usize,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  l3: i32,
  bytes: i32,
): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  return (
    load<u32>(envelope, ENVELOPE_SOURCE_OFFSET) === source &&
    load<u32>(envelope, ENVELOPE_CLOSED_OFFSET) === 0 &&
    (bytes <= load<i32>(envelope, ENVELOPE_SEGMENT_OFFSET) || mayLead(state, envelope)) &&
    load<i32>(envelope, ENVELOPE_LENGTH_OFFSET) + bytes <= MESSAGE_MAX_BYTES &&
    load<i32>(envelope, ENVELOPE_SEGMENTS_OFFSET) < MESSAGE_SEGMENT_MAX &&
    load<u32>(envelope, ENVELOPE_MARKS_OFFSET) === marks &&
    // Flow label and domain.
    load<u64>(envelope, ENVELOPE_LABEL_OFFSET) === load<u64>(state, ENCAP_LABEL_OFFSET) &&
    load<i32>(envelope, ENVELOPE_OVERHEAD_OFFSET) === l3 + VXLAN_HEADER_BYTES &&
    load<u32>(envelope, ENVELOPE_IFINDEX_OFFSET) === load<u32>(remote, REMOTE_IFINDEX_OFFSET) &&
    isNamed(envelope, remote, port)
  );
}

function mayLead(state: usize, envelope: usize): boolean {
  const flow = load<u32>(state, ENCAP_FLOW_OFFSET);
  const led = load<u32>(envelope, ENVELOPE_FLOW_OFFSET);
  return flow !== 0 && led !== 0 && flow !== led && load<u32>(envelope, ENVELOPE_SEGMENTS_OFFSET) === 1;
}

function open(
  worker: usize,
  device: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  l3: i32,
  bytes: i32,
): usize {
  const state = worker + ENCAP_STATE_OFFSET;
  const message = load<u32>(state, ENCAP_MESSAGES_USED_OFFSET);
  store<u32>(state, message + 1, ENCAP_MESSAGES_USED_OFFSET);
  const envelope = envelopeOf(worker, message);
  const ifindex = load<u32>(remote, REMOTE_IFINDEX_OFFSET);
  const ipv4 = load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET;
  store<u32>(envelope, source, ENVELOPE_SOURCE_OFFSET);
  store<u32>(envelope, bytes, ENVELOPE_SEGMENT_OFFSET);
  store<u32>(envelope, 1, ENVELOPE_SEGMENTS_OFFSET);
  store<u32>(envelope, bytes, ENVELOPE_LENGTH_OFFSET);
  store<u32>(envelope, load<u32>(state, ENCAP_SHARED_OFFSET) ^ 1, ENVELOPE_CLOSED_OFFSET);
  store<u32>(envelope, ifindex, ENVELOPE_IFINDEX_OFFSET);
  store<u32>(envelope, marks, ENVELOPE_MARKS_OFFSET);
  store<u32>(envelope, device, ENVELOPE_DEVICE_OFFSET);
  store<u64>(envelope, load<u64>(state, ENCAP_LABEL_OFFSET), ENVELOPE_LABEL_OFFSET);
  store<u32>(envelope, l3 + VXLAN_HEADER_BYTES, ENVELOPE_OVERHEAD_OFFSET);
  // None, and room for none, where the next ones are.
  store<u64>(envelope, <u64>load<u32>(state, ENCAP_IOVECS_USED_OFFSET), ENVELOPE_IOVECS_OFFSET);
  store<u32>(envelope, 0, ENVELOPE_NEXT_OFFSET);
  store<u32>(envelope, load<u32>(state, ENCAP_FLOW_OFFSET), ENVELOPE_FLOW_OFFSET);
  writeName(envelope, remote, port, load<u32>(state, ENCAP_LABEL_OFFSET), ipv4);
  const control = writeControl(envelope + ENVELOPE_CONTROL_OFFSET, source, ifindex, marks, ipv4);
  store<u32>(envelope, control, ENVELOPE_CONTROL_USED_OFFSET);
  dispatch.enqueue(worker, message, source);
  return envelope;
}

/** One more datagram in the message; the second one makes it a UDP_SEGMENT message. */
function grow(envelope: usize, bytes: i32): void {
  const segments = load<u32>(envelope, ENVELOPE_SEGMENTS_OFFSET) + 1;
  const segment = load<i32>(envelope, ENVELOPE_SEGMENT_OFFSET);
  store<u32>(envelope, segments, ENVELOPE_SEGMENTS_OFFSET);
  store<u32>(envelope, load<u32>(envelope, ENVELOPE_LENGTH_OFFSET) + bytes, ENVELOPE_LENGTH_OFFSET);
  if (bytes < segment) store<u32>(envelope, 1, ENVELOPE_CLOSED_OFFSET);
  if (segments !== 2) return;
  const control = envelope + ENVELOPE_CONTROL_OFFSET + load<u32>(envelope, ENVELOPE_CONTROL_USED_OFFSET);
  writeControlHeader(control, 2, SOL_UDP, UDP_SEGMENT);
  store<u64>(control, <u64>segment, CMSGHDR_BYTES);
}

/** One larger datagram before the message's only one. */
function lead(envelope: usize, bytes: i32): void {
  const last = load<i32>(envelope, ENVELOPE_SEGMENT_OFFSET);
  store<u32>(envelope, bytes, ENVELOPE_SEGMENT_OFFSET);
  store<u32>(envelope, bytes, ENVELOPE_LENGTH_OFFSET);
  grow(envelope, last);
}

/** Room for `more` iovecs before those of a message. */
function claimFirst(worker: usize, envelope: usize, more: u32): usize {
  const count = <u32>load<u16>(envelope, ENVELOPE_IOVEC_COUNT_OFFSET);
  claimIovecs(worker, envelope, more);
  const first = worker + ENCAP_IOVECS_OFFSET + load<u32>(envelope, ENVELOPE_IOVECS_OFFSET) * IOVEC_BYTES;
  memory.copy(first + more * IOVEC_BYTES, first, count * IOVEC_BYTES);
  return first;
}

/**
 * Room for `more` iovecs of a message, which stand side by side: where its own end, when nobody has come behind
 * them; else they all move to where there is room for twice as many, so that each moves once on average.
 */
function claimIovecs(worker: usize, envelope: usize, more: u32): usize {
  const state = worker + ENCAP_STATE_OFFSET;
  const pool = worker + ENCAP_IOVECS_OFFSET;
  const used = load<u32>(state, ENCAP_IOVECS_USED_OFFSET);
  const count = <u32>load<u16>(envelope, ENVELOPE_IOVEC_COUNT_OFFSET);
  const wanted = count + more;
  let first = load<u32>(envelope, ENVELOPE_IOVECS_OFFSET);
  const room = <u32>load<u16>(envelope, ENVELOPE_IOVEC_ROOM_OFFSET);
  if (wanted > room) {
    let grown = wanted;
    if (first + room !== used) {
      memory.copy(pool + used * IOVEC_BYTES, pool + first * IOVEC_BYTES, count * IOVEC_BYTES);
      first = used;
      grown = 2 * wanted;
      store<u32>(envelope, first, ENVELOPE_IOVECS_OFFSET);
    }
    store<u16>(envelope, <u16>grown, ENVELOPE_IOVEC_ROOM_OFFSET);
    store<u32>(state, first + grown, ENCAP_IOVECS_USED_OFFSET);
  }
  store<u16>(envelope, <u16>wanted, ENVELOPE_IOVEC_COUNT_OFFSET);
  return pool + (first + count) * IOVEC_BYTES;
}
