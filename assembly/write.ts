/*
 * Writes: one writev to a TAP each, laid out for the host: a virtio header, a frame, and the payloads of those
 * that were merged into it, where they lie. Nothing is copied.
 */
import {
  DECAP_FLOWS_USED_OFFSET,
  DECAP_KEPT_OFFSET,
  DECAP_STATE_OFFSET,
  DECAP_TRAINS_OFFSET,
  DECAP_WRITES_USED_OFFSET,
  ETHERNET_HEADER_BYTES,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  VIRTIO_HEADER_BYTES,
  WRITE_BYTES,
  WRITE_COUNT,
  WRITE_FLAGS_OFFSET,
  WRITE_FRAME_OFFSET,
  WRITE_FRAMES_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITE_IP_LENGTH_OFFSET,
  WRITE_L4_OFFSET,
  WRITE_LENGTH_OFFSET,
  WRITE_OPEN,
  WRITE_PLACE_OFFSET,
  WRITE_ROOM,
  WRITE_SEGMENT_OFFSET,
  WRITE_VIRTIO_OFFSET,
  WRITES_OFFSET,
} from './layout';
import { absolute } from './message';
import * as virtio from './wire/virtio';

/** Lays out what is the same in every write, once. */
export function prepare(worker: usize): void {
  for (let index: u32 = 0; index < (WRITE_ROOM as u32); ++index) {
    const write = at(worker, index);
    const iovecs = iovecsOf(worker, write);
    store<u64>(iovecs, absolute(write + WRITE_VIRTIO_OFFSET));
    store<u64>(iovecs, VIRTIO_HEADER_BYTES, IOVEC_LENGTH_OFFSET);
  }
}

/** Begins a batch: whatever was written before has gone to the TAPs. */
export function begin(worker: usize): void {
  store<u32>(worker + DECAP_STATE_OFFSET, 0, DECAP_WRITES_USED_OFFSET);
  store<u32>(worker + DECAP_STATE_OFFSET, 0, DECAP_FLOWS_USED_OFFSET);
  store<u32>(worker + DECAP_STATE_OFFSET, 0, DECAP_TRAINS_OFFSET);
}

/** Is there room for one more write? Frames that wait for a hook's verdict have one each kept for them. */
export function hasRoom(worker: usize): boolean {
  const state = worker + DECAP_STATE_OFFSET;
  return load<i32>(state, DECAP_WRITES_USED_OFFSET) + load<i32>(state, DECAP_KEPT_OFFSET) < WRITE_COUNT;
}

/** A new write that holds one frame, with a virtio header that asks for nothing. */
export function open(worker: usize, place: u32, frame: usize, length: i32): usize {
  const state = worker + DECAP_STATE_OFFSET;
  const index = load<u32>(state, DECAP_WRITES_USED_OFFSET);
  store<u32>(state, index + 1, DECAP_WRITES_USED_OFFSET);
  const write = at(worker, index);
  const iovecs = iovecsOf(worker, write);
  virtio.clear(write + WRITE_VIRTIO_OFFSET);
  // Two fields each: place and iovecs, length and frames.
  store<u64>(write, pair(place, 2), WRITE_PLACE_OFFSET);
  store<u64>(write, pair(VIRTIO_HEADER_BYTES + length, 1), WRITE_LENGTH_OFFSET);
  store<u32>(write, 0, WRITE_FLAGS_OFFSET);
  store<u64>(iovecs + IOVEC_BYTES, absolute(frame));
  store<u64>(iovecs + IOVEC_BYTES, <u64>length, IOVEC_LENGTH_OFFSET);
  return write;
}

/**
 * What others may join: a frame with `headers` bytes in front of its payload, whose transport header is at `l4`.
 * @param next sequence number of what may join, if it has one
 */
export function lead(
  write: usize,
  frame: usize,
  length: i32,
  l4: i32,
  headers: i32,
  next: u32,
  flags: u32,
): void {
  store<u32>(write, <u32>frame, WRITE_FRAME_OFFSET);
  // Two fields each: transport header and payload, segment bytes and sequence number, IP length and flags.
  store<u64>(write, pair(l4, headers), WRITE_L4_OFFSET);
  store<u64>(write, pair(length - headers, next), WRITE_SEGMENT_OFFSET);
  store<u64>(write, pair(length - ETHERNET_HEADER_BYTES, WRITE_OPEN | flags), WRITE_IP_LENGTH_OFFSET);
}

function pair(first: u32, second: u32): u64 {
  return (first as u64) | ((second as u64) << 32);
}

/** The payload of one more frame goes out with this write; only lengths and the count follow here. */
export function append(worker: usize, write: usize, payload: usize, bytes: i32): void {
  const count = load<u32>(write, WRITE_IOVECS_OFFSET);
  const iovec = iovecsOf(worker, write) + count * IOVEC_BYTES;
  store<u64>(iovec, absolute(payload));
  store<u64>(iovec, <u64>bytes, IOVEC_LENGTH_OFFSET);
  store<u32>(write, count + 1, WRITE_IOVECS_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_FRAMES_OFFSET) + 1, WRITE_FRAMES_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_LENGTH_OFFSET) + bytes, WRITE_LENGTH_OFFSET);
  store<u32>(write, load<u32>(write, WRITE_IP_LENGTH_OFFSET) + bytes, WRITE_IP_LENGTH_OFFSET);
}

export function indexOf(worker: usize, write: usize): u32 {
  return <u32>((write - worker - WRITES_OFFSET) / WRITE_BYTES);
}

export function at(worker: usize, index: u32): usize {
  return worker + WRITES_OFFSET + index * WRITE_BYTES;
}

export function iovecsOf(worker: usize, write: usize): usize {
  return worker + WRITE_IOVECS_BASE_OFFSET + indexOf(worker, write) * (WRITE_IOVEC_MAX * IOVEC_BYTES);
}

/** Nothing joins it any more. */
export function close(write: usize): void {
  store<u32>(write, load<u32>(write, WRITE_FLAGS_OFFSET) & ~WRITE_OPEN, WRITE_FLAGS_OFFSET);
}
