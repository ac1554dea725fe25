/*
 * The remotes of an FDB entry: a list, of which the first lies in the entry itself, so that an
 * entry with one remote (every unicast one) has all its bytes in one place. Further ones lie in a pool and are
 * chained; those that nobody uses are chained too, behind a head in the header.
 *
 * Whoever calls this holds the FDB's lock and, for an entry that readers see, is between
 * `beginChange` and `endChange` (fdb-table.ts).
 */
import { recordOf } from './fdb-index';
import {
  FDB_REMOTE_OFFSET,
  FDB_REMOTES_OFFSET,
  HEADER_BASE,
  HEADER_REMOTE_FREE_OFFSET,
  HEADER_REMOTE_FRESH_OFFSET,
  REMOTE_BYTES,
  REMOTE_COUNT,
  REMOTE_NEXT_OFFSET,
  REMOTES_BASE,
} from './layout';

/** Address of the remote that a link (index + 1) names. */
export function linked(link: u32): usize {
  return REMOTES_BASE + (link - 1) * REMOTE_BYTES;
}

/** Appends a remote. @returns the address of its record, all zeros; 0 when there is no memory for one more. */
export function addRemote(entry: i32): usize {
  const record = recordOf(entry);
  const count: u32 = load<u16>(record, FDB_REMOTES_OFFSET);
  let remote = record + FDB_REMOTE_OFFSET;
  if (count > 0) {
    const last = remoteAt(entry, count - 1);
    const link = allocate();
    if (link === 0) return 0;
    store<u16>(last, link, REMOTE_NEXT_OFFSET);
    remote = linked(link);
  }
  // Stores: a memory.fill of this size is a call out of the engine.
  for (let at: usize = 0; at < (REMOTE_BYTES as usize); at += 8) store<u64>(remote + at, 0);
  store<u16>(record, count + 1, FDB_REMOTES_OFFSET);
  return remote;
}

/** @param position in the list, 0 = first; there must be such a remote */
export function removeRemote(entry: i32, position: u32): void {
  const record = recordOf(entry);
  const count: u32 = load<u16>(record, FDB_REMOTES_OFFSET);
  // The first one lies in the entry: it goes by the second one taking its place.
  const before = position === 0 ? record + FDB_REMOTE_OFFSET : remoteAt(entry, position - 1);
  const link: u32 = load<u16>(before, REMOTE_NEXT_OFFSET);
  if (link !== 0) {
    const remote = linked(link);
    if (position === 0) memory.copy(before, remote, REMOTE_BYTES);
    else store<u16>(before, load<u16>(remote, REMOTE_NEXT_OFFSET), REMOTE_NEXT_OFFSET);
    store<u16>(remote, load<u32>(HEADER_BASE, HEADER_REMOTE_FREE_OFFSET), REMOTE_NEXT_OFFSET);
    store<u32>(HEADER_BASE, link, HEADER_REMOTE_FREE_OFFSET);
  }
  store<u16>(record, count - 1, FDB_REMOTES_OFFSET);
}

function remoteAt(entry: i32, position: u32): usize {
  let remote = recordOf(entry) + FDB_REMOTE_OFFSET;
  for (; position > 0; position--) remote = linked(load<u16>(remote, REMOTE_NEXT_OFFSET));
  return remote;
}

/** @returns a link to a remote that nobody uses, or 0. Freed ones first: their lines are warm. */
function allocate(): u32 {
  const link = load<u32>(HEADER_BASE, HEADER_REMOTE_FREE_OFFSET);
  if (link !== 0) {
    store<u32>(HEADER_BASE, load<u16>(linked(link), REMOTE_NEXT_OFFSET), HEADER_REMOTE_FREE_OFFSET);
    return link;
  }
  const fresh = load<u32>(HEADER_BASE, HEADER_REMOTE_FRESH_OFFSET);
  if (fresh === REMOTE_COUNT) return 0;
  store<u32>(HEADER_BASE, fresh + 1, HEADER_REMOTE_FRESH_OFFSET);
  return fresh + 1;
}
