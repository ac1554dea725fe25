/*
 * TCP segments that continue each other -> one write. A segment joins when the rules of Linux's own GRO hold: same
 * device, addresses, ports and acknowledgement; equal TOS, TTL, DF and TCP options; next in sequence; nothing but
 * ACK and PSH set; no IP options, no fragment, lengths that agree; not longer than the first; and both checksums
 * right. PSH or a shorter segment ends the super-frame.
 */
import * as counter from './count';
import * as inner from './inner';
import {
  DECAP_FLOWS_USED_OFFSET,
  DECAP_STATE_OFFSET,
  ETHERNET_HEADER_BYTES,
  FLOW_COUNT,
  FLOWS_OFFSET,
  IP_LENGTH_MAX,
  IP_PROTOCOL_TCP,
  IPV4_HEADER_BYTES,
  MERGE_CHECKSUM_BAD,
  SEGMENTS_MERGED,
  TCP_HEADER_BYTES,
  WRITE_FLAGS_OFFSET,
  WRITE_FRAME_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_OFFSET,
  WRITE_IP_LENGTH_OFFSET,
  WRITE_IPV6,
  WRITE_L4_OFFSET,
  WRITE_NEXT_SEQUENCE_OFFSET,
  WRITE_OPEN,
  WRITE_PAYLOAD_OFFSET,
  WRITE_PLACE_OFFSET,
  WRITE_SEGMENT_OFFSET,
  WRITE_VERIFIED,
} from './layout';
import * as vni from './vni';
import * as tcp from './wire/tcp';
import * as writes from './write';

const L3 = ETHERNET_HEADER_BYTES;

/** Takes one segment of a plain packet whose checksum is complete: into the write of its flow, or one of its own. */
export function add(worker: usize, place: u32, frame: usize, length: i32, l4: i32): void {
  const headers = l4 + tcp.headerBytes(frame + l4);
  const flow = findFlow(worker, place, frame, l4);
  const mergeable = isMergeable(frame, length, l4);
  if (flow !== 0) {
    if (mergeable && continues(flow, frame, length, l4, headers)) {
      if (merge(worker, flow, frame, length, l4, headers)) {
        counter.one(worker, vni.deviceOf(place), SEGMENTS_MERGED);
        return;
      }
      counter.one(worker, vni.deviceOf(place), MERGE_CHECKSUM_BAD);
    }
    writes.close(flow);
  }
  const write = writes.open(worker, place, frame, length);
  if (mergeable) openFlow(worker, write, frame, length, l4, headers);
}

/** Nothing joins the frame's flow any more. */
export function close(worker: usize, place: u32, frame: usize, l4: i32): void {
  const write = findFlow(worker, place, frame, l4);
  if (write !== 0) writes.close(write);
}

/** Nothing joins any flow between the frame's hosts any more. */
export function closeHosts(worker: usize, place: u32, frame: usize, l4: i32): void {
  const used = load<u32>(worker + DECAP_STATE_OFFSET, DECAP_FLOWS_USED_OFFSET);
  for (let index: u32 = 0; index < used; ++index) {
    const write = flowAt(worker, index);
    if (load<u32>(write, WRITE_PLACE_OFFSET) !== place || load<i32>(write, WRITE_L4_OFFSET) !== l4) continue;
    if (inner.sameAddresses(<usize>load<u32>(write, WRITE_FRAME_OFFSET), frame, l4)) writes.close(write);
  }
}

/** A TCP segment with payload and nothing special about it. */
function isMergeable(frame: usize, length: i32, l4: i32): boolean {
  const header = frame + l4;
  return (tcp.flags(header) & ~tcp.PSH) === tcp.ACK && length > l4 + tcp.headerBytes(header);
}

function flowAt(worker: usize, index: u32): usize {
  return writes.at(worker, load<u32>(worker + FLOWS_OFFSET + index * 4));
}

/** The open super-frame of the frame's flow, or 0. */
function findFlow(worker: usize, place: u32, frame: usize, l4: i32): usize {
  const used = load<u32>(worker + DECAP_STATE_OFFSET, DECAP_FLOWS_USED_OFFSET);
  for (let index: u32 = 0; index < used; ++index) {
    const write = flowAt(worker, index);
    if ((load<u32>(write, WRITE_FLAGS_OFFSET) & WRITE_OPEN) === 0) continue;
    if (load<u32>(write, WRITE_PLACE_OFFSET) !== place || load<i32>(write, WRITE_L4_OFFSET) !== l4) continue;
    const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
    if (tcp.ports(first + l4) === tcp.ports(frame + l4) && inner.sameAddresses(first, frame, l4))
      return write;
  }
  return 0;
}

/** The table holds few flows on purpose: it is walked for every segment. When it is full, one makes room. */
function openFlow(worker: usize, write: usize, frame: usize, length: i32, l4: i32, headers: i32): void {
  // PSH ends a super-frame, also before it has begun.
  if ((tcp.flags(frame + l4) & tcp.PSH) !== 0) return;
  const state = worker + DECAP_STATE_OFFSET;
  const index = writes.indexOf(worker, write);
  const used = load<u32>(state, DECAP_FLOWS_USED_OFFSET);
  let place = used;
  for (let at: u32 = 0; at < used; ++at) {
    if ((load<u32>(flowAt(worker, at), WRITE_FLAGS_OFFSET) & WRITE_OPEN) === 0) {
      place = at;
      break;
    }
  }
  if (place === FLOW_COUNT) {
    writes.close(flowAt(worker, index % FLOW_COUNT));
    place = index % FLOW_COUNT;
  } else if (place === used) {
    store<u32>(state, used + 1, DECAP_FLOWS_USED_OFFSET);
  }
  store<u32>(worker + FLOWS_OFFSET + place * 4, index);
  const next = tcp.sequence(frame + l4) + (length - headers);
  const ipv6: u32 = l4 === L3 + IPV4_HEADER_BYTES ? 0 : WRITE_IPV6;
  writes.lead(write, frame, length, l4, headers, next, ipv6);
}

/** Does the segment go on where the super-frame ends, with headers that one set can stand for? */
function continues(write: usize, frame: usize, length: i32, l4: i32, headers: i32): boolean {
  const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
  const bytes = length - headers;
  if (tcp.sequence(frame + l4) !== load<u32>(write, WRITE_NEXT_SEQUENCE_OFFSET)) return false;
  if (headers !== load<i32>(write, WRITE_PAYLOAD_OFFSET)) return false;
  if (bytes > load<i32>(write, WRITE_SEGMENT_OFFSET)) return false;
  if (load<i32>(write, WRITE_IP_LENGTH_OFFSET) + bytes > IP_LENGTH_MAX) return false;
  if (load<u32>(write, WRITE_IOVECS_OFFSET) === WRITE_IOVEC_MAX) return false;
  if (tcp.acknowledgement(first + l4) !== tcp.acknowledgement(frame + l4)) return false;
  // The data offset is equal; beside it are bits that one header can't tell apart (RFC 9293 section 3.1).
  if (load<u8>(first + l4, 12) !== load<u8>(frame + l4, 12)) return false;
  if (!inner.sameMarks(first, frame, l4)) return false;
  for (let at = l4 + TCP_HEADER_BYTES; at < headers; at += 4) {
    if (load<u32>(first + at) !== load<u32>(frame + at)) return false;
  }
  return true;
}

/** False: a checksum is wrong, the segment must stand alone. */
function merge(worker: usize, write: usize, frame: usize, length: i32, l4: i32, headers: i32): boolean {
  const first = <usize>load<u32>(write, WRITE_FRAME_OFFSET);
  if ((load<u32>(write, WRITE_FLAGS_OFFSET) & WRITE_VERIFIED) === 0) {
    if (!isRight(first, L3 + load<i32>(write, WRITE_IP_LENGTH_OFFSET), l4)) return false;
    store<u32>(write, load<u32>(write, WRITE_FLAGS_OFFSET) | WRITE_VERIFIED, WRITE_FLAGS_OFFSET);
  }
  if (!isRight(frame, length, l4)) return false;
  const bytes = length - headers;
  writes.append(worker, write, frame + headers, bytes);
  store<u32>(write, load<u32>(write, WRITE_NEXT_SEQUENCE_OFFSET) + bytes, WRITE_NEXT_SEQUENCE_OFFSET);
  const push = tcp.flags(frame + l4) & tcp.PSH;
  if (push !== 0) tcp.setFlags(first + l4, tcp.flags(first + l4) | push);
  if (push !== 0 || bytes < load<i32>(write, WRITE_SEGMENT_OFFSET)) writes.close(write);
  return true;
}

function isRight(frame: usize, length: i32, l4: i32): boolean {
  return inner.isRight(frame, length, l4, IP_PROTOCOL_TCP);
}
