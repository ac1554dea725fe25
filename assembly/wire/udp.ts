/* The UDP header (RFC 768). */

export const CHECKSUM_OFFSET = 6;

/** Both ports in memory order: they are only ever compared. */
export function ports(udp: usize): u32 {
  return load<u32>(udp);
}

export function length(udp: usize): i32 {
  return bswap<u16>(load<u16>(udp, 4));
}

export function setLength(udp: usize, bytes: i32): void {
  store<u16>(udp, bswap<u16>(<u16>bytes), 4);
}

/** In memory order. */
export function checksum(udp: usize): u32 {
  return load<u16>(udp, 6);
}

/** The pseudo header's sum, for whoever computes the checksum. */
export function setSeed(udp: usize, sum: u32): void {
  store<u16>(udp, <u16>sum, 6);
}

/** A computed zero goes out as all ones: zero means "none". */
export function setChecksum(udp: usize, checksum: u32): void {
  store<u16>(udp, checksum === 0 ? 0xffff : <u16>checksum, 6);
}
