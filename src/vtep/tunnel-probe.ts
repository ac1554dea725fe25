/**
 * Does the kernel take a super-frame of a UDP tunnel? One is written that is addressed to nobody, so that IP drops it
 * unseen: 192.0.2.1 to 192.0.2.2 (RFC 5737), two segments of TCP inside VXLAN.
 */
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  IP_PROTOCOL_TCP,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  TCP_HEADER_BYTES,
  UDP_HEADER_BYTES,
  VIRTIO_CHECKSUM_FIELD_OFFSET,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_FLAGS_OFFSET,
  VIRTIO_GSO_SIZE_OFFSET,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TUNNEL_IPV4,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_HEADER_LENGTH_OFFSET,
  VIRTIO_INNER_L3_OFFSET,
  VIRTIO_NEEDS_CHECKSUM,
  VIRTIO_OUTER_L4_OFFSET,
  VIRTIO_TUNNEL_CHECKSUM,
  VIRTIO_TUNNEL_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { syscalls } from '../io/syscalls.ts';

const SEGMENT_BYTES = 100;
const VXLAN_PORT = 4789;
/** Locally administered, and not the TAP's. */
const NOBODY = [2, 0, 0, 0, 0, 0];
const TCP_CHECKSUM_OFFSET = 16;

/** @returns 0, or the error number that the kernel refuses it with */
export function tunnelProbe(fd: number): number {
  const frame = probeFrame();
  const sys = syscalls();
  return sys.writeBytes(fd, frame, frame.length) === frame.length ? 0 : sys.errno();
}

function probeFrame(): Uint8Array {
  const outerL4 = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
  const innerL3 = outerL4 + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES;
  const innerL4 = innerL3 + IPV4_HEADER_BYTES;
  const headers = innerL4 + TCP_HEADER_BYTES;
  const bytes = headers + 2 * SEGMENT_BYTES;
  const whole = new Uint8Array(VIRTIO_TUNNEL_HEADER_BYTES + bytes);
  const virtio = new DataView(whole.buffer);
  virtio.setUint8(VIRTIO_FLAGS_OFFSET, VIRTIO_NEEDS_CHECKSUM | VIRTIO_TUNNEL_CHECKSUM);
  virtio.setUint8(VIRTIO_GSO_TYPE_OFFSET, VIRTIO_GSO_TCPV4 | VIRTIO_GSO_TUNNEL_IPV4);
  virtio.setUint16(VIRTIO_HEADER_LENGTH_OFFSET, headers, true);
  virtio.setUint16(VIRTIO_GSO_SIZE_OFFSET, SEGMENT_BYTES, true);
  virtio.setUint16(VIRTIO_CHECKSUM_START_OFFSET, innerL4, true);
  virtio.setUint16(VIRTIO_CHECKSUM_FIELD_OFFSET, TCP_CHECKSUM_OFFSET, true);
  virtio.setUint16(VIRTIO_OUTER_L4_OFFSET, outerL4, true);
  virtio.setUint16(VIRTIO_INNER_L3_OFFSET, innerL3, true);

  const frame = new DataView(whole.buffer, VIRTIO_TUNNEL_HEADER_BYTES);
  ethernet(frame, 0);
  ipv4(frame, ETHERNET_HEADER_BYTES, bytes - ETHERNET_HEADER_BYTES, IP_PROTOCOL_UDP);
  frame.setUint16(outerL4, VXLAN_PORT);
  frame.setUint16(outerL4 + 2, VXLAN_PORT);
  frame.setUint16(outerL4 + 4, bytes - outerL4);
  frame.setUint8(outerL4 + UDP_HEADER_BYTES, 8);
  ethernet(frame, innerL3 - ETHERNET_HEADER_BYTES);
  ipv4(frame, innerL3, bytes - innerL3, IP_PROTOCOL_TCP);
  frame.setUint8(innerL4 + 12, (TCP_HEADER_BYTES / 4) << 4);
  return whole;
}

function ethernet(frame: DataView, at: number): void {
  NOBODY.forEach((byte, i) => {
    frame.setUint8(at + i, byte);
    frame.setUint8(at + 6 + i, byte);
  });
  frame.setUint16(at + 12, ETHERTYPE_IPV4);
}

function ipv4(frame: DataView, at: number, bytes: number, protocol: number): void {
  frame.setUint8(at, 0x45);
  frame.setUint16(at + 2, bytes);
  frame.setUint8(at + 8, 1);
  frame.setUint8(at + 9, protocol);
  for (const [i, last] of [1, 2].entries()) frame.setUint32(at + 12 + i * 4, 0xc0000200 | last);
}
