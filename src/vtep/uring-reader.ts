/**
 * Reads the frames that a TAP holds through io_uring: many in one system call, each into a slot of the arena. A read
 * that finds the TAP empty costs half of one that doesn't, so no more are asked for than are likely to be there.
 */
import {
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  FRAME_SLOT_BYTES,
  FRAME_SLOT_COUNT,
  RING_FILLED_OFFSET,
  URING_ENTRIES,
  VIRTIO_HEADER_BYTES,
  WORKER_URING_ERROR_OFFSET,
  WORKER_URING_READ_OFFSET,
} from '../../assembly/layout.ts';
import { EAGAIN, EINTR } from '../io/errno.ts';
import { WORTHWHILE } from '../io/uring.ts';
import { abandon, BATCH_BYTES, describe, type TapReader } from './tap-reader.ts';
import type { WorkerContext } from './worker-context.ts';

export class UringReader implements TapReader {
  readonly #context: WorkerContext;
  readonly #ring: number;
  /** Frames to ask for first, and how large they were: those of the last fill and one more. */
  #expected = 1;
  #frameBytes = 1;
  calls = 0;

  constructor(context: WorkerContext, ring: number) {
    this.#context = context;
    this.#ring = ring;
  }

  fill(device: number, fd: number): boolean {
    let count = 0;
    let bytes = 0;
    let more = true;
    let ask = this.#expected;
    this.calls = 0;
    while (more && count < FRAME_SLOT_COUNT && bytes < BATCH_BYTES) {
      const room = Math.ceil((BATCH_BYTES - bytes) / this.#frameBytes);
      const asked = Math.min(ask, URING_ENTRIES, FRAME_SLOT_COUNT - count, room);
      if (asked < WORTHWHILE) {
        const read = this.#readOne(device, fd, count);
        more = read > 0;
        if (more) count += 1;
        bytes += read;
      } else {
        const got = this.#readMany(device, fd, count, asked);
        more = got === asked;
        count += got;
        bytes += this.#context.u32[(this.#context.base + WORKER_URING_READ_OFFSET) >>> 2]!;
      }
      // All that were asked for were there: there may be as many again.
      ask = count < this.#expected ? this.#expected - count : count;
    }
    if (count > 0) this.#frameBytes = bytes / count;
    this.#expected = count + 1;
    return more;
  }

  /** Returns the frame's bytes with its virtio header, 0 = there is none. */
  #readOne(device: number, fd: number, slot: number): number {
    const { address, base, sys, u32 } = this.#context;
    const header =
      base + ENCAP_ARENA_OFFSET + slot * FRAME_SLOT_BYTES + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
    for (;;) {
      const bytes = sys.read(fd, address + header, FRAME_MAX_BYTES);
      this.calls += 1;
      if (bytes >= 0) {
        const filled = (base + ENCAP_RING_OFFSET + RING_FILLED_OFFSET) >>> 2;
        describe(this.#context, u32[filled]!, header, bytes, device);
        Atomics.store(u32, filled, u32[filled]! + 1);
        return bytes;
      }
      const errno = sys.errno();
      if (errno === EINTR) continue;
      if (errno !== EAGAIN) abandon(this.#context, device, fd);
      return 0;
    }
  }

  /** Returns how many frames there were. */
  #readMany(device: number, fd: number, slot: number, asked: number): number {
    const { base, exports, i32, sys } = this.#context;
    exports.uringReads(base, fd, slot, asked);
    this.calls += 1;
    // Refused for want of memory: one frame is had without.
    if (sys.io_uring_enter(this.#ring, asked) < 0) return this.#readOne(device, fd, slot) > 0 ? 1 : 0;
    const got = exports.uringFrames(base, device);
    const error = -i32[(base + WORKER_URING_ERROR_OFFSET) >>> 2]!;
    if (error !== 0 && error !== EINTR) abandon(this.#context, device, fd);
    return got;
  }
}
