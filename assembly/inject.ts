/*
 * Frames that the encap walk hands to a TAP instead of the underlay: answers to ARP, ND and frames that are
 * too big, and frames whose remote is this host itself. The host writes them when the walk returns; until
 * then the frame's memory must stay as it is.
 */
import {
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  INJECT_BUFFER_BYTES,
  INJECT_BUFFERS_OFFSET,
  INJECT_BYTES,
  INJECT_COUNT,
  INJECT_DEVICE_OFFSET,
  INJECT_IOVEC_COUNT_OFFSET,
  INJECT_IOVECS_OFFSET,
  INJECTS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  VIRTIO_HEADER_BYTES,
} from './layout';
import { absolute } from './message';
import * as vlan from './vlan';
import * as virtio from './wire/virtio';

/** Begins a batch: whatever was written before has gone to the TAPs. */
export function begin(worker: usize): void {
  store<u32>(worker + ENCAP_STATE_OFFSET, 0, ENCAP_INJECTS_USED_OFFSET);
}

export function hasRoom(worker: usize): boolean {
  return used(worker) < (INJECT_COUNT as u32);
}

/** Where the next reply is to be written: INJECT_REPLY_BYTES. */
export function reply(worker: usize): usize {
  return bufferOf(worker, used(worker)) + VIRTIO_HEADER_BYTES;
}

/** Hands over the reply that has been written there, with the tag that the domain's frames have on the TAP. */
export function sendReply(worker: usize, device: u32, domain: u32, bytes: i32): void {
  const buffer = bufferOf(worker, used(worker));
  virtio.clear(buffer);
  frame(worker, device, buffer, vlan.insertTag(domain, buffer + VIRTIO_HEADER_BYTES, bytes));
}

/** Hands over a frame of `bytes` behind its virtio header. */
export function frame(worker: usize, device: u32, header: usize, bytes: i32): void {
  const record = claim(worker, device, 1);
  store<u64>(record, absolute(header), INJECT_IOVECS_OFFSET);
  store<u64>(record, <u64>(VIRTIO_HEADER_BYTES + bytes), INJECT_IOVECS_OFFSET + IOVEC_LENGTH_OFFSET);
}

/** Hands over a frame in two pieces: `headBytes` in the reply buffer, virtio header apart, then `body`. */
export function pieces(worker: usize, device: u32, headBytes: i32, body: usize, bodyBytes: i32): void {
  const head = bufferOf(worker, used(worker));
  const record = claim(worker, device, 2);
  store<u64>(record, absolute(head), INJECT_IOVECS_OFFSET);
  store<u64>(record, <u64>(VIRTIO_HEADER_BYTES + headBytes), INJECT_IOVECS_OFFSET + IOVEC_LENGTH_OFFSET);
  store<u64>(record, absolute(body), INJECT_IOVECS_OFFSET + IOVEC_BYTES);
  store<u64>(record, <u64>bodyBytes, INJECT_IOVECS_OFFSET + IOVEC_BYTES + IOVEC_LENGTH_OFFSET);
}

function used(worker: usize): u32 {
  return load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_INJECTS_USED_OFFSET);
}

function bufferOf(worker: usize, index: u32): usize {
  return worker + INJECT_BUFFERS_OFFSET + index * INJECT_BUFFER_BYTES;
}

function claim(worker: usize, device: u32, iovecs: u32): usize {
  const index = used(worker);
  store<u32>(worker + ENCAP_STATE_OFFSET, index + 1, ENCAP_INJECTS_USED_OFFSET);
  const record = worker + INJECTS_OFFSET + index * INJECT_BYTES;
  store<u32>(record, device, INJECT_DEVICE_OFFSET);
  store<u32>(record, iovecs, INJECT_IOVEC_COUNT_OFFSET);
  return record;
}
