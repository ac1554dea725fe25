/**
 * TAP devices, and TUN devices for packets without Ethernet header: /dev/net/tun with virtio headers, several
 * queues, and as many offloads as the kernel has.
 */

import { VIRTIO_TUNNEL_HEADER_BYTES } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, errorName, systemError } from './errno.ts';
import { IFNAMSIZ, indexOf } from './interface.ts';
import { type Syscalls, syscalls } from './syscalls.ts';

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
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
const TUN_F_UDP_TUNNEL_GSO = 0x80;
const TUN_F_UDP_TUNNEL_GSO_CSUM = 0x100;
/** The kernel puts the first free number in. */
const UNDERLAY_TAP_NAMES = 'vxgso%d';

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
    else if (!offload(syscalls(), fds, TUN_F_CSUM)) throw systemError(`link ${name}: TUNSETOFFLOAD`);
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
  tap.uso = uso && offer(syscalls(), tap.queues, true);
  if (!tap.uso && !offer(syscalls(), tap.queues, false)) throw systemError(`link ${tap.name}: TUNSETOFFLOAD`);
}

/** Tells the kernel that the readers of a TAP understand super-frames. False: it has them not. */
export function offer(sys: Syscalls, fds: readonly number[], uso: boolean): boolean {
  const tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  return offload(sys, fds, uso ? tso | TUN_F_USO4 | TUN_F_USO6 : tso);
}

export function closeTap(tap: Tap): void {
  for (const fd of tap.queues) syscalls().close(fd);
}

/** What the interface is called now, in whatever network namespace it is; undefined when it has been deleted. */
export function nameOfTap(tap: Tap): string | undefined {
  return nameOfTapQueue(tap.queues[0]!);
}

function nameOfTapQueue(fd: number): string | undefined {
  const request = new Uint8Array(40);
  if (syscalls().ioctl(fd, TUNGETIFF, request) < 0) return undefined;
  return new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
}

/** A descriptor of the network namespace that the interface is in; undefined when it can't be had. */
export function namespaceOfTap(tap: Tap): number | undefined {
  const fd = syscalls().ioctlValue(tap.queues[0]!, TUNGETDEVNETNS, 0);
  return fd < 0 ? undefined : fd;
}

/** A TAP that takes super-frames of UDP tunnels and has the kernel forward them. */
export interface UnderlayTap {
  readonly fd: number;
  readonly name: string;
  readonly ifindex: number;
}

/**
 * Makes one, under the first free name of its own. It lives as long as its descriptor.
 * @throws VtepError PERMISSION or SYSTEM; UNSUPPORTED before Linux 6.17
 */
export function openUnderlayTap(): UnderlayTap {
  const fd = openQueue(UNDERLAY_TAP_NAMES, IFF_TAP, 0);
  try {
    const tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    const tunnel = TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM;
    const size = new Uint8Array([VIRTIO_TUNNEL_HEADER_BYTES, 0, 0, 0]);
    if (
      syscalls().ioctl(fd, TUNSETVNETHDRSZ, size) < 0 ||
      !offload(syscalls(), [fd], tso | TUN_F_USO4 | TUN_F_USO6 | tunnel)
    ) {
      throw new VtepError('UNSUPPORTED', 'Linux 6.17 or newer is needed');
    }
    const name = nameOfTapQueue(fd)!;
    return { fd, name, ifindex: indexOf(name) };
  } catch (error) {
    syscalls().close(fd);
    throw error;
  }
}

function openQueue(name: string, kind: number, queues = IFF_MULTI_QUEUE): number {
  const sys = syscalls();
  const fd = sys.open('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    const missing = [ENOENT, ENODEV, ENXIO].includes(sys.errno());
    throw systemError(
      `link ${name}: /dev/net/tun`,
      missing ? 'load the module (modprobe tun), or give the container the device' : '',
    );
  }
  if (!attach(sys, fd, name, kind | queues)) {
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

/** Makes the interface, or one more queue of it. */
function attach(sys: Syscalls, fd: number, name: string, flags: number): boolean {
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  new DataView(request.buffer).setUint16(IFNAMSIZ, flags | IFF_NO_PI | IFF_VNET_HDR, true);
  return sys.ioctl(fd, TUNSETIFF, request) === 0;
}

/** A TAP for a moment; in its name, %d stands for a number that is free. Returns its descriptor, -1 when there can be none. */
export function openTrial(sys: Syscalls, name: string): number {
  const fd = sys.open('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || attach(sys, fd, name, IFF_TAP)) return fd;
  sys.close(fd);
  return -1;
}

/** TUNSETOFFLOAD takes its bits as the argument itself; they hold for the whole device. */
function offload(sys: Syscalls, fds: readonly number[], bits: number): boolean {
  return fds.every((fd) => sys.ioctlValue(fd, TUNSETOFFLOAD, bits) === 0);
}
