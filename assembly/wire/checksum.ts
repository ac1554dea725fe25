/*
 * The Internet checksum (RFC 1071), its incremental update (RFC 1624) and the pseudo headers
 * of RFC 9293 section 3.1, RFC 768 and RFC 8200 section 8.1.
 *
 * Sums are in memory order: 16-bit words are added as a little-endian load finds them, which
 * RFC 1071 section 2(B) allows because the one's-complement sum of swapped words is the swapped
 * sum. So nothing is swapped per word, and what comes out is stored as it is with store<u16>.
 * An odd last byte counts as if a zero byte followed it (section 1): in memory order it is the
 * low byte of its word.
 *
 * Wider words give the same sum after folding (section 2(C)), because 2^16, 2^32 and 1 are equal
 * modulo 2^16 - 1. The narrow path therefore adds u32 loads into u64s.
 *
 * The wide path adds the eight words of a vector in pairs, with the one instruction that x86 has
 * for it: a dot product with ones. It takes words as signed, so each has its top bit flipped,
 * which makes w - 2^15 of it, and the 2^15s are added back at the end. The unsigned pairwise
 * addition needs no such detour and is one instruction on arm64 but four on x86: a third slower
 * there at 1500 bytes.
 *
 *   w0 w1   | w2 w3   | w4 w5   | w6 w7      16 bytes of input
 *   w0'+w1' | w2'+w3' | w4'+w5' | w6'+w7'    i32 lanes, w' = w - 2^15
 *
 * A pair lies within 2^16 of zero, so that the lanes stay within 2^29 over 131071 bytes.
 * The sum of anything but zeros is never 0: it may be 0xffff, the other zero (section 2).
 */

/** RFC 791 section 3.1 */
const IPV4_CHECKSUM_OFFSET = 10;
const IPV4_SOURCE_OFFSET = 12;
/** RFC 8200 section 3 */
const IPV6_SOURCE_OFFSET = 8;

/** Below this the set-up of the vectors costs more than it saves. */
const WIDE_MIN_BYTES = 128;
/** Flips the top bit of two words: w becomes w - WORD_BIAS when read as signed. */
const WORD_BIAS = 0x8000;
const WORDS_PER_VECTOR = 8;

/** One's-complement sum of any length from 0 to 131071 and any alignment, folded to 16 bits. */
export function sum(address: usize, bytes: i32): u32 {
  if (ASC_FEATURE_SIMD) {
    if (bytes >= WIDE_MIN_BYTES) return fold64(wide(address, bytes));
  }
  return fold64(narrow(address, bytes));
}

/** The same sum of `from`, which is copied to `to` on the way. The two must not overlap. */
export function copyAndSum(from: usize, to: usize, bytes: i32): u32 {
  if (ASC_FEATURE_SIMD) {
    if (bytes >= WIDE_MIN_BYTES) return fold64(wideCopy(from, to, bytes));
  }
  return fold64(narrowCopy(from, to, bytes));
}

/** Folds a sum of 16-bit or 32-bit words to 16 bits. */
export function fold(sum: u32): u32 {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** Folds a sum of 16-bit, 32-bit or 64-bit words to 16 bits. */
function fold64(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >>> 32);
  // At most 33 bits by now, and the carry must not be lost.
  return fold((sum as u32 & 0xffff) + ((sum >>> 16) as u32));
}

/** Sum of the pseudo header for the packet whose IPv4 header is at `ip`, folded to 16 bits. */
export function pseudoIpv4(ip: usize, protocol: u32, length: u32): u32 {
  const addresses =
    (load<u32>(ip, IPV4_SOURCE_OFFSET) as u64) + (load<u32>(ip, IPV4_SOURCE_OFFSET + 4) as u64);
  return fold64(addresses + lastWords(protocol, length));
}

/** The same for IPv6. `protocol` is the upper layer's, whatever extension headers stand between. */
export function pseudoIpv6(ip: usize, protocol: u32, length: u32): u32 {
  return fold64(narrow(ip + IPV6_SOURCE_OFFSET, 32) + lastWords(protocol, length));
}

/**
 * The checksum field after one 16-bit word of what it covers went from `from` to `to`,
 * all three in memory order: RFC 1624 section 3, equation 3.
 */
export function update16(checksum: u32, from: u32, to: u32): u32 {
  return fold((checksum ^ 0xffff) + (from ^ 0xffff) + to) ^ 0xffff;
}

/** The checksum to store (memory order) for an IPv4 header of `headerBytes`, a multiple of 4. */
export function ipv4Header(ip: usize, headerBytes: i32): u32 {
  // The field itself counts as zero; it is the high half of the header's third word.
  const field = (load<u16>(ip, IPV4_CHECKSUM_OFFSET) as u64) << 16;
  return fold64(narrow(ip, headerBytes) - field) ^ 0xffff;
}

/** Zeros, protocol and length: both families end alike, but for zeros that add nothing. */
function lastWords(protocol: u32, length: u32): u64 {
  return ((protocol as u64) << 8) + (bswap<u32>(length) as u64);
}

/** Unfolded sum by u32 loads. Four sums, so that no addition waits for another. */
function narrow(address: usize, bytes: i32): u64 {
  let a: u64 = 0;
  let b: u64 = 0;
  let c: u64 = 0;
  let d: u64 = 0;
  while (bytes >= 32) {
    a += load<u32>(address) as u64;
    b += load<u32>(address, 4) as u64;
    c += load<u32>(address, 8) as u64;
    d += load<u32>(address, 12) as u64;
    a += load<u32>(address, 16) as u64;
    b += load<u32>(address, 20) as u64;
    c += load<u32>(address, 24) as u64;
    d += load<u32>(address, 28) as u64;
    address += 32;
    bytes -= 32;
  }
  while (bytes >= 8) {
    a += load<u32>(address) as u64;
    b += load<u32>(address, 4) as u64;
    address += 8;
    bytes -= 8;
  }
  if (bytes & 4) {
    c += load<u32>(address) as u64;
    address += 4;
  }
  if (bytes & 2) {
    d += load<u16>(address) as u64;
    address += 2;
  }
  if (bytes & 1) a += load<u8>(address) as u64;
  return a + b + (c + d);
}

/** Unfolded sum by vectors, 64 bytes a round. */
function wide(address: usize, bytes: i32): u64 {
  const vectors = bytes >>> 4;
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  let c = i32x4.splat(0);
  let d = i32x4.splat(0);
  while (bytes >= 64) {
    a = i32x4.add(a, pairs(v128.load(address)));
    b = i32x4.add(b, pairs(v128.load(address, 16)));
    c = i32x4.add(c, pairs(v128.load(address, 32)));
    d = i32x4.add(d, pairs(v128.load(address, 48)));
    address += 64;
    bytes -= 64;
  }
  while (bytes >= 16) {
    a = i32x4.add(a, pairs(v128.load(address)));
    address += 16;
    bytes -= 16;
  }
  return lanes(i32x4.add(i32x4.add(a, b), i32x4.add(c, d)), vectors) + narrow(address, bytes);
}

/** narrow() that also stores what it loads. */
function narrowCopy(from: usize, to: usize, bytes: i32): u64 {
  let low: u64 = 0;
  let high: u64 = 0;
  while (bytes >= 8) {
    const word = load<u64>(from);
    store<u64>(to, word);
    low += word & 0xffffffff;
    high += word >>> 32;
    from += 8;
    to += 8;
    bytes -= 8;
  }
  if (bytes & 4) {
    const word = load<u32>(from);
    store<u32>(to, word);
    low += word as u64;
    from += 4;
    to += 4;
  }
  if (bytes & 2) {
    const word = load<u16>(from);
    store<u16>(to, word);
    high += word as u64;
    from += 2;
    to += 2;
  }
  if (bytes & 1) {
    const byte = load<u8>(from);
    store<u8>(to, byte);
    low += byte as u64;
  }
  return low + high;
}

/** wide() that also stores what it loads. */
function wideCopy(from: usize, to: usize, bytes: i32): u64 {
  const vectors = bytes >>> 4;
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  let c = i32x4.splat(0);
  let d = i32x4.splat(0);
  while (bytes >= 64) {
    const first = v128.load(from);
    const second = v128.load(from, 16);
    const third = v128.load(from, 32);
    const fourth = v128.load(from, 48);
    v128.store(to, first);
    v128.store(to, second, 16);
    v128.store(to, third, 32);
    v128.store(to, fourth, 48);
    a = i32x4.add(a, pairs(first));
    b = i32x4.add(b, pairs(second));
    c = i32x4.add(c, pairs(third));
    d = i32x4.add(d, pairs(fourth));
    from += 64;
    to += 64;
    bytes -= 64;
  }
  while (bytes >= 16) {
    const words = v128.load(from);
    v128.store(to, words);
    a = i32x4.add(a, pairs(words));
    from += 16;
    to += 16;
    bytes -= 16;
  }
  return lanes(i32x4.add(i32x4.add(a, b), i32x4.add(c, d)), vectors) + narrowCopy(from, to, bytes);
}

function pairs(words: v128): v128 {
  return i32x4.dot_i16x8_s(v128.xor(words, i16x8.splat(WORD_BIAS as i16)), i16x8.splat(1));
}

/** The four lanes together, with the bias of `vectors` vectors added back. */
function lanes(sums: v128, vectors: i32): u64 {
  const halves = i64x2.add(i64x2.extend_low_i32x4_s(sums), i64x2.extend_high_i32x4_s(sums));
  const biased = i64x2.extract_lane(halves, 0) + i64x2.extract_lane(halves, 1);
  return (biased + ((vectors * WORDS_PER_VECTOR * WORD_BIAS) as i64)) as u64;
}
