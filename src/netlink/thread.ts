/**
 * Entry of the thread that listens: it sleeps in poll until the kernel tells something, and hands over what it
 * read. Node's own loop can't wait for a netlink socket, and looking every so often would be late and never rest.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { EAGAIN, EINTR, ENOBUFS, errorName } from '../io/errno.ts';
import { syscalls } from '../io/syscalls.ts';
import { DATAGRAM_BYTES } from './socket.ts';
import type { Heard, ThreadStart } from './watch.ts';

const POLLIN = 1;
const POLLFD_BYTES = 8;
const POLLFD_REVENTS_OFFSET = 6;
const MSG_DONTWAIT = 0x40;
/** Datagrams handed over at a time: the main thread is woken once for a burst. */
const BATCH_MAX = 64;

const { fd, wake } = workerData as ThreadStart;
const sys = syscalls();
const buffer = new Uint8Array(DATAGRAM_BYTES);
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
  const datagrams: Uint8Array[] = [];
  let errno = 0;
  while (errno === 0 && datagrams.length < BATCH_MAX) {
    const bytes = sys.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
    if (bytes >= 0) datagrams.push(buffer.slice(0, bytes));
    else errno = sys.errno();
  }
  if (datagrams.length > 0) tell({ kind: 'datagrams', datagrams });
  if (errno === ENOBUFS) tell({ kind: 'resync' });
  else if (errno !== 0 && errno !== EAGAIN && errno !== EINTR) {
    throw new Error(`netlink: recv: ${errorName(errno)}`);
  }
  return true;
}

function tell(heard: Heard): void {
  parentPort?.postMessage(heard);
}
