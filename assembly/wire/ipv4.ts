/* The IPv4 header (RFC 791): the fields that the walks touch. */

export function headerBytes(ip: usize): i32 {
  return (load<u8>(ip) & 15) << 2;
}

export function tos(ip: usize): u32 {
  return load<u8>(ip, 1);
}

export function totalLength(ip: usize): i32 {
  return bswap<u16>(load<u16>(ip, 2));
}

export function setTotalLength(ip: usize, bytes: i32): void {
  store<u16>(ip, bswap<u16>(<u16>bytes), 2);
}

export function identification(ip: usize): u32 {
  return bswap<u16>(load<u16>(ip, 4));
}

export function dontFragment(ip: usize): boolean {
  return (load<u8>(ip, 6) & 0x40) !== 0;
}

/** A first, middle or last fragment. */
export function isFragment(ip: usize): boolean {
  return (load<u16>(ip, 6) & 0xff3f) !== 0;
}

export function ttl(ip: usize): u32 {
  return load<u8>(ip, 8);
}

export function protocol(ip: usize): u32 {
  return load<u8>(ip, 9);
}

export function setChecksum(ip: usize, checksum: u32): void {
  store<u16>(ip, <u16>checksum, 10);
}

/** Addresses in memory order: the first byte is the lowest. */
export function source(ip: usize): u32 {
  return load<u32>(ip, 12);
}

export function destination(ip: usize): u32 {
  return load<u32>(ip, 16);
}

/** 224.0.0.0/24: never beyond the link (RFC 5771 section 4). */
export function isLocalMulticast(address: u32): boolean {
  return (address & 0xffffff) === 0xe0;
}
