/*
 * UDP datagrams of one flow -> one write (USO). A train begins with any datagram; another joins it when the rules of
 * Linux's own GRO hold: same device, addresses and ports; equal TOS, TTL and DF; an IPv4 id that counts up from the
 * first one's, or with DF stays; no options, no fragment, lengths that agree, a checksum, which is right; not longer
 * than the first. A shorter one ends the train, and so does the 64th, the most that Linux takes.
 *
 * Two datagrams in one write already cost the TAP less than two writes (by a fifth; from 16 on by two thirds).
 */
import * as counter from './count';
import * as inner from './inner';
import {
  DECAP_STATE_OFFSET,
  DECAP_TRAINS_OFFSET,
  DECAP_WRITES_USED_OFFSET,
  ETHERNET_HEADER_BYTES,
  IP_LENGTH_MAX,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  MERGE_CHECKSUM_BAD,
  SEGMENTS_MERGED,
  TRAIN_COUNT,
  TRAIN_LONGEST,
  TRAIN_SHIFT,
  TRAINS_OFFSET,
  UDP_HEADER_BYTES,
  WRITE_FIXED_ID,
  WRITE_FLAGS_OFFSET,
  WRITE_FRAME_OFFSET,
  WRITE_FRAMES_OFFSET,
  WRITE_IP_LENGTH_OFFSET,
  WRITE_IPV6,
  WRITE_L4_OFFSET,
  WRITE_OPEN,
  WRITE_PLACE_OFFSET,
  WRITE_SEGMENT_OFFSET,
  WRITE_UDP,
  WRITE_VERIFIED,
} from './layout';
import * as vni from './vni';
import * as ip4 from './wire/ipv4';
import * as udp from './wire/udp';
import * as writes from './write';

const L3 = ETHERNET_HEADER_BYTES;
const HASH_MULTIPLIER: u32 = 0x9e3779b1;

/** Takes one datagram of a plain packet whose checksum is complete: into the train of its flow, or a write of its own. */
export function add(worker: usize, place: u32, frame: usize, length: i32, l4: i32): void {
  const slot = slotOf(worker, frame, l4);
  const train = find(worker, slot, place, frame, l4);
  const mergeable = isMergeable(frame, length, l4);
  if (train !== 0) {
    if (mergeable && continues(train, frame, length, l4)) {
      if (join(worker, train, frame, length, l4)) {
        counter.one(worker, vni.deviceOf(place), SEGMENTS_MERGED);
        return;
      }
      counter.one(worker, vni.deviceOf(place), MERGE_CHECKSUM_BAD);
    }
    writes.close(train);
  }
  const write = writes.open(worker, place, frame, length);
  if (mergeable) lead(worker, slot, write, frame, length, l4);
}

/** Nothing joins the frame's train any more. */
export function close(worker: usize, place: u32, frame: usize, l4: i32): void {
  const train = find(worker, slotOf(worker, frame, l4), place, frame, l4);
  if (train !== 0) writes.close(train);
}

/** Nothing joins any train between the frame's hosts any more. */
export function closeHosts(worker: usize, place: u32, frame: usize, l4: i32): void {
  if (load<u32>(worker + DECAP_STATE_OFFSET, DECAP_TRAINS_OFFSET) === 0) return;
  for (let index: u32 = 0; index < (TRAIN_COUNT as u32); ++index) {
    const train = openAt(worker, worker + TRAINS_OFFSET + index * 4, place, l4);
    if (train === 0) continue;
    if (inner.sameAddresses(<usize>load<u32>(train, WRITE_FRAME_OFFSET), frame, l4)) writes.close(train);
  }
}

/** Where the flow's train is noted. When another flow wants the same place, nothing joins the older one any more. */
function slotOf(worker: usize, frame: usize, l4: i32): usize {
  // The last four bytes of both addresses, and the ports.
  const isIpv4 = l4 === L3 + IPV4_HEADER_BYTES;
  const source = isIpv4 ? load<u32>(frame, L3 + 12) : load<u32>(frame, L3 + 20);
  const destination = isIpv4 ? load<u32>(frame, L3 + 16) : load<u32>(frame, L3 + 36);
  const hash = (source ^ (destination << 5) ^ load<u32>(frame + l4)) * HASH_MULTIPLIER;
  return worker + TRAINS_OFFSET + (hash >>> TRAIN_SHIFT) * 4;
}

/**
 * The open train that is noted in a place, or 0. What batches before have left there is told from a train of this
 * one by being none: a write that is not in use, or not open, or no train's.
 */
function openAt(worker: usize, slot: usize, place: u32, l4: i32): usize {
  const index = load<u32>(slot);
  if (index >= load<u32>(worker + DECAP_STATE_OFFSET, DECAP_WRITES_USED_OFFSET)) return 0;
  const train = writes.at(worker, index);
  const wanted: u32 = WRITE_OPEN | WRITE_UDP;
  if ((load<u32>(train, WRITE_FLAGS_OFFSET) & wanted) !== wanted) return 0;
  return load<u32>(train, WRITE_PLACE_OFFSET) === place && load<i32>(train, WRITE_L4_OFFSET) === l4
    ? train
    : 0;
}

/** The open train of the frame's flow, or 0. */
function find(worker: usize, slot: usize, place: u32, frame: usize, l4: i32): usize {
  const train = openAt(worker, slot, place, l4);
  if (train === 0) return 0;
  const first = <usize>load<u32>(train, WRITE_FRAME_OFFSET);
  return udp.ports(first + l4) === udp.ports(frame + l4) && inner.sameAddresses(first, frame, l4) ? train : 0;
}

/** A datagram with payload and checksum that fills its packet. */
function isMergeable(frame: usize, length: i32, l4: i32): boolean {
  const header = frame + l4;
  return length > l4 + UDP_HEADER_BYTES && udp.length(header) === length - l4 && udp.checksum(header) !== 0;
}

/** A write that others may join. */
function lead(worker: usize, slot: usize, write: usize, frame: usize, length: i32, l4: i32): void {
  store<u32>(worker + DECAP_STATE_OFFSET, 1, DECAP_TRAINS_OFFSET);
  store<u32>(slot, writes.indexOf(worker, write));
  const ipv6: u32 = l4 === L3 + IPV4_HEADER_BYTES ? 0 : WRITE_IPV6;
  writes.lead(write, frame, length, l4, l4 + UDP_HEADER_BYTES, 0, WRITE_UDP | ipv6);
}

/** May the datagram be the next one of the train, with headers that one set can stand for? */
function continues(train: usize, frame: usize, length: i32, l4: i32): boolean {
  const first = <usize>load<u32>(train, WRITE_FRAME_OFFSET);
  const bytes = length - l4 - UDP_HEADER_BYTES;
  if (bytes > load<i32>(train, WRITE_SEGMENT_OFFSET)) return false;
  if (load<i32>(train, WRITE_IP_LENGTH_OFFSET) + bytes > IP_LENGTH_MAX) return false;
  if (!inner.sameMarks(first, frame, l4)) return false;
  return l4 !== L3 + IPV4_HEADER_BYTES || hasNextId(train, first + L3, frame + L3);
}

/** The second datagram settles whether ids count up or, with DF, stay: then they are of no meaning (RFC 6864). */
function hasNextId(train: usize, first: usize, ip: usize): boolean {
  const count = load<u32>(train, WRITE_FRAMES_OFFSET);
  const step = (ip4.identification(ip) - ip4.identification(first)) & 0xffff;
  const flags = load<u32>(train, WRITE_FLAGS_OFFSET);
  if (count === 1 && step === 0 && ip4.dontFragment(ip)) {
    store<u32>(train, flags | WRITE_FIXED_ID, WRITE_FLAGS_OFFSET);
    return true;
  }
  return step === ((flags & WRITE_FIXED_ID) !== 0 ? 0 : count);
}

/** False: a checksum is wrong, here or in the first datagram. */
function join(worker: usize, train: usize, frame: usize, length: i32, l4: i32): boolean {
  const flags = load<u32>(train, WRITE_FLAGS_OFFSET);
  const segment = load<i32>(train, WRITE_SEGMENT_OFFSET);
  const headers = l4 + UDP_HEADER_BYTES;
  if ((flags & WRITE_VERIFIED) === 0) {
    const first = <usize>load<u32>(train, WRITE_FRAME_OFFSET);
    if (!inner.isRight(first, headers + segment, l4, IP_PROTOCOL_UDP)) return false;
    store<u32>(train, flags | WRITE_VERIFIED, WRITE_FLAGS_OFFSET);
  }
  if (!inner.isRight(frame, length, l4, IP_PROTOCOL_UDP)) return false;
  writes.append(worker, train, frame + headers, length - headers);
  if (length - headers < segment || load<u32>(train, WRITE_FRAMES_OFFSET) === TRAIN_LONGEST)
    writes.close(train);
  return true;
}
