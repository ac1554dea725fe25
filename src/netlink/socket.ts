/**
 * A routing socket of this network namespace: requests with their answers, dumps, and groups to listen to.
 * Everything waits for the kernel, which answers within microseconds; a worker may do so too.
 */
import { VtepError } from '../errors.ts';
import { EAGAIN, EINTR, ENOBUFS, errorName, systemError } from '../io/errno.ts';
import {
  MSG_DONTWAIT,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RCVTIMEO,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from '../io/socket-numbers.ts';
import { type Syscalls, syscalls } from '../io/syscalls.ts';
import {
  MESSAGE_HEADER_BYTES,
  type Message,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readAttributes,
  readMessages,
  textOf,
  viewOf,
  writeMessage,
} from './message.ts';

const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const NLMSGERR_ATTR_MSG = 1;
/** An answer to one message of a batch: i32 errno, the header of what it answers, attributes. */
const ACK_ERROR_BYTES = 4;
const ACK_ATTRIBUTES_OFFSET = 20;
/** The kernel's own answers come at once; this long is never waited but when something is badly wrong. */
const ANSWER_SECONDS = 2;
/** The kernel's datagrams are as large as the buffer that reads them, at most 32 KiB. */
export const DATAGRAM_BYTES = 32768;
const DUMP_ATTEMPTS = 5;
/** Messages and bytes of one send. Their answers wait all at once, so they have to fit into the buffer below. */
const BATCH_MESSAGES = 512;
const BATCH_BYTES = 128 * 1024;
const ANSWERS_BYTES = 2 * 1024 * 1024;
const SEND_ATTEMPTS = 5;

/** Groups of the routing family (RTNLGRP_*). */
export const GROUP_LINK = 1;
export const GROUP_NEIGHBOUR = 3;
export const GROUP_IPV4_ADDRESS = 5;
export const GROUP_IPV4_ROUTE = 7;
export const GROUP_IPV4_RULE = 8;
export const GROUP_IPV6_ADDRESS = 9;
export const GROUP_IPV6_ROUTE = 11;
export const GROUP_IPV6_RULE = 19;
export const GROUP_NEXTHOP = 32;

/** @returns the descriptor. @throws VtepError SYSTEM or PERMISSION */
export function openNetlink(groups: readonly number[] = [], bufferBytes?: number): number {
  const sys = syscalls();
  const fd = sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) throw systemError('netlink: socket');
  try {
    const name = new Uint8Array(12);
    viewOf(name).setUint16(0, AF_NETLINK, true);
    if (sys.bind(fd, name, name.length) < 0) throw systemError('netlink: bind');
    if (bufferBytes !== undefined && !option(sys, fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes)) {
      option(sys, fd, SOL_SOCKET, SO_RCVBUF, bufferBytes);
    }
    for (const group of groups) {
      if (!option(sys, fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)) {
        throw systemError(`netlink: group ${group}`);
      }
    }
    return fd;
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

/** Why the kernel did not do what one message of a batch asked for. */
export interface Refusal {
  /** Which of the batch. */
  index: number;
  /** ENOBUFS also when its answer was lost: then it may have been done. */
  errno: number;
  /** The kernel's sentence; "" where it says none. */
  reason: string;
}

/** A socket that asks. It listens to no group, so that nothing but answers comes. */
export class NetlinkSocket {
  /** Announcements of what this socket has changed have this number: a watch can leave them out. */
  readonly port: number;
  readonly #fd: number;
  readonly #sys = syscalls();
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  #sequence = 0;

  /**
   * @param tables it writes tables and dumps parts of them: room for many answers, and dumps that the kernel filters
   * (since Linux 4.20; before, all is dumped, so who asks filters too)
   * @throws VtepError SYSTEM or PERMISSION
   */
  constructor({ tables = false } = {}) {
    this.#fd = openNetlink([], tables ? ANSWERS_BYTES : undefined);
    const timeout = new Uint8Array(16);
    viewOf(timeout).setBigInt64(0, BigInt(ANSWER_SECONDS), true);
    this.#sys.setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
    for (const name of tables ? [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] : []) {
      option(this.#sys, this.#fd, SOL_NETLINK, name, 1);
    }
    const name = new Uint8Array(12);
    this.#sys.getsockname(this.#fd, name, Uint8Array.of(name.length, 0, 0, 0));
    this.port = viewOf(name).getUint32(4, true);
  }

  get descriptor(): number {
    return this.#fd;
  }

  close(): void {
    this.#sys.close(this.#fd);
  }

  /**
   * Sends a message whose answer is one datagram, and has the answer read from the buffer, which the next
   * request overwrites: nothing is allocated. The message's sequence number is set here.
   *
   * @returns bytes of the answer. @throws VtepError SYSTEM when the kernel can't be asked at all
   */
  exchange(message: Uint8Array, view: DataView): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    view.setUint32(8, this.#sequence, true);
    this.#send(message);
    for (;;) {
      const bytes = this.#receive();
      // An answer that an earlier request did not wait for.
      if (bytes >= 16 && this.answer.getUint32(8, true) !== this.#sequence) continue;
      return bytes;
    }
  }

  /** Over the buffer that `exchange` reads answers into. */
  readonly answer: DataView = viewOf(this.#buffer);

  /** The messages that answer a request for one object; none when there is no such object. */
  request(type: number, body: Uint8Array): Message[] {
    const message = writeMessage(type, NLM_F_REQUEST, 0, body);
    const bytes = this.exchange(message, viewOf(message));
    return readMessages(this.#buffer.slice(0, bytes)).filter((one) => one.type !== NLMSG_ERROR);
  }

  /**
   * Everything of a kind: one message for each object.
   * @throws VtepError SYSTEM; also when the table changes faster than it can be read
   */
  dump(type: number, body: Uint8Array): Message[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; ++attempt) {
      const messages = this.#dumpOnce(type, body);
      if (messages !== undefined) return messages;
    }
    throw new VtepError('SYSTEM', `netlink: dump ${type}: the table changes all the time: try again`);
  }

  /** undefined when it was changed meanwhile, so that something may be missing. */
  #dumpOnce(type: number, body: Uint8Array): Message[] | undefined {
    this.#sequence = (this.#sequence + 1) >>> 0;
    this.#send(writeMessage(type, NLM_F_REQUEST | NLM_F_DUMP, this.#sequence, body));
    const found: Message[] = [];
    let whole = true;
    for (;;) {
      const bytes = this.#receive();
      for (const message of readMessages(this.#buffer.slice(0, bytes))) {
        if (message.sequence !== this.#sequence) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) whole = false;
        if (message.type === NLMSG_DONE) return whole ? found : undefined;
        if (message.type === NLMSG_ERROR) throw refused(type, message);
        found.push(message);
      }
    }
  }

  /**
   * Has the kernel do what many messages ask for, one after the other; one that is refused stops none of the others.
   * Sequence numbers are set here. For a socket made with `tables`.
   * @returns those that were refused, in their order. @throws VtepError SYSTEM when the kernel can't be asked
   */
  batch(messages: readonly Uint8Array[]): Refusal[] {
    const refusals: Refusal[] = [];
    for (let start = 0; start < messages.length; ) {
      let bytes = 0;
      let end = start;
      while (end < messages.length && end - start < BATCH_MESSAGES) {
        bytes += messages[end]!.length;
        if (bytes > BATCH_BYTES && end > start) break;
        ++end;
      }
      this.#batchOnce(messages.slice(start, end), start, refusals);
      start = end;
    }
    return refusals;
  }

  #batchOnce(messages: readonly Uint8Array[], start: number, refusals: Refusal[]): void {
    const first = (this.#sequence + 1) >>> 0;
    const data = new Uint8Array(messages.reduce((sum, { length }) => sum + length, 0));
    const view = viewOf(data);
    let at = 0;
    for (const message of messages) {
      this.#sequence = (this.#sequence + 1) >>> 0;
      data.set(message, at);
      view.setUint32(at + 8, this.#sequence, true);
      at += message.length;
    }
    this.#sendBatch(data);
    const open = new Set(messages.keys());
    while (open.size > 0) {
      const bytes = this.#sys.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (bytes < 0) {
        // The kernel has answered everything before `send` returned: what is not there now never comes.
        const errno = this.#sys.errno();
        if (errno === EINTR || errno === ENOBUFS) continue;
        if (errno === EAGAIN) break;
        throw systemError('netlink: no answer');
      }
      if (bytes < MESSAGE_HEADER_BYTES + ACK_ERROR_BYTES || this.answer.getUint16(4, true) !== NLMSG_ERROR)
        continue;
      const index = (this.answer.getUint32(8, true) - first) >>> 0;
      const errno = -this.answer.getInt32(MESSAGE_HEADER_BYTES, true);
      if (!open.delete(index) || errno === 0) continue;
      refusals.push({ index: start + index, errno, reason: this.#reasonIn(bytes) });
    }
    for (const index of open)
      refusals.push({ index: start + index, errno: ENOBUFS, reason: 'its answer was lost' });
  }

  #reasonIn(bytes: number): string {
    const attributes = readAttributes(
      this.#buffer.subarray(0, bytes),
      MESSAGE_HEADER_BYTES + ACK_ATTRIBUTES_OFFSET,
    );
    return textOf(attributes.get(NLMSGERR_ATTR_MSG)) ?? '';
  }

  /** A kernel that is short of memory for so large a message is asked again. */
  #sendBatch(data: Uint8Array): void {
    for (let attempt = 1; this.#sys.send(this.#fd, data, data.length, 0) < 0; ++attempt) {
      const errno = this.#sys.errno();
      if (errno !== EINTR && (errno !== ENOBUFS || attempt === SEND_ATTEMPTS))
        throw systemError('netlink: send');
    }
  }

  #send(message: Uint8Array): void {
    while (this.#sys.send(this.#fd, message, message.length, 0) < 0) {
      if (this.#sys.errno() !== EINTR) throw systemError('netlink: send');
    }
  }

  #receive(): number {
    for (;;) {
      const bytes = this.#sys.recv(this.#fd, this.#buffer, this.#buffer.length, 0);
      if (bytes >= 0) return bytes;
      if (this.#sys.errno() !== EINTR) throw systemError('netlink: no answer');
    }
  }
}

function refused(type: number, { body }: Message): VtepError {
  const errno = body.length < 4 ? 0 : -viewOf(body).getInt32(0, true);
  return new VtepError('SYSTEM', `netlink: dump ${type}: ${errorName(errno)}`);
}

function option(sys: Syscalls, fd: number, level: number, name: number, value: number): boolean {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setInt32(0, value, true);
  return sys.setsockopt(fd, level, name, bytes, 4) === 0;
}
