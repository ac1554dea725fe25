/*
 * struct virtio_net_hdr in host byte order, the 10 bytes in front of every frame of a TAP opened with
 * IFF_VNET_HDR.
 */
import {
  VIRTIO_CHECKSUM_FIELD_OFFSET,
  VIRTIO_CHECKSUM_START_OFFSET,
  VIRTIO_FLAGS_OFFSET,
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_SIZE_OFFSET,
  VIRTIO_GSO_TYPE_OFFSET,
  VIRTIO_HEADER_LENGTH_OFFSET,
  VIRTIO_NEEDS_CHECKSUM,
} from '../layout';

export function needsChecksum(header: usize): boolean {
  return (load<u8>(header, VIRTIO_FLAGS_OFFSET) & VIRTIO_NEEDS_CHECKSUM) !== 0;
}

export function gsoType(header: usize): u32 {
  return load<u8>(header, VIRTIO_GSO_TYPE_OFFSET) & ~VIRTIO_GSO_ECN;
}

export function gsoSize(header: usize): i32 {
  return load<u16>(header, VIRTIO_GSO_SIZE_OFFSET);
}

/** From the start of the frame. */
export function checksumStart(header: usize): i32 {
  return load<u16>(header, VIRTIO_CHECKSUM_START_OFFSET);
}

/** From checksumStart. */
export function checksumField(header: usize): i32 {
  return load<u16>(header, VIRTIO_CHECKSUM_FIELD_OFFSET);
}

/** Nothing asked of the reader. */
export function clear(header: usize): void {
  store<u64>(header, 0);
  store<u16>(header, 0, 8);
}

export function emit(
  header: usize,
  gsoType: u32,
  headerBytes: i32,
  gsoSize: i32,
  checksumStart: i32,
  checksumField: i32,
): void {
  store<u8>(header, VIRTIO_NEEDS_CHECKSUM, VIRTIO_FLAGS_OFFSET);
  store<u8>(header, <u8>gsoType, VIRTIO_GSO_TYPE_OFFSET);
  store<u16>(header, <u16>headerBytes, VIRTIO_HEADER_LENGTH_OFFSET);
  store<u16>(header, <u16>gsoSize, VIRTIO_GSO_SIZE_OFFSET);
  store<u16>(header, <u16>checksumStart, VIRTIO_CHECKSUM_START_OFFSET);
  store<u16>(header, <u16>checksumField, VIRTIO_CHECKSUM_FIELD_OFFSET);
}
