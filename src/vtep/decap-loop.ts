/**
 * The decap worker: UDP -> engine -> TAP. One recvmmsg brings bundles of datagrams, one engine call turns
 * them into frames, one writev each hands those to their TAPs. Frames of a device with a hook wait for its program in
 * between; what that sends into a tunnel goes out at once.
 */
import { RECEIVE_COUNT, RECEIVES_OFFSET } from '../../assembly/layout.ts';
import type { Forwarding } from './forwarding.ts';
import { HELD_DATAGRAMS } from './hook-messages.ts';
import type { HookThread } from './hook-thread.ts';
import type { TapWriter } from './tap-writer.ts';
import { note, type WorkerContext } from './worker-context.ts';

/** Batches of one listener before others, and the stop word, get their turn: epoll reports what is left. */
const BATCH_MAX = 32;

export function decapServer(
  context: WorkerContext,
  writer: TapWriter,
  hooks: HookThread,
  forwarding: Forwarding,
): (listener: number, fd: number) => void {
  const { address, base, exports, sys } = context;
  const { kind, by, count } = hooks.held;
  // A thread before this one has left datagrams in the midst of their walk; what prepares makes them unreadable.
  if (kind === HELD_DATAGRAMS) {
    let calls = judge(by, count);
    while (!exports.decapDone(base, count)) calls += walk(by, count);
    note(context, calls, 0);
  }
  exports.decapPrepare(base);
  const messages = address + base + RECEIVES_OFFSET;

  /** As far as there is room for writes. Returns the system calls made. */
  function walk(listener: number, received: number): number {
    const writes = exports.decap(base, listener, received);
    return hooks.parked === 0 ? writer.write(writes) : judge(listener, received);
  }

  /** Shows what is parked to its programs, and does what they say. */
  function judge(listener: number, received: number): number {
    hooks.hold(HELD_DATAGRAMS, listener, received);
    hooks.show('decap', hooks.parked);
    const calls = writer.write(exports.decapVerdicts(base, forwarding.base)) + forwarding.send();
    hooks.letGo();
    return calls;
  }

  /** What the socket holds. */
  return (listener, fd) => {
    for (let batch = 0; batch < BATCH_MAX; ++batch) {
      const received = sys.recvmmsg(fd, messages, RECEIVE_COUNT, 0, 0);
      // Nothing there, or an error that belongs to an earlier datagram: epoll tells when to come again.
      if (received <= 0) return;
      let calls = 1;
      do {
        calls += walk(listener, received);
      } while (!exports.decapDone(base, received));
      note(context, calls, 0);
      // Fewer than asked for is all that there was.
      if (received < RECEIVE_COUNT) return;
    }
  };
}
