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
