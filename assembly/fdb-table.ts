/*
 * The FDB as a table: where entries lie, and how they are made, changed and taken away. What
 * packets ask of it is in fdb.ts.
 *
 *   bucket (64 bytes)   | passed u32, 0 | key 1 | key 2 | ... | key 7 |
 *   entry  (64 bytes)   | version | state flags | used | updated | remotes | created | key | first remote |
 *   remote (32 bytes)   | next | via | VNI | port, family | address |   further ones of an entry, chained
 *
 * A key lies in its home bucket, or, where that is full, in the first one with room on a walk of
 * growing steps (1, 2, 3 ... buckets: short runs, where steps of one would clump). Every full
 * bucket on the way counts the entry as passed. A look-up leaves the walk at the first bucket
 * that nobody passed, which in most cases is the home bucket: one cache line. Entries never move.
 *
 * Everything here but `findKey`, `next` and `nextExpired` expects the lock. Readers take none, so
 * writers owe them two things:
 *
 *   - A key is stored last when an entry is made (`insert` reserves it, the caller fills it,
 *     `publish` shows it) and cleared first when it goes.
 *   - Between `beginChange` and `endChange` the version is odd. A reader that saw an odd version,
 *     or another one after reading than before, starts again. A remote that leaves an entry may
 *     belong to another one the next moment; that is safe because the version of the entry it
 *     left changed first.
 *
 * WASM orders atomic accesses only. Readers therefore load with `atomic.load` all that a version
 * covers; on x86-64 that is a plain load. Writers may store plainly: `beginChange` ends in an atomic
 * load, which no later store can pass, and `endChange` is an atomic store, which no earlier one can.
 */
import { recordOf, removeRemote } from './fdb-remote';
import {
  DEVICE_BYTES,
  DEVICE_FDB_COUNT_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_DEVICE_OFFSET,
  DOMAINS_BASE,
  FDB_BUCKET_BYTES,
  FDB_BUCKET_COUNT,
  FDB_BUCKET_SLOTS,
  FDB_BUCKETS_BASE,
  FDB_CAPACITY,
  FDB_CREATED_OFFSET,
  FDB_FLAGS_OFFSET,
  FDB_KEY_OFFSET,
  FDB_PROBE_BUCKETS,
  FDB_REMOTES_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  FDB_USED_OFFSET,
  FDB_VERSION_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_CREATED_OFFSET,
  HEADER_FDB_LOCK_OFFSET,
  HEADER_HASH_SEED_OFFSET,
  NTF_EXT_LEARNED,
  NUD_NOARP,
  NUD_PERMANENT,
} from './layout';

const KEY_BYTES = 8;
const DOMAIN_SHIFT = 48;
const MAC_MASK: u64 = 0xffffffffffff;
/** Odd multipliers of 64 bits, in halves: JavaScript's tools would round the whole. */
const MIX_FIRST: u64 = (0x9e3779b9 << 32) | 0x7f4a7c15;
const MIX_SECOND: u64 = (0xd6e8feb8 << 32) | 0x6659fd93;
const LOCK = HEADER_BASE + HEADER_FDB_LOCK_OFFSET;

// ---------------------------------------------------------------- addresses

/** `mac` has 8 readable bytes; those behind the MAC don't count. */
export function keyOf(domain: u32, mac: usize): u64 {
  return (load<u64>(mac) & MAC_MASK) | ((domain as u64) << DOMAIN_SHIFT);
}

/** Where the key of an entry is: a bucket's eight words are numbered as its entries are. */
export function slotOf(entry: i32): usize {
  return FDB_BUCKETS_BASE + entry * KEY_BYTES;
}

function domainOf(key: u64): u32 {
  return (key >>> DOMAIN_SHIFT) as u32;
}

/** The device that a domain belongs to; 0 = none. */
export function deviceOf(domain: u32): u32 {
  return load<u32>(DOMAINS_BASE + domain * DOMAIN_BYTES, DOMAIN_DEVICE_OFFSET);
}

/** The record of the device that a domain belongs to: it has the limit and counts the entries. */
function ownerOf(domain: u32): usize {
  return DEVICES_BASE + deviceOf(domain) * DEVICE_BYTES;
}

/** The random seed keeps whoever chooses MACs from filling one bucket. It must not change while entries exist. */
function homeOf(key: u64): u32 {
  const seed = load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET) as u64;
  let hash = (key ^ (seed << 16) ^ seed) * MIX_FIRST;
  hash = (hash ^ (hash >>> 32)) * MIX_SECOND;
  return (hash >>> 50) as u32;
}

/** The bucket that a walk reaches with its `step`th step, 1 being the first after the home bucket. */
function stepFrom(bucket: u32, step: u32): u32 {
  return (bucket + step) & (FDB_BUCKET_COUNT - 1);
}

// ------------------------------------------------------------------- readers

/** @returns the entry of a key, or -1. */
export function findKey(key: u64): i32 {
  let bucket = homeOf(key);
  for (let step: u32 = 1; step <= (FDB_PROBE_BUCKETS as u32); step++) {
    const line: usize = FDB_BUCKETS_BASE + bucket * FDB_BUCKET_BYTES;
    const slot = slotWith(line, key);
    // The atomic load makes what stood before the key's publication visible.
    if (slot !== 0 && atomic.load<u64>(line + slot * KEY_BYTES) === key) {
      return (bucket * FDB_BUCKET_SLOTS + slot) as i32;
    }
    if (load<u32>(line) === 0) return -1;
    bucket = stepFrom(bucket, step);
  }
  return -1;
}

/** @returns the slot of a bucket, 1 to 7, that holds `key`; 0 = none. The first word counts and holds no key. */
function slotWith(line: usize, key: u64): u32 {
  if (ASC_FEATURE_SIMD) {
    const wanted = i64x2.splat(key);
    const found =
      (i64x2.bitmask(i64x2.eq(v128.load(line), wanted)) & 2) |
      (i64x2.bitmask(i64x2.eq(v128.load(line, 16), wanted)) << 2) |
      (i64x2.bitmask(i64x2.eq(v128.load(line, 32), wanted)) << 4) |
      (i64x2.bitmask(i64x2.eq(v128.load(line, 48), wanted)) << 6);
    return found === 0 ? 0 : ctz<u32>(found);
  }
  for (let slot: u32 = 1; slot < (FDB_BUCKET_SLOTS as u32); slot++) {
    if (load<u64>(line + slot * KEY_BYTES) === key) return slot;
  }
  return 0;
}

/** @returns the first entry at or after `from` that belongs to a domain of `device` (0 = of any), or -1. */
export function next(device: u32, from: i32): i32 {
  for (let entry = from; entry < FDB_BUCKET_COUNT * FDB_BUCKET_SLOTS; entry++) {
    if (entry % FDB_BUCKET_SLOTS === 0) continue;
    const key = atomic.load<u64>(slotOf(entry));
    if (key === 0) continue;
    const owner = deviceOf(domainOf(key));
    if (owner !== 0 && (device === 0 || owner === device)) return entry;
  }
  return -1;
}

/** @returns the first entry at or after `from` that has not been heard of for `ageing` seconds and may go, or -1. */
export function nextExpired(device: u32, from: i32, now: u32, ageing: u32): i32 {
  for (let entry = next(device, from); entry >= 0; entry = next(device, entry + 1)) {
    const record = recordOf(entry);
    // Negative when a worker's clock is already a second further.
    const age = (now - load<u32>(record, FDB_UPDATED_OFFSET)) as i32;
    if (age < 0 || (age as u32) < ageing) continue;
    const state = load<u16>(record, FDB_STATE_OFFSET);
    const flags = load<u16>(record, FDB_FLAGS_OFFSET);
    if ((state & (NUD_PERMANENT | NUD_NOARP)) === 0 && (flags & NTF_EXT_LEARNED) === 0) return entry;
  }
  return -1;
}

// ------------------------------------------------------------------- writers

/** Spins: the lock is held for nanoseconds, or by a thread that the kernel has taken off its core. */
export function lock(): void {
  while (atomic.cmpxchg<u32>(LOCK, 0, 1) !== 0) {
    while (atomic.load<u32>(LOCK) !== 0) {}
  }
}

/** @returns whether the lock could be had within `spins` looks. */
export function tryLock(spins: i32): bool {
  for (let spin = 0; spin < spins; spin++) {
    if (atomic.load<u32>(LOCK) === 0 && atomic.cmpxchg<u32>(LOCK, 0, 1) === 0) return true;
  }
  return false;
}

export function unlock(): void {
  atomic.store<u32>(LOCK, 0);
}

export function beginChange(entry: i32): void {
  const version = recordOf(entry) + FDB_VERSION_OFFSET;
  const odd = load<u32>(version) | 1;
  atomic.store<u32>(version, odd);
  // True at once. An atomic store lets later plain ones pass (arm64: stlr); a load behind it does not.
  while (atomic.load<u32>(version) !== odd) {}
}

export function endChange(entry: i32): void {
  const version = recordOf(entry) + FDB_VERSION_OFFSET;
  atomic.store<u32>(version, (load<u32>(version) | 1) + 1);
}

/**
 * Reserves an entry that nobody sees yet. The caller gives it a remote, state and flags, then
 * calls `publish`; until then nothing counts it, and the next `insert` may reserve it again.
 * @param mac key without the domain; the caller has made sure that it has no entry
 * @returns the entry, or -1: the device's limit is reached, or the table is full
 */
export function reserve(domain: u32, mac: u64, now: u32): i32 {
  const owner = ownerOf(domain);
  const limit = load<u32>(owner, DEVICE_FDB_LIMIT_OFFSET);
  if (limit !== 0 && load<u32>(owner, DEVICE_FDB_COUNT_OFFSET) >= limit) return -1;
  if (load<u32>(HEADER_BASE, HEADER_FDB_COUNT_OFFSET) >= (FDB_CAPACITY as u32)) return -1;
  const key = (mac & MAC_MASK) | ((domain as u64) << DOMAIN_SHIFT);
  const entry = vacancyFor(key);
  if (entry < 0) return -1;
  beginChange(entry);
  const record = recordOf(entry);
  const created = load<u32>(HEADER_BASE, HEADER_FDB_CREATED_OFFSET) + 1;
  store<u32>(HEADER_BASE, created, HEADER_FDB_CREATED_OFFSET);
  store<u32>(record, 0, FDB_STATE_OFFSET);
  store<u32>(record, now, FDB_USED_OFFSET);
  store<u32>(record, now, FDB_UPDATED_OFFSET);
  store<u32>(record, 0, FDB_REMOTES_OFFSET);
  store<u32>(record, created, FDB_CREATED_OFFSET);
  store<u64>(record, key, FDB_KEY_OFFSET);
  return entry;
}

/** `reserve` for the host, whose numbers have 32 bits: `macLow` has the first four bytes, the first one lowest. */
export function insert(domain: u32, macLow: u32, macHigh: u32, now: u32): i32 {
  return reserve(domain, (macLow as u64) | ((macHigh as u64) << 32), now);
}

/** Shows a reserved entry to readers. */
export function publish(entry: i32): void {
  const key = load<u64>(recordOf(entry), FDB_KEY_OFFSET);
  account(entry, key, 1);
  endChange(entry);
  atomic.store<u64>(slotOf(entry), key);
}

/** Takes an entry away, and its remotes. */
export function erase(entry: i32): void {
  const slot = slotOf(entry);
  const key = load<u64>(slot);
  beginChange(entry);
  atomic.store<u64>(slot, 0);
  let remotes = load<u32>(recordOf(entry), FDB_REMOTES_OFFSET);
  while (remotes > 1) removeRemote(entry, --remotes);
  store<u32>(recordOf(entry), 0, FDB_REMOTES_OFFSET);
  endChange(entry);
  account(entry, key, -1);
}

/** Adds `change` to the entries of the table and of the device, and to every bucket that the entry passed. */
function account(entry: i32, key: u64, change: i32): void {
  add(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, change);
  add(ownerOf(domainOf(key)) + DEVICE_FDB_COUNT_OFFSET, change);
  const last = (entry / FDB_BUCKET_SLOTS) as u32;
  let bucket = homeOf(key);
  for (let step: u32 = 1; bucket !== last; step++) {
    add(FDB_BUCKETS_BASE + bucket * FDB_BUCKET_BYTES, change);
    bucket = stepFrom(bucket, step);
  }
}

function add(counter: usize, change: i32): void {
  store<u32>(counter, load<u32>(counter) + change);
}

/** The first free slot on the walk of a key, as an entry; -1 when all are taken. */
function vacancyFor(key: u64): i32 {
  let bucket = homeOf(key);
  for (let step: u32 = 1; step <= (FDB_PROBE_BUCKETS as u32); step++) {
    const slot = slotWith(FDB_BUCKETS_BASE + bucket * FDB_BUCKET_BYTES, 0);
    if (slot !== 0) return (bucket * FDB_BUCKET_SLOTS + slot) as i32;
    bucket = stepFrom(bucket, step);
  }
  return -1;
}
