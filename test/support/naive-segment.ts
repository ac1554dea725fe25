/**
 * A super-frame and its virtio header -> the frames that belong on the wire, the slow way: every segment
 * is a copy of the whole header with its fields set one by one and every checksum computed from nothing.
 * What Linux's tcp_gso_segment and __udp_gso_segment do, and virtio 1.2 section 5.1.6.2.
 */
import { set16 } from './frames.ts';
import { internetSum, pseudoIpv4, pseudoIpv6 } from './reference.ts';
import type { VirtioHeader } from './virtio.ts';

const NEEDS_CHECKSUM = 1;
const ECN = 0x80;
const TCPV4 = 1;
const TCPV6 = 4;
const UDP = 5;
const FIN_PSH = 0x09;
const CWR = 0x80;
/** VXLAN header and inner headers together: what the engine has room for. */
const HEADERS_MAX_BYTES = 160 - 8;

/** @returns the frames, or undefined when header and frame do not fit together */
export function segmentNaively(frame: Uint8Array, virtio: VirtioHeader): Uint8Array[] | undefined {
  const type = virtio.gsoType & ~ECN;
  if (type === 0) return completeNaively(frame, virtio);
  const shape = shapeOf(frame, virtio, type);
  if (!shape || virtio.gsoSize === 0 || (virtio.flags & NEEDS_CHECKSUM) === 0) return undefined;
  const { l3, l4, headers } = shape;
  const isTcp = type !== UDP;
  const segments: Uint8Array[] = [];
  for (let at = headers, index = 0; at < frame.length; at += virtio.gsoSize, index++) {
    const payload = frame.subarray(at, at + virtio.gsoSize);
    const segment = new Uint8Array(headers + payload.length);
    segment.set(frame.subarray(0, headers));
    segment.set(payload, headers);
    const view = new DataView(segment.buffer);
    if (shape.ipv4) {
      set16(segment, l3 + 2, segment.length - l3);
      set16(segment, l3 + 4, (view.getUint16(l3 + 4) + index) & 0xffff);
    } else {
      set16(segment, l3 + 4, segment.length - l3 - 40);
    }
    if (isTcp) {
      view.setUint32(l4 + 4, (view.getUint32(l4 + 4) + at - headers) >>> 0);
      if (at + virtio.gsoSize < frame.length) segment[l4 + 13]! &= ~FIN_PSH;
      if (index > 0) segment[l4 + 13]! &= ~CWR;
    } else {
      set16(segment, l4 + 4, segment.length - l4);
    }
    fillChecksums(segment, l3, l4, shape.ipv4, isTcp ? 6 : 17);
    segments.push(segment);
  }
  return segments;
}

/** The checksum that NEEDS_CSUM leaves to the reader; zero is sent as all ones, as skb_checksum_help does. */
function completeNaively(frame: Uint8Array, virtio: VirtioHeader): Uint8Array[] | undefined {
  if ((virtio.flags & NEEDS_CHECKSUM) === 0) return [frame];
  const field = virtio.checksumStart + virtio.checksumField;
  if (virtio.checksumStart >= frame.length || field + 2 > frame.length) return undefined;
  const completed = frame.slice();
  const sum = internetSum(frame.subarray(virtio.checksumStart)) ^ 0xffff;
  set16(completed, field, sum === 0 ? 0xffff : sum);
  return [completed];
}

interface Shape {
  ipv4: boolean;
  l3: number;
  l4: number;
  headers: number;
}

function shapeOf(frame: Uint8Array, virtio: VirtioHeader, type: number): Shape | undefined {
  const l3 = networkOffset(frame);
  const l4 = virtio.checksumStart;
  const etherType = (frame[l3 - 2]! << 8) | frame[l3 - 1]!;
  const ipv4 = etherType === 0x0800;
  if (!ipv4 && etherType !== 0x86dd) return undefined;
  if (type !== UDP && type !== (ipv4 ? TCPV4 : TCPV6)) return undefined;
  if (ipv4) {
    const headerBytes = (frame[l3]! & 15) * 4;
    const fragment = (((frame[l3 + 6]! << 8) | frame[l3 + 7]!) & 0x3fff) !== 0;
    if (headerBytes < 20 || l4 !== l3 + headerBytes || fragment) return undefined;
    if (frame[l3 + 9] !== (type === UDP ? 17 : 6)) return undefined;
  } else if (l4 < l3 + 40) return undefined;
  if (virtio.checksumField !== (type === UDP ? 6 : 16)) return undefined;
  let headers = l4 + 8;
  if (type !== UDP) {
    if (l4 + 20 > frame.length) return undefined;
    const own = (frame[l4 + 12]! >> 4) * 4;
    if (own < 20) return undefined;
    headers = l4 + own;
  }
  if (headers >= frame.length || headers > HEADERS_MAX_BYTES) return undefined;
  return { ipv4, l3, l4, headers };
}

/** Behind at most seven tags; where there are more, or the frame ends within one, right behind the addresses. */
export function networkOffset(frame: Uint8Array): number {
  for (let tags = 0, offset = 14; offset <= frame.length && tags <= 7; tags++, offset += 4) {
    const type = (frame[offset - 2]! << 8) | frame[offset - 1]!;
    if (type !== 0x8100 && type !== 0x88a8) return offset;
  }
  return 14;
}

function fillChecksums(frame: Uint8Array, l3: number, l4: number, ipv4: boolean, protocol: number): void {
  if (ipv4) {
    set16(frame, l3 + 10, 0);
    set16(frame, l3 + 10, internetSum(frame.subarray(l3, l4)) ^ 0xffff);
  }
  const field = l4 + (protocol === 6 ? 16 : 6);
  set16(frame, field, 0);
  const pseudo = (ipv4 ? pseudoIpv4 : pseudoIpv6)(frame.subarray(l3), protocol, frame.length - l4);
  const sum = internetSum(frame.subarray(l4), pseudo) ^ 0xffff;
  set16(frame, field, protocol === 17 && sum === 0 ? 0xffff : sum);
}
