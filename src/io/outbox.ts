/**
 * Datagrams on their way out of one socket: copied side by side into memory that stays where it is, and handed to the
 * kernel in one call. Those of one length to one place share a message, which the kernel cuts (UDP_SEGMENT).
 */
import ipaddr from 'ipaddr.js';
import {
  CMSGHDR_BYTES,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  IP_TOS,
  IP_TTL,
  IPV6_HOPLIMIT,
  IPV6_TCLASS,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_SEGMENT,
} from '../../assembly/layout.ts';
import {
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
} from './errno.ts';
import { AF_INET, AF_INET6, type Family } from './family.ts';
import { type Syscalls, syscalls } from './syscalls.ts';
import type { LossReason, OutgoingDatagram } from './underlay.ts';

const MESSAGES = 64;
/** Linux takes no more segments a message (UDP_MAX_SEGMENTS), nor more bytes. */
const SEGMENTS = 64;
const MESSAGE_BYTES = 65_507;
const NAME_BYTES = 32;
const CONTROL_VALUE_BYTES = 8;
const CONTROL_BYTES = CMSGHDR_BYTES + CONTROL_VALUE_BYTES;
/** TOS, TTL, segment size. */
const CONTROLS = 3;
const PAGE_BYTES = 65_536;
const NAMES_BASE = MESSAGES * MMSGHDR_BYTES;
const IOVECS_BASE = NAMES_BASE + MESSAGES * NAME_BYTES;
const CONTROLS_BASE = IOVECS_BASE + MESSAGES * IOVEC_BYTES;
const DATA_BASE = CONTROLS_BASE + MESSAGES * CONTROLS * CONTROL_BYTES;
const DATA_BYTES = 4 * PAGE_BYTES;
const PAGES = Math.ceil((DATA_BASE + DATA_BYTES) / PAGE_BYTES);
const NAMES_MAX = 1024;

/** What a message holds, for those who count what was lost. */
interface Message {
  address: string;
  port: number;
  tos: number;
  ttl: number;
  device: number;
  /** Datagrams, the bytes of each but the last, and where they begin. */
  count: number;
  segment: number;
  bytes: number;
  start: number;
}

export type Lost = (device: number, bytes: number, reason: LossReason) => void;

export class Outbox {
  readonly fd: number;
  readonly #family: Family;
  readonly #lost: Lost;
  readonly #sys: Syscalls = syscalls();
  readonly #memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  readonly #bytes = new Uint8Array(this.#memory.buffer);
  readonly #view = new DataView(this.#memory.buffer);
  readonly #address = this.#sys.addressOf(this.#bytes);
  readonly #messages: readonly Message[] = Array.from({ length: MESSAGES }, () => ({
    ...{ address: '', port: 0, tos: 0, ttl: 0, device: 0 },
    ...{ count: 0, segment: 0, bytes: 0, start: 0 },
  }));
  /** struct sockaddr by address, without its port. */
  readonly #names = new Map<string, Uint8Array>();
  #used = 0;
  #filled = 0;
  /** Datagrams as long as this, or longer, go one by one: the kernel or the way out doesn't cut them. */
  #wholeFrom: number;

  /** @param segments whether the kernel cuts messages */
  constructor(fd: number, family: Family, segments: boolean, lost: Lost) {
    this.fd = fd;
    this.#family = family;
    this.#wholeFrom = segments ? MESSAGE_BYTES : 0;
    this.#lost = lost;
    for (let index = 0; index < MESSAGES; ++index) {
      const message = index * MMSGHDR_BYTES;
      const pointer = (at: number, to: number) =>
        this.#view.setBigUint64(message + at, BigInt(this.#address + to), true);
      pointer(MMSGHDR_NAME_OFFSET, NAMES_BASE + index * NAME_BYTES);
      pointer(MMSGHDR_IOVEC_OFFSET, IOVECS_BASE + index * IOVEC_BYTES);
      pointer(MMSGHDR_CONTROL_OFFSET, CONTROLS_BASE + index * CONTROLS * CONTROL_BYTES);
      this.#view.setUint32(
        message + MMSGHDR_NAME_LENGTH_OFFSET,
        family === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES,
        true,
      );
      this.#view.setBigUint64(message + MMSGHDR_IOVEC_COUNT_OFFSET, 1n, true);
    }
  }

  get isEmpty(): boolean {
    return this.#used === 0;
  }

  /** Takes a copy; what leaves no room for it is sent first. */
  put({ bytes, address, port, tos, ttl, device }: OutgoingDatagram): LossReason | undefined {
    const { length } = bytes;
    if (length > MESSAGE_BYTES) return 'too-big';
    if (this.#filled + length > DATA_BYTES) this.flush();
    const at = DATA_BASE + this.#filled;
    const last = this.#used === 0 ? undefined : this.#messages[this.#used - 1]!;
    const joins =
      last !== undefined &&
      length <= last.segment &&
      last.segment < this.#wholeFrom &&
      last.bytes === last.count * last.segment &&
      last.count < SEGMENTS &&
      last.bytes + length <= MESSAGE_BYTES &&
      last.port === port &&
      last.device === device &&
      last.tos === tos &&
      last.ttl === ttl &&
      last.address === address;
    if (joins) {
      ++last.count;
      last.bytes += length;
    } else {
      if (this.#used === MESSAGES) {
        this.flush();
        return this.put({ bytes, address, port, tos, ttl, device } as OutgoingDatagram);
      }
      const message = this.#messages[this.#used]!;
      message.address = address;
      message.port = port;
      message.tos = tos;
      message.ttl = ttl;
      message.device = device;
      message.count = 1;
      message.segment = length;
      message.bytes = length;
      message.start = at;
      ++this.#used;
    }
    this.#bytes.set(bytes, at);
    this.#filled += length;
    return;
  }

  /** Sends what there is. What can't be sent is lost, and told. */
  flush(): void {
    const count = this.#used;
    if (count === 0) return;
    for (let index = 0; index < count; ++index) this.#describe(index);
    for (let at = 0; at < count; ) {
      const sent = this.#sys.sendmmsg(this.fd, this.#address + at * MMSGHDR_BYTES, count - at, 0);
      if (sent > 0) at += sent;
      else {
        const errno = this.#sys.errno();
        if (errno !== EINTR) this.#failed(at++, errno);
      }
    }
    this.#used = 0;
    this.#filled = 0;
  }

  #describe(index: number): void {
    const view = this.#view;
    const { address, port, tos, ttl, count, segment, bytes, start } = this.#messages[index]!;
    const name = NAMES_BASE + index * NAME_BYTES;
    this.#bytes.set(this.#nameOf(address), name);
    view.setUint16(name + 2, port, false);
    this.#lay(index, start, bytes);
    let control = 0;
    const isIpv4 = this.#family === AF_INET;
    const level = isIpv4 ? SOL_IP : SOL_IPV6;
    if (tos !== 0) this.#control(index, control++, level, isIpv4 ? IP_TOS : IPV6_TCLASS, 4, tos);
    if (ttl !== 0) this.#control(index, control++, level, isIpv4 ? IP_TTL : IPV6_HOPLIMIT, 4, ttl);
    if (count > 1) this.#control(index, control++, SOL_UDP, UDP_SEGMENT, 2, segment);
    const length = index * MMSGHDR_BYTES + MMSGHDR_CONTROL_LENGTH_OFFSET;
    view.setBigUint64(length, BigInt(control * CONTROL_BYTES), true);
  }

  #lay(index: number, start: number, bytes: number): void {
    const iovec = IOVECS_BASE + index * IOVEC_BYTES;
    this.#view.setBigUint64(iovec, BigInt(this.#address + start), true);
    this.#view.setBigUint64(iovec + IOVEC_LENGTH_OFFSET, BigInt(bytes), true);
  }

  #control(index: number, at: number, level: number, kind: number, bytes: number, value: number): void {
    const control = CONTROLS_BASE + (index * CONTROLS + at) * CONTROL_BYTES;
    this.#view.setBigUint64(control, BigInt(CMSGHDR_BYTES + bytes), true);
    this.#view.setInt32(control + 8, level, true);
    this.#view.setInt32(control + 12, kind, true);
    this.#view.setInt32(control + CMSGHDR_BYTES, value, true);
  }

  #nameOf(address: string): Uint8Array {
    const known = this.#names.get(address);
    if (known !== undefined) return known;
    const isIpv4 = this.#family === AF_INET;
    const name = new Uint8Array(isIpv4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
    new DataView(name.buffer).setUint16(0, isIpv4 ? AF_INET : AF_INET6, true);
    name.set(ipaddr.parse(address).toByteArray(), isIpv4 ? 4 : 8);
    if (this.#names.size >= NAMES_MAX) this.#names.clear();
    this.#names.set(address, name);
    return name;
  }

  /** The message at `index` was refused: what the kernel would not cut goes in pieces, the rest is lost. */
  #failed(index: number, errno: number): void {
    const { count, segment, bytes, start, device } = this.#messages[index]!;
    if (count === 1 || !(errno === EINVAL || errno === EIO || errno === EMSGSIZE)) {
      for (let piece = 0; piece < count; ++piece)
        this.#lost(device, Math.min(segment, bytes - piece * segment), reasonOf(errno));
      return;
    }
    this.#wholeFrom = errno === EIO ? 0 : Math.min(this.#wholeFrom, segment);
    const message = index * MMSGHDR_BYTES;
    const length = message + MMSGHDR_CONTROL_LENGTH_OFFSET;
    // The size of segments is the last of its control messages.
    const controls = Number(this.#view.getBigUint64(length, true)) - CONTROL_BYTES;
    this.#view.setBigUint64(length, BigInt(controls), true);
    for (let piece = 0; piece < count; ++piece) {
      const size = Math.min(segment, bytes - piece * segment);
      this.#lay(index, start + piece * segment, size);
      let sent = -1;
      do sent = this.#sys.sendmsg(this.fd, this.#address + message, 0);
      while (sent < 0 && this.#sys.errno() === EINTR);
      if (sent < 0) this.#lost(device, size, reasonOf(this.#sys.errno()));
    }
  }
}

function reasonOf(errno: number): LossReason {
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
      return 'full';
    case EMSGSIZE:
      return 'too-big';
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
      return 'unreachable';
    case ECONNREFUSED:
      return 'refused';
    default:
      return 'error';
  }
}
