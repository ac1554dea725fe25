/** In which bucket of the FDB's index a look-up begins, reckoned anew: assembly/fdb-index.ts, without 64-bit integers. */
import {
  FDB_BUCKET_BYTES,
  FDB_BUCKET_COUNT,
  FDB_BUCKETS_BASE,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
} from '../../assembly/layout.ts';
import type { Mac } from '../../src/dataplane/fdb-text.ts';

interface Word {
  low: number;
  high: number;
}

const FIRST: Word = { low: 0x7f4a7c15, high: 0x9e3779b9 };
const SECOND: Word = { low: 0x6659fd93, high: 0xd6e8feb8 };

/** The upper 32 bits of a product of two 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const low = (a & 0xffff) * b;
  const high = (a >>> 16) * b + Math.floor(low / 0x10000);
  return Math.floor(high / 0x10000) >>> 0;
}

function multiply(a: Word, b: Word): Word {
  const crossed = Math.imul(a.low, b.high) + Math.imul(a.high, b.low);
  return { low: Math.imul(a.low, b.low) >>> 0, high: (multiplyHigh(a.low, b.low) + crossed) >>> 0 };
}

export function homeBucket(view: DataView, domain: number, { low, high }: Mac): number {
  const seed = view.getUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, true);
  const key = {
    low: (low ^ (seed << 16) ^ seed) >>> 0,
    high: ((high | (domain << 16)) ^ (seed >>> 16)) >>> 0,
  };
  const mixed = multiply(key, FIRST);
  const hash = multiply({ low: (mixed.low ^ mixed.high) >>> 0, high: mixed.high }, SECOND);
  return multiplyHigh(hash.high, FDB_BUCKET_COUNT);
}

/** Sum of what the buckets count as passed. */
export function passedBuckets(view: DataView): number {
  let sum = 0;
  for (let bucket = 0; bucket < FDB_BUCKET_COUNT; bucket++) {
    sum += view.getUint32(FDB_BUCKETS_BASE + bucket * FDB_BUCKET_BYTES, true);
  }
  return sum;
}
