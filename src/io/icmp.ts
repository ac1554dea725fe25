/**
 * ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4), sent and read without waiting. The kernel stamps replies as
 * they arrive, so that round trips are right however late they are read. What pretends to be an answer to one of our
 * own requests and hasn't the 64 random bits that stand in them is counted and left out.
 *
 * A ping socket needs no right where net.ipv4.ping_group_range allows it; elsewhere it is a raw one (CAP_NET_RAW).
 */
import { randomFillSync } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import {
  CMSGHDR_BYTES,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
} from '../../assembly/layout.ts';
import { EACCES, systemError } from './errno.ts';
import { AF_INET, addressBytes, type Family } from './family.ts';
import { Scratch } from './scratch.ts';
import {
  ICMP_FILTER,
  ICMP6_FILTER,
  IP_FREEBIND,
  IP_MTU_DISCOVER,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPV6_DONTFRAG,
  IPV6_FREEBIND,
  IPV6_MTU_DISCOVER,
  MSG_DONTWAIT,
  MSG_TRUNC,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_TIMESTAMPNS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_IP,
  SOL_IPV6,
  SOL_RAW,
  SOL_SOCKET,
} from './socket-numbers.ts';
import { type Syscalls, syscalls } from './syscalls.ts';

const CLOCK_REALTIME = 0;

/** The kernel's own numbers (IP_PMTUDISC_*), of both families. */
const MTU_DISCOVERY = { obey: 2, ignore: 3 };

const ICMP_HEADER_BYTES = 8;
const ECHO_TYPES = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } };
/** Where our own bytes stand behind the ICMP header: secret, seconds, nanoseconds, tag, number. */
const SECRET_BYTES = 8;
const SECONDS_OFFSET = ICMP_HEADER_BYTES + SECRET_BYTES;
const NANOSECONDS_OFFSET = SECONDS_OFFSET + 4;
const TAG_OFFSET = NANOSECONDS_OFFSET + 4;
const NUMBER_OFFSET = TAG_OFFSET + 4;
const ECHO_BYTES = NUMBER_OFFSET + 4;
const NAME_BYTES = 32;
const CONTROL_BYTES = 64;
/** The IPv4 header with options, and what we look at. */
const DATA_BYTES = 128;
const BATCH = 32;
/** Replies read in one go at most: what is left is read next time. */
const BATCHES_MAX = 64;
/** Zeros that large requests are filled up with, named as often as it takes. */
const FILL_BYTES = 2048;
const FILL_PARTS = 32;
const BUFFER_BYTES = 4 * 1024 * 1024;

export interface EchoOptions {
  family: Family;
  /** Address to send from, whether the host has it yet or not; "" = the route's choice. */
  local: string;
  /**
   * Requests are never cut on their way. `ignore`: what was learnt of the path's MTU doesn't count, only the
   * interface's does; `obey`: what is larger is refused with EMSGSIZE here, and the kernel learns from refusals.
   */
  pathMtu: 'obey' | 'ignore';
}

/** One object, filled anew for each reply. */
export interface EchoReply {
  /** As they were sent. */
  tag: number;
  number: number;
  /** Milliseconds; NaN when the clock was set in between. */
  rttMs: number;
  /** 4 or 16 bytes. */
  from: Uint8Array;
}

export class EchoSocket {
  /** Replies that were none to us, and those cut short. */
  foreign = 0;
  malformed = 0;
  readonly #sys: Syscalls;
  readonly #fd: number;
  readonly #family: Family;
  readonly #raw: boolean;
  readonly #identifier = new Uint8Array(2);
  readonly #secret = new Uint8Array(SECRET_BYTES);
  readonly #scratch: Scratch;
  readonly #clock: number;
  readonly #out: { message: number; name: number; iovecs: number; data: number };
  readonly #in: { messages: number; names: number; controls: number; data: number };
  readonly #reply: EchoReply;

  /** @throws VtepError PERMISSION or SYSTEM */
  constructor(options: EchoOptions) {
    this.#sys = syscalls();
    this.#family = options.family;
    randomFillSync(this.#secret);
    randomFillSync(this.#identifier);
    this.#scratch = new Scratch(this.#sys);
    this.#clock = this.#scratch.claim(16);
    this.#out = this.#layOutRequest();
    this.#in = this.#layOutReplies();
    this.#reply = { tag: 0, number: 0, rttMs: 0, from: new Uint8Array(addressBytes(options.family)) };
    const { fd, raw } = openSocket(this.#sys, options);
    this.#fd = fd;
    this.#raw = raw;
  }

  close(): void {
    this.#sys.close(this.#fd);
  }

  /**
   * @param bytes of the whole IP packet; what is too small for our own bytes is made larger
   * @returns 0, or the error number
   */
  send(to: Uint8Array, tag: number, number: number, bytes = 0): number {
    const { view, bytes: memory, address } = this.#scratch;
    const { message, name, iovecs, data } = this.#out;
    memory.set(to, name + (this.#family === AF_INET ? 4 : 8));
    view.setUint32(data + TAG_OFFSET, tag);
    view.setUint32(data + NUMBER_OFFSET, number);
    view.setUint16(data + 6, number & 0xffff);
    const headers = (this.#family === AF_INET ? 20 : 40) + ECHO_BYTES;
    view.setUint32(message + MMSGHDR_IOVEC_COUNT_OFFSET, this.#fill(iovecs, bytes - headers), true);
    this.#sys.clock_gettime(CLOCK_REALTIME, address + this.#clock);
    view.setUint32(data + SECONDS_OFFSET, view.getUint32(this.#clock, true));
    view.setUint32(data + NANOSECONDS_OFFSET, view.getUint32(this.#clock + 8, true));
    if (this.#raw && this.#family === AF_INET) {
      view.setUint16(data + 2, 0);
      // What follows is zeros.
      view.setUint16(data + 2, checksum(view, data, ECHO_BYTES));
    }
    return this.#sys.sendmsg(this.#fd, address + message, MSG_DONTWAIT) < 0 ? this.#sys.errno() : 0;
  }

  /** Hands over every reply that has come. The object is good until the function returns. */
  receive(heard: (reply: EchoReply) => void): void {
    const { view, address } = this.#scratch;
    for (let batch = 0; batch < BATCHES_MAX; ++batch) {
      const { messages } = this.#in;
      for (let i = 0; i < BATCH; ++i) {
        const at = messages + i * MMSGHDR_BYTES;
        view.setUint32(at + MMSGHDR_NAME_LENGTH_OFFSET, NAME_BYTES, true);
        view.setUint32(at + MMSGHDR_CONTROL_LENGTH_OFFSET, CONTROL_BYTES, true);
      }
      const count = this.#sys.recvmmsg(this.#fd, address + messages, BATCH, MSG_DONTWAIT, 0);
      // Nothing is there, or the interface has just gone: next time.
      if (count <= 0) return;
      for (let i = 0; i < count; ++i) if (this.#read(i)) heard(this.#reply);
      if (count < BATCH) return;
    }
  }

  #read(index: number): boolean {
    const { view, bytes: memory } = this.#scratch;
    const message = this.#in.messages + index * MMSGHDR_BYTES;
    const cut = (view.getUint32(message + MMSGHDR_FLAGS_OFFSET, true) & MSG_TRUNC) !== 0;
    const length = cut ? DATA_BYTES : view.getUint32(message + MMSGHDR_LENGTH_OFFSET, true);
    const start = this.#in.data + index * DATA_BYTES;
    // A raw IPv4 socket hands over the IP header, too.
    const skip = this.#raw && this.#family === AF_INET ? (view.getUint8(start) & 0xf) * 4 : 0;
    const at = start + skip;
    if (length < skip + ICMP_HEADER_BYTES) return this.#leaveOut('malformed');
    const type = ECHO_TYPES[this.#family === AF_INET ? 4 : 6].reply;
    if (view.getUint8(at) !== type || view.getUint8(at + 1) !== 0) return this.#leaveOut('foreign');
    // A raw socket hears the answers to everybody's pings: nothing is wrong with those.
    if (this.#raw && !same(memory, at + 4, this.#identifier)) return false;
    if (length < skip + ECHO_BYTES) return this.#leaveOut('malformed');
    if (!same(memory, at + ICMP_HEADER_BYTES, this.#secret)) return this.#leaveOut('foreign');
    const reply = this.#reply;
    reply.tag = view.getUint32(at + TAG_OFFSET);
    reply.number = view.getUint32(at + NUMBER_OFFSET);
    reply.rttMs = this.#since(at, this.#in.controls + index * CONTROL_BYTES);
    const name = this.#in.names + index * NAME_BYTES + (this.#family === AF_INET ? 4 : 8);
    for (let i = 0; i < reply.from.length; ++i) reply.from[i] = memory[name + i]!;
    return true;
  }

  #leaveOut(reason: 'foreign' | 'malformed'): false {
    this[reason] += 1;
    return false;
  }

  /** Milliseconds from when the request says that it was sent until the kernel's stamp. */
  #since(at: number, control: number): number {
    const { view } = this.#scratch;
    if (view.getInt32(control + 8, true) !== SOL_SOCKET) return Number.NaN;
    if (view.getInt32(control + 12, true) !== SO_TIMESTAMPNS) return Number.NaN;
    const seconds = view.getUint32(control + CMSGHDR_BYTES, true) - view.getUint32(at + SECONDS_OFFSET);
    const nanoseconds =
      view.getUint32(control + CMSGHDR_BYTES + 8, true) - view.getUint32(at + NANOSECONDS_OFFSET);
    const milliseconds = seconds * 1000 + nanoseconds / 1e6;
    return milliseconds < 0 ? Number.NaN : milliseconds;
  }

  /** Names as many zeros as are missing. @returns how many parts the request has now */
  #fill(iovecs: number, bytes: number): number {
    let parts = 1;
    for (let left = bytes; left > 0 && parts <= FILL_PARTS; left -= FILL_BYTES, ++parts) {
      const length = iovecs + parts * IOVEC_BYTES + IOVEC_LENGTH_OFFSET;
      this.#scratch.view.setUint32(length, Math.min(left, FILL_BYTES), true);
    }
    return parts;
  }

  #layOutRequest() {
    const { view, bytes, address } = this.#scratch;
    const data = this.#scratch.claim(ECHO_BYTES);
    const fill = this.#scratch.claim(FILL_BYTES);
    const name = this.#scratch.claim(NAME_BYTES);
    const message = this.#scratch.claim(MMSGHDR_BYTES);
    const rest = Array.from({ length: FILL_PARTS }, () => [fill, FILL_BYTES] as const);
    const iovecs = this.#scratch.iovecs([[data, ECHO_BYTES], ...rest]);
    view.setUint16(name, this.#family, true);
    view.setUint8(data, ECHO_TYPES[this.#family === AF_INET ? 4 : 6].request);
    bytes.set(this.#identifier, data + 4);
    bytes.set(this.#secret, data + ICMP_HEADER_BYTES);
    view.setBigUint64(message + MMSGHDR_NAME_OFFSET, BigInt(address + name), true);
    view.setUint32(message + MMSGHDR_NAME_LENGTH_OFFSET, this.#family === AF_INET ? 16 : 28, true);
    view.setBigUint64(message + MMSGHDR_IOVEC_OFFSET, BigInt(address + iovecs), true);
    return { message, name, iovecs, data };
  }

  #layOutReplies() {
    const { view, address } = this.#scratch;
    const messages = this.#scratch.claim(BATCH * MMSGHDR_BYTES);
    const names = this.#scratch.claim(BATCH * NAME_BYTES);
    const controls = this.#scratch.claim(BATCH * CONTROL_BYTES);
    const data = this.#scratch.claim(BATCH * DATA_BYTES);
    const parts = Array.from({ length: BATCH }, (_, i) => [data + i * DATA_BYTES, DATA_BYTES] as const);
    const iovecs = this.#scratch.iovecs(parts);
    for (let i = 0; i < BATCH; ++i) {
      const at = messages + i * MMSGHDR_BYTES;
      const name = (offset: number, value: number) => view.setBigUint64(at + offset, BigInt(value), true);
      name(MMSGHDR_NAME_OFFSET, address + names + i * NAME_BYTES);
      name(MMSGHDR_IOVEC_OFFSET, address + iovecs + i * IOVEC_BYTES);
      name(MMSGHDR_IOVEC_COUNT_OFFSET, 1);
      name(MMSGHDR_CONTROL_OFFSET, address + controls + i * CONTROL_BYTES);
    }
    return { messages, names, controls, data };
  }
}

function openSocket(sys: Syscalls, options: EchoOptions): { fd: number; raw: boolean } {
  const { family } = options;
  const protocol = family === AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
  const what = `${family === AF_INET ? 'ICMP' : 'ICMPv6'} socket`;
  let fd = sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  const raw = fd < 0 && sys.errno() === EACCES;
  if (raw) fd = sys.socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    const remedy = 'CAP_NET_RAW is needed, or the group in net.ipv4.ping_group_range';
    throw systemError(what, raw ? remedy : '');
  }
  try {
    const set = (level: number, option: number, value: number) => {
      if (!trySet(sys, fd, level, option, value)) throw systemError(`${what}: option ${level}/${option}`);
    };
    if (raw && family === AF_INET) set(SOL_RAW, ICMP_FILTER, ~(1 << ECHO_TYPES[4].reply));
    if (raw && family !== AF_INET) passOnlyReplies(sys, fd);
    set(SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (!trySet(sys, fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)) {
      trySet(sys, fd, SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
    }
    if (family === AF_INET) {
      set(SOL_IP, IP_MTU_DISCOVER, MTU_DISCOVERY[options.pathMtu]);
      set(SOL_IP, IP_FREEBIND, 1);
    } else {
      set(SOL_IPV6, IPV6_MTU_DISCOVER, MTU_DISCOVERY[options.pathMtu]);
      set(SOL_IPV6, IPV6_DONTFRAG, 1);
      set(SOL_IPV6, IPV6_FREEBIND, 1);
    }
    const name = new Uint8Array(family === AF_INET ? 16 : 28);
    new DataView(name.buffer).setUint16(0, family, true);
    if (options.local !== '') {
      name.set(ipaddr.parse(options.local).toByteArray(), family === AF_INET ? 4 : 8);
    }
    if (sys.bind(fd, name, name.length) < 0) throw systemError(`${what}: bind ${options.local}`);
    return { fd, raw };
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

/** struct icmp6_filter: one bit a type, set = not passed. */
function passOnlyReplies(sys: Syscalls, fd: number): void {
  const filter = new Uint8Array(32).fill(0xff);
  filter[ECHO_TYPES[6].reply >> 3]! &= ~(1 << (ECHO_TYPES[6].reply & 7));
  if (sys.setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, filter, filter.length) < 0) {
    throw systemError('ICMPv6 socket: ICMP6_FILTER');
  }
}

function trySet(sys: Syscalls, fd: number, level: number, option: number, value: number): boolean {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return sys.setsockopt(fd, level, option, bytes, 4) === 0;
}

/** RFC 1071 over an even number of bytes. */
function checksum(view: DataView, at: number, bytes: number): number {
  let sum = 0;
  for (let i = 0; i < bytes; i += 2) sum += view.getUint16(at + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function same(memory: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; ++i) if (memory[at + i] !== expected[i]) return false;
  return true;
}
