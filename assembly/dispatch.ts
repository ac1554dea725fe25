/*
 * The order in which the messages of a batch leave, and the struct mmsghdr of each. Messages are sorted by lane,
 * that is by source port, so that one sendmmsg takes all of a socket's. A flow has one lane, whatever socket its
 * datagrams leave from (with or without DF), and within a lane messages leave as they were opened: the order
 * within a flow is kept.
 */
import { envelopeOf, isPeer, UDP_SEGMENT_CONTROL_BYTES } from './envelope';
import {
  AF_INET,
  ENCAP_IOVECS_OFFSET,
  ENCAP_LANES_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  ENVELOPE_CONTROL_OFFSET,
  ENVELOPE_CONTROL_USED_OFFSET,
  ENVELOPE_IOVEC_COUNT_OFFSET,
  ENVELOPE_IOVECS_OFFSET,
  ENVELOPE_NEXT_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_SOURCE_OFFSET,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  IOVEC_BYTES,
  LANE_BYTES,
  LANE_FIRST_OFFSET,
  LANE_LAST_OFFSET,
  LANE_ORDER_OFFSET,
  LANES_OFFSET,
  MESSAGE_ENVELOPES_OFFSET,
  MESSAGES_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  RUN_BYTES,
  RUN_COUNT_OFFSET,
  RUN_FIRST_OFFSET,
  RUN_SOURCE_OFFSET,
  RUNS_OFFSET,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_BYTES,
  SOURCE_PORT_COUNT,
  SOURCE_UNDERLAY_TAP,
} from './layout';

/** The last message of the lane of a source: its envelope, 0 = none in this batch. */
export function lastOf(worker: usize, source: u32): usize {
  const lane = source % SOURCE_PORT_COUNT;
  const last = <u32>load<u16>(worker + LANES_OFFSET + lane * LANE_BYTES, LANE_LAST_OFFSET);
  return last === 0 ? 0 : envelopeOf(worker, last - 1);
}

/** Puts a message that has just been opened at the end of its lane. */
export function enqueue(worker: usize, message: u32, source: u32): void {
  const lane = source % SOURCE_PORT_COUNT;
  const record = worker + LANES_OFFSET + lane * LANE_BYTES;
  const last = <u32>load<u16>(record, LANE_LAST_OFFSET);
  store<u16>(record, <u16>(message + 1), LANE_LAST_OFFSET);
  if (last !== 0) {
    store<u32>(envelopeOf(worker, last - 1), message + 1, ENVELOPE_NEXT_OFFSET);
    return;
  }
  store<u16>(record, <u16>(message + 1), LANE_FIRST_OFFSET);
  const state = worker + ENCAP_STATE_OFFSET;
  const lanes = load<u32>(state, ENCAP_LANES_USED_OFFSET);
  store<u8>(worker + LANE_ORDER_OFFSET + lanes, <u8>lane);
  store<u32>(state, lanes + 1, ENCAP_LANES_USED_OFFSET);
}

/** Lays out what sendmmsg reads; neighbouring messages of one socket are a run. Returns the number of runs. */
export function runs(worker: usize): i32 {
  const state = worker + ENCAP_STATE_OFFSET;
  const lanes = load<u32>(state, ENCAP_LANES_USED_OFFSET);
  const memory = load<u64>(HEADER_BASE, HEADER_ADDRESS_OFFSET);
  let run = worker + RUNS_OFFSET - RUN_BYTES;
  let count = 0;
  let position: u32 = 0;
  let last: u32 = u32.MAX_VALUE;
  for (let place: u32 = 0; place < lanes; ++place) {
    const lane = <u32>load<u8>(worker + LANE_ORDER_OFFSET + place);
    const record = worker + LANES_OFFSET + lane * LANE_BYTES;
    let next = <u32>load<u16>(record, LANE_FIRST_OFFSET);
    store<u32>(record, 0);
    while (next !== 0) {
      const envelope = envelopeOf(worker, next - 1);
      const source = load<u32>(envelope, ENVELOPE_SOURCE_OFFSET);
      if (source !== last) {
        run += RUN_BYTES;
        ++count;
        last = source;
        store<u32>(run, source, RUN_SOURCE_OFFSET);
        store<u32>(run, position, RUN_FIRST_OFFSET);
        store<u32>(run, 0, RUN_COUNT_OFFSET);
      }
      store<u32>(run, load<u32>(run, RUN_COUNT_OFFSET) + 1, RUN_COUNT_OFFSET);
      layOut(worker, memory, position, next - 1);
      ++position;
      next = load<u32>(envelope, ENVELOPE_NEXT_OFFSET);
    }
  }
  store<u32>(state, 0, ENCAP_LANES_USED_OFFSET);
  return count;
}

/**
 * Lays out messages that were opened after `runs`, all of one source, behind those of the batch. They are a run of
 * their own, which the caller knows.
 *
 * @param position how many the batch has
 */
export function behind(worker: usize, source: u32, position: u32): void {
  const memory = load<u64>(HEADER_BASE, HEADER_ADDRESS_OFFSET);
  const record = worker + LANES_OFFSET + (source % SOURCE_PORT_COUNT) * LANE_BYTES;
  let next = <u32>load<u16>(record, LANE_FIRST_OFFSET);
  while (next !== 0) {
    layOut(worker, memory, position++, next - 1);
    next = load<u32>(envelopeOf(worker, next - 1), ENVELOPE_NEXT_OFFSET);
  }
  store<u32>(record, 0);
  store<u32>(worker + ENCAP_STATE_OFFSET, 0, ENCAP_LANES_USED_OFFSET);
}

/** The envelope of the message at a place in the order of leaving. */
export function envelopeAt(worker: usize, position: u32): usize {
  return envelopeOf(worker, load<u16>(worker + MESSAGE_ENVELOPES_OFFSET + position * 2));
}

/** @param memory where the kernel sees this memory */
function layOut(worker: usize, memory: u64, position: u32, message: u32): void {
  store<u16>(worker + MESSAGE_ENVELOPES_OFFSET + position * 2, <u16>message);
  const envelope = envelopeOf(worker, message);
  // A super-frame that leaves whole goes by writev, from its envelope.
  if (load<u32>(envelope, ENVELOPE_SOURCE_OFFSET) !== SOURCE_UNDERLAY_TAP)
    writeHeader(worker, memory, position, envelope);
}

function writeHeader(worker: usize, memory: u64, position: u32, envelope: usize): void {
  const header = worker + MESSAGES_OFFSET + position * MMSGHDR_BYTES;
  const iovecs = worker + ENCAP_IOVECS_OFFSET + load<u32>(envelope, ENVELOPE_IOVECS_OFFSET) * IOVEC_BYTES;
  const marked = load<u32>(envelope, ENVELOPE_CONTROL_USED_OFFSET);
  let control = marked;
  if (load<u32>(envelope, ENVELOPE_SEGMENTS_OFFSET) > 1) control += UDP_SEGMENT_CONTROL_BYTES;
  // With TOS, TTL or way out of its own the kernel looks for the route anyway.
  const named = marked !== 0 || !isPeer(load<u32>(envelope, ENVELOPE_SOURCE_OFFSET), envelope);
  const nameBytes: u64 = load<u16>(envelope) === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  store<u64>(header, named ? memory + <u64>envelope : 0, MMSGHDR_NAME_OFFSET);
  store<u64>(header, named ? nameBytes : 0, MMSGHDR_NAME_LENGTH_OFFSET);
  store<u64>(header, memory + <u64>iovecs, MMSGHDR_IOVEC_OFFSET);
  store<u64>(header, load<u16>(envelope, ENVELOPE_IOVEC_COUNT_OFFSET), MMSGHDR_IOVEC_COUNT_OFFSET);
  store<u64>(
    header,
    control === 0 ? 0 : memory + <u64>(envelope + ENVELOPE_CONTROL_OFFSET),
    MMSGHDR_CONTROL_OFFSET,
  );
  store<u64>(header, control, MMSGHDR_CONTROL_LENGTH_OFFSET);
  store<u64>(header, 0, MMSGHDR_FLAGS_OFFSET);
}
