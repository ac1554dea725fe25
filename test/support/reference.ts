/**
 * The slow truth: what the engine must compute, written as the specifications put it, a byte pair at a
 * time, in network order. Nothing here shares code with the engine.
 */

/** One's-complement sum of RFC 1071 section 1, folded; network order. `start` is what was summed before. */
export function internetSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** Pseudo header of RFC 9293 section 3.1 and RFC 768; `ip` begins with the IPv4 header. */
export function pseudoIpv4(ip: Uint8Array, protocol: number, length: number): number {
  const header = new Uint8Array(12);
  header.set(ip.subarray(12, 20));
  header[9] = protocol;
  new DataView(header.buffer).setUint16(10, length);
  return internetSum(header);
}

/** Pseudo header of RFC 8200 section 8.1; `ip` begins with the IPv6 header. */
export function pseudoIpv6(ip: Uint8Array, protocol: number, length: number): number {
  const header = new Uint8Array(40);
  header.set(ip.subarray(8, 40));
  new DataView(header.buffer).setUint32(32, length);
  header[39] = protocol;
  return internetSum(header);
}

/** Network order from the engine's memory order, and back. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >> 8) & 0xff);
}

export const NOT_ECT = 0;
export const ECT_1 = 1;
export const ECT_0 = 2;
export const CE = 3;

/**
 * RFC 6040 section 4.2 as measured on Linux: by inner codepoint, the new one for an outer codepoint
 * of Not-ECT, ECT(1), ECT(0) and CE; -1 = drop.
 */
export const ECN_DECAPSULATION: ReadonlyMap<number, readonly number[]> = new Map([
  [NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, -1]],
  [ECT_1, [ECT_1, ECT_1, ECT_1, CE]],
  [ECT_0, [ECT_0, ECT_1, ECT_0, CE]],
  [CE, [CE, CE, CE, CE]],
]);

/** Outer codepoint for an inner one, as measured on Linux. */
export const ECN_ENCAPSULATION: ReadonlyMap<number, number> = new Map([
  [NOT_ECT, NOT_ECT],
  [ECT_1, ECT_1],
  [ECT_0, ECT_0],
  [CE, ECT_0],
]);

/** A seeded generator of numbers in [0, 1): every run draws the same. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomBytes(prng: () => number, n: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: n }, () => Math.floor(prng() * 256));
}
