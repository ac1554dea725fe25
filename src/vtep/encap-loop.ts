/**
 * The encap worker: TAP -> engine -> UDP. It reads frames one behind the other into its arena until the TAP
 * is empty, has the engine walk them all in one call, and sends the runs that come out. Frames of a device with a hook
 * are shown to its program first.
 */
import {
  DEVICE_BYTES,
  DEVICE_TAP_OFFSET,
  DEVICES_BASE,
  DROP_DEVICE_DOWN,
  DROP_TAP_WRITE,
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  INJECT_BYTES,
  INJECT_DEVICE_OFFSET,
  INJECT_IOVEC_COUNT_OFFSET,
  INJECT_IOVECS_OFFSET,
  INJECTS_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
} from '../../assembly/layout.ts';
import { EIO } from '../io/errno.ts';
import { HELD_FRAMES } from './hook-messages.ts';
import type { HookThread } from './hook-thread.ts';
import type { Paths } from './paths.ts';
import { Sender } from './sender.ts';
import type { TapReader } from './tap-reader.ts';
import { countOf, note, type WorkerContext } from './worker-context.ts';

/** Batches of one device before others, and the stop word, get their turn: epoll reports what is left. */
const BATCH_MAX = 32;

export function encapServer(
  context: WorkerContext,
  paths: Paths,
  reader: TapReader,
  hooks: HookThread,
): (device: number) => void {
  const { base, exports, i32, u32 } = context;
  const sender = new Sender(context);
  const ring = base + ENCAP_RING_OFFSET;
  const filled = (ring + RING_FILLED_OFFSET) >>> 2;
  const taken = (ring + RING_TAKEN_OFFSET) >>> 2;
  const freed = (ring + RING_FREED_OFFSET) >>> 2;
  const injects = (base + ENCAP_STATE_OFFSET + ENCAP_INJECTS_USED_OFFSET) >>> 2;
  const wanted = (base + ENCAP_STATE_OFFSET + ENCAP_PATH_WANTED_OFFSET) >>> 2;

  // A thread before this one has left frames that their program had not seen to the end.
  if (hooks.held.kind === HELD_FRAMES) {
    hooks.show('encap', hooks.held.count);
    note(context, drain(), 0);
    hooks.letGo();
  }

  /** What the device's TAP holds. */
  return (device) => {
    const fd = i32[(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_TAP_OFFSET + context.queue * 4) >>> 2]!;
    for (let more = true, batch = 0; more && batch < BATCH_MAX; ++batch) {
      more = reader.fill(device, fd);
      const calls = reader.calls;
      const parked = hooks.isHooked('encap', device) ? exports.encapPark(base) : 0;
      if (parked > 0) {
        hooks.hold(HELD_FRAMES, device, parked);
        hooks.show('encap', parked);
        hooks.letGo();
      }
      note(context, calls + drain(), 0);
    }
  };

  /** Sends what the ring holds. Returns the system calls made. */
  function drain(): number {
    let calls = 0;
    paths.tick();
    while (u32[taken] !== u32[filled]) {
      calls += sender.send(exports.encap(base));
      if (u32[injects] !== 0) calls += inject(context, u32[injects]!);
      if (u32[wanted] !== 0) paths.resolve();
    }
    // Sent: nothing names the frames any more.
    u32[freed] = u32[taken]!;
    return calls;
  }
}

/** Frames that go to a TAP of this host instead of the underlay. Returns the system calls made. */
export function inject(context: WorkerContext, count: number): number {
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
