/**
 * Super-frames onto an interface through a packet socket with virtio headers: any interface takes them, so that the
 * kernel's own device can be given the very frame that a TAP hands over.
 */
import {
  AF_PACKET,
  close,
  interfaceIndex,
  packetAddress,
  SOCK_RAW,
  SOL_PACKET,
  sendTo,
  setInt,
  socket,
} from './traffic-libc.ts';
import { type VirtioHeader, writeVirtio } from './virtio.ts';

const PACKET_VNET_HDR = 15;
const VIRTIO_BYTES = 10;

export interface SuperFrame {
  frame: Uint8Array;
  virtio: VirtioHeader;
}

export function injectSuperFrames(ifname: string, frames: readonly SuperFrame[]): void {
  const fd = socket(AF_PACKET, SOCK_RAW, 0);
  try {
    setInt(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
    for (const { frame, virtio } of frames) {
      const bytes = new Uint8Array(VIRTIO_BYTES + frame.length);
      writeVirtio(new DataView(bytes.buffer), 0, virtio);
      bytes.set(frame, VIRTIO_BYTES);
      const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
      sendTo(fd, bytes, packetAddress(interfaceIndex(ifname), type));
    }
  } finally {
    close(fd);
  }
}
