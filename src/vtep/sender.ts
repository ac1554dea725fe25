/**
 * Sends what the engine has laid out: one sendmmsg per run of messages of one socket. Sockets are opened
 * at the first datagram of their source port. Every failure ends as a counter, never as an exception:
 * the tunnel goes on.
 */
import {
  DEVICE_COUNT,
  DOMAIN_ENCAP_BYTES,
  DOMAIN_ENCAP_DROPS,
  DOMAIN_ENCAP_ERRORS,
  DOMAIN_ENCAP_PACKETS,
  DROP_NO_BUFFERS,
  DROP_REFUSED,
  DROP_SEND_ERROR,
  DROP_SOCKET_FULL,
  DROP_TOO_BIG,
  DROP_UNREACHABLE,
  ENCAP_BYTES_COUNTED,
  ENCAP_MESSAGES_USED_OFFSET,
  ENCAP_PACKETS,
  ENCAP_STATE_OFFSET,
  ENVELOPE_BYTES,
  ENVELOPE_CONTROL_USED_OFFSET,
  ENVELOPE_CUT_SOURCE_OFFSET,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_DOMAIN_OFFSET,
  ENVELOPE_LENGTH_OFFSET,
  ENVELOPE_OVERHEAD_OFFSET,
  ENVELOPE_SEGMENT_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_WHOLE_IOVECS_OFFSET,
  ENVELOPES_OFFSET,
  HEADER_BASE,
  HEADER_UNDERLAY_ERROR_OFFSET,
  HEADER_UNDERLAY_ON_OFFSET,
  HEADER_UNDERLAY_TAP_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  MESSAGE_ENVELOPES_OFFSET,
  MESSAGES_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  RUN_BYTES,
  RUN_COUNT_OFFSET,
  RUN_FIRST_OFFSET,
  RUN_SOURCE_OFFSET,
  RUNS_OFFSET,
  SEND_RETRIES,
  SOURCE_UNDERLAY_TAP,
  SUPER_FRAMES_WHOLE,
} from '../../assembly/layout.ts';
import {
  EACCES,
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNREFUSED,
  EHOSTUNREACH,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
  ENODEV,
  ENXIO,
} from '../io/errno.ts';
import {
  connectSource,
  disableSegmentation,
  isConnected,
  peerAt,
  SOURCE_UNREACHABLE,
  socketOf,
} from './sources.ts';
import { countOf, countOfDomain, type WorkerContext } from './worker-context.ts';

/** How long a full socket is waited for before its datagram is dropped. */
const FULL_MILLISECONDS = 20;
const POLLOUT = 4;
/** Refusals in a row after which the underlay TAP is used no more. */
const REFUSALS_MAX = 16;

export class Sender {
  readonly #context: WorkerContext;
  readonly #pollfd = new Uint8Array(8);
  /** Super-frames that the underlay TAP has refused, one after the other. */
  #refusals = 0;
  /** The message that has been tried again for an error, of the runs that are being sent. */
  #tried = -1;

  constructor(context: WorkerContext) {
    this.#context = context;
  }

  /** Sends the engine's first `runs` runs. Returns the system calls made. */
  send(runs: number): number {
    const { u32, base } = this.#context;
    let calls = 0;
    this.#tried = -1;
    for (let run = 0; run < runs; ++run) {
      const at = (base + RUNS_OFFSET + run * RUN_BYTES) >>> 2;
      const source = u32[at + (RUN_SOURCE_OFFSET >> 2)]!;
      const first = u32[at + (RUN_FIRST_OFFSET >> 2)]!;
      const end = first + u32[at + (RUN_COUNT_OFFSET >> 2)]!;
      calls +=
        source === SOURCE_UNDERLAY_TAP ? this.#sendWhole(first, end) : this.#sendRun(source, first, end);
    }
    return calls;
  }

  /** Messages of one socket. Returns the system calls made. */
  #sendRun(source: number, first: number, end: number): number {
    const { base, address, sys, u32 } = this.#context;
    let calls = 0;
    const fd = socketOf(this.#context, source);
    if (fd < 0) {
      const verdict = fd === SOURCE_UNREACHABLE ? DROP_UNREACHABLE : DROP_SEND_ERROR;
      for (let message = first; message < end; ++message) this.#drop(message, verdict);
      return 0;
    }
    if (u32[peerAt(source) >>> 2] === 0) this.#connect(fd, source, first);
    for (let next = first; next < end; ) {
      const messages = address + base + MESSAGES_OFFSET + next * MMSGHDR_BYTES;
      const sent = sys.sendmmsg(fd, messages, end - next, 0);
      ++calls;
      // The call reports an error only for its first message: what went before has been sent.
      next = sent > 0 ? next + sent : next + this.#recover(fd, source, next);
    }
    return calls;
  }

  /** Super-frames for the underlay TAP. Returns the system calls made. */
  #sendWhole(first: number, end: number): number {
    const { i32, address, sys } = this.#context;
    const tap = i32[(HEADER_BASE + HEADER_UNDERLAY_TAP_OFFSET) >>> 2]!;
    let calls = end - first;
    for (let message = first; message < end; ++message) {
      const iovecs = address + this.#envelopeAt(message) + ENVELOPE_WHOLE_IOVECS_OFFSET;
      if (sys.writev(tap, iovecs, 2) >= 0) this.#refusals = 0;
      else calls += this.#cut(message, sys.errno());
    }
    return calls;
  }

  /** A super-frame that was refused is split after all; what is refused again and again is asked no more. */
  #cut(message: number, errno: number): number {
    const { i32, u32, base, exports } = this.#context;
    if (++this.#refusals === REFUSALS_MAX) {
      i32[(HEADER_BASE + HEADER_UNDERLAY_ERROR_OFFSET) >>> 2] = errno;
      Atomics.store(i32, (HEADER_BASE + HEADER_UNDERLAY_ON_OFFSET) >>> 2, 0);
    }
    const first = u32[(base + ENCAP_STATE_OFFSET + ENCAP_MESSAGES_USED_OFFSET) >>> 2]!;
    this.#count(message, SUPER_FRAMES_WHOLE, -1);
    const count = exports.encapCut(base, message);
    if (count === 0) {
      this.#drop(message, verdictOf(errno));
      return 0;
    }
    return this.#sendRun(this.#envelope(message, ENVELOPE_CUT_SOURCE_OFFSET), first, first + count);
  }

  /** The socket is connected to the first remote that it sends to with nothing said but where. */
  #connect(fd: number, source: number, message: number): void {
    if (this.#envelope(message, ENVELOPE_CONTROL_USED_OFFSET) !== 0) return;
    connectSource(this.#context, source, fd, this.#context.address, this.#envelopeAt(message));
  }

  /** After a failure: 1 = done with the message, 0 = try it again. */
  #recover(fd: number, source: number, message: number): 0 | 1 {
    const errno = this.#context.sys.errno();
    if (errno === EINTR) return 0;
    if (errno === EAGAIN) {
      this.#count(message, SEND_RETRIES, 1);
      if (this.#waitUntilWritable(fd)) return 0;
      this.#drop(message, DROP_SOCKET_FULL);
      return 1;
    }
    // An earlier datagram was answered with "port unreachable". This one has not been sent.
    if (errno === ECONNREFUSED) {
      this.#count(message, DROP_REFUSED, 1);
      return 0;
    }
    // A connected socket tells once of what ICMP said to an earlier datagram: what it says twice is true of this one.
    if (isConnected(this.#context, source) && this.#tried !== message) {
      this.#tried = message;
      return 0;
    }
    if (this.#envelope(message, ENVELOPE_SEGMENTS_OFFSET) > 1 && isRefusedOffload(errno)) {
      if (errno !== EMSGSIZE) disableSegmentation(this.#context, source);
      this.#sendOneByOne(fd, message);
      return 1;
    }
    this.#drop(message, verdictOf(errno));
    return 1;
  }

  #waitUntilWritable(fd: number): boolean {
    const view = new DataView(this.#pollfd.buffer);
    view.setInt32(0, fd, true);
    view.setUint16(4, POLLOUT, true);
    return this.#context.sys.poll(this.#pollfd, 1, FULL_MILLISECONDS) > 0;
  }

  /** The datagrams of a UDP_SEGMENT message, each in a call of its own: IP fragments them where it must. */
  #sendOneByOne(fd: number, message: number): void {
    const { base, address, sys, view } = this.#context;
    const header = base + MESSAGES_OFFSET + message * MMSGHDR_BYTES;
    const segment = this.#envelope(message, ENVELOPE_SEGMENT_OFFSET);
    let left = this.#envelope(message, ENVELOPE_LENGTH_OFFSET);
    let iovec = Number(view.getBigUint64(header + MMSGHDR_IOVEC_OFFSET, true)) - address;
    const control = this.#envelope(message, ENVELOPE_CONTROL_USED_OFFSET);
    view.setUint32(header + MMSGHDR_CONTROL_LENGTH_OFFSET, control, true);
    while (left > 0) {
      const datagram = Math.min(segment, left);
      const first = iovec;
      for (let bytes = 0; bytes < datagram; iovec += IOVEC_BYTES) {
        bytes += view.getUint32(iovec + IOVEC_LENGTH_OFFSET, true);
      }
      view.setBigUint64(header + MMSGHDR_IOVEC_OFFSET, BigInt(address + first), true);
      view.setUint32(header + MMSGHDR_IOVEC_COUNT_OFFSET, (iovec - first) / IOVEC_BYTES, true);
      if (sys.sendmsg(fd, address + header, 0) < 0) this.#lose(message, verdictOf(sys.errno()), 1, datagram);
      left -= datagram;
    }
  }

  #envelopeAt(message: number): number {
    const { base, view } = this.#context;
    const envelope = view.getUint16(base + MESSAGE_ENVELOPES_OFFSET + message * 2, true);
    return base + ENVELOPES_OFFSET + envelope * ENVELOPE_BYTES;
  }

  #envelope(message: number, offset: number): number {
    return this.#context.u32[(this.#envelopeAt(message) + offset) >>> 2]!;
  }

  #drop(message: number, verdict: number): void {
    const datagrams = this.#envelope(message, ENVELOPE_SEGMENTS_OFFSET);
    this.#lose(message, verdict, datagrams, this.#envelope(message, ENVELOPE_LENGTH_OFFSET));
  }

  /** The engine has counted the datagrams as sent: that is taken back. */
  #lose(message: number, verdict: number, datagrams: number, bytes: number): void {
    const overhead = this.#envelope(message, ENVELOPE_OVERHEAD_OFFSET);
    this.#count(message, verdict, datagrams);
    this.#count(message, ENCAP_PACKETS, -datagrams);
    this.#count(message, ENCAP_BYTES_COUNTED, datagrams * overhead - bytes);
    const domain = this.#envelope(message, ENVELOPE_DOMAIN_OFFSET);
    if (domain < DEVICE_COUNT) return;
    const isError = verdict === DROP_UNREACHABLE || verdict === DROP_SEND_ERROR;
    countOfDomain(this.#context, domain, isError ? DOMAIN_ENCAP_ERRORS : DOMAIN_ENCAP_DROPS, datagrams);
    countOfDomain(this.#context, domain, DOMAIN_ENCAP_PACKETS, -datagrams);
    countOfDomain(this.#context, domain, DOMAIN_ENCAP_BYTES, datagrams * overhead - bytes);
  }

  #count(message: number, counter: number, amount: number): void {
    countOf(this.#context, this.#envelope(message, ENVELOPE_DEVICE_OFFSET), counter, amount);
  }
}

function isRefusedOffload(errno: number): boolean {
  return errno === EMSGSIZE || errno === EINVAL || errno === EIO;
}

function verdictOf(errno: number): number {
  switch (errno) {
    case EAGAIN:
      return DROP_SOCKET_FULL;
    case ENOBUFS:
      return DROP_NO_BUFFERS;
    case EMSGSIZE:
      return DROP_TOO_BIG;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EACCES: // a route that prohibits
    case EADDRNOTAVAIL:
    case EINVAL: // the local address has gone
    case ENODEV:
    case ENXIO:
      return DROP_UNREACHABLE;
    case ECONNREFUSED:
      return DROP_REFUSED;
    default:
      return DROP_SEND_ERROR;
  }
}
