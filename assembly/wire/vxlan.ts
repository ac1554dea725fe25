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

export function emit(header: usize, vni: u32): void {
  store<u32>(header, FLAG_VNI);
  store<u32>(header, bswap<u32>(vni << 8), 4);
}
