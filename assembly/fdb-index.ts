/*
 * Where in the FDB the entry of a key is: a hash table of cache lines that hold no keys, only tags.
 *
 *   bucket (64 bytes)   | passed u32 | slot 1 | slot 2 | ... | slot 15 |
 *   slot   (u32)        | tag, 12 bits | entry + 1, 20 bits |
 *
 * A slot lies in the key's home bucket, or, where that is full, in the first one with room on a walk of growing
 * steps (1, 2, 3 ... buckets: short runs, where steps of one would clump). Every full bucket on the way counts the
 * entry as passed. A look-up leaves the walk at the first bucket that nobody passed, which in nearly all cases is
 * the home bucket. So it costs two lines of memory, one here and the entry's own, which its reader wants anyway;
 * the first slot is tried by itself, and the comparison of fifteen tags at once has no branch that could be guessed
 * wrong: a processor is on to the next look-up while it waits for the lines of this one. One tag in 2048 is another key's: the entry's key decides.
 *
 * Slots never move. `lookUp` takes no lock; the other functions expect it.
 */
import {
  FDB_BUCKET_BYTES,
  FDB_BUCKET_COUNT,
  FDB_BUCKET_WORDS,
  FDB_BUCKETS_BASE,
  FDB_ENTRIES_BASE,
  FDB_ENTRY_BYTES,
  FDB_KEY_OFFSET,
  FDB_PROBE_BUCKETS,
  FDB_SLOT_ENTRY_MASK,
  HEADER_BASE,
  HEADER_FDB_SLOT_OFFSET,
  HEADER_FDB_TAG_OFFSET,
  HEADER_HASH_SEED_OFFSET,
} from './layout';

const SLOT_BYTES = 4;
/** Bits 1 to 15. */
const SLOT_BITS: u32 = 0xfffe;
const TAG_SHIFT = 20;
const TAG_MASK: u32 = ~FDB_SLOT_ENTRY_MASK;
/** Set in each tag, so that none is 0. */
const TAG_SET: u32 = 0x80000000;
/** Odd multipliers of 64 bits, in halves: JavaScript's tools would round the whole. */
const MIX_FIRST: u64 = (0x9e3779b9 << 32) | 0x7f4a7c15;
const MIX_SECOND: u64 = (0xd6e8feb8 << 32) | 0x6659fd93;

export function recordOf(entry: i32): usize {
  return FDB_ENTRIES_BASE + entry * FDB_ENTRY_BYTES;
}

/** @returns the entry of a key, or -1. */
export function lookUp(key: u64): i32 {
  const hash = hashOf(key);
  const tag = tagOf(hash);
  let bucket = homeOf(hash);
  for (let step: u32 = 1; step <= (FDB_PROBE_BUCKETS as u32); step++) {
    const line = lineOf(bucket);
    if (ASC_FEATURE_SIMD) {
      // In a table that is not full most are in the first slot, and a guess that comes true costs next to nothing.
      const slot = load<u32>(line + SLOT_BYTES);
      if ((slot & TAG_MASK) === tag) {
        const entry = ((slot & FDB_SLOT_ENTRY_MASK) - 1) as i32;
        if (entry >= 0 && atomic.load<u64>(recordOf(entry), FDB_KEY_OFFSET) === key) return entry;
      }
    }
    for (let found = slotsWith(line, tag); found !== 0; found &= found - 1) {
      // The slot may be another's by now, and so may the entry: who reads on in it looks at its version and key.
      const entry = ((load<u32>(line + ctz<u32>(found) * SLOT_BYTES) & FDB_SLOT_ENTRY_MASK) - 1) as i32;
      if (entry >= 0 && load<u64>(recordOf(entry), FDB_KEY_OFFSET) === key) return entry;
    }
    if (load<u32>(line) === 0) return -1;
    bucket = stepFrom(bucket, step);
  }
  return -1;
}

/** Is there a slot for a key? Notes it for `add` where it is in the home bucket, as nearly always. */
export function hasRoom(key: u64): bool {
  const hash = hashOf(key);
  let bucket = homeOf(hash);
  const free = slotsWith(lineOf(bucket), 0);
  let slot: usize = 0;
  if (free !== 0) slot = lineOf(bucket) + ctz<u32>(free) * SLOT_BYTES;
  store<u32>(HEADER_BASE, <u32>slot, HEADER_FDB_SLOT_OFFSET);
  store<u32>(HEADER_BASE, tagOf(hash), HEADER_FDB_TAG_OFFSET);
  if (slot !== 0) return true;
  for (let step: u32 = 1; step < (FDB_PROBE_BUCKETS as u32); step++) {
    bucket = stepFrom(bucket, step);
    if (slotsWith(lineOf(bucket), 0) !== 0) return true;
  }
  return false;
}

/** Shows an entry to readers: that of the key which `hasRoom` was last asked about. */
export function add(key: u64, entry: i32): void {
  const slot = <usize>load<u32>(HEADER_BASE, HEADER_FDB_SLOT_OFFSET);
  if (slot !== 0) {
    atomic.store<u32>(slot, load<u32>(HEADER_BASE, HEADER_FDB_TAG_OFFSET) | (entry + 1));
    return;
  }
  const hash = hashOf(key);
  let bucket = homeOf(hash);
  let free = slotsWith(lineOf(bucket), 0);
  for (let step: u32 = 1; free === 0; step++) {
    pass(bucket, 1);
    bucket = stepFrom(bucket, step);
    free = slotsWith(lineOf(bucket), 0);
  }
  atomic.store<u32>(lineOf(bucket) + ctz<u32>(free) * SLOT_BYTES, tagOf(hash) | (entry + 1));
}

/** Takes an entry away, which must be there. */
export function remove(key: u64, entry: i32): void {
  const hash = hashOf(key);
  const slot = tagOf(hash) | (entry + 1);
  let bucket = homeOf(hash);
  let at = addressOf(lineOf(bucket), slot);
  for (let step: u32 = 1; at === 0; step++) {
    pass(bucket, -1);
    bucket = stepFrom(bucket, step);
    at = addressOf(lineOf(bucket), slot);
  }
  atomic.store<u32>(at, 0);
}

/** The random seed keeps whoever chooses MACs from filling one bucket. It must not change while entries exist. */
function hashOf(key: u64): u64 {
  const seed = load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET) as u64;
  const hash = (key ^ (seed << 16) ^ seed) * MIX_FIRST;
  return (hash ^ (hash >>> 32)) * MIX_SECOND;
}

/** The high half of a hash, brought into the range of buckets. */
function homeOf(hash: u64): u32 {
  return (((hash >>> 32) * (FDB_BUCKET_COUNT as u64)) >>> 32) as u32;
}

/** Of the low half, which the home bucket does not tell. */
function tagOf(hash: u64): u32 {
  return ((hash as u32) & TAG_MASK) | TAG_SET;
}

function lineOf(bucket: u32): usize {
  return FDB_BUCKETS_BASE + bucket * FDB_BUCKET_BYTES;
}

/** The bucket that a walk reaches with its `step`th step, 1 being the first after the home bucket. */
function stepFrom(bucket: u32, step: u32): u32 {
  const next = bucket + step;
  return next < (FDB_BUCKET_COUNT as u32) ? next : next - FDB_BUCKET_COUNT;
}

/** Changes the number of entries that found a bucket full. */
function pass(bucket: u32, change: i32): void {
  const line = lineOf(bucket);
  store<u32>(line, load<u32>(line) + change);
}

/**
 * The slots of a bucket that may have this tag (0: that may be empty), as bits 1 to 15. The lowest one has it; without
 * SIMD the others are those behind it, for the lowest is wrong once in a thousand times.
 */
function slotsWith(line: usize, tag: u32): u32 {
  if (ASC_FEATURE_SIMD) {
    const tags = i32x4.splat((tag >>> TAG_SHIFT) as i32);
    const first = i16x8.narrow_i32x4_s(tagged(v128.load(line), tags), tagged(v128.load(line, 16), tags));
    const second = i16x8.narrow_i32x4_s(tagged(v128.load(line, 32), tags), tagged(v128.load(line, 48), tags));
    return i8x16.bitmask(i8x16.narrow_i16x8_s(first, second)) & ~1;
  }
  for (let slot: u32 = 1; slot < (FDB_BUCKET_WORDS as u32); slot++) {
    if ((load<u32>(line + slot * SLOT_BYTES) & TAG_MASK) === tag) return SLOT_BITS & (~0 << slot);
  }
  return 0;
}

/** Four slots against their tag: all ones where it is the same. */
function tagged(slots: v128, tags: v128): v128 {
  return i32x4.eq(i32x4.shr_u(slots, TAG_SHIFT), tags);
}

/** Where a slot lies in a bucket, 0 = elsewhere. */
function addressOf(line: usize, slot: u32): usize {
  for (let found = slotsWith(line, slot & TAG_MASK); found !== 0; found &= found - 1) {
    const at = line + ctz<u32>(found) * SLOT_BYTES;
    if (load<u32>(at) === slot) return at;
  }
  return 0;
}
