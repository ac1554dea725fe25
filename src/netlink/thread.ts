/**
 * Entry of the thread that listens: it sleeps in poll until the kernel tells something, and hands over what it
 * read. Node's own loop can't wait for a netlink socket, and looking every so often would be late and never rest.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { EAGAIN, EINTR, ENOBUFS, errorName } from '../io/errno.ts';
import { syscalls } from '../io/syscalls.ts';
import { aligned, MESSAGE_HEADER_BYTES, viewOf } from './message.ts';
import { DATAGRAM_BYTES } from './socket.ts';
import type { Heard, ThreadStart } from './watch.ts';

const POLLIN = 1;
const POLLFD_BYTES = 8;
const POLLFD_REVENTS_OFFSET = 6;
const MSG_DONTWAIT = 0x40;
/** Handed over at a time: the main thread is woken once for a burst, and gets one piece of memory for it. */
const BATCH_BYTES = 4 * DATAGRAM_BYTES;

const { fd, wake, ignoredPort } = workerData as ThreadStart;
const sys = syscalls();
const buffer = new Uint8Array(BATCH_BYTES);
const headers = viewOf(buffer);
const fds = new Uint8Array(2 * POLLFD_BYTES);
const view = new DataView(fds.buffer);
for (const [index, descriptor] of [fd, wake].entries()) {
  view.setInt32(index * POLLFD_BYTES, descriptor, true);
  view.setUint16(index * POLLFD_BYTES + 4, POLLIN, true);
}
tell({ kind: 'ready' });
while (listen()) {
  // Until whoever started the thread ends it, or the socket fails.
}

/** Returns false when the thread has to end. */
function listen(): boolean {
  sys.poll(fds, 2, -1);
  if (view.getUint16(POLLFD_BYTES + POLLFD_REVENTS_OFFSET, true) !== 0) return false;
  let used = 0;
  let errno = 0;
  while (errno === 0 && used + DATAGRAM_BYTES <= BATCH_BYTES) {
    const bytes = sys.recv(fd, buffer.subarray(used), DATAGRAM_BYTES, MSG_DONTWAIT);
    if (bytes < 0) errno = sys.errno();
    else if (!isIgnored(used, bytes)) used += aligned(bytes);
  }
  if (used > 0) tell({ kind: 'messages', bytes: buffer.slice(0, used) });
  if (errno === ENOBUFS) tell({ kind: 'resync' });
  else if (errno !== 0 && errno !== EAGAIN && errno !== EINTR) {
    throw new Error(`netlink: recv: ${errorName(errno)}`);
  }
  return true;
}

/** An announcement of what the socket with that port has done itself. */
function isIgnored(at: number, bytes: number): boolean {
  if (ignoredPort === 0 || bytes < MESSAGE_HEADER_BYTES) return false;
  return aligned(headers.getUint32(at, true)) >= bytes && headers.getUint32(at + 12, true) === ignoredPort;
}

function tell(heard: Heard): void {
  parentPort?.postMessage(heard);
}
