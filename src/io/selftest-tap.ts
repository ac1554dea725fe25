/**
 * Does the kernel take super-frames for a TAP? Asked once, of a TAP that is made for it, never goes up and is gone
 * afterwards: a frame that the kernel understands is refused with EIO there, because the interface is down, and one
 * that it does not with EINVAL. Some stable kernels of summer 2024 (6.1, 6.6 from 6.6.44, 6.10) take ends of TCP streams for invalid.
 */
import {
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_BYTES,
  VIRTIO_NEEDS_CHECKSUM,
} from '../../assembly/layout.ts';
import { EIO, errorName } from './errno.ts';
import { Scratch } from './scratch.ts';
import type { Syscalls } from './syscalls.ts';
import { offer, openTrial } from './tap.ts';

const SEGMENT_BYTES = 1000;

export interface TapFaults {
  /** What is wrong with super-frames of TCP, and of UDP; absent: nothing, or it can't be told here. */
  tso?: string;
  uso?: string;
}

/** Tries super-frames of TCP and, where the kernel has them, of UDP. */
export function testTap(sys: Syscalls): TapFaults {
  const fd = openTrial(sys, 'vxtest%d');
  if (fd < 0) return {};
  try {
    const tso = [true, false].map((ipv4) => refusal(sys, fd, ipv4, true)).find((why) => why !== undefined);
    // Without the offload, before Linux 6.2, there is nothing to test.
    const uso = offer(sys, [fd], true)
      ? [true, false].map((ipv4) => refusal(sys, fd, ipv4, false)).find((why) => why !== undefined)
      : undefined;
    return { ...(tso === undefined ? {} : { tso }), ...(uso === undefined ? {} : { uso }) };
  } finally {
    sys.close(fd);
  }
}

/** Super-frames of whole segments, and with a shorter last one. @returns how the first that is refused is refused */
function refusal(sys: Syscalls, fd: number, ipv4: boolean, tcp: boolean): string | undefined {
  for (const payload of [3 * SEGMENT_BYTES, 3 * SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES - 1]) {
    const scratch = new Scratch(sys);
    const { frame, l4, headers } = superFrame(ipv4, tcp, payload);
    const virtio = new Uint8Array(VIRTIO_HEADER_BYTES);
    const view = new DataView(virtio.buffer);
    virtio[0] = VIRTIO_NEEDS_CHECKSUM;
    virtio[1] = tcp ? (ipv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6) : VIRTIO_GSO_UDP;
    view.setUint16(2, headers, true);
    view.setUint16(4, SEGMENT_BYTES, true);
    view.setUint16(6, l4, true);
    view.setUint16(8, tcp ? 16 : 6, true);
    const iovecs = scratch.iovecs([
      [scratch.put(virtio), virtio.length],
      [scratch.put(frame), frame.length],
    ]);
    if (sys.writev(fd, scratch.address + iovecs, 2) >= 0 || sys.errno() === EIO) continue;
    const what = `${tcp ? 'TCP' : 'UDP'} over ${ipv4 ? 'IPv4' : 'IPv6'}`;
    return `a super-frame of ${what} is refused: ${errorName(sys.errno())}`;
  }
  return undefined;
}

/** Headers that fit each other around zeros. Checksums are the kernel's to fill in, and it never comes to that. */
function superFrame(
  ipv4: boolean,
  tcp: boolean,
  payload: number,
): { frame: Uint8Array; l4: number; headers: number } {
  const l4 = 14 + (ipv4 ? 20 : 40);
  const headers = l4 + (tcp ? 20 : 8);
  const frame = new Uint8Array(headers + payload);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  view.setUint16(12, ipv4 ? 0x0800 : 0x86dd);
  if (ipv4) {
    frame[14] = 0x45;
    view.setUint16(16, frame.length - 14);
    frame.set([64, tcp ? 6 : 17], 22);
    frame.set([192, 0, 2, 1, 192, 0, 2, 2], 26);
  } else {
    frame[14] = 0x60;
    view.setUint16(18, frame.length - l4);
    frame.set([tcp ? 6 : 17, 64, 0x20, 0x01, 0x0d, 0xb8], 20);
    frame.set([0x20, 0x01, 0x0d, 0xb8], 38);
  }
  if (tcp) {
    frame[l4 + 12] = 0x50;
    frame[l4 + 13] = 0x10;
  } else {
    view.setUint16(l4 + 4, 8 + payload);
  }
  return { frame, l4, headers };
}
