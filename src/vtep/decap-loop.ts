/**
 * The decap worker: UDP -> engine -> TAP. One recvmmsg brings bundles of datagrams, one engine call turns
 * them into frames, one writev each hands those to their TAPs.
 */
import {
  DEVICE_BYTES,
  DEVICE_TAP_OFFSET,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_TAP_WRITE,
  IOVEC_BYTES,
  RECEIVE_COUNT,
  RECEIVES_OFFSET,
  WRITE_BYTES,
  WRITE_FRAMES_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITE_PLACE_OFFSET,
  WRITES_OFFSET,
} from '../../assembly/layout.ts';
import { EIO } from '../io/errno.ts';
import { countOf, note, type WorkerContext } from './worker-context.ts';

/** Batches of one listener before others, and the stop word, get their turn: epoll reports what is left. */
const BATCH_MAX = 32;

export function decapServer(context: WorkerContext): (listener: number, fd: number) => void {
  const { address, base, exports, sys } = context;
  exports.decapPrepare(base);
  const messages = address + base + RECEIVES_OFFSET;

  /** What the socket holds. */
  return (listener, fd) => {
    for (let batch = 0; batch < BATCH_MAX; ++batch) {
      const received = sys.recvmmsg(fd, messages, RECEIVE_COUNT, 0, 0);
      // Nothing there, or an error that belongs to an earlier datagram: epoll tells when to come again.
      if (received <= 0) return;
      let calls = 1;
      do {
        const writes = exports.decap(base, listener, received);
        writeAll(context, writes);
        calls += writes;
      } while (!exports.decapDone(base, received));
      note(context, calls, 0);
      // Fewer than asked for is all that there was.
      if (received < RECEIVE_COUNT) return;
    }
  };
}

function writeAll(context: WorkerContext, writes: number): void {
  const { address, base, i32, queue, sys, u32 } = context;
  const iovecs = address + base + WRITE_IOVECS_BASE_OFFSET;
  for (let index = 0; index < writes; ++index) {
    const write = (base + WRITES_OFFSET + index * WRITE_BYTES) >>> 2;
    // The device stands above the domain.
    const device = u32[write + (WRITE_PLACE_OFFSET >> 2)]! >>> 16;
    const fd = i32[(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_TAP_OFFSET + queue * 4) >>> 2]!;
    const count = u32[write + (WRITE_IOVECS_OFFSET >> 2)]!;
    if (sys.writev(fd, iovecs + index * (WRITE_IOVEC_MAX * IOVEC_BYTES), count) < 0) {
      const frames = u32[write + (WRITE_FRAMES_OFFSET >> 2)]!;
      countOf(context, device, sys.errno() === EIO ? DROP_DEVICE_DOWN : DROP_TAP_WRITE, frames);
    }
  }
}
