/*
 * The FDB as a table: where entries lie, and how they are made, changed and taken away. What
 * packets ask of it is in fdb.ts; how an entry is found by its key, in fdb-index.ts.
 *
 *   entry  (56 bytes)   | version | state flags | used | updated | key | first remote |
 *   remote (32 bytes)   | next, remotes | via | VNI | port, family | address |   further ones of an entry, chained
 *
 * Entries lie side by side in the order of their making. One that goes makes room for the next one that comes:
 * those that nobody uses are chained, behind a head in the header. Entries never move.
 *
 * Everything here but `next` and `nextExpired` expects the lock. Readers take none, so
 * writers owe them two things:
 *
 *   - The index learns of an entry last when it is made (`reserve` finds room, the caller fills it,
 *     `publish` shows it) and forgets it first when it goes.
 *   - Between `beginChange` and `endChange` the version is odd. A reader that saw an odd version,
 *     or another one after reading than before, starts again. A remote that leaves an entry may
 *     belong to another one the next moment; that is safe because the version of the entry it
 *     left changed first.
 *
 * WASM orders atomic accesses only. Readers therefore load with `atomic.load` all that a version
 * covers; on x86-64 that is a plain load. Writers may store plainly: `beginChange` ends in an atomic
 * load, which no later store can pass, and `endChange` is an atomic store, which no earlier one can.
 */
import * as index from './fdb-index';
import { recordOf } from './fdb-index';
import { removeRemote } from './fdb-remote';
import {
  DEVICE_BYTES,
  DEVICE_FDB_COUNT_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  DEVICES_BASE,
  DOMAIN_BYTES,
  DOMAIN_DEVICE_OFFSET,
  DOMAINS_BASE,
  FDB_CAPACITY,
  FDB_CREATED_BYTES,
  FDB_CREATIONS_BASE,
  FDB_FLAGS_OFFSET,
  FDB_KEY_OFFSET,
  FDB_REMOTES_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  FDB_USED_OFFSET,
  FDB_VERSION_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_CREATED_OFFSET,
  HEADER_FDB_FREE_OFFSET,
  HEADER_FDB_FRESH_OFFSET,
  HEADER_FDB_KEY_OFFSET,
  HEADER_FDB_LOCK_OFFSET,
  NTF_EXT_LEARNED,
  NUD_NOARP,
  NUD_PERMANENT,
} from './layout';

const DOMAIN_SHIFT = 48;
const MAC_MASK: u64 = 0xffffffffffff;
const LOCK = HEADER_BASE + HEADER_FDB_LOCK_OFFSET;

/** `mac` has 8 readable bytes; those behind the MAC don't count. */
export function keyOf(domain: u32, mac: usize): u64 {
  return (load<u64>(mac) & MAC_MASK) | ((domain as u64) << DOMAIN_SHIFT);
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

/** Of a free entry the link of the list. */
function createdOf(entry: i32): usize {
  return FDB_CREATIONS_BASE + entry * FDB_CREATED_BYTES;
}

// ------------------------------------------------------------------- readers

/** @returns the first entry at or after `from` that belongs to a domain of `device` (0 = of any), or -1. */
export function next(device: u32, from: i32): i32 {
  const end = load<i32>(HEADER_BASE, HEADER_FDB_FRESH_OFFSET);
  for (let entry = from; entry < end; entry++) {
    const key = atomic.load<u64>(recordOf(entry), FDB_KEY_OFFSET);
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
 * calls `publish`; until then nothing counts it, and the next `reserve` may give it out again.
 * @param mac key without the domain; the caller has made sure that it has no entry
 * @returns the entry, or -1: the device's limit is reached, or the table is full
 */
export function reserve(domain: u32, mac: u64, now: u32): i32 {
  const owner = ownerOf(domain);
  const limit = load<u32>(owner, DEVICE_FDB_LIMIT_OFFSET);
  if (limit !== 0 && load<u32>(owner, DEVICE_FDB_COUNT_OFFSET) >= limit) return -1;
  if (load<u32>(HEADER_BASE, HEADER_FDB_COUNT_OFFSET) >= (FDB_CAPACITY as u32)) return -1;
  const key = (mac & MAC_MASK) | ((domain as u64) << DOMAIN_SHIFT);
  if (!index.hasRoom(key)) return -1;
  store<u64>(HEADER_BASE, key, HEADER_FDB_KEY_OFFSET);
  const free = load<i32>(HEADER_BASE, HEADER_FDB_FREE_OFFSET);
  const entry = free !== 0 ? free - 1 : load<i32>(HEADER_BASE, HEADER_FDB_FRESH_OFFSET);
  beginChange(entry);
  const record = recordOf(entry);
  store<u32>(record, 0, FDB_STATE_OFFSET);
  store<u32>(record, now, FDB_USED_OFFSET);
  store<u32>(record, now, FDB_UPDATED_OFFSET);
  store<u16>(record, 0, FDB_REMOTES_OFFSET);
  return entry;
}

/** `reserve` for the host, whose numbers have 32 bits: `macLow` has the first four bytes, the first one lowest. */
export function insert(domain: u32, macLow: u32, macHigh: u32, now: u32): i32 {
  return reserve(domain, (macLow as u64) | ((macHigh as u64) << 32), now);
}

/** Shows the entry that was reserved last to readers. */
export function publish(entry: i32): void {
  const key = load<u64>(HEADER_BASE, HEADER_FDB_KEY_OFFSET);
  take(entry);
  count(key, 1);
  atomic.store<u64>(recordOf(entry), key, FDB_KEY_OFFSET);
  endChange(entry);
  index.add(key, entry);
}

/** An entry is free no longer: the first of the list, or the one that was never used. It gets its number. */
function take(entry: i32): void {
  const created = createdOf(entry);
  if (load<i32>(HEADER_BASE, HEADER_FDB_FREE_OFFSET) === entry + 1) {
    store<u32>(HEADER_BASE, load<u32>(created), HEADER_FDB_FREE_OFFSET);
  } else {
    store<i32>(HEADER_BASE, entry + 1, HEADER_FDB_FRESH_OFFSET);
  }
  add(HEADER_BASE + HEADER_FDB_CREATED_OFFSET, 1);
  store<u32>(created, load<u32>(HEADER_BASE, HEADER_FDB_CREATED_OFFSET));
}

/** Takes an entry away, and its remotes. */
export function erase(entry: i32): void {
  const record = recordOf(entry);
  const key = load<u64>(record, FDB_KEY_OFFSET);
  index.remove(key, entry);
  beginChange(entry);
  store<u64>(record, 0, FDB_KEY_OFFSET);
  let remotes: u32 = load<u16>(record, FDB_REMOTES_OFFSET);
  while (remotes > 1) removeRemote(entry, --remotes);
  store<u16>(record, 0, FDB_REMOTES_OFFSET);
  endChange(entry);
  count(key, -1);
  give(entry);
}

/** An entry is free. When all are, the table begins anew: what scans it need not look at them any more. */
function give(entry: i32): void {
  if (load<u32>(HEADER_BASE, HEADER_FDB_COUNT_OFFSET) === 0) {
    store<u32>(HEADER_BASE, 0, HEADER_FDB_FREE_OFFSET);
    store<u32>(HEADER_BASE, 0, HEADER_FDB_FRESH_OFFSET);
    return;
  }
  store<u32>(createdOf(entry), load<u32>(HEADER_BASE, HEADER_FDB_FREE_OFFSET));
  store<i32>(HEADER_BASE, entry + 1, HEADER_FDB_FREE_OFFSET);
}

/** Adds `change` to the entries of the table and of the device. */
function count(key: u64, change: i32): void {
  add(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, change);
  add(ownerOf(domainOf(key)) + DEVICE_FDB_COUNT_OFFSET, change);
}

function add(counter: usize, change: i32): void {
  store<u32>(counter, load<u32>(counter) + change);
}
