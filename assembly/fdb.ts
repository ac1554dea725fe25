/*
 * The FDB as packets see it: (domain, MAC) -> remotes. Every VNI of a device has a table of its
 * own, its domain; here they share one memory, told apart by the domain in the key.
 *
 *   encap   find, or findZero for the default remotes; touch; collect
 *   decap   learn
 *
 * No look-up takes a lock: fdb-table.ts says what makes that safe. What is read is checked
 * afterwards against the entry's version and key, so an answer is the old one or the new one and
 * never a mixture. Learning takes the lock only where something changes. It asks for it, and does
 * not wait for long: a frame is delivered without being learned from (the next one will do)
 * rather than that a queue stands still behind a writer that lost its core.
 */
import { lookUp, recordOf } from './fdb-index';
import { addRemote, linked } from './fdb-remote';
import { beginChange, deviceOf, endChange, keyOf, publish, reserve, tryLock, unlock } from './fdb-table';
import {
  AF_INET,
  DEVICE_BYTES,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  FDB_FLAGS_OFFSET,
  FDB_KEY_OFFSET,
  FDB_REMOTE_OFFSET,
  FDB_REMOTES_OFFSET,
  FDB_STATE_OFFSET,
  FDB_UPDATED_OFFSET,
  FDB_USED_OFFSET,
  FDB_VERSION_OFFSET,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_CREATED_OFFSET,
  NTF_NEXTHOP,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_REACHABLE,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_COUNT,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  REMOTE_NEXT_OFFSET,
  REMOTE_VNI_DEFAULT,
  REMOTE_VNI_OFFSET,
} from './layout';

export { addRemote, removeRemote } from './fdb-remote';
export {
  beginChange,
  deviceOf,
  endChange,
  erase,
  insert,
  lock,
  next,
  nextExpired,
  publish,
  unlock,
} from './fdb-table';

/** The sender is where its MAC was known to be. */
export const LEARN_KNOWN = 0;
/** A new entry. */
export const LEARN_NEW = 1;
/** The MAC has moved to another sender. */
export const LEARN_MOVED = 2;
/** The MAC belongs to another remote for good: the frame is to be dropped. */
export const LEARN_REFUSED = 3;
/** No room for one more entry; the frame goes on. */
export const LEARN_FULL = 4;
/** Not learned from this frame, for the table is being written to. The frame goes on; the next one will do. */
export const LEARN_LATER = 5;
/** Not learned, for the device is down. The frame goes on. */
const LEARN_DOWN = 6;

/**
 * Looks at an entry that is being changed, or at the lock, before going on without: some milliseconds each. The host
 * reads whole entries under the lock, some ten microseconds at a time; a frame must be learned from all the same.
 */
const VERSION_SPINS = 4194304;
const LOCK_SPINS = 1048576;

/** 4 MiB of entries and index. */
const LARGE_ENTRIES: u32 = 32768;

const SOCKADDR_IN_ADDRESS_OFFSET = 4;
const SOCKADDR_IN6_ADDRESS_OFFSET = 8;

/** @returns the entry of a MAC, or -1. `mac` is an address with 8 readable bytes. */
export function find(domain: u32, mac: usize): i32 {
  return lookUp(keyOf(domain, mac));
}

/** @returns the entry of the all-zeros MAC, which has the default remotes, or -1. */
export function findZero(domain: u32): i32 {
  return lookUp(zeroKey(domain));
}

/**
 * Is the table larger than caches? Then whoever has a batch before him does well to look all of it up beforehand: one
 * look-up after the other, without a walk between them, wait for memory together.
 */
export function isLarge(): bool {
  return load<u32>(HEADER_BASE, HEADER_FDB_COUNT_OFFSET) > LARGE_ENTRIES;
}

/** NTF_* bits of an entry. */
export function flagsOf(entry: i32): u32 {
  return load<u16>(recordOf(entry), FDB_FLAGS_OFFSET);
}

/** The remotes of an entry are the members of a nexthop group: a frame takes one of them (nexthop.ts), not all. */
export function isNexthop(entry: i32): bool {
  return (atomic.load<u16>(recordOf(entry), FDB_FLAGS_OFFSET) & NTF_NEXTHOP) !== 0;
}

/** The entry has been used for sending. */
export function touch(entry: i32, now: u32): void {
  const record = recordOf(entry);
  if (load<u32>(record, FDB_USED_OFFSET) !== now) store<u32>(record, now, FDB_USED_OFFSET);
}

/**
 * Copies the remotes of an entry, in the order of the list.
 * @param mac48 the MAC that the entry was found by, first byte lowest
 * @param into address of `max` times REMOTE_BYTES bytes, `max` at least 1
 * @returns how many there are, at most `max`; 0 when the entry has gone since it was found
 */
export function collect(entry: i32, domain: u32, mac48: u64, into: usize, max: i32): i32 {
  const key = zeroKey(domain) | mac48;
  const record = recordOf(entry);
  for (let spin = 0; spin < VERSION_SPINS; spin++) {
    const version = atomic.load<u32>(record, FDB_VERSION_OFFSET);
    if (atomic.load<u64>(record, FDB_KEY_OFFSET) !== key) return 0;
    if ((version & 1) !== 0) continue;
    copyRemote(record + FDB_REMOTE_OFFSET, into);
    const count = min(load<u16>(into, FDB_REMOTES_OFFSET - FDB_REMOTE_OFFSET) as i32, max);
    if (count > 1) copyChain(into, count);
    if (atomic.load<u32>(record, FDB_VERSION_OFFSET) === version) return count;
  }
  return 0;
}

/** `collect` for the host, with the MAC at an address. */
export function collectAt(entry: i32, domain: u32, mac: usize, into: usize, max: i32): i32 {
  return collect(entry, domain, keyOf(0, mac), into, max);
}

/**
 * What a received frame says about its source MAC: that it is to be found at the sender.
 * @param mac the source MAC, unicast; an address with 8 readable bytes
 * @param sender address of the sender's struct sockaddr_in or sockaddr_in6
 * @param ifindex where the datagram came in when the sender's address is link-local, else 0
 * @returns LEARN_*
 */
export function learn(domain: u32, mac: usize, sender: usize, ifindex: u32, now: u32): i32 {
  const key = keyOf(domain, mac);
  const created = atomic.load<u32>(HEADER_BASE, HEADER_FDB_CREATED_OFFSET);
  let verdict = judge(key, sender, ifindex, now);
  if (verdict !== LEARN_NEW && verdict !== LEARN_MOVED) return verdict;
  if (!tryLock(LOCK_SPINS)) return LEARN_LATER;
  // Another worker may have learned the same in between; but not where nothing was created since.
  if (verdict !== LEARN_NEW || load<u32>(HEADER_BASE, HEADER_FDB_CREATED_OFFSET) !== created)
    verdict = judge(key, sender, ifindex, now);
  if (verdict === LEARN_MOVED) move(lookUp(key), sender);
  if (verdict === LEARN_NEW) verdict = create(domain, key, sender, ifindex, now);
  unlock();
  return verdict;
}

/** What is to be done about a sender. An entry that exists counts as updated whatever comes of it. */
function judge(key: u64, sender: usize, ifindex: u32, now: u32): i32 {
  const entry = lookUp(key);
  if (entry < 0) return LEARN_NEW;
  const record = recordOf(entry);
  const remote = record + FDB_REMOTE_OFFSET;
  for (let spin = 0; spin < VERSION_SPINS; spin++) {
    const version = atomic.load<u32>(record, FDB_VERSION_OFFSET);
    if (atomic.load<u64>(record, FDB_KEY_OFFSET) !== key) return LEARN_NEW;
    if ((version & 1) !== 0) continue;
    const sameAddress = isAt(remote, sender);
    const sameInterface = atomic.load<u32>(remote, REMOTE_IFINDEX_OFFSET) === ifindex;
    const fixed = (atomic.load<u16>(record, FDB_STATE_OFFSET) & (NUD_PERMANENT | NUD_NOARP)) !== 0;
    const nexthop = (atomic.load<u16>(record, FDB_FLAGS_OFFSET) & NTF_NEXTHOP) !== 0;
    if (atomic.load<u32>(record, FDB_VERSION_OFFSET) !== version) continue;
    if (load<u32>(record, FDB_UPDATED_OFFSET) !== now) store<u32>(record, now, FDB_UPDATED_OFFSET);
    // Not even a member of the group may say so: the driver compares with no member's address.
    if (nexthop) return LEARN_REFUSED;
    if (sameAddress && sameInterface) return LEARN_KNOWN;
    if (fixed) return LEARN_REFUSED;
    // A move changes the address and nothing else: with the same address there is nothing to do.
    return sameAddress ? LEARN_KNOWN : LEARN_MOVED;
  }
  return LEARN_LATER;
}

function move(entry: i32, sender: usize): void {
  beginChange(entry);
  storeAddress(recordOf(entry) + FDB_REMOTE_OFFSET, sender);
  endChange(entry);
}

function create(domain: u32, key: u64, sender: usize, ifindex: u32, now: u32): i32 {
  // A device that goes down is flushed; what arrives late must not come back into its table.
  const state = atomic.load<u32>(DEVICES_BASE + deviceOf(domain) * DEVICE_BYTES, DEVICE_STATE_OFFSET);
  if (state !== DEVICE_UP) return LEARN_DOWN;
  const entry = reserve(domain, key, now);
  if (entry < 0) return LEARN_FULL;
  const record = recordOf(entry);
  store<u16>(record, NUD_REACHABLE, FDB_STATE_OFFSET);
  store<u16>(record, NTF_SELF, FDB_FLAGS_OFFSET);
  const remote = addRemote(entry);
  store<u32>(remote, ifindex, REMOTE_IFINDEX_OFFSET);
  store<u32>(remote, REMOTE_VNI_DEFAULT, REMOTE_VNI_OFFSET);
  storeAddress(remote, sender);
  publish(entry);
  return LEARN_NEW;
}

function zeroKey(domain: u32): u64 {
  return (domain as u64) << 48;
}

/** Whether a remote's address is the sender's. All of one device are of one family. */
function isAt(remote: usize, sender: usize): bool {
  const low = atomic.load<u64>(remote, REMOTE_ADDRESS_OFFSET);
  const high = atomic.load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8);
  if (isIpv4(sender)) return high === 0 && low === (load<u32>(sender, SOCKADDR_IN_ADDRESS_OFFSET) as u64);
  return (
    low === load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET) &&
    high === load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET + 8)
  );
}

function storeAddress(remote: usize, sender: usize): void {
  store<u8>(remote, load<u16>(sender) as u8, REMOTE_FAMILY_OFFSET);
  if (isIpv4(sender)) {
    store<u64>(remote, load<u32>(sender, SOCKADDR_IN_ADDRESS_OFFSET) as u64, REMOTE_ADDRESS_OFFSET);
    store<u64>(remote, 0, REMOTE_ADDRESS_OFFSET + 8);
  } else {
    store<u64>(remote, load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET), REMOTE_ADDRESS_OFFSET);
    store<u64>(remote, load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET + 8), REMOTE_ADDRESS_OFFSET + 8);
  }
}

/** struct sockaddr_in and sockaddr_in6 both begin with a u16 family. */
function isIpv4(sender: usize): bool {
  return load<u16>(sender) === AF_INET;
}

function copyRemote(remote: usize, into: usize): void {
  store<u64>(into, atomic.load<u64>(remote));
  store<u64>(into, atomic.load<u64>(remote, 8), 8);
  store<u64>(into, atomic.load<u64>(remote, 16), 16);
  store<u64>(into, atomic.load<u64>(remote, 24), 24);
}

/** Follows the links from the first remote, which has been copied. A link that leads nowhere was read in a change. */
function copyChain(into: usize, count: i32): void {
  for (let copied = 1; copied < count; copied++) {
    const link: u32 = load<u16>(into, REMOTE_NEXT_OFFSET);
    if (link - 1 >= (REMOTE_COUNT as u32)) return;
    into += REMOTE_BYTES;
    copyRemote(linked(link), into);
  }
}
