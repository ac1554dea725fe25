/*
 * Writes what sendmmsg reads: struct mmsghdr, iovec, sockaddr and control messages, side by side in the
 * worker's block and with addresses as the kernel knows them. No payload is copied: an iovec names it
 * where it lies.
 *
 * A datagram joins the message before it when both go from the same socket to the same place and the
 * sizes suit UDP_SEGMENT (equal, only the last one may be shorter). So the segments of a super-frame and
 * a run of equal small frames become one system call and one walk through the kernel, in the same way.
 */
import { groupOf, isNamed, writeControl, writeControlHeader, writeName } from './envelope';
import {
  AF_INET,
  CMSGHDR_BYTES,
  DEVICE_FLAG_GSO_OFF,
  ENCAP_IOVEC_COUNT,
  ENCAP_IOVECS_OFFSET,
  ENCAP_IOVECS_USED_OFFSET,
  ENCAP_LABEL_OFFSET,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_SHARED_OFFSET,
  ENCAP_STATE_OFFSET,
  ENVELOPE_BYTES,
  ENVELOPE_CLOSED_OFFSET,
  ENVELOPE_CONTROL_OFFSET,
  ENVELOPE_CONTROL_USED_OFFSET,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_IFINDEX_OFFSET,
  ENVELOPE_LABEL_OFFSET,
  ENVELOPE_LENGTH_OFFSET,
  ENVELOPE_MARKS_OFFSET,
  ENVELOPE_OVERHEAD_OFFSET,
  ENVELOPE_SEGMENT_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_SOURCE_OFFSET,
  ENVELOPES_OFFSET,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  HEADER_OFFLOADS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  MESSAGE_COUNT,
  MESSAGE_IOVEC_MAX,
  MESSAGE_MAX_BYTES,
  MESSAGE_SEGMENT_MAX,
  MESSAGES_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  OFFLOAD_UDP_SEGMENT,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  RUN_BYTES,
  RUN_COUNT_OFFSET,
  RUN_FIRST_OFFSET,
  RUN_SOURCE_OFFSET,
  RUNS_OFFSET,
  SEGMENT_MAX,
  SOL_UDP,
  SOURCE_SEGMENT_OFFSET,
  UDP_SEGMENT,
  VXLAN_HEADER_BYTES,
} from './layout';

const UDP_SEGMENT_CONTROL_BYTES = 24;

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
    load<i32>(state, ENCAP_IOVECS_USED_OFFSET) + 2 * datagrams <= ENCAP_IOVEC_COUNT
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
  const state = worker + ENCAP_STATE_OFFSET;
  const used = load<u32>(state, ENCAP_MESSAGES_USED_OFFSET);
  const bytes = headBytes + bodyBytes;
  let message = used;
  if (used === 0 || !joins(worker, used - 1, source, remote, port, marks, l3, bytes)) {
    store<u32>(state, used + 1, ENCAP_MESSAGES_USED_OFFSET);
    open(worker, used, device, source, remote, port, marks, l3, bytes);
  } else {
    message = used - 1;
    grow(worker, message, bytes);
  }
  addIovec(worker, message, head, headBytes);
  if (bodyBytes !== 0) addIovec(worker, message, body, bodyBytes);
}

/** Groups neighbouring messages of one socket: what one sendmmsg takes. Returns the number of runs. */
export function runs(worker: usize): i32 {
  const used = load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_MESSAGES_USED_OFFSET);
  let run = worker + RUNS_OFFSET - RUN_BYTES;
  let count = 0;
  let last: u32 = u32.MAX_VALUE;
  for (let message: u32 = 0; message < used; ++message) {
    const source = load<u32>(envelopeOf(worker, message), ENVELOPE_SOURCE_OFFSET);
    if (source !== last) {
      run += RUN_BYTES;
      ++count;
      last = source;
      store<u32>(run, source, RUN_SOURCE_OFFSET);
      store<u32>(run, message, RUN_FIRST_OFFSET);
      store<u32>(run, 0, RUN_COUNT_OFFSET);
    }
    store<u32>(run, load<u32>(run, RUN_COUNT_OFFSET) + 1, RUN_COUNT_OFFSET);
  }
  return count;
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

/** What stands beside a message. */
export function envelopeOf(worker: usize, message: u32): usize {
  return worker + ENVELOPES_OFFSET + message * ENVELOPE_BYTES;
}

function headerOf(worker: usize, message: u32): usize {
  return worker + MESSAGES_OFFSET + message * MMSGHDR_BYTES;
}

function joins(
  worker: usize,
  message: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  l3: i32,
  bytes: i32,
): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  const envelope = envelopeOf(worker, message);
  return (
    load<u32>(envelope, ENVELOPE_SOURCE_OFFSET) === source &&
    load<u32>(envelope, ENVELOPE_CLOSED_OFFSET) === 0 &&
    bytes <= load<i32>(envelope, ENVELOPE_SEGMENT_OFFSET) &&
    load<i32>(envelope, ENVELOPE_LENGTH_OFFSET) + bytes <= MESSAGE_MAX_BYTES &&
    load<i32>(envelope, ENVELOPE_SEGMENTS_OFFSET) < MESSAGE_SEGMENT_MAX &&
    load<i32>(headerOf(worker, message), MMSGHDR_IOVEC_COUNT_OFFSET) <= MESSAGE_IOVEC_MAX - 2 &&
    load<u32>(envelope, ENVELOPE_MARKS_OFFSET) === marks &&
    // Flow label and domain.
    load<u64>(envelope, ENVELOPE_LABEL_OFFSET) === load<u64>(state, ENCAP_LABEL_OFFSET) &&
    load<i32>(envelope, ENVELOPE_OVERHEAD_OFFSET) === l3 + VXLAN_HEADER_BYTES &&
    load<u32>(envelope, ENVELOPE_IFINDEX_OFFSET) === load<u32>(remote, REMOTE_IFINDEX_OFFSET) &&
    isNamed(envelope, remote, port)
  );
}

function open(
  worker: usize,
  message: u32,
  device: u32,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  l3: i32,
  bytes: i32,
): void {
  const state = worker + ENCAP_STATE_OFFSET;
  const envelope = envelopeOf(worker, message);
  const header = headerOf(worker, message);
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

  const iovec = worker + ENCAP_IOVECS_OFFSET + load<u32>(state, ENCAP_IOVECS_USED_OFFSET) * IOVEC_BYTES;
  const nameBytes = writeName(envelope, remote, port, load<u32>(state, ENCAP_LABEL_OFFSET), ipv4);
  const controlBytes = writeControl(envelope + ENVELOPE_CONTROL_OFFSET, source, ifindex, marks, ipv4);
  store<u32>(envelope, controlBytes, ENVELOPE_CONTROL_USED_OFFSET);
  store<u64>(header, absolute(envelope), MMSGHDR_NAME_OFFSET);
  store<u64>(header, nameBytes, MMSGHDR_NAME_LENGTH_OFFSET);
  store<u64>(header, absolute(iovec), MMSGHDR_IOVEC_OFFSET);
  store<u64>(header, 0, MMSGHDR_IOVEC_COUNT_OFFSET);
  store<u64>(
    header,
    controlBytes === 0 ? 0 : absolute(envelope + ENVELOPE_CONTROL_OFFSET),
    MMSGHDR_CONTROL_OFFSET,
  );
  store<u64>(header, controlBytes, MMSGHDR_CONTROL_LENGTH_OFFSET);
  store<u64>(header, 0, MMSGHDR_FLAGS_OFFSET);
}

/** One more datagram in the message; the second one makes it a UDP_SEGMENT message. */
function grow(worker: usize, message: u32, bytes: i32): void {
  const envelope = envelopeOf(worker, message);
  const segments = load<u32>(envelope, ENVELOPE_SEGMENTS_OFFSET) + 1;
  const segment = load<i32>(envelope, ENVELOPE_SEGMENT_OFFSET);
  store<u32>(envelope, segments, ENVELOPE_SEGMENTS_OFFSET);
  store<u32>(envelope, load<u32>(envelope, ENVELOPE_LENGTH_OFFSET) + bytes, ENVELOPE_LENGTH_OFFSET);
  if (bytes < segment) store<u32>(envelope, 1, ENVELOPE_CLOSED_OFFSET);
  if (segments !== 2) return;
  const header = headerOf(worker, message);
  const control = envelope + ENVELOPE_CONTROL_OFFSET;
  const used = load<u32>(envelope, ENVELOPE_CONTROL_USED_OFFSET);
  writeControlHeader(control + used, 2, SOL_UDP, UDP_SEGMENT);
  store<u64>(control + used, <u64>segment, CMSGHDR_BYTES);
  store<u64>(header, absolute(control), MMSGHDR_CONTROL_OFFSET);
  store<u64>(header, used + UDP_SEGMENT_CONTROL_BYTES, MMSGHDR_CONTROL_LENGTH_OFFSET);
}

function addIovec(worker: usize, message: u32, address: usize, bytes: i32): void {
  const state = worker + ENCAP_STATE_OFFSET;
  const used = load<u32>(state, ENCAP_IOVECS_USED_OFFSET);
  const iovec = worker + ENCAP_IOVECS_OFFSET + used * IOVEC_BYTES;
  store<u64>(iovec, absolute(address));
  store<u64>(iovec, <u64>bytes, IOVEC_LENGTH_OFFSET);
  store<u32>(state, used + 1, ENCAP_IOVECS_USED_OFFSET);
  const header = headerOf(worker, message);
  store<u64>(header, load<u64>(header, MMSGHDR_IOVEC_COUNT_OFFSET) + 1, MMSGHDR_IOVEC_COUNT_OFFSET);
}
