/**
 * TAP devices, and TUN devices for packets without Ethernet header: /dev/net/tun with virtio headers, several
 * queues, and as many offloads as the kernel has.
 */

import { VtepError } from '../errors.ts';
import { EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, errorName, systemError } from './errno.ts';
import { indexOf } from './interface.ts';
import { syscalls } from './syscalls.ts';

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNGETIFF = 0x800454d2;
const TUNGETDEVNETNS = 0x54e3;
const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const IFNAMSIZ = 16;

export interface Tap {
  readonly name: string;
  readonly ifindex: number;
  /** One descriptor per queue, non-blocking. */
  readonly queues: readonly number[];
  /** The kernel hands over and takes UDP super-frames (Linux 6.2). */
  uso: boolean;
}

export interface TapOptions {
  /** Ask for UDP super-frames, where the kernel has them. */
  uso: boolean;
  /** A TUN: packets without Ethernet header, and none larger than the MTU. */
  tun?: boolean;
}

/**
 * Makes a TAP in the network namespace of this process. It lives as long as its descriptors.
 *
 * @throws VtepError EXISTS, PERMISSION or SYSTEM; nothing is left behind
 */
export function openTap(name: string, queues: number, { uso, tun = false }: TapOptions): Tap {
  if (indexOf(name) !== 0) {
    throw new VtepError(
      'EXISTS',
      `link ${name}: a device of that name exists: choose another name or "ip link del ${name}"`,
    );
  }
  const fds: number[] = [];
  try {
    for (let queue = 0; queue < queues; ++queue) fds.push(openQueue(name, tun ? IFF_TUN : IFF_TAP));
    const tap = { name, ifindex: indexOf(name), queues: fds, uso: false };
    if (!tun) setUso(tap, uso);
    else if (!offload(fds, TUN_F_CSUM)) throw systemError(`link ${name}: TUNSETOFFLOAD`);
    return tap;
  } catch (error) {
    for (const fd of fds) syscalls().close(fd);
    throw error;
  }
}

/**
 * UDP super-frames from now on, where the kernel has them, or none; `tap.uso` tells. TCP's stay as they are.
 * @throws VtepError SYSTEM
 */
export function setUso(tap: Tap, uso: boolean): void {
  const tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  tap.uso = uso && offload(tap.queues, tso | TUN_F_USO4 | TUN_F_USO6);
  if (!tap.uso && !offload(tap.queues, tso)) throw systemError(`link ${tap.name}: TUNSETOFFLOAD`);
}

export function closeTap(tap: Tap): void {
  for (const fd of tap.queues) syscalls().close(fd);
}

/** What the interface is called now, in whatever network namespace it is; undefined when it has been deleted. */
export function nameOfTap(tap: Tap): string | undefined {
  const request = new Uint8Array(40);
  if (syscalls().ioctl(tap.queues[0]!, TUNGETIFF, request) < 0) return undefined;
  return new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
}

/** A descriptor of the network namespace that the interface is in; undefined when it can't be had. */
export function namespaceOfTap(tap: Tap): number | undefined {
  const fd = syscalls().ioctlValue(tap.queues[0]!, TUNGETDEVNETNS, 0);
  return fd < 0 ? undefined : fd;
}

function openQueue(name: string, kind: number): number {
  const sys = syscalls();
  const fd = sys.open('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    const missing = [ENOENT, ENODEV, ENXIO].includes(sys.errno());
    throw systemError(
      `link ${name}: /dev/net/tun`,
      missing ? 'load the module (modprobe tun), or give the container the device' : '',
    );
  }
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  new DataView(request.buffer).setUint16(IFNAMSIZ, kind | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE, true);
  if (sys.ioctl(fd, TUNSETIFF, request) < 0) {
    const errno = sys.errno();
    const error =
      errno === EBUSY || errno === EINVAL
        ? new VtepError('EXISTS', `link ${name}: TUNSETIFF: ${errorName(errno)}: choose another name`)
        : systemError(`link ${name}: TUNSETIFF`);
    sys.close(fd);
    throw error;
  }
  return fd;
}

/** TUNSETOFFLOAD takes its bits as the argument itself; they hold for the whole device. */
function offload(fds: readonly number[], bits: number): boolean {
  return fds.every((fd) => syscalls().ioctlValue(fd, TUNSETOFFLOAD, bits) === 0);
}
