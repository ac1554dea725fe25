/* The TCP header (RFC 9293): the fields that segmentation and merging touch. */

export const CHECKSUM_OFFSET = 16;

export const FIN = 0x01;
export const PSH = 0x08;
export const ACK = 0x10;
export const CWR = 0x80;

export function ports(tcp: usize): u32 {
  return load<u32>(tcp);
}

export function sequence(tcp: usize): u32 {
  return bswap<u32>(load<u32>(tcp, 4));
}

export function setSequence(tcp: usize, sequence: u32): void {
  store<u32>(tcp, bswap<u32>(sequence), 4);
}

/** In memory order: good for comparing. */
export function acknowledgement(tcp: usize): u32 {
  return load<u32>(tcp, 8);
}

/** 0 to 60; below 20 is malformed. */
export function headerBytes(tcp: usize): i32 {
  return (load<u8>(tcp, 12) >> 4) << 2;
}

export function flags(tcp: usize): u32 {
  return load<u8>(tcp, 13);
}

export function setFlags(tcp: usize, flags: u32): void {
  store<u8>(tcp, <u8>flags, 13);
}

/** In memory order. */
export function checksum(tcp: usize): u32 {
  return load<u16>(tcp, 16);
}

export function setChecksum(tcp: usize, checksum: u32): void {
  store<u16>(tcp, <u16>checksum, 16);
}
