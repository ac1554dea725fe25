/**
 * The system calls, through koffi, synchronous only. Calls of the hot path take addresses as numbers and
 * cost 100 to 170 ns above the kernel's own work; set-up calls take buffers, which stay put for the call.
 *
 * Memory whose address the kernel keeps, or that a worker hands over call after call, must never be
 * collectable: it lies in the dataplane's WebAssembly memory (`addressOf`).
 */
import { createRequire } from 'node:module';
import type koffi from 'koffi';
import { VtepError } from '../errors.ts';

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const IORING_ENTER_GETEVENTS = 1;

export interface Syscalls {
  /** The error number of the last call of this thread that failed. */
  errno(): number;
  open(path: string, flags: number): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** For requests that take a number instead of an address. */
  ioctlValue(fd: number, request: number, value: number): number;
  read(fd: number, address: number, bytes: number): number;
  readBytes(fd: number, into: Uint8Array, bytes: number): number;
  writeBytes(fd: number, data: Uint8Array, bytes: number): number;
  writev(fd: number, iovecs: number, count: number): number;
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, name: Uint8Array, bytes: number): number;
  getsockname(fd: number, name: Uint8Array, bytes: Uint8Array): number;
  connect(fd: number, name: number, bytes: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, bytes: number): number;
  getsockopt(fd: number, level: number, option: number, value: Uint8Array, bytes: Uint8Array): number;
  send(fd: number, data: Uint8Array, bytes: number, flags: number): number;
  sendto(
    fd: number,
    data: Uint8Array,
    bytes: number,
    flags: number,
    name: Uint8Array,
    nameBytes: number,
  ): number;
  recv(fd: number, buffer: Uint8Array, bytes: number, flags: number): number;
  sendmsg(fd: number, message: number, flags: number): number;
  sendmmsg(fd: number, messages: number, count: number, flags: number): number;
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: number): number;
  /** @param result struct timespec */
  clock_gettime(clock: number, result: number): number;
  sched_yield(): number;
  madvise(address: number, bytes: number, advice: number): number;
  eventfd(value: number, flags: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
  epoll_wait(epoll: number, events: number, count: number, milliseconds: number): number;
  poll(fds: Uint8Array, count: number, milliseconds: number): number;
  setns(fd: number, kind: number): number;
  /** @param parameters struct io_uring_params, read and written */
  io_uring_setup(entries: number, parameters: Uint8Array): number;
  /** Has the kernel take `count` submissions and waits until as many completions are there. */
  io_uring_enter(ring: number, count: number): number;
  /** Where bytes lie in this process. Only memory that is never collected may be named by it. */
  addressOf(bytes: Uint8Array): number;
}

let loaded: Syscalls | undefined;

/**
 * @throws VtepError UNSUPPORTED where koffi or Linux is missing; the portable engine does without
 */
export function syscalls(): Syscalls {
  loaded ??= load();
  return loaded;
}

function load(): Syscalls {
  if (process.platform !== 'linux') {
    throw new VtepError('UNSUPPORTED', `system calls: this is ${process.platform}; TAP devices need Linux`);
  }
  let ffi: typeof koffi;
  try {
    ffi = createRequire(import.meta.url)('koffi') as typeof koffi;
  } catch {
    throw new VtepError(
      'UNSUPPORTED',
      'system calls: the optional dependency koffi is missing: npm install koffi',
    );
  }
  const libc = ffi.load(null);
  const call = (name: string, result: string, parameters: string[]) => libc.func(name, result, parameters);
  const address = 'uintptr_t';
  // The C library has no functions for these; their numbers are the same on all architectures that Node runs on.
  const setup = call('syscall', 'long', ['long', 'uint', 'void *']);
  const enter = call('syscall', 'long', ['long', 'int', 'uint', 'uint', 'uint', address, 'size_t']);
  return {
    errno: () => ffi.errno(),
    open: call('open', 'int', ['str', 'int']),
    close: call('close', 'int', ['int']),
    ioctl: call('ioctl', 'int', ['int', 'ulong', 'void *']),
    ioctlValue: call('ioctl', 'int', ['int', 'ulong', address]),
    read: call('read', 'long', ['int', address, 'size_t']),
    readBytes: call('read', 'long', ['int', 'void *', 'size_t']),
    writeBytes: call('write', 'long', ['int', 'void *', 'size_t']),
    writev: call('writev', 'long', ['int', address, 'int']),
    socket: call('socket', 'int', ['int', 'int', 'int']),
    bind: call('bind', 'int', ['int', 'void *', 'uint']),
    getsockname: call('getsockname', 'int', ['int', 'void *', 'void *']),
    connect: call('connect', 'int', ['int', address, 'uint']),
    setsockopt: call('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint']),
    getsockopt: call('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']),
    send: call('send', 'long', ['int', 'void *', 'size_t', 'int']),
    sendto: call('sendto', 'long', ['int', 'void *', 'size_t', 'int', 'void *', 'uint']),
    recv: call('recv', 'long', ['int', 'void *', 'size_t', 'int']),
    sendmsg: call('sendmsg', 'long', ['int', address, 'int']),
    sendmmsg: call('sendmmsg', 'int', ['int', address, 'uint', 'int']),
    recvmmsg: call('recvmmsg', 'int', ['int', address, 'uint', 'int', address]),
    clock_gettime: call('clock_gettime', 'int', ['int', address]),
    sched_yield: call('sched_yield', 'int', []),
    madvise: call('madvise', 'int', [address, 'size_t', 'int']),
    eventfd: call('eventfd', 'int', ['uint', 'int']),
    epoll_create1: call('epoll_create1', 'int', ['int']),
    epoll_ctl: call('epoll_ctl', 'int', ['int', 'int', 'int', 'void *']),
    epoll_wait: call('epoll_wait', 'int', ['int', address, 'int', 'int']),
    poll: call('poll', 'int', ['void *', 'ulong', 'int']),
    setns: call('setns', 'int', ['int', 'int']),
    io_uring_setup: (entries, parameters) => setup(SYS_IO_URING_SETUP, entries, parameters),
    io_uring_enter: (ring, count) =>
      enter(SYS_IO_URING_ENTER, ring, count, count, IORING_ENTER_GETEVENTS, 0, 0),
    addressOf: (bytes) => Number(ffi.address(bytes)),
  } as Syscalls;
}
