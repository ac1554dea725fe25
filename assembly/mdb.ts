/*
 * The MDB as packets see it: (domain, group, source) -> remotes, for frames whose destination MAC is
 * multicast. In the order of vxlan_mdb_entry_skb_get:
 *
 *   (source, group)    else (any, group)    else the all-zeros group, link-local groups aside
 *
 * by the addresses in the IP header alone. What is found first decides: an entry without a remote for
 * the frame is a drop, and nothing found leaves the frame to the FDB.
 *
 * Open addressing over slots, one step at a time, without holes. There are two tables: the host
 * (src/dataplane/mdb-table.ts) writes the one that is not in use, and then raises the version, whose lowest
 * bit says which one is. So nobody waits, and a look-up counts if the version is the same after it. The
 * remotes stand in the FDB under MDB_DOMAIN, by a number that is never used twice; whoever finds it gone
 * looks the frame up anew.
 */
import * as fdb from './fdb';
import {
  AF_INET,
  AF_INET6,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_MDB_VERSION_OFFSET,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  MDB_BASE,
  MDB_DOMAIN,
  MDB_DOMAIN_OFFSET,
  MDB_ENTRY_OFFSET,
  MDB_FAMILY_OFFSET,
  MDB_GROUP_OFFSET,
  MDB_HASH_SHIFT,
  MDB_MAC_OFFSET,
  MDB_NO_REMOTE,
  MDB_SLOT_BYTES,
  MDB_SLOT_COUNT,
  MDB_SOURCE_OFFSET,
  MDB_TABLE_BYTES,
} from './layout';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';

/** No entry: the FDB decides. */
export const MDB_NOTHING = -1;
/** An entry, and no remote for this frame: a drop (DROP_MDB_NO_REMOTE). */
export const MDB_DROP = -2;

const BROADCAST: u64 = 0xffffffffffff;
/** Look-ups that a change came across, or whose remotes had gone by then: more in a row don't happen. */
const LOOKUPS = 1024;
/** Odd multipliers of 64 bits, in halves: JavaScript's tools would round the whole. */
const MIX_DOMAIN: u64 = (0x9e3779b9 << 32) | 0x7f4a7c15;
const MIX_GROUP_LOW: u64 = (0x6659fd93 << 32) | 0xd6e8feb9;
const MIX_GROUP_HIGH: u64 = (0xc2b2ae3d << 32) | 0x27d4eb4f;
const MIX_SOURCE_LOW: u64 = (0x85ebca77 << 32) | 0x165667b1;
const MIX_SOURCE_HIGH: u64 = (0xff51afd7 << 32) | 0xed558ccd;

/**
 * Copies the remotes that a frame goes to by the MDB, in the order of the list.
 * @param frame Ethernet header with at least 14 readable bytes; `length` is all of it
 * @param into address of `max` times REMOTE_BYTES bytes, `max` at least 1
 * @returns how many there are, at least 1; or MDB_NOTHING or MDB_DROP
 */
export function collect(domain: u32, frame: usize, length: i32, into: usize, max: i32): i32 {
  const mac = ethernet.destination(frame);
  if (!ethernet.isGroup(mac) || mac === BROADCAST) return MDB_NOTHING;
  const type = ethernet.etherType(frame);
  const ip = frame + ETHERNET_HEADER_BYTES;
  const inside = length - ETHERNET_HEADER_BYTES;
  const isIpv4 = type === ETHERTYPE_IPV4 && inside >= IPV4_HEADER_BYTES;
  if (!isIpv4 && (type !== ETHERTYPE_IPV6 || inside < IPV6_HEADER_BYTES)) return MDB_NOTHING;
  for (let attempt = 0; attempt < LOOKUPS; attempt++) {
    const found = look(domain, ip, isIpv4);
    if (found < 0) return found as i32;
    const count = fdb.collect((found >>> 32) as i32, MDB_DOMAIN, found & 0xffffffff, into, max);
    if (count > 0) return count;
  }
  return MDB_DROP;
}

/** @returns the FDB entry in the high half and its MAC in the low one; or MDB_NOTHING or MDB_DROP */
function look(domain: u32, ip: usize, isIpv4: bool): i64 {
  const at = HEADER_BASE + HEADER_MDB_VERSION_OFFSET;
  for (let attempt = 0; attempt < LOOKUPS; attempt++) {
    const version = atomic.load<u32>(at);
    const table: usize = MDB_BASE + (version & 1) * MDB_TABLE_BYTES;
    const slot = isIpv4 ? lookIpv4(table, domain, ip) : lookIpv6(table, domain, ip);
    const entry = slot === 0 ? 0 : atomic.load<u32>(slot, MDB_ENTRY_OFFSET);
    const mac = slot === 0 ? 0 : atomic.load<u32>(slot, MDB_MAC_OFFSET);
    if (atomic.load<u32>(at) !== version) continue;
    if (slot === 0) return MDB_NOTHING;
    return entry === MDB_NO_REMOTE ? MDB_DROP : ((entry as i64) << 32) | (mac as i64);
  }
  // Better lost than sent where an entry forbids it.
  return MDB_DROP;
}

function lookIpv4(table: usize, domain: u32, ip: usize): usize {
  const group: u64 = ip4.destination(ip);
  const slot = lookGroup(table, domain, AF_INET, group, 0, ip4.source(ip), 0);
  if (slot !== 0 || ip4.isLocalMulticast(group as u32)) return slot;
  return find(table, domain, AF_INET, 0, 0, 0, 0);
}

function lookIpv6(table: usize, domain: u32, ip: usize): usize {
  const low = ip6.destinationLow(ip);
  const high = ip6.destinationHigh(ip);
  const slot = lookGroup(table, domain, AF_INET6, low, high, ip6.sourceLow(ip), ip6.sourceHigh(ip));
  if (slot !== 0 || ip6.isLinkLocal(low)) return slot;
  return find(table, domain, AF_INET6, 0, 0, 0, 0);
}

/** (source, group), else (any, group). */
function lookGroup(
  table: usize,
  domain: u32,
  family: u32,
  low: u64,
  high: u64,
  sourceLow: u64,
  sourceHigh: u64,
): usize {
  const slot = find(table, domain, family, low, high, sourceLow, sourceHigh);
  return slot !== 0 ? slot : find(table, domain, family, low, high, 0, 0);
}

/** @returns the address of the slot, 0 = none. Ends at an empty slot, of which there is always one. */
function find(
  table: usize,
  domain: u32,
  family: u32,
  low: u64,
  high: u64,
  sourceLow: u64,
  sourceHigh: u64,
): usize {
  let at = homeOf(domain, low, high, sourceLow, sourceHigh);
  for (let step = 0; step < MDB_SLOT_COUNT; step++) {
    const slot: usize = table + at * MDB_SLOT_BYTES;
    const owner = atomic.load<u32>(slot, MDB_DOMAIN_OFFSET);
    if (owner === 0) return 0;
    if (
      owner === domain &&
      atomic.load<u8>(slot, MDB_FAMILY_OFFSET) === family &&
      atomic.load<u64>(slot, MDB_GROUP_OFFSET) === low &&
      atomic.load<u64>(slot, MDB_GROUP_OFFSET + 8) === high &&
      atomic.load<u64>(slot, MDB_SOURCE_OFFSET) === sourceLow &&
      atomic.load<u64>(slot, MDB_SOURCE_OFFSET + 8) === sourceHigh
    ) {
      return slot;
    }
    at = (at + 1) & (MDB_SLOT_COUNT - 1);
  }
  return 0;
}

/** Where a look-up begins. The host asks too, so that both agree. */
function homeOf(domain: u32, low: u64, high: u64, sourceLow: u64, sourceHigh: u64): u32 {
  const seed = load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET) as u64;
  let hash = ((domain as u64) ^ (seed << 16)) * MIX_DOMAIN;
  hash += low * MIX_GROUP_LOW + high * MIX_GROUP_HIGH;
  hash += sourceLow * MIX_SOURCE_LOW + sourceHigh * MIX_SOURCE_HIGH;
  hash = (hash ^ (hash >>> 32)) * MIX_DOMAIN;
  return (hash >>> MDB_HASH_SHIFT) as u32;
}

/** The home, as a slot's number, of the key that stands at an address in the form of a slot. */
export function home(slot: usize): i32 {
  return homeOf(
    load<u32>(slot, MDB_DOMAIN_OFFSET),
    load<u64>(slot, MDB_GROUP_OFFSET),
    load<u64>(slot, MDB_GROUP_OFFSET + 8),
    load<u64>(slot, MDB_SOURCE_OFFSET),
    load<u64>(slot, MDB_SOURCE_OFFSET + 8),
  );
}
