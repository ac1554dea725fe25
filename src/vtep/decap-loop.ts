/**
 * The decap worker: UDP -> engine -> TAP. One recvmmsg brings bundles of datagrams, one engine call turns
 * them into frames, one writev each hands those to their TAPs.
 */
import { RECEIVE_COUNT, RECEIVES_OFFSET } from '../../assembly/layout.ts';
import type { TapWriter } from './tap-writer.ts';
import { note, type WorkerContext } from './worker-context.ts';

/** Batches of one listener before others, and the stop word, get their turn: epoll reports what is left. */
const BATCH_MAX = 32;

export function decapServer(
  context: WorkerContext,
  writer: TapWriter,
): (listener: number, fd: number) => void {
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
        calls += writer.write(exports.decap(base, listener, received));
      } while (!exports.decapDone(base, received));
      note(context, calls, 0);
      // Fewer than asked for is all that there was.
      if (received < RECEIVE_COUNT) return;
    }
  };
}
