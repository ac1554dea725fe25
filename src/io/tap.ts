/**
 * TAP devices: /dev/net/tun with virtio headers, several queues, and as many offloads as the kernel has.
 */

import { VtepError } from '../errors.ts';
import { EBUSY, EINVAL, errorName, systemError } from './errno.ts';
import { indexOf } from './interface.ts';
import { syscalls } from './syscalls.ts';

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
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
  readonly uso: boolean;
}

/**
 * Makes a TAP in the network namespace of this process. It lives as long as its descriptors.
 *
 * @param uso ask for UDP super-frames, where the kernel has them
 * @throws VtepError EXISTS, PERMISSION or SYSTEM; nothing is left behind
 */
export function openTap(name: string, queues: number, uso: boolean): Tap {
  if (indexOf(name) !== 0) {
    throw new VtepError(
      'EXISTS',
      `link ${name}: a device of that name exists: choose another name or "ip link del ${name}"`,
    );
  }
  const fds: number[] = [];
  try {
    for (let queue = 0; queue < queues; ++queue) fds.push(openQueue(name));
    const withUso = uso && offload(fds, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6);
    if (!withUso && !offload(fds, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) {
      throw systemError(`link ${name}: TUNSETOFFLOAD`);
    }
    return { name, ifindex: indexOf(name), queues: fds, uso: withUso };
  } catch (error) {
    for (const fd of fds) syscalls().close(fd);
    throw error;
  }
}

export function closeTap(tap: Tap): void {
  for (const fd of tap.queues) syscalls().close(fd);
}

function openQueue(name: string): number {
  const sys = syscalls();
  const fd = sys.open('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    throw systemError(
      `link ${name}: /dev/net/tun`,
      'load the module (modprobe tun), or give the container the device',
    );
  }
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  new DataView(request.buffer).setUint16(
    IFNAMSIZ,
    IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE,
    true,
  );
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
