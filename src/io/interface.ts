/**
 * Network interfaces, asked by ioctl on a socket of this network namespace: no process is started and
 * nothing waits, so that a worker or a timer may ask.
 */
import { AF_INET } from '../../assembly/layout.ts';
import { systemError } from './errno.ts';
import { SOCK_CLOEXEC, SOCK_DGRAM } from './socket-numbers.ts';
import { syscalls } from './syscalls.ts';

const SIOCGIFNAME = 0x8910;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
/** Bytes of a name in requests, its end included. */
export const IFNAMSIZ = 16;
const IFF_UP = 1;

let control = -1;

/** The index of an interface; 0 when there is none of that name. */
export function indexOf(name: string): number {
  const request = ask(SIOCGIFINDEX, name);
  return request === undefined ? 0 : request.getInt32(IFNAMSIZ, true);
}

/** The name of an interface; undefined when it has gone. */
export function nameOf(index: number): string | undefined {
  const request = new Uint8Array(40);
  new DataView(request.buffer).setInt32(IFNAMSIZ, index, true);
  if (syscalls().ioctl(controlSocket(), SIOCGIFNAME, request) < 0) return undefined;
  const end = request.indexOf(0);
  return new TextDecoder().decode(request.subarray(0, end));
}

/** Bytes; 0 when the interface has gone. Two ioctls, nothing is allocated: workers ask for each new path. */
export function mtuOf(index: number): number {
  scratch.setInt32(IFNAMSIZ, index, true);
  const bytes = scratchBytes;
  if (syscalls().ioctl(controlSocket(), SIOCGIFNAME, bytes) < 0) return 0;
  if (syscalls().ioctl(controlSocket(), SIOCGIFMTU, bytes) < 0) return 0;
  return scratch.getInt32(IFNAMSIZ, true);
}

const scratchBytes = new Uint8Array(40);
const scratch = new DataView(scratchBytes.buffer);

export interface InterfaceState {
  up: boolean;
  /** Bytes. */
  mtu: number;
  /** `aa:bb:cc:dd:ee:ff` */
  address: string;
}

/** undefined when the interface has gone. */
export function stateOf(name: string): InterfaceState | undefined {
  const flags = ask(SIOCGIFFLAGS, name);
  const mtu = ask(SIOCGIFMTU, name);
  const hardware = ask(SIOCGIFHWADDR, name);
  if (flags === undefined || mtu === undefined || hardware === undefined) return undefined;
  const address = Array.from({ length: 6 }, (_, i) => hardware.getUint8(IFNAMSIZ + 2 + i));
  return {
    up: (flags.getUint16(IFNAMSIZ, true) & IFF_UP) !== 0,
    mtu: mtu.getInt32(IFNAMSIZ, true),
    address: address.map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
  };
}

function ask(request: number, name: string): DataView | undefined {
  const argument = new Uint8Array(40);
  argument.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  if (syscalls().ioctl(controlSocket(), request, argument) < 0) return undefined;
  return new DataView(argument.buffer);
}

/** The socket that this thread has asked on; the next question opens another. */
export function closeControl(): void {
  if (control >= 0) syscalls().close(control);
  control = -1;
}

/** Opened when it is first asked for. */
export function controlSocket(): number {
  if (control < 0) {
    control = syscalls().socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) throw systemError('interfaces: socket');
  }
  return control;
}
