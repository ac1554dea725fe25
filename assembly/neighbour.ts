/*
 * (device, IP address) -> MAC: what proxy and rsc ask of the neighbour table of a TAP.
 *
 * Open addressing, one step at a time. The host (src/dataplane/neighbours.ts) is the only writer. A slot takes several
 * stores, so the table has a version, odd while it is being changed; a look-up that saw it odd, or another one after
 * reading than before, starts again. An answer is handed out by value: a slot may be another neighbour's the next moment.
 */
import * as counter from './count';
import * as event from './event';
import {
  AF_INET,
  DEVICE_BYTES,
  DEVICE_FLAG_L3MISS,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NEIGHBOUR_VERSION_OFFSET,
  L3_MISSES,
  NEIGHBOUR_ADDRESS_OFFSET,
  NEIGHBOUR_HASH_MULTIPLIER,
  NEIGHBOUR_HASH_SHIFT,
  NEIGHBOUR_MAC_OFFSET,
  NEIGHBOUR_SLOT_BYTES,
  NEIGHBOUR_SLOT_COUNT,
  NEIGHBOURS_BASE,
} from './layout';

/** A neighbour in another state; one whose state is one that the kernel calls connected. None is 0. */
const NEIGHBOUR_KNOWN = 1;
export const NEIGHBOUR_CONNECTED = 2;

const STATE_SHIFT = 48;
const MAC_MASK: u64 = 0xffffffffffff;
const DEVICE_MASK = 0xffff;
export const KEY_MASK = 0xffffff;
export const FAMILY_SHIFT = 16;
const CONNECTED_SHIFT = 24;
/** Looks at a table that is being changed before going on without: some milliseconds. */
const VERSION_SPINS = 4194304;

/**
 * @param address 4 bytes of AF_INET or 16 of AF_INET6
 * @returns what stateOf and macOf take apart; 0 = no such neighbour
 */
export function find(device: u32, family: u32, address: usize): u64 {
  const isIpv4 = family === AF_INET;
  const low = isIpv4 ? (load<u32>(address) as u64) : load<u64>(address);
  const high = isIpv4 ? (0 as u64) : load<u64>(address, 8);
  const key = device | (family << FAMILY_SHIFT);
  const home = hash(key, low, high) >>> NEIGHBOUR_HASH_SHIFT;
  for (let spin = 0; spin < VERSION_SPINS; spin++) {
    const version = atomic.load<u32>(HEADER_BASE, HEADER_NEIGHBOUR_VERSION_OFFSET);
    if ((version & 1) !== 0) continue;
    const found = search(key, low, high, home);
    if (atomic.load<u32>(HEADER_BASE, HEADER_NEIGHBOUR_VERSION_OFFSET) === version) return found;
  }
  return 0;
}

/** NEIGHBOUR_* of what `find` returned. */
export function stateOf(found: u64): u32 {
  return (found >>> STATE_SHIFT) as u32;
}

/** The MAC of what `find` returned, first byte lowest. */
export function macOf(found: u64): u64 {
  return found & MAC_MASK;
}

/** `find` for the host. @param into 8 bytes, for the MAC and two zero bytes. @returns NEIGHBOUR_* */
export function findInto(device: u32, family: u32, address: usize, into: usize): i32 {
  const found = find(device, family, address);
  store<u64>(into, macOf(found));
  return stateOf(found) as i32;
}

/** There is no neighbour of that address: counted and told, if the device asks for it. */
export function missed(worker: usize, device: u32, domain: u32, family: u32, address: usize): void {
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  if ((flags & DEVICE_FLAG_L3MISS) === 0) return;
  counter.one(worker, device, L3_MISSES);
  event.l3Miss(worker, domain, family, address);
}

/** One walk along the slots. What it reads may be half of a change: the version tells. */
function search(key: u32, low: u64, high: u64, home: u32): u64 {
  let slot = home;
  for (let step = 0; step < NEIGHBOUR_SLOT_COUNT; step++) {
    const at: usize = NEIGHBOURS_BASE + slot * NEIGHBOUR_SLOT_BYTES;
    const word = atomic.load<u32>(at);
    if ((word & DEVICE_MASK) === 0) return 0;
    if (
      (word & KEY_MASK) === key &&
      atomic.load<u64>(at, NEIGHBOUR_ADDRESS_OFFSET) === low &&
      atomic.load<u64>(at, NEIGHBOUR_ADDRESS_OFFSET + 8) === high
    ) {
      const state = word >>> CONNECTED_SHIFT === 0 ? NEIGHBOUR_KNOWN : NEIGHBOUR_CONNECTED;
      return (atomic.load<u64>(at, NEIGHBOUR_MAC_OFFSET) & MAC_MASK) | ((state as u64) << STATE_SHIFT);
    }
    slot = (slot + 1) & (NEIGHBOUR_SLOT_COUNT - 1);
  }
  return 0;
}

/** Of a device, a family and an address (layout.ts). */
export function hash(key: u32, low: u64, high: u64): u32 {
  let mixed = load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET);
  mixed = stir(mixed, key);
  mixed = stir(mixed, low as u32);
  mixed = stir(mixed, (low >>> 32) as u32);
  mixed = stir(mixed, high as u32);
  return stir(mixed, (high >>> 32) as u32);
}

function stir(before: u32, word: u32): u32 {
  const mixed = (before ^ word) * (NEIGHBOUR_HASH_MULTIPLIER as u32);
  return mixed ^ (mixed >>> 15);
}
