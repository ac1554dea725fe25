/** Batches of datagrams from the kernel: recvmmsg into the walk's memory, asleep in epoll between them. */
import { SINK_RECEIVE_COUNT, SINK_RECEIVES_BASE } from '../../assembly/sink-layout.ts';
import { EAGAIN, ECONNREFUSED, EINTR, errorName } from '../io/errno.ts';
import { EPOLL_EVENT_BYTES, EPOLL_TOKEN_OFFSET, type Poller, WAKE_TOKEN } from '../io/poller.ts';
import { Scratch } from '../io/scratch.ts';
import { MSG_DONTWAIT } from '../io/socket-numbers.ts';
import { syscalls } from '../io/syscalls.ts';
import type { Recorder } from './recorder.ts';

const EVENT_COUNT = 64;
/** Batches of one socket before the others get their turn. */
const ROUNDS = 16;
const SLEEP_MAX_MS = 0x7fffffff;

export interface Receiver {
  /** Sleeps until there is something, at most so long (milliseconds), and records it. */
  receive(sleep: number): void;
}

/** @param sockets watched by the poller under their index + 1 */
export function openReceiver(recorder: Recorder, sockets: readonly number[], poller: Poller): Receiver {
  const sys = syscalls();
  const { walk } = recorder;
  const address = sys.addressOf(walk.bytes);
  walk.prepare(address);
  const scratch = new Scratch(sys);
  const events = scratch.claim(EVENT_COUNT * EPOLL_EVENT_BYTES);
  const drained = scratch.claim(8);

  function drain(fd: number): void {
    for (let round = 0; round < ROUNDS; ++round) {
      const count = sys.recvmmsg(fd, address + SINK_RECEIVES_BASE, SINK_RECEIVE_COUNT, MSG_DONTWAIT, 0);
      if (count < 0) {
        const errno = sys.errno();
        if (errno === EAGAIN || errno === EINTR || errno === ECONNREFUSED) return;
        throw new Error(`recvmmsg: ${errorName(errno)}`);
      }
      walk.run(count);
      walk.reset(count);
      if (count < SINK_RECEIVE_COUNT) return;
    }
  }

  return {
    receive(sleep) {
      const timeout = Math.min(Math.ceil(sleep), SLEEP_MAX_MS);
      const count = sys.epoll_wait(
        poller.epoll,
        scratch.address + events,
        EVENT_COUNT,
        Number.isFinite(sleep) ? timeout : -1,
      );
      for (let index = 0; index < count; ++index) {
        const token = scratch.view.getUint32(events + index * EPOLL_EVENT_BYTES + EPOLL_TOKEN_OFFSET, true);
        if (token === WAKE_TOKEN) sys.read(poller.wake, scratch.address + drained, 8);
        else drain(sockets[token - 1]!);
      }
    },
  };
}
