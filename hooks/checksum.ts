/** Checksums of headers that a hook rewrites, for hooks in AssemblyScript: RFC 1624, equation 3. */

/**
 * Writes a 16-bit field and adjusts the checksum that covers it. Fields and checksum are in network order, as they stand.
 * @param field address of two bytes, at an even distance from where the sum begins
 * @param checksum address of the checksum. Of UDP over IPv4 none (0) stays none
 * @param mayBeNone it is UDP's, where 0 has a meaning of its own
 */
export function replace16(field: usize, value: u16, checksum: usize, mayBeNone: bool = false): void {
  const old = load<u16>(field);
  store<u16>(field, value);
  const before = load<u16>(checksum);
  if (mayBeNone && before === 0) return;
  const after = adjusted(before, old, value);
  store<u16>(checksum, mayBeNone && after === 0 ? 0xffff : after);
}

/** The same for 32 bits: an address of IPv4. It is covered by two checksums: that of the IP header, and that of TCP or UDP. */
export function replace32(field: usize, value: u32, checksum: usize, mayBeNone: bool = false): void {
  replace16(field, <u16>value, checksum, mayBeNone);
  replace16(field + 2, <u16>(value >>> 16), checksum, mayBeNone);
}

/**
 * Adjusts a checksum for 16 bits that it covers and that were changed elsewhere. A checksum that is not finished
 * (`packet.isPartial`) is the sum of the pseudo header and nothing is to be done to it but for changes of that:
 * `~adjusted(~sum, old, now)`.
 */
export function adjusted(checksum: u16, old: u16, now: u16): u16 {
  let sum: u32 = <u32>(~checksum & 0xffff) + (~old & 0xffff) + now;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum += sum >>> 16;
  return <u16>~sum;
}
