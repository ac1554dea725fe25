/*
 * The VXLAN header (RFC 7348 section 5):
 *
 *   |R|R|R|R|I|R|R|R|            Reserved                           |
 *   |                VXLAN Network Identifier       |   Reserved    |
 */

/** The I flag in the first word as it lies in memory. */
const FLAG_VNI: u32 = 0x08;

export function hasVni(header: usize): boolean {
  return (load<u32>(header) & FLAG_VNI) !== 0;
}

export function vni(header: usize): u32 {
  return bswap<u32>(load<u32>(header, 4)) >>> 8;
}

/** The first word as a number, most significant bit first: flags and what the extensions put there. */
export function word(header: usize): u32 {
  return bswap<u32>(load<u32>(header));
}

/** The last byte: reserved, or remote checksum offload's. */
export function tail(header: usize): u32 {
  return load<u8>(header, 7);
}

/** @param word the first word as a number; @param tail the last byte */
export function emit(header: usize, word: u32, vni: u32, tail: u32): void {
  store<u32>(header, bswap<u32>(word));
  store<u32>(header, bswap<u32>((vni << 8) | tail), 4);
}
