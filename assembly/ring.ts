/*
 * A ring of descriptors with one producer and one engine, and three cursors that only grow:
 *
 *   cursor   written by   everything before it ...
 *   filled   producer     may be walked by the engine
 *   taken    engine       has been walked; messages may still name its memory
 *   freed    producer     may be filled again
 *
 *   who        may call
 *   producer   claim, publish, release      (host: src/vtep/encap-loop.ts, src/dataplane/embedded.ts)
 *   engine     filled, taken, take
 *
 * Each cursor has a cache line of its own; publishing is an atomic store, so whoever reads a cursor
 * sees the descriptors that it stands for.
 */
import {
  DESCRIPTOR_BYTES,
  ENCAP_RING_COUNT,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
} from './layout';

export function filled(ring: usize): u32 {
  return atomic.load<u32>(ring, RING_FILLED_OFFSET);
}

/** By the producer: descriptors before `cursor` may be read. */
export function fill(ring: usize, cursor: u32): void {
  atomic.store<u32>(ring, cursor, RING_FILLED_OFFSET);
}

export function taken(ring: usize): u32 {
  return load<u32>(ring, RING_TAKEN_OFFSET);
}

export function take(ring: usize, cursor: u32): void {
  atomic.store<u32>(ring, cursor, RING_TAKEN_OFFSET);
}

/** Descriptors before it have been sent: their places may be filled anew. */
export function freed(ring: usize): u32 {
  return atomic.load<u32>(ring, RING_FREED_OFFSET);
}

export function descriptor(ring: usize, cursor: u32): usize {
  return ring + RING_DESCRIPTORS_OFFSET + (cursor & (ENCAP_RING_COUNT - 1)) * DESCRIPTOR_BYTES;
}
