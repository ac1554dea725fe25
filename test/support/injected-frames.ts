/**
 * Reads back what the encap walk has laid out for TAPs: replies, and frames that stay on this host. HEADER_ADDRESS is 0
 * in tests, so an address is an offset in the memory.
 */
import assert from 'node:assert/strict';
import {
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  INJECT_BYTES,
  INJECT_COUNT,
  INJECT_DEVICE_OFFSET,
  INJECT_IOVEC_COUNT_OFFSET,
  INJECT_IOVECS_OFFSET,
  INJECTS_OFFSET,
  VIRTIO_HEADER_BYTES,
  WORKER_BYTES,
} from '../../assembly/layout.ts';
import type { Views } from '../../src/dataplane/memory.ts';
import { concat } from './frames.ts';
import { readVirtio, type VirtioHeader } from './virtio.ts';

/** One writev to a TAP. */
export interface Injected {
  device: number;
  virtio: VirtioHeader;
  frame: Uint8Array;
  /** Which call of the engine made it. */
  call: number;
}

/** What the last call has made. */
export function readInjected(views: Views, worker: number, call: number): Injected[] {
  const count = views.view.getUint32(worker + ENCAP_STATE_OFFSET + ENCAP_INJECTS_USED_OFFSET, true);
  assert.ok(count <= INJECT_COUNT);
  return Array.from({ length: count }, (_, index) =>
    readOne(views, worker, worker + INJECTS_OFFSET + index * INJECT_BYTES, call),
  );
}

function readOne({ view, bytes }: Views, worker: number, record: number, call: number): Injected {
  const iovecs = view.getUint32(record + INJECT_IOVEC_COUNT_OFFSET, true);
  assert.ok(iovecs === 1 || iovecs === 2);
  const parts = Array.from({ length: iovecs }, (_, iovec) => {
    const at = record + INJECT_IOVECS_OFFSET + iovec * 16;
    const from = Number(view.getBigUint64(at, true));
    const length = Number(view.getBigUint64(at + 8, true));
    assert.ok(length > 0 && from >= worker && from + length <= worker + WORKER_BYTES, 'inside the worker');
    return bytes.slice(from, from + length);
  });
  const whole = concat(...parts);
  return {
    device: view.getUint32(record + INJECT_DEVICE_OFFSET, true),
    virtio: readVirtio(new DataView(whole.buffer), 0),
    frame: whole.subarray(VIRTIO_HEADER_BYTES),
    call,
  };
}
