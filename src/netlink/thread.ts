/**
 * Entry of the thread that listens: it sleeps in poll until the kernel tells something, and hands over what it
 * read. Node's own loop can't wait for a netlink socket, and looking every so often would be late and never rest.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EAGAIN, EINTR, ENOBUFS, errorName } from '../io/errno.ts';
import { MSG_DONTWAIT } from '../io/socket-numbers.ts';
import { syscalls } from '../io/syscalls.ts';
import type { Heard, Order, ThreadStart } from './listening.ts';
import { aligned, MESSAGE_HEADER_BYTES, viewOf } from './message.ts';
import { DATAGRAM_BYTES } from './socket.ts';

const POLLIN = 1;
const POLLFD_BYTES = 8;
const POLLFD_EVENTS_OFFSET = 4;
const POLLFD_REVENTS_OFFSET = 6;
/** Handed over at a time: the main thread is woken once for a burst, and gets one piece of memory for it. */
const BATCH_BYTES = 4 * DATAGRAM_BYTES;

interface Socket {
  id: number;
  fd: number;
  ignoredPort: number;
}

const { wake, stop } = workerData as ThreadStart;
const port = parentPort!;
const sys = syscalls();
const stopped = new Int32Array(stop);
const buffer = new Uint8Array(BATCH_BYTES);
const headers = viewOf(buffer);
const woken = new Uint8Array(8);
let sockets: readonly Socket[] = [];
/** struct pollfd of the eventfd and of each socket */
let fds = viewOf(new Uint8Array(0));
watchOver([]);

while (Atomics.load(stopped, 0) === 0) {
  const polled = sockets;
  sys.poll(new Uint8Array(fds.buffer), 1 + polled.length, -1);
  const revents = (index: number) => fds.getUint16(index * POLLFD_BYTES + POLLFD_REVENTS_OFFSET, true);
  const ready = polled.filter((_, index) => revents(1 + index) !== 0);
  if (revents(0) !== 0) {
    sys.readBytes(wake, woken, woken.length);
    obey();
  }
  // One that has just been taken away is read no more: it may be closed.
  for (const socket of ready) if (sockets.includes(socket)) listen(socket);
}

function obey(): void {
  for (;;) {
    const order = receiveMessageOnPort(port)?.message as Order | undefined;
    if (order === undefined) return;
    if ('add' in order) {
      const { add: id, fd, ignoredPort } = order;
      watchOver([...sockets, { id, fd, ignoredPort }]);
      tell({ id, kind: 'added' });
    } else {
      const id = order.remove;
      watchOver(sockets.filter((socket) => socket.id !== id));
      tell({ id, kind: 'removed' });
    }
  }
}

function watchOver(now: readonly Socket[]): void {
  sockets = now;
  fds = viewOf(new Uint8Array((1 + now.length) * POLLFD_BYTES));
  for (const [index, fd] of [wake, ...now.map((socket) => socket.fd)].entries()) {
    fds.setInt32(index * POLLFD_BYTES, fd, true);
    fds.setUint16(index * POLLFD_BYTES + POLLFD_EVENTS_OFFSET, POLLIN, true);
  }
}

function listen({ id, fd, ignoredPort }: Socket): void {
  let used = 0;
  let errno = 0;
  while (errno === 0 && used + DATAGRAM_BYTES <= BATCH_BYTES) {
    const bytes = sys.recv(fd, buffer.subarray(used), DATAGRAM_BYTES, MSG_DONTWAIT);
    if (bytes < 0) errno = sys.errno();
    else if (!isIgnored(used, bytes, ignoredPort)) used += aligned(bytes);
  }
  if (used > 0) tell({ id, kind: 'messages', bytes: buffer.slice(0, used) });
  if (errno === ENOBUFS) tell({ id, kind: 'resync' });
  else if (errno !== 0 && errno !== EAGAIN && errno !== EINTR) {
    watchOver(sockets.filter((socket) => socket.id !== id));
    tell({ id, kind: 'failed', reason: `netlink: recv: ${errorName(errno)}` });
  }
}

/** An announcement of what the socket with that port has done itself. */
function isIgnored(at: number, bytes: number, ignoredPort: number): boolean {
  if (ignoredPort === 0 || bytes < MESSAGE_HEADER_BYTES) return false;
  return aligned(headers.getUint32(at, true)) >= bytes && headers.getUint32(at + 12, true) === ignoredPort;
}

function tell(heard: Heard): void {
  port.postMessage(heard);
}
