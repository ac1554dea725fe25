/**
 * struct virtio_net_hdr as an object, for tests that play the TAP's part on either side of the engine.
 */
import {
  IP_PROTOCOL_TCP,
  VIRTIO_CHECKSUM_FIELD_OFFSET,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_FLAGS_OFFSET,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_SIZE_OFFSET,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_GSO_UDP,
  VIRTIO_HEADER_LENGTH_OFFSET,
  VIRTIO_NEEDS_CHECKSUM,
} from '../../assembly/layout.ts';
import { parseFrame } from './parse.ts';

export interface VirtioHeader {
  flags: number;
  gsoType: number;
  headerBytes: number;
  gsoSize: number;
  checksumStart: number;
  /** From checksumStart. */
  checksumField: number;
}

export const NOTHING_ASKED: VirtioHeader = {
  flags: 0,
  gsoType: VIRTIO_GSO_NONE,
  headerBytes: 0,
  gsoSize: 0,
  checksumStart: 0,
  checksumField: 0,
};

/** The fields are in the byte order of the machine, which is little-endian wherever this runs. */
export function writeVirtio(view: DataView, at: number, header: VirtioHeader): void {
  view.setUint8(at + VIRTIO_FLAGS_OFFSET, header.flags);
  view.setUint8(at + VIRTIO_GSO_TYPE_OFFSET, header.gsoType);
  view.setUint16(at + VIRTIO_HEADER_LENGTH_OFFSET, header.headerBytes, true);
  view.setUint16(at + VIRTIO_GSO_SIZE_OFFSET, header.gsoSize, true);
  view.setUint16(at + VIRTIO_CHECKSUM_START_OFFSET, header.checksumStart, true);
  view.setUint16(at + VIRTIO_CHECKSUM_FIELD_OFFSET, header.checksumField, true);
}

export function readVirtio(view: DataView, at: number): VirtioHeader {
  return {
    flags: view.getUint8(at + VIRTIO_FLAGS_OFFSET),
    gsoType: view.getUint8(at + VIRTIO_GSO_TYPE_OFFSET),
    headerBytes: view.getUint16(at + VIRTIO_HEADER_LENGTH_OFFSET, true),
    gsoSize: view.getUint16(at + VIRTIO_GSO_SIZE_OFFSET, true),
    checksumStart: view.getUint16(at + VIRTIO_CHECKSUM_START_OFFSET, true),
    checksumField: view.getUint16(at + VIRTIO_CHECKSUM_FIELD_OFFSET, true),
  };
}

/** What a TAP says about a frame whose checksum is left open. */
export function partialHeader(frame: Uint8Array): VirtioHeader {
  const { transport, protocol } = parseFrame(frame);
  return {
    ...NOTHING_ASKED,
    flags: VIRTIO_NEEDS_CHECKSUM,
    checksumStart: transport,
    checksumField: protocol === IP_PROTOCOL_TCP ? 16 : 6,
  };
}

/** What a TAP says about a super-frame of TCP or UDP. */
export function superHeader(frame: Uint8Array, gsoSize: number): VirtioHeader {
  const { ipv4, protocol, transport, tcp } = parseFrame(frame);
  const tcpType = ipv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6;
  return {
    ...partialHeader(frame),
    gsoType: protocol === IP_PROTOCOL_TCP ? tcpType : VIRTIO_GSO_UDP,
    headerBytes: transport + (tcp ? 20 + tcp.options.length : 8),
    gsoSize,
  };
}
