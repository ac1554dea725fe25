/* The IPv6 header (RFC 8200): the fields that the walks touch. */

export function trafficClass(ip: usize): u32 {
  return ((load<u8>(ip) & 15) << 4) | (load<u8>(ip, 1) >> 4);
}

export function payloadLength(ip: usize): i32 {
  return bswap<u16>(load<u16>(ip, 4));
}

export function setPayloadLength(ip: usize, bytes: i32): void {
  store<u16>(ip, bswap<u16>(<u16>bytes), 4);
}

export function nextHeader(ip: usize): u32 {
  return load<u8>(ip, 6);
}

export function hopLimit(ip: usize): u32 {
  return load<u8>(ip, 7);
}

/** 20 bits */
export function flowLabel(ip: usize): u32 {
  return bswap<u32>(load<u32>(ip)) & 0xfffff;
}

/** Addresses in halves, in memory order: the first byte is the lowest. */
export function sourceLow(ip: usize): u64 {
  return load<u64>(ip, 8);
}

export function sourceHigh(ip: usize): u64 {
  return load<u64>(ip, 16);
}

export function destinationLow(ip: usize): u64 {
  return load<u64>(ip, 24);
}

export function destinationHigh(ip: usize): u64 {
  return load<u64>(ip, 32);
}

/** By the first half: multicast of link-local scope whatever its flags (RFC 4291 section 2.7), and fe80::/10. */
export function isLinkLocal(low: u64): boolean {
  return (low & 0x0fff) === 0x02ff || (low & 0xc0ff) === 0x80fe;
}
