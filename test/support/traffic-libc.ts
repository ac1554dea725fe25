/**
 * The few system calls that the test bed needs and Node does not offer: packet sockets, raw ICMP, interface
 * ioctls. They are bound here a second time, apart from the ones under test, so that a mistake in the product's
 * own bindings cannot hide in the instrument that measures it.
 *
 * Every address that the kernel is handed inside a structure lies in one arena from `koffi.alloc`, which no
 * collector ever moves or frees. Calls are synchronous, so a Buffer given as a direct argument is safe.
 */
import koffi from 'koffi';

const libc = koffi.load(null);

export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOL_IP = 0;
export const SOL_SOCKET = 1;
export const SOL_IPV6 = 41;
export const SOL_PACKET = 263;
export const ETH_P_ALL = 0x0003;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const EAGAIN = 11;
export const EINTR = 4;
export const ENETDOWN = 100;

const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const NATIVE_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const calls = {
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, const void *address, uint32_t length)'),
  connect: libc.func('int connect(int fd, const void *address, uint32_t length)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
  sendto: libc.func(
    'intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t bytes)',
  ),
  recv: libc.func('intptr_t recv(int fd, void *data, size_t length, int flags)'),
  recvmsg: libc.func('intptr_t recvmsg(int fd, void *message, int flags)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  close: libc.func('int close(int fd)'),
  if_nametoindex: libc.func('uint32_t if_nametoindex(const char *name)'),
};

/** A failed system call: `errno` says why. */
export class SystemError extends Error {
  readonly errno: number;
  constructor(call: string, errno: number) {
    super(`${call} failed with errno ${errno}`);
    this.name = 'SystemError';
    this.errno = errno;
  }
}

function checked(call: string, result: number): number {
  if (result < 0) throw new SystemError(call, koffi.errno());
  return result;
}

export function socket(domain: number, type: number, protocol: number): number {
  return checked('socket', calls.socket(domain, type, protocol));
}

export function bind(fd: number, address: Uint8Array): void {
  checked('bind', calls.bind(fd, address, address.length));
}

export function connect(fd: number, address: Uint8Array): void {
  checked('connect', calls.connect(fd, address, address.length));
}

export function setInt(fd: number, level: number, name: number, value: number): void {
  const cell = new Uint8Array(new Int32Array([value]).buffer);
  checked(`setsockopt(${level}, ${name})`, calls.setsockopt(fd, level, name, cell, 4));
}

export function getOption(fd: number, level: number, name: number, bytes: number): DataView {
  const value = new Uint8Array(bytes);
  const length = new Uint8Array(new Uint32Array([bytes]).buffer);
  checked(`getsockopt(${level}, ${name})`, calls.getsockopt(fd, level, name, value, length));
  return new DataView(value.buffer);
}

/** A receive buffer that outlasts a burst; beyond `net.core.rmem_max` where the privilege allows it. */
export function enlargeReceiveBuffer(fd: number, bytes: number): void {
  try {
    setInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  } catch {
    setInt(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}

export function sendTo(fd: number, data: Uint8Array, address: Uint8Array | null): number {
  return checked('sendto', calls.sendto(fd, data, data.length, 0, address, address?.length ?? 0));
}

/** Bytes received into `data`, or -1 when nothing waits. */
export function receive(fd: number, data: Uint8Array): number {
  const length: number = calls.recv(fd, data, data.length, MSG_DONTWAIT);
  if (length >= 0) return length;
  const errno = koffi.errno();
  if (errno === EAGAIN || errno === EINTR) return -1;
  throw new SystemError('recv', errno);
}

/** As recvmsg(2) on a message header at `address`; -1 when nothing waits. */
export function receiveMessage(fd: number, address: bigint, flags: number): number {
  const length: number = calls.recvmsg(fd, address, flags);
  if (length >= 0) return length;
  const errno = koffi.errno();
  if (errno === EAGAIN || errno === EINTR) return -1;
  throw new SystemError('recvmsg', errno);
}

export function ioctl(fd: number, request: number, argument: Uint8Array | bigint): void {
  checked(`ioctl(0x${request.toString(16)})`, calls.ioctl(fd, request, argument));
}

export function close(fd: number): void {
  calls.close(fd);
}

export function interfaceIndex(name: string): number {
  const index: number = calls.if_nametoindex(name);
  if (index === 0) throw new Error(`no interface ${name} in this namespace`);
  return index;
}

/** Memory at a fixed address for as long as the process lives. */
export interface Arena {
  address: bigint;
  bytes: Uint8Array;
  view: DataView;
}

export function arena(length: number): Arena {
  const pointer = koffi.alloc('uint8', length);
  const buffer = koffi.view(pointer, length);
  return { address: koffi.address(pointer), bytes: new Uint8Array(buffer), view: new DataView(buffer) };
}

/** `sockaddr_ll` for an interface; `protocol` in host order, 0 to send only. */
export function packetAddress(index: number, protocol: number): Uint8Array {
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, NATIVE_LITTLE);
  view.setUint16(2, protocol);
  view.setInt32(4, index, NATIVE_LITTLE);
  return address;
}

/** `sockaddr_in` or `sockaddr_in6` from address bytes (4 or 16). */
export function internetAddress(host: Uint8Array, port: number): Uint8Array {
  const v4 = host.length === 4;
  const address = new Uint8Array(v4 ? 16 : 28);
  const view = new DataView(address.buffer);
  view.setUint16(0, v4 ? AF_INET : AF_INET6, NATIVE_LITTLE);
  view.setUint16(2, port);
  address.set(host, v4 ? 4 : 8);
  return address;
}

/** Of this machine's byte order, for structures that the kernel reads. */
export const LITTLE_ENDIAN = NATIVE_LITTLE;
