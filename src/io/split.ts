/**
 * What a virtio header leaves to its reader, done in software: a super-frame becomes the frames that belong on the
 * wire, and a checksum that was left open is computed. For ports that can't have the kernel do it; as Linux's
 * tcp_gso_segment and __udp_gso_segment do (virtio 1.2, 5.1.6.2).
 */
import {
  VIRTIO_CHECKSUM_FIELD_OFFSET,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_FLAGS_OFFSET,
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_SIZE_OFFSET,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_GSO_UDP,
  VIRTIO_NEEDS_CHECKSUM,
} from '../../assembly/layout.ts';

const ETHERNET_BYTES = 14;
const TAG_BYTES = 4;
const TAGS_MAX = 7;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const FIN_PSH = 0x09;
const CWR = 0x80;

interface Shape {
  isIpv4: boolean;
  isTcp: boolean;
  /** Where they begin; `headers` = where the payload does. */
  l3: number;
  l4: number;
  headers: number;
}

/**
 * @param header struct virtio_net_hdr, 10 bytes
 * @returns the frame itself when nothing was left open, else copies; undefined: header and frame contradict each other
 */
export function splitFrame(frame: Uint8Array, header: Uint8Array): Uint8Array[] | undefined {
  const virtio = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const isOpen = (virtio.getUint8(VIRTIO_FLAGS_OFFSET) & VIRTIO_NEEDS_CHECKSUM) !== 0;
  const type = virtio.getUint8(VIRTIO_GSO_TYPE_OFFSET) & ~VIRTIO_GSO_ECN;
  const start = virtio.getUint16(VIRTIO_CHECKSUM_START_OFFSET, true);
  const field = virtio.getUint16(VIRTIO_CHECKSUM_FIELD_OFFSET, true);
  if (type === VIRTIO_GSO_NONE) return isOpen ? completed(frame, start, field) : [frame];
  const size = virtio.getUint16(VIRTIO_GSO_SIZE_OFFSET, true);
  const shape = shapeOf(frame, start, field, type);
  if (shape === undefined || size === 0 || !isOpen) return undefined;
  const segments: Uint8Array[] = [];
  for (let at = shape.headers; at < frame.length; at += size)
    segments.push(segmentOf(frame, shape, at, size, segments.length));
  return segments;
}

function segmentOf(frame: Uint8Array, shape: Shape, at: number, size: number, index: number): Uint8Array {
  const { isIpv4, isTcp, l3, l4, headers } = shape;
  const payload = frame.subarray(at, at + size);
  const segment = new Uint8Array(headers + payload.length);
  segment.set(frame.subarray(0, headers));
  segment.set(payload, headers);
  const view = new DataView(segment.buffer);
  if (isIpv4) {
    view.setUint16(l3 + 2, segment.length - l3);
    view.setUint16(l3 + 4, view.getUint16(l3 + 4) + index);
    view.setUint16(l3 + 10, 0);
    view.setUint16(l3 + 10, ~fold(sumOf(view, l3, l4)));
  } else view.setUint16(l3 + 4, segment.length - l3 - IPV6_BYTES);
  if (isTcp) {
    view.setUint32(l4 + 4, view.getUint32(l4 + 4) + at - headers);
    if (at + size < frame.length) segment[l4 + 13]! &= ~FIN_PSH;
    if (index > 0) segment[l4 + 13]! &= ~CWR;
  } else view.setUint16(l4 + 4, segment.length - l4);
  const bytes = segment.length - l4;
  const addresses = isIpv4 ? sumOf(view, l3 + 12, l3 + 20) : sumOf(view, l3 + 8, l3 + 40);
  const field = l4 + (isTcp ? 16 : 6);
  view.setUint16(field, 0);
  const sum = ~fold(sumOf(view, l4, segment.length, addresses + bytes + (isTcp ? 6 : 17))) & 0xffff;
  // For UDP, 0 would say that there is none.
  view.setUint16(field, sum === 0 && !isTcp ? 0xffff : sum);
  return segment;
}

/** The field holds the sum of the pseudo header already. */
function completed(frame: Uint8Array, start: number, field: number): Uint8Array[] | undefined {
  const at = start + field;
  if (start >= frame.length || at + 2 > frame.length) return undefined;
  const copy = new Uint8Array(frame);
  const view = new DataView(copy.buffer);
  const sum = ~fold(sumOf(view, start, copy.length)) & 0xffff;
  view.setUint16(at, sum === 0 ? 0xffff : sum);
  return [copy];
}

function shapeOf(frame: Uint8Array, l4: number, field: number, type: number): Shape | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const l3 = networkOffset(view);
  if (l3 + IPV4_BYTES > frame.length) return undefined;
  const etherType = view.getUint16(l3 - 2);
  const isIpv4 = etherType === 0x0800;
  const isTcp = type !== VIRTIO_GSO_UDP;
  if (!isIpv4 && etherType !== 0x86dd) return undefined;
  if (isTcp && type !== (isIpv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6)) return undefined;
  if (isIpv4) {
    const bytes = (frame[l3]! & 15) * 4;
    if (bytes < IPV4_BYTES || l4 !== l3 + bytes) return undefined;
    if ((view.getUint16(l3 + 6) & 0x3fff) !== 0 || frame[l3 + 9] !== (isTcp ? 6 : 17)) return undefined;
  } else if (l4 < l3 + IPV6_BYTES) return undefined;
  if (field !== (isTcp ? 16 : 6) || l4 + (isTcp ? TCP_BYTES : UDP_BYTES) > frame.length) return undefined;
  const own = isTcp ? (frame[l4 + 12]! >> 4) * 4 : UDP_BYTES;
  if (isTcp && own < TCP_BYTES) return undefined;
  const headers = l4 + own;
  return headers < frame.length ? { isIpv4, isTcp, l3, l4, headers } : undefined;
}

/** Behind VLAN tags, of which there may be some. */
function networkOffset(view: DataView): number {
  for (
    let tags = 0, at = ETHERNET_BYTES;
    at <= view.byteLength && tags <= TAGS_MAX;
    ++tags, at += TAG_BYTES
  ) {
    const type = view.getUint16(at - 2);
    if (type !== 0x8100 && type !== 0x88a8) return at;
  }
  return ETHERNET_BYTES;
}

/** Sum of 16-bit words, not folded; exact for frames of any length that there is. */
function sumOf(view: DataView, from: number, to: number, first = 0): number {
  let sum = first;
  let at = from;
  for (; at + 1 < to; at += 2) sum += view.getUint16(at);
  return at < to ? sum + (view.getUint8(at) << 8) : sum;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}
