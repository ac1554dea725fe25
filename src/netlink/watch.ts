/**
 * Listens to the kernel's announcements: at once, and at no cost while nothing happens. Who watches dumps the
 * tables after the watch has begun, and again at every `resync`: then nothing is missed.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { VtepError } from '../errors.ts';
import { systemError } from '../io/errno.ts';
import { syscalls } from '../io/syscalls.ts';
import { type Message, readMessages } from './message.ts';
import { openNetlink } from './socket.ts';

/** Announcements that may wait to be read, in bytes as the kernel counts them. */
const BUFFER_BYTES = 4 * 1024 * 1024;
const EFD_CLOEXEC = 0o2000000;

export interface Listener {
  /** What was announced, in its order. */
  messages(messages: Message[]): void;
  /** More was announced than could be kept: what is known of the tables may be wrong now. */
  resync(): void;
  /** The thread has ended without being asked to. Nothing is heard any more. */
  failed(reason: string): void;
}

export interface Watch {
  /** Resolves when the thread has ended. Nothing is heard after the call. Safe to call twice. */
  close(): Promise<void>;
}

/** Handed to the thread. */
export interface ThreadStart {
  fd: number;
  /** An eventfd: whatever stands in it ends the thread. */
  wake: number;
  /** Announcements of what the socket with this port has done are left out; 0 = none is. */
  ignoredPort: number;
}

/** Handed over by the thread. */
export type Heard = { kind: 'ready' } | { kind: 'messages'; bytes: Uint8Array } | { kind: 'resync' };

/**
 * Listens to groups (GROUP_*) of the network namespace of this process.
 * @param options.ignoredPort `port` of a socket whose own changes are not told of
 * @throws VtepError SYSTEM or PERMISSION
 */
export async function watchNetlink(
  groups: readonly number[],
  listener: Listener,
  { bufferBytes = BUFFER_BYTES, ignoredPort = 0 } = {},
): Promise<Watch> {
  const sys = syscalls();
  const fd = openNetlink(groups, bufferBytes);
  const wake = sys.eventfd(0, EFD_CLOEXEC);
  if (wake < 0) {
    const error = systemError('eventfd');
    sys.close(fd);
    throw error;
  }
  const start: ThreadStart = { fd, wake, ignoredPort };
  const entry = fileURLToPath(import.meta.resolve('#netlink-thread'));
  const worker = new Worker(entry, {
    ...{ workerData: start, name: 'vxlane netlink', execArgv: [] },
    // It keeps nothing: what Node reserves for young objects by default would be most of its memory.
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
  });
  let closed: Promise<void> | undefined;
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const leave = () => {
    const one = new Uint8Array(8);
    one[0] = 1;
    sys.writeBytes(wake, one, 8);
  };
  // A process that ends waits for its threads, and this one would never hear of it.
  process.on('exit', leave);
  const close = async () => {
    leave();
    process.off('exit', leave);
    await ended;
    sys.close(wake);
    sys.close(fd);
  };
  const watch: Watch = {
    close: () => {
      closed ??= close();
      return closed;
    },
  };
  const ready = new Promise<void>((resolve, reject) => {
    worker.on('message', (heard: Heard) => {
      if (heard.kind === 'ready') resolve();
      else if (closed !== undefined) return;
      else if (heard.kind === 'resync') listener.resync();
      else listener.messages(readMessages(heard.bytes));
    });
    worker.once('error', (error) => reject(new VtepError('SYSTEM', `netlink thread: ${error.message}`)));
  });
  try {
    await ready;
  } catch (error) {
    await watch.close();
    throw error;
  }
  worker.on('error', (error) => {
    if (closed === undefined) listener.failed(error.message);
  });
  return watch;
}
