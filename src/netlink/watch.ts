/**
 * Listens to the kernel's announcements: at once, and at no cost while nothing happens. Who watches dumps the
 * tables after the watch has begun, and again at every `resync`: then nothing is missed.
 */
import { syscalls } from '../io/syscalls.ts';
import { listenTo } from './listening.ts';
import { type Message, readMessages } from './message.ts';
import { openNetlink } from './socket.ts';

/** Announcements that may wait to be read, in bytes as the kernel counts them. */
const BUFFER_BYTES = 4 * 1024 * 1024;

export interface Listener {
  /** What was announced, in its order. */
  messages(messages: Message[]): void;
  /** More was announced than could be kept: what is known of the tables may be wrong now. */
  resync(): void;
  /** The socket or the thread has failed. Nothing is heard any more. */
  failed(reason: string): void;
}

export interface Watch {
  /** Resolves when the socket is closed. Nothing is heard after the call. Safe to call twice. */
  close(): Promise<void>;
}

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
  const fd = openNetlink(groups, bufferBytes);
  let closed: Promise<void> | undefined;
  let end: () => Promise<void>;
  try {
    end = await listenTo(fd, ignoredPort, (heard) => {
      if (closed !== undefined) return;
      if (heard.kind === 'messages') listener.messages(readMessages(heard.bytes));
      else if (heard.kind === 'resync') listener.resync();
      else if (heard.kind === 'failed') listener.failed(heard.reason);
    });
  } catch (error) {
    syscalls().close(fd);
    throw error;
  }
  const close = async () => {
    await end();
    syscalls().close(fd);
  };
  return {
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}
