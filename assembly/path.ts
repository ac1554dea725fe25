/*
 * What a worker knows of the way to each remote: is it this host, how large may a packet be, through which
 * interface does it leave. The host asks the kernel's routing table and writes the answers here; the walk
 * stops at a remote it knows nothing of, or nothing new enough, and asks. Direct-mapped: two remotes of one
 * slot ask in turns.
 */
import {
  ENCAP_PATH_GROUP_OFFSET,
  ENCAP_PATH_REMOTE_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_STATE_OFFSET,
  HEADER_BASE,
  HEADER_PATHS_GENERATION_OFFSET,
  PATH_ADDRESS_OFFSET,
  PATH_EXPIRES_OFFSET,
  PATH_FAMILY_OFFSET,
  PATH_GENERATION_OFFSET,
  PATH_IFINDEX_OFFSET,
  PATH_KNOWN_MILLISECONDS,
  PATH_SLOT_BYTES,
  PATH_SLOT_COUNT,
  PATHS_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  WORKER_CLOCK_OFFSET,
} from './layout';

const HASH_MULTIPLIER: u64 = (0x9e3779b9 << 32) | 0x7f4a7c15;

/** The slot of a remote, whatever it holds now. */
export function slotOf(worker: usize, remote: usize): usize {
  const low = load<u64>(remote, REMOTE_ADDRESS_OFFSET);
  const high = load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8) + load<u32>(remote, REMOTE_IFINDEX_OFFSET);
  let hash = (low ^ (high * HASH_MULTIPLIER)) * HASH_MULTIPLIER;
  hash ^= hash >>> 32;
  return worker + PATHS_OFFSET + <usize>(hash & (PATH_SLOT_COUNT - 1)) * PATH_SLOT_BYTES;
}

/** @returns what is known of the path to a remote, 0 = nothing that is new enough */
export function find(worker: usize, remote: usize): usize {
  const slot = slotOf(worker, remote);
  // An address of all zeros, as in a slot that nobody has filled, is no remote's: those have been dropped.
  const known =
    load<u64>(slot, PATH_ADDRESS_OFFSET) === load<u64>(remote, REMOTE_ADDRESS_OFFSET) &&
    load<u64>(slot, PATH_ADDRESS_OFFSET + 8) === load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8) &&
    load<u32>(slot, PATH_IFINDEX_OFFSET) === load<u32>(remote, REMOTE_IFINDEX_OFFSET) &&
    load<u8>(slot, PATH_FAMILY_OFFSET) === load<u8>(remote, REMOTE_FAMILY_OFFSET) &&
    load<u32>(slot, PATH_GENERATION_OFFSET) === load<u32>(HEADER_BASE, HEADER_PATHS_GENERATION_OFFSET) &&
    isFresh(load<u32>(slot, PATH_EXPIRES_OFFSET) - load<u32>(worker, WORKER_CLOCK_OFFSET));
  return known ? slot : 0;
}

/** The clock wraps around every 49 days; what expired long before must not come to life again for half of them. */
function isFresh(left: u32): bool {
  return left - 1 < (PATH_KNOWN_MILLISECONDS as u32);
}

/** Asks for the path to a remote, from a source group's address; the walk stops. */
export function want(worker: usize, remote: usize, group: u32): void {
  const state = worker + ENCAP_STATE_OFFSET;
  memory.copy(state + ENCAP_PATH_REMOTE_OFFSET, remote, REMOTE_BYTES);
  store<u32>(state, group, ENCAP_PATH_GROUP_OFFSET);
  store<u32>(state, 1, ENCAP_PATH_WANTED_OFFSET);
}
