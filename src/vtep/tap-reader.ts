/** Reads the frames that a TAP holds into the arena of an encap worker, one behind the other. */
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DROP_TAP_READ,
  ENCAP_ARENA_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { EAGAIN, EINTR } from '../io/errno.ts';
import { unwatch } from '../io/poller.ts';
import { countOf, type WorkerContext } from './worker-context.ts';

/** Frames are as a rule read at most this far ahead of sending: what is read should still be in the cache. */
export const BATCH_BYTES = 262144;

export interface TapReader {
  /** Fills the worker's ring, which is empty. False: the TAP is empty; true: the batch is full. */
  fill(device: number, fd: number): boolean;
  /** System calls that the last `fill` made. */
  readonly calls: number;
}

export class BatchedReader implements TapReader {
  readonly #context: WorkerContext;
  calls = 0;

  constructor(context: WorkerContext) {
    this.#context = context;
  }

  fill(device: number, fd: number): boolean {
    const { address, base, sys, u32 } = this.#context;
    const filled = (base + ENCAP_RING_OFFSET + RING_FILLED_OFFSET) >>> 2;
    const start = base + ENCAP_ARENA_OFFSET;
    const end = start + ENCAP_ARENA_BYTES - FRAME_MAX_BYTES - FRAME_HEADROOM_BYTES;
    const enough = Math.min(end, start + BATCH_BYTES);
    let cursor = u32[filled]!;
    let at = start;
    let count = 0;
    let more = true;
    this.calls = 0;
    while (count < ENCAP_RING_COUNT && at < enough) {
      const header = ((at + 63) & ~63) + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
      const bytes = sys.read(fd, address + header, FRAME_MAX_BYTES);
      this.calls += 1;
      if (bytes < 0) {
        const errno = sys.errno();
        if (errno === EINTR) continue;
        if (errno !== EAGAIN) abandon(this.#context, device, fd);
        more = false;
        break;
      }
      describe(this.#context, cursor, header, bytes, device);
      cursor = (cursor + 1) >>> 0;
      ++count;
      at = header + bytes;
    }
    Atomics.store(u32, filled, cursor);
    return more;
  }
}

/** @param bytes with the virtio header, which stands at `header` */
export function describe(
  { base, i32, u32 }: WorkerContext,
  cursor: number,
  header: number,
  bytes: number,
  device: number,
): void {
  const ring = base + ENCAP_RING_OFFSET + RING_DESCRIPTORS_OFFSET;
  const descriptor = (ring + (cursor & (ENCAP_RING_COUNT - 1)) * DESCRIPTOR_BYTES) >>> 2;
  u32[descriptor + (DESCRIPTOR_ADDRESS_OFFSET >> 2)] = header;
  i32[descriptor + (DESCRIPTOR_LENGTH_OFFSET >> 2)] = bytes - VIRTIO_HEADER_BYTES;
  u32[descriptor + (DESCRIPTOR_DEVICE_OFFSET >> 2)] = device;
}

/** The TAP has been deleted under us: waiting for it would spin. The main thread sees it go and reports. */
export function abandon(context: WorkerContext, device: number, fd: number): void {
  countOf(context, device, DROP_TAP_READ, 1);
  unwatch(context.poller, fd);
}
