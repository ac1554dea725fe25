/*
 * Who may send to a device with `knownsenders`: (device, IP address), kept by the host (src/dataplane/senders.ts),
 * which is the only writer. A slot takes several stores, so the table has a version, odd while it is being changed; a
 * look-up that saw it odd, or another one after reading than before, starts again.
 */
import {
  AF_INET,
  HEADER_BASE,
  HEADER_SENDER_VERSION_OFFSET,
  NEIGHBOUR_ADDRESS_OFFSET,
  NEIGHBOUR_SLOT_BYTES,
  SENDER_HASH_SHIFT,
  SENDER_SLOT_COUNT,
  SENDERS_BASE,
} from './layout';
import { FAMILY_SHIFT, hash, KEY_MASK } from './neighbour';

const SOCKADDR_IN_ADDRESS_OFFSET = 4;
const SOCKADDR_IN6_ADDRESS_OFFSET = 8;
/** Looks at a table that is being changed before taking the sender for a stranger: some milliseconds. */
const VERSION_SPINS = 4194304;

/** @param sender struct sockaddr_in or sockaddr_in6 */
export function isKnown(device: u32, sender: usize): bool {
  const family = <u32>load<u16>(sender);
  const isIpv4 = family === AF_INET;
  const low = isIpv4
    ? (load<u32>(sender, SOCKADDR_IN_ADDRESS_OFFSET) as u64)
    : load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET);
  const high = isIpv4 ? (0 as u64) : load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET + 8);
  const key = device | (family << FAMILY_SHIFT);
  const home = hash(key, low, high) >>> SENDER_HASH_SHIFT;
  for (let spin = 0; spin < VERSION_SPINS; spin++) {
    const version = atomic.load<u32>(HEADER_BASE, HEADER_SENDER_VERSION_OFFSET);
    if ((version & 1) !== 0) continue;
    const found = search(key, low, high, home);
    if (atomic.load<u32>(HEADER_BASE, HEADER_SENDER_VERSION_OFFSET) === version) return found;
  }
  return false;
}

function search(key: u32, low: u64, high: u64, home: u32): bool {
  let slot = home;
  for (let step = 0; step < SENDER_SLOT_COUNT; step++) {
    const at: usize = SENDERS_BASE + slot * NEIGHBOUR_SLOT_BYTES;
    const word = atomic.load<u32>(at);
    if (word === 0) return false;
    if (
      (word & KEY_MASK) === key &&
      atomic.load<u64>(at, NEIGHBOUR_ADDRESS_OFFSET) === low &&
      atomic.load<u64>(at, NEIGHBOUR_ADDRESS_OFFSET + 8) === high
    )
      return true;
    slot = (slot + 1) & (SENDER_SLOT_COUNT - 1);
  }
  return false;
}
