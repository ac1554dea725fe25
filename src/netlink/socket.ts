/**
 * A routing socket of this network namespace: requests with their answers, dumps, and groups to listen to.
 * Everything waits for the kernel, which answers within microseconds; a worker may do so too.
 */
import { VtepError } from '../errors.ts';
import { EINTR, errorName, systemError } from '../io/errno.ts';
import { type Syscalls, syscalls } from '../io/syscalls.ts';
import {
  type Message,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readMessages,
  viewOf,
  writeMessage,
} from './message.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
/** The kernel's own answers come at once; this long is never waited but when something is badly wrong. */
const ANSWER_SECONDS = 2;
/** The kernel's datagrams are as large as the buffer that reads them, at most 32 KiB. */
export const DATAGRAM_BYTES = 32768;
const DUMP_ATTEMPTS = 5;

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

/** A socket that asks. It listens to no group, so that nothing but answers comes. */
export class NetlinkSocket {
  readonly #fd: number;
  readonly #sys = syscalls();
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  #sequence = 0;

  /** @throws VtepError SYSTEM or PERMISSION */
  constructor() {
    this.#fd = openNetlink();
    const timeout = new Uint8Array(16);
    viewOf(timeout).setBigInt64(0, BigInt(ANSWER_SECONDS), true);
    this.#sys.setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
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
