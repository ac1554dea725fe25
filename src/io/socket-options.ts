/** Socket options, whose values are 32-bit numbers but for filters. */
import { systemError } from './errno.ts';
import { SO_ATTACH_FILTER, SOL_SOCKET } from './socket-numbers.ts';
import { syscalls } from './syscalls.ts';

/** struct sock_filter: one instruction of classic BPF. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
/** SKF_AD_OFF + SKF_AD_PKTTYPE, and two of the types. */
const PACKET_TYPE = 0xfffff004;
const PACKET_BROADCAST = 1;
/** Sent to a group or to all by this host itself. */
const PACKET_LOOPBACK = 5;

export const TAKE_NOTHING: readonly Instruction[] = [[RETURN, 0, 0, 0]];
export const TAKE_NO_BROADCAST: readonly Instruction[] = [
  [LOAD_WORD, 0, 0, PACKET_TYPE],
  [JUMP_IF_EQUAL, 2, 0, PACKET_BROADCAST],
  [JUMP_IF_EQUAL, 1, 0, PACKET_LOOPBACK],
  [RETURN, 0, 0, 0xffffffff],
  ...TAKE_NOTHING,
];

export function trySet(fd: number, level: number, option: number, value: number): boolean {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return syscalls().setsockopt(fd, level, option, bytes, 4) === 0;
}

/** @throws VtepError SYSTEM */
export function get(fd: number, level: number, option: number, what: string): number {
  const value = new Uint8Array(4);
  const bytes = new Uint8Array([4, 0, 0, 0]);
  if (syscalls().getsockopt(fd, level, option, value, bytes) !== 0)
    throw systemError(`${what}: socket option ${level}/${option}`);
  return new DataView(value.buffer).getInt32(0, true);
}

/** @throws VtepError SYSTEM */
export function set(fd: number, level: number, option: number, value: number, what: string): void {
  if (!trySet(fd, level, option, value)) throw systemError(`${what}: socket option ${level}/${option}`);
}

/** Beyond net.core.rmem_max where we may, up to it where we may not. */
export function buffer(fd: number, force: number, plain: number, bytes: number): void {
  if (!trySet(fd, SOL_SOCKET, force, bytes)) trySet(fd, SOL_SOCKET, plain, bytes);
}

/** Which packets the socket takes. @throws VtepError SYSTEM */
export function attachFilter(fd: number, instructions: readonly Instruction[], what: string): void {
  // The instructions, and at 128 struct sock_fprog { count, address }; larger than what V8 keeps on its moving heap.
  const program = new Uint8Array(256);
  const view = new DataView(program.buffer);
  instructions.forEach(([code, ifTrue, ifFalse, value], i) => {
    view.setUint16(8 * i, code, true);
    view.setUint8(8 * i + 2, ifTrue);
    view.setUint8(8 * i + 3, ifFalse);
    view.setUint32(8 * i + 4, value, true);
  });
  view.setUint16(128, instructions.length, true);
  view.setBigUint64(136, BigInt(syscalls().addressOf(program)), true);
  if (syscalls().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program.subarray(128), 16) < 0)
    throw systemError(`${what}: SO_ATTACH_FILTER`);
}
