/**
 * epoll with an eventfd to wake whoever waits. The waiting thread and the thread that changes the set are
 * different ones: both hold the same descriptors. A worker that sleeps in a system call can't be stopped
 * in any other way.
 */
import { systemError } from './errno.ts';
import { type Syscalls, syscalls } from './syscalls.ts';

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const EPOLL_CLOEXEC = 0o2000000;
/** struct epoll_event is packed on x86-64 only. */
export const EPOLL_EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
/** Offset of the 32-bit token in it. */
export const EPOLL_TOKEN_OFFSET = process.arch === 'x64' ? 4 : 8;
/** The token of the eventfd. */
export const WAKE_TOKEN = 0;

export interface Poller {
  readonly epoll: number;
  readonly wake: number;
}

export function openPoller(): Poller {
  const sys = syscalls();
  const epoll = sys.epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) throw systemError('epoll_create1');
  const wake = sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake < 0) throw systemError('eventfd');
  const poller = { epoll, wake };
  watch(poller, wake, WAKE_TOKEN);
  return poller;
}

export function closePoller(poller: Poller): void {
  syscalls().close(poller.epoll);
  syscalls().close(poller.wake);
}

/** Wakes the waiter with this token whenever the descriptor can be read. */
export function watch(poller: Poller, fd: number, token: number): void {
  const event = new Uint8Array(16);
  const view = new DataView(event.buffer);
  view.setUint32(0, EPOLLIN, true);
  view.setUint32(EPOLL_TOKEN_OFFSET, token, true);
  if (syscalls().epoll_ctl(poller.epoll, EPOLL_CTL_ADD, fd, event) < 0) throw systemError('epoll_ctl');
}

export function unwatch(poller: Poller, fd: number): void {
  syscalls().epoll_ctl(poller.epoll, EPOLL_CTL_DEL, fd, new Uint8Array(16));
}

/** Ends the wait of whoever waits now or next. */
export function wake(poller: Poller, sys: Syscalls = syscalls()): void {
  const one = new Uint8Array(8);
  one[0] = 1;
  sys.writeBytes(poller.wake, one, 8);
}
