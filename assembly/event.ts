/*
 * What a worker tells the host about the tables: MACs learned and moved, look-ups that missed. A ring with
 * two cursors that only grow:
 *
 *   written   by the worker: records before it may be read
 *   taken     by the host:   records before it may be written over
 *
 * A worker never waits for the host. What doesn't fit is counted as lost.
 */
import {
  AF_INET,
  EVENT_ADDRESS_OFFSET,
  EVENT_BYTES,
  EVENT_COUNT,
  EVENT_DOMAIN_OFFSET,
  EVENT_FAMILY_OFFSET,
  EVENT_IFINDEX_OFFSET,
  EVENT_KIND_OFFSET,
  EVENT_L2_MISS,
  EVENT_L3_MISS,
  EVENT_LEARNED,
  EVENT_MAC_OFFSET,
  EVENT_MOVED,
  EVENTS_LOST_OFFSET,
  EVENTS_OFFSET,
  EVENTS_RECORDS_OFFSET,
  EVENTS_TAKEN_OFFSET,
  EVENTS_WRITTEN_OFFSET,
} from './layout';

const MAC_MASK: u64 = 0xffffffffffff;
const SOCKADDR_IN_ADDRESS_OFFSET = 4;
const SOCKADDR_IN6_ADDRESS_OFFSET = 8;

/**
 * A new entry of the FDB.
 * @param mac an address with 8 readable bytes
 * @param sender address of a struct sockaddr_in or sockaddr_in6
 * @param ifindex as given to fdb.learn
 */
export function learned(worker: usize, domain: u32, mac: usize, sender: usize, ifindex: u32): void {
  heard(worker, EVENT_LEARNED, domain, mac, sender, ifindex);
}

/** An entry of the FDB has another remote now. */
export function moved(worker: usize, domain: u32, mac: usize, sender: usize, ifindex: u32): void {
  heard(worker, EVENT_MOVED, domain, mac, sender, ifindex);
}

/** The FDB has neither an entry of that MAC nor default remotes. `mac` has 8 readable bytes. */
export function l2Miss(worker: usize, domain: u32, mac: usize): void {
  const record = claim(worker, EVENT_L2_MISS, domain);
  if (record === 0) return;
  storeMac(record, mac);
  publish(worker);
}

/** There is no neighbour of that address: 4 bytes of AF_INET or 16 of AF_INET6. */
export function l3Miss(worker: usize, domain: u32, family: u32, address: usize): void {
  const record = claim(worker, EVENT_L3_MISS, domain);
  if (record === 0) return;
  storeAddress(record, family, address);
  publish(worker);
}

function heard(worker: usize, kind: u32, domain: u32, mac: usize, sender: usize, ifindex: u32): void {
  const record = claim(worker, kind, domain);
  if (record === 0) return;
  storeMac(record, mac);
  store<u32>(record, ifindex, EVENT_IFINDEX_OFFSET);
  const family = load<u16>(sender) as u32;
  const offset = family === AF_INET ? SOCKADDR_IN_ADDRESS_OFFSET : SOCKADDR_IN6_ADDRESS_OFFSET;
  storeAddress(record, family, sender + offset);
  publish(worker);
}

/** @returns the next record, all zeros but for kind and domain; 0 when the ring is full */
function claim(worker: usize, kind: u32, domain: u32): usize {
  const ring = worker + EVENTS_OFFSET;
  const written = load<u32>(ring, EVENTS_WRITTEN_OFFSET);
  if (written - atomic.load<u32>(ring, EVENTS_TAKEN_OFFSET) >= (EVENT_COUNT as u32)) {
    store<u32>(ring, load<u32>(ring, EVENTS_LOST_OFFSET) + 1, EVENTS_LOST_OFFSET);
    return 0;
  }
  const record = ring + EVENTS_RECORDS_OFFSET + (written & (EVENT_COUNT - 1)) * EVENT_BYTES;
  memory.fill(record, 0, EVENT_BYTES);
  store<u32>(record, kind, EVENT_KIND_OFFSET);
  store<u32>(record, domain, EVENT_DOMAIN_OFFSET);
  return record;
}

/** Shows the claimed record to the host. */
function publish(worker: usize): void {
  const ring = worker + EVENTS_OFFSET;
  atomic.store<u32>(ring, load<u32>(ring, EVENTS_WRITTEN_OFFSET) + 1, EVENTS_WRITTEN_OFFSET);
}

function storeMac(record: usize, mac: usize): void {
  store<u64>(record, load<u64>(mac) & MAC_MASK, EVENT_MAC_OFFSET);
}

function storeAddress(record: usize, family: u32, address: usize): void {
  store<u32>(record, family, EVENT_FAMILY_OFFSET);
  if (family === AF_INET) {
    store<u32>(record, load<u32>(address), EVENT_ADDRESS_OFFSET);
  } else {
    store<u64>(record, load<u64>(address), EVENT_ADDRESS_OFFSET);
    store<u64>(record, load<u64>(address, 8), EVENT_ADDRESS_OFFSET + 8);
  }
}
