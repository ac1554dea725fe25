/**
 * Does the kernel cut messages into the datagrams it was given (UDP_SEGMENT), and bundle received ones as they came
 * (UDP_GRO)? Asked once, over loopback, before traffic depends on it: kernels 7.0 to 7.1.4 damage datagrams when all
 * of a message are of one length, and kernels before 5.12 have been seen to bundle wrongly.
 */
import {
  AF_INET,
  CMSGHDR_BYTES,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  SOCKADDR_IN_BYTES,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from '../../assembly/layout.ts';
import { errorName } from './errno.ts';
import { Scratch } from './scratch.ts';
import { SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from './socket-numbers.ts';
import type { Syscalls } from './syscalls.ts';

const POLLIN = 1;
/** Over loopback a datagram has arrived when the call that sent it returns; longer only where softirqs lag. */
const WAIT_MILLISECONDS = 5;
const SEGMENT_BYTES = 200;
const MESSAGES = 8;
const BUFFER_BYTES = 2048;
const CONTROL_BYTES = 64;
const LOOPBACK = [127, 0, 0, 1];

/** Lengths of the datagrams of each message that is tried: all equal, and a shorter last one. */
const SHAPES: readonly (readonly [what: string, lengths: readonly number[]])[] = [
  ['of equal length', [SEGMENT_BYTES, SEGMENT_BYTES, SEGMENT_BYTES, SEGMENT_BYTES]],
  ['with a shorter last one', [SEGMENT_BYTES, SEGMENT_BYTES, SEGMENT_BYTES, 77]],
];

/** @returns what is wrong; undefined: nothing, or it can't be told here (no loopback) */
export function testSegmentation(sys: Syscalls): string | undefined {
  return overLoopback(sys, false);
}

/** To be asked where segmentation works. @returns as testSegmentation */
export function testBundles(sys: Syscalls): string | undefined {
  return overLoopback(sys, true);
}

function overLoopback(sys: Syscalls, bundles: boolean): string | undefined {
  const [from, to] = [openSocket(sys), openSocket(sys)];
  try {
    const sender = portOf(sys, from);
    const port = portOf(sys, to);
    if (sender === 0 || port === 0) return undefined;
    const on = new Uint8Array([1, 0, 0, 0]);
    if (bundles && sys.setsockopt(to, SOL_UDP, UDP_GRO, on, 4) < 0) return 'UDP_GRO can not be switched on';
    for (const [what, lengths] of SHAPES) {
      const sent = pattern(lengths.reduce((sum, length) => sum + length));
      const errno = sendSegments(sys, from, port, sent);
      // Nothing leads to loopback here.
      if (errno === undefined) return undefined;
      if (errno !== 0) return `a message of datagrams ${what} is refused: ${errorName(errno)}`;
      const received = receive(sys, to);
      // A firewall, maybe: this says nothing about segments.
      if (received.length === 0) return undefined;
      const fault = compare(sent, lengths, received, sender);
      if (fault !== undefined) return `datagrams ${what} ${bundles ? 'are bundled' : 'arrive'} ${fault}`;
    }
    return undefined;
  } finally {
    for (const fd of [from, to]) if (fd >= 0) sys.close(fd);
  }
}

/** Bound to a free port of 127.0.0.1, or a negative number. */
function openSocket(sys: Syscalls): number {
  const fd = sys.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || sys.bind(fd, nameOf(0), SOCKADDR_IN_BYTES) === 0) return fd;
  sys.close(fd);
  return -1;
}

/** struct sockaddr_in */
function nameOf(port: number): Uint8Array {
  const name = new Uint8Array(SOCKADDR_IN_BYTES);
  const view = new DataView(name.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port, false);
  name.set(LOOPBACK, 4);
  return name;
}

/** 0: it has none. */
function portOf(sys: Syscalls, fd: number): number {
  const name = new Uint8Array(SOCKADDR_IN_BYTES);
  const bytes = new Uint8Array([SOCKADDR_IN_BYTES, 0, 0, 0]);
  if (fd < 0 || sys.getsockname(fd, name, bytes) < 0) return 0;
  return new DataView(name.buffer).getUint16(2, false);
}

/** No two segments begin alike. */
function pattern(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => (index * 31 + (index >> 8) * 17 + 5) & 0xff);
}

/** One message in segments. Returns 0, the error number, or undefined when loopback can't be reached at all. */
function sendSegments(sys: Syscalls, fd: number, port: number, data: Uint8Array): number | undefined {
  const scratch = new Scratch(sys);
  const { view, address } = scratch;
  const header = scratch.claim(MMSGHDR_BYTES);
  const control = scratch.claim(CMSGHDR_BYTES + 8);
  view.setBigUint64(control, BigInt(CMSGHDR_BYTES + 2), true);
  view.setInt32(control + 8, SOL_UDP, true);
  view.setInt32(control + 12, UDP_SEGMENT, true);
  view.setUint16(control + CMSGHDR_BYTES, SEGMENT_BYTES, true);
  setAddress(view, header + MMSGHDR_NAME_OFFSET, address + scratch.put(nameOf(port)));
  view.setUint32(header + MMSGHDR_NAME_LENGTH_OFFSET, SOCKADDR_IN_BYTES, true);
  setAddress(
    view,
    header + MMSGHDR_IOVEC_OFFSET,
    address + scratch.iovecs([[scratch.put(data), data.length]]),
  );
  view.setUint32(header + MMSGHDR_IOVEC_COUNT_OFFSET, 1, true);
  setAddress(view, header + MMSGHDR_CONTROL_OFFSET, address + control);
  view.setUint32(header + MMSGHDR_CONTROL_LENGTH_OFFSET, CMSGHDR_BYTES + 8, true);
  if (sys.sendmsg(fd, address + header, 0) >= 0) return 0;
  const errno = sys.errno();
  return isUnreachable(sys, fd, port) ? undefined : errno;
}

/** Does a datagram by itself get away no better? */
function isUnreachable(sys: Syscalls, fd: number, port: number): boolean {
  const scratch = new Scratch(sys);
  const { view, address } = scratch;
  const header = scratch.claim(MMSGHDR_BYTES);
  setAddress(view, header + MMSGHDR_NAME_OFFSET, address + scratch.put(nameOf(port)));
  view.setUint32(header + MMSGHDR_NAME_LENGTH_OFFSET, SOCKADDR_IN_BYTES, true);
  return sys.sendmsg(fd, address + header, 0) < 0;
}

interface Message {
  data: Uint8Array;
  /** Of the sender. */
  port: number;
  /** Length of each datagram in it, where the kernel said so. */
  segment: number;
}

function receive(sys: Syscalls, fd: number): Message[] {
  const pollfd = new Uint8Array(8);
  new DataView(pollfd.buffer).setInt32(0, fd, true);
  new DataView(pollfd.buffer).setInt16(4, POLLIN, true);
  const messages: Message[] = [];
  while (sys.poll(pollfd, 1, WAIT_MILLISECONDS) > 0) {
    const found = receiveBatch(sys, fd);
    if (found.length === 0) break;
    messages.push(...found);
    const bytes = messages.reduce((sum, { data }) => sum + data.length, 0);
    if (bytes >= (SHAPES[0]![1].length - 1) * SEGMENT_BYTES + 77) break;
  }
  return messages;
}

function receiveBatch(sys: Syscalls, fd: number): Message[] {
  const scratch = new Scratch(sys);
  const { view, address, bytes } = scratch;
  const headers = scratch.claim(MESSAGES * MMSGHDR_BYTES);
  const places = Array.from({ length: MESSAGES }, (_, index) => {
    const header = headers + index * MMSGHDR_BYTES;
    const [name, control] = [scratch.claim(SOCKADDR_IN_BYTES), scratch.claim(CONTROL_BYTES)];
    const buffer = scratch.claim(BUFFER_BYTES);
    setAddress(view, header + MMSGHDR_NAME_OFFSET, address + name);
    view.setUint32(header + MMSGHDR_NAME_LENGTH_OFFSET, SOCKADDR_IN_BYTES, true);
    setAddress(view, header + MMSGHDR_IOVEC_OFFSET, address + scratch.iovecs([[buffer, BUFFER_BYTES]]));
    view.setUint32(header + MMSGHDR_IOVEC_COUNT_OFFSET, 1, true);
    setAddress(view, header + MMSGHDR_CONTROL_OFFSET, address + control);
    view.setUint32(header + MMSGHDR_CONTROL_LENGTH_OFFSET, CONTROL_BYTES, true);
    return { header, name, control, buffer };
  });
  const count = sys.recvmmsg(fd, address + headers, MESSAGES, 0, 0);
  return places.slice(0, Math.max(0, count)).map(({ header, name, control, buffer }) => {
    const length = view.getUint32(header + MMSGHDR_LENGTH_OFFSET, true);
    const hasSize =
      view.getUint32(header + MMSGHDR_CONTROL_LENGTH_OFFSET, true) > CMSGHDR_BYTES &&
      view.getInt32(control + 8, true) === SOL_UDP &&
      view.getInt32(control + 12, true) === UDP_GRO;
    return {
      data: bytes.slice(buffer, buffer + length),
      port: view.getUint16(name + 2, false),
      segment: hasSize ? view.getInt32(control + CMSGHDR_BYTES, true) : length,
    };
  });
}

/** @returns what is wrong with what came */
function compare(
  sent: Uint8Array,
  lengths: readonly number[],
  received: readonly Message[],
  sender: number,
): string | undefined {
  if (received.some(({ port }) => port !== sender)) return 'from another port';
  if (received.some(({ segment, data }) => segment <= 0 && data.length > 0)) return 'without a length';
  const datagrams = received.flatMap(({ data, segment }) =>
    Array.from({ length: Math.ceil(data.length / segment) }, (_, index) =>
      data.subarray(index * segment, (index + 1) * segment),
    ),
  );
  const found = datagrams.map(({ length }) => length);
  if (found.join() !== lengths.join())
    return `with ${found.join(' + ')} bytes instead of ${lengths.join(' + ')}`;
  const whole = Buffer.concat(datagrams);
  return whole.equals(sent) ? undefined : 'with other bytes';
}

function setAddress(view: DataView, at: number, address: number): void {
  view.setBigUint64(at, BigInt(address), true);
}
