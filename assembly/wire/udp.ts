/* The UDP header (RFC 768). */

export const CHECKSUM_OFFSET = 6;

export function setLength(udp: usize, bytes: i32): void {
  store<u16>(udp, bswap<u16>(<u16>bytes), 4);
}

/** In memory order. */
export function checksum(udp: usize): u32 {
  return load<u16>(udp, 6);
}

/** A computed zero goes out as all ones: zero means "none". */
export function setChecksum(udp: usize, checksum: u32): void {
  store<u16>(udp, checksum === 0 ? 0xffff : <u16>checksum, 6);
}
