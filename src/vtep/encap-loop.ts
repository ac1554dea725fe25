/**
 * The encap worker: TAP -> engine -> UDP. It reads frames one behind the other into its arena until the TAP
 * is empty, has the engine walk them all in one call, and sends the runs that come out.
 */
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_TAP_OFFSET,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_TAP_READ,
  DROP_TAP_WRITE,
  ENCAP_ARENA_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  INJECT_BYTES,
  INJECT_DEVICE_OFFSET,
  INJECT_IOVEC_COUNT_OFFSET,
  INJECT_IOVECS_OFFSET,
  INJECTS_OFFSET,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { EAGAIN, EINTR, EIO } from '../io/errno.ts';
import { unwatch } from '../io/poller.ts';
import type { Paths } from './paths.ts';
import { Sender } from './sender.ts';
import { countOf, note, type WorkerContext } from './worker-context.ts';

/** Frames are as a rule read at most this far ahead of sending: what is read should still be in the cache. */
const BATCH_BYTES = 262144;
/** Batches of one device before others, and the stop word, get their turn: epoll reports what is left. */
const BATCH_MAX = 32;

export function encapServer(context: WorkerContext, paths: Paths): (device: number) => void {
  const { base, exports, i32, u32 } = context;
  const sender = new Sender(context);
  const ring = base + ENCAP_RING_OFFSET;
  const filled = (ring + RING_FILLED_OFFSET) >>> 2;
  const taken = (ring + RING_TAKEN_OFFSET) >>> 2;
  const freed = (ring + RING_FREED_OFFSET) >>> 2;
  const injects = (base + ENCAP_STATE_OFFSET + ENCAP_INJECTS_USED_OFFSET) >>> 2;
  const wanted = (base + ENCAP_STATE_OFFSET + ENCAP_PATH_WANTED_OFFSET) >>> 2;

  /** What the device's TAP holds. */
  return (device) => {
    const fd = i32[(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_TAP_OFFSET + context.queue * 4) >>> 2]!;
    for (let more = true, batch = 0; more && batch < BATCH_MAX; ++batch) {
      const before = u32[filled]!;
      more = fill(context, device, fd);
      let calls = ((u32[filled]! - before) >>> 0) + 1;
      paths.tick();
      while (u32[taken] !== u32[filled]) {
        calls += sender.send(exports.encap(base));
        if (u32[injects] !== 0) calls += inject(context, u32[injects]!);
        if (u32[wanted] !== 0) paths.resolve();
      }
      // Sent: nothing names the frames any more.
      u32[freed] = u32[taken]!;
      note(context, calls, 0);
    }
  };
}

/** Reads frames until there are none (false), or the batch is full (true). */
function fill(context: WorkerContext, device: number, fd: number): boolean {
  const { address, base, sys, u32, i32 } = context;
  const ring = base + ENCAP_RING_OFFSET;
  const filled = (ring + RING_FILLED_OFFSET) >>> 2;
  const start = base + ENCAP_ARENA_OFFSET;
  const end = start + ENCAP_ARENA_BYTES - FRAME_MAX_BYTES - FRAME_HEADROOM_BYTES;
  const enough = Math.min(end, start + BATCH_BYTES);
  let cursor = u32[filled]!;
  let at = start;
  let count = 0;
  let more = true;
  while (count < ENCAP_RING_COUNT && at < enough) {
    const header = ((at + 63) & ~63) + FRAME_HEADROOM_BYTES - VIRTIO_HEADER_BYTES;
    const bytes = sys.read(fd, address + header, FRAME_MAX_BYTES);
    if (bytes < 0) {
      const errno = sys.errno();
      if (errno === EINTR) continue;
      if (errno !== EAGAIN) abandon(context, device, fd);
      more = false;
      break;
    }
    const descriptor =
      (ring + RING_DESCRIPTORS_OFFSET + (cursor & (ENCAP_RING_COUNT - 1)) * DESCRIPTOR_BYTES) >>> 2;
    u32[descriptor + (DESCRIPTOR_ADDRESS_OFFSET >> 2)] = header;
    i32[descriptor + (DESCRIPTOR_LENGTH_OFFSET >> 2)] = bytes - VIRTIO_HEADER_BYTES;
    u32[descriptor + (DESCRIPTOR_DEVICE_OFFSET >> 2)] = device;
    cursor = (cursor + 1) >>> 0;
    ++count;
    at = header + bytes;
  }
  Atomics.store(u32, filled, cursor);
  return more;
}

/** Frames that go to a TAP of this host instead of the underlay. Returns the system calls made. */
function inject(context: WorkerContext, count: number): number {
  const { address, base, i32, queue, sys, u32 } = context;
  for (let index = 0; index < count; ++index) {
    const at = base + INJECTS_OFFSET + index * INJECT_BYTES;
    const device = u32[(at + INJECT_DEVICE_OFFSET) >>> 2]!;
    const iovecs = u32[(at + INJECT_IOVEC_COUNT_OFFSET) >>> 2]!;
    const fd = i32[(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_TAP_OFFSET + queue * 4) >>> 2]!;
    if (sys.writev(fd, address + at + INJECT_IOVECS_OFFSET, iovecs) < 0) {
      countOf(context, device, sys.errno() === EIO ? DROP_DEVICE_DOWN : DROP_TAP_WRITE, 1);
    }
  }
  return count;
}

/** The TAP has been deleted under us: waiting for it would spin. The main thread sees it go and reports. */
function abandon(context: WorkerContext, device: number, fd: number): void {
  countOf(context, device, DROP_TAP_READ, 1);
  unwatch(context.poller, fd);
}
