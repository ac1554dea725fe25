/** Hands the frames of the decap walk to their TAPs, with a call for each. */
import {
  DEVICE_BYTES,
  DEVICE_TAP_OFFSET,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_TAP_WRITE,
  IOVEC_BYTES,
  WRITE_BYTES,
  WRITE_FRAMES_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITE_PLACE_OFFSET,
  WRITES_OFFSET,
} from '../../assembly/layout.ts';
import { EIO } from '../io/errno.ts';
import { countOf, type WorkerContext } from './worker-context.ts';

export interface TapWriter {
  /** The walk's first `count` writes. Returns the system calls made. */
  write(count: number): number;
}

export class BatchedWriter implements TapWriter {
  readonly #context: WorkerContext;

  constructor(context: WorkerContext) {
    this.#context = context;
  }

  write(count: number): number {
    this.writeFrom(0, count);
    return count;
  }

  writeFrom(first: number, end: number): void {
    const { address, base, i32, queue, sys, u32 } = this.#context;
    const iovecs = address + base + WRITE_IOVECS_BASE_OFFSET;
    for (let index = first; index < end; ++index) {
      const write = (base + WRITES_OFFSET + index * WRITE_BYTES) >>> 2;
      // The device stands above the domain.
      const device = u32[write + (WRITE_PLACE_OFFSET >> 2)]! >>> 16;
      const fd = i32[(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_TAP_OFFSET + queue * 4) >>> 2]!;
      const count = u32[write + (WRITE_IOVECS_OFFSET >> 2)]!;
      if (sys.writev(fd, iovecs + index * (WRITE_IOVEC_MAX * IOVEC_BYTES), count) < 0) {
        this.lose(index, sys.errno());
      }
    }
  }

  /** Counts the frames of a write that has failed. */
  lose(index: number, errno: number): void {
    const { base, u32 } = this.#context;
    const write = (base + WRITES_OFFSET + index * WRITE_BYTES) >>> 2;
    const device = u32[write + (WRITE_PLACE_OFFSET >> 2)]! >>> 16;
    const frames = u32[write + (WRITE_FRAMES_OFFSET >> 2)]!;
    countOf(this.#context, device, errno === EIO ? DROP_DEVICE_DOWN : DROP_TAP_WRITE, frames);
  }
}
