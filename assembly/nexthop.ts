/*
 * Nexthop groups: which member of a group a flow takes. The members stand as remotes in the
 * FDB entry (NTF_NEXTHOP), each with its weight.
 *
 * The kernel's hash threshold (net/ipv4/nexthop.c): the members divide the range of a 31-bit flow
 * hash among themselves in the order of the group, each as much as its weight, and each bound is
 * rounded to the nearest. A flow stays with its member as long as the group stays as it is.
 */
import { REMOTE_BYTES, REMOTE_WEIGHT_OFFSET } from './layout';

const HASH_BITS = 31;

/**
 * @param fanout address of `count` remotes side by side, as `collect` (fdb.ts) copies them
 * @param hash of the flow, all 32 bits
 * @returns the position of the member, or -1: the group has none
 */
export function choose(fanout: usize, count: i32, hash: u32): i32 {
  const total = weightOf(fanout, count);
  const wanted = (hash >>> 1) as u64;
  let sum: u64 = 0;
  for (let position = 0; position < count; position++) {
    sum += weightAt(fanout, position);
    if (wanted < ((sum << HASH_BITS) + (total >>> 1)) / total) return position;
  }
  return -1;
}

function weightOf(fanout: usize, count: i32): u64 {
  let total: u64 = 0;
  for (let position = 0; position < count; position++) total += weightAt(fanout, position);
  return total;
}

function weightAt(fanout: usize, position: i32): u64 {
  return (load<u8>(fanout + position * REMOTE_BYTES, REMOTE_WEIGHT_OFFSET) as u64) + 1;
}
