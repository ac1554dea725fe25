/**
 * Datagrams that come in to listening sockets: batches of messages (recvmmsg) into memory that stays where it is, and
 * out of them the datagrams, each with its sender, port and outer TOS. Bundles (UDP_GRO) are handed on whole: what lies in
 * them says whether they are some.
 */
import ipaddr from 'ipaddr.js';
import {
  CMSGHDR_BYTES,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  IP_TOS,
  IPV6_TCLASS,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_GRO,
} from '../../assembly/layout.ts';
import { EAGAIN, ECONNREFUSED, EINTR, errorName } from './errno.ts';
import { AF_INET } from './family.ts';
import { MSG_DONTWAIT } from './socket-numbers.ts';
import { type Syscalls, syscalls } from './syscalls.ts';

const MESSAGES = 32;
const BUFFER_BYTES = 65_536;
/** An odd number of cache lines, so that the first lines of buffers spread over the cache. */
const STRIDE_BYTES = BUFFER_BYTES + 64;
const NAME_BYTES = 32;
const CONTROL_BYTES = 128;
const PAGE_BYTES = 65_536;
const NAMES_BASE = MESSAGES * MMSGHDR_BYTES;
const IOVECS_BASE = NAMES_BASE + MESSAGES * NAME_BYTES;
const CONTROLS_BASE = IOVECS_BASE + MESSAGES * IOVEC_BYTES;
const BUFFERS_BASE = CONTROLS_BASE + MESSAGES * CONTROL_BYTES;
const PAGES = Math.ceil((BUFFERS_BASE + MESSAGES * STRIDE_BYTES) / PAGE_BYTES);

/** The bytes are the inbox's again when it returns. */
export type Arrived = (bytes: Uint8Array, sender: string, port: number, tos: number, segment: number) => void;

export class Inbox {
  readonly messages = MESSAGES;
  readonly #sys: Syscalls = syscalls();
  readonly #memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  readonly #bytes = new Uint8Array(this.#memory.buffer);
  readonly #view = new DataView(this.#memory.buffer);
  readonly #address = this.#sys.addressOf(this.#bytes);
  readonly #arrived: Arrived;
  /** The last sender: the bytes of its address, and the text. */
  #known = new Uint8Array(0);
  #sender = '';

  constructor(arrived: Arrived) {
    this.#arrived = arrived;
    for (let index = 0; index < MESSAGES; ++index) {
      const message = index * MMSGHDR_BYTES;
      const iovec = IOVECS_BASE + index * IOVEC_BYTES;
      const pointer = (at: number, to: number) =>
        this.#view.setBigUint64(at, BigInt(this.#address + to), true);
      pointer(message + MMSGHDR_NAME_OFFSET, NAMES_BASE + index * NAME_BYTES);
      pointer(message + MMSGHDR_IOVEC_OFFSET, iovec);
      pointer(message + MMSGHDR_CONTROL_OFFSET, CONTROLS_BASE + index * CONTROL_BYTES);
      this.#view.setBigUint64(message + MMSGHDR_IOVEC_COUNT_OFFSET, 1n, true);
      pointer(iovec, BUFFERS_BASE + index * STRIDE_BYTES);
      this.#view.setBigUint64(iovec + IOVEC_LENGTH_OFFSET, BigInt(BUFFER_BYTES), true);
    }
  }

  /**
   * One batch of a socket. @returns how many messages there were; as many as `messages`: there may be more
   * @throws Error when the socket can't be read
   */
  receive(fd: number, port: number): number {
    for (let index = 0; index < MESSAGES; ++index) {
      const message = index * MMSGHDR_BYTES;
      this.#view.setUint32(message + MMSGHDR_NAME_LENGTH_OFFSET, SOCKADDR_IN6_BYTES, true);
      this.#view.setUint32(message + MMSGHDR_CONTROL_LENGTH_OFFSET, CONTROL_BYTES, true);
      this.#view.setUint32(message + MMSGHDR_FLAGS_OFFSET, 0, true);
    }
    const count = this.#sys.recvmmsg(fd, this.#address, MESSAGES, MSG_DONTWAIT, 0);
    if (count < 0) {
      const errno = this.#sys.errno();
      if (errno === EAGAIN || errno === EINTR || errno === ECONNREFUSED) return 0;
      throw new Error(`recvmmsg: ${errorName(errno)}`);
    }
    for (let index = 0; index < count; ++index) this.#unpack(index, port);
    return count;
  }

  #unpack(index: number, port: number): void {
    const length = this.#view.getUint32(index * MMSGHDR_BYTES + MMSGHDR_LENGTH_OFFSET, true);
    const sender = this.#senderOf(NAMES_BASE + index * NAME_BYTES);
    let segment = 0;
    let tos = 0;
    const first = CONTROLS_BASE + index * CONTROL_BYTES;
    const end = first + this.#view.getUint32(index * MMSGHDR_BYTES + MMSGHDR_CONTROL_LENGTH_OFFSET, true);
    for (let at = first; at + CMSGHDR_BYTES <= end; ) {
      const size = this.#view.getUint32(at, true);
      const level = this.#view.getInt32(at + 8, true);
      const kind = this.#view.getInt32(at + 12, true);
      const value = at + CMSGHDR_BYTES;
      if (level === SOL_UDP && kind === UDP_GRO) segment = this.#view.getInt32(value, true);
      // A byte over IPv4, an int over IPv6.
      else if ((level === SOL_IP && kind === IP_TOS) || (level === SOL_IPV6 && kind === IPV6_TCLASS))
        tos = this.#bytes[value]!;
      at += Math.max(CMSGHDR_BYTES, (size + 7) & ~7);
    }
    const start = BUFFERS_BASE + index * STRIDE_BYTES;
    const bytes = this.#bytes.subarray(start, start + length);
    this.#arrived(bytes, sender, port, tos, segment > 0 && segment < length ? segment : 0);
  }

  #senderOf(name: number): string {
    const isIpv4 = this.#view.getUint16(name, true) === AF_INET;
    const [at, bytes] = isIpv4 ? [name + 4, 4] : [name + 8, 16];
    const known = this.#known;
    if (known.length === bytes) {
      let same = 0;
      while (same < bytes && known[same] === this.#bytes[at + same]) ++same;
      if (same === bytes) return this.#sender;
    }
    this.#known = this.#bytes.slice(at, at + bytes);
    const parsed = ipaddr.fromByteArray([...this.#known]);
    this.#sender = isIpv4 ? parsed.toString() : (parsed as ipaddr.IPv6).toRFC5952String();
    return this.#sender;
  }
}
