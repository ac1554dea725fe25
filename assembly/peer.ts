/*
 * Who a device with `knownpeers` takes frames from: (device, MAC) -> the outer address that the peer sends from, and
 * the prefixes that its sources lie in. The host (src/dataplane/peer-table.ts) is the only writer of that; workers add
 * to the counters of entries.
 *
 *   decap   admit
 *   encap   sent
 *   both    settle, at the end of a batch
 *
 * No look-up takes a lock: slots of the index never move, and an entry has a version, odd while it is being changed. A
 * worker keeps a copy of what it has found, with that version, and goes by the copy until a change is through: a host
 * that loses its core in the midst of one keeps nobody waiting. What the worker counts stands there, too; the entry,
 * which other workers count in, hears of it once a batch. An entry that goes is not another peer's for a while
 * (peer-table.ts), and its key is looked at before anything is added.
 */
import { keyOf } from './fdb-table';
import {
  AF_INET,
  DROP_PEER_ADDRESS,
  DROP_PEER_SUBNET,
  DROP_SHORT_INNER_IP_RECEIVED,
  DROP_UNKNOWN_PEER,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NOW_OFFSET,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  PEER_ADDRESS_DROPS_OFFSET,
  PEER_ADDRESS_OFFSET,
  PEER_BUCKET_BYTES,
  PEER_BUCKET_COUNT,
  PEER_BUCKETS_BASE,
  PEER_BYTES,
  PEER_HASH_MULTIPLIER,
  PEER_HASH_SHIFT,
  PEER_IPV4_MASK_OFFSET,
  PEER_IPV4_OFFSET,
  PEER_IPV6_MASK_OFFSET,
  PEER_IPV6_OFFSET,
  PEER_LAST_OFFSET,
  PEER_RUN_BYTES,
  PEER_RUN_ENTRY_OFFSET,
  PEER_RUN_PACKETS_SHIFT,
  PEER_RUN_RECEIVED_OFFSET,
  PEER_RUN_SENT_OFFSET,
  PEER_RUN_SHIFT,
  PEER_RUN_SOURCE_OFFSET,
  PEER_RUN_VERSION_OFFSET,
  PEER_RUNS_OFFSET,
  PEER_RX_BYTES_OFFSET,
  PEER_RX_PACKETS_OFFSET,
  PEER_SLOT_ENTRY_MASK,
  PEER_SOURCE_BYTES,
  PEER_SOURCE_OFFSET,
  PEER_SUBNET_DROPS_OFFSET,
  PEER_TAG_SHIFT,
  PEER_TX_BYTES_OFFSET,
  PEER_TX_PACKETS_OFFSET,
  PEER_VERSION_OFFSET,
  PEERS_BASE,
  WORKER_PEERS_OFFSET,
} from './layout';
import * as arp from './wire/arp';
import * as ethernet from './wire/ethernet';

const SOURCE_MAC_OFFSET = 6;
const SOCKADDR_IN_ADDRESS_OFFSET = 4;
const SOCKADDR_IN6_ADDRESS_OFFSET = 8;
const IPV4_SOURCE_OFFSET = 12;
const IPV6_SOURCE_OFFSET = 8;
/** Looks at an entry that is being changed, and has not been copied yet, before taking it for none: milliseconds. */
const VERSION_SPINS = 4194304;
/** An odd multiplier of 64 bits, in halves: JavaScript's tools would round the whole. */
const RUN_MULTIPLIER: u64 = (0x9e3779b9 << 32) | 0x7f4a7c15;

/**
 * @param sender struct sockaddr_in or sockaddr_in6, whose scope does not count
 * @param frame of `bytes`, its Ethernet header at least
 * @returns 0, or the verdict to drop the frame with
 */
export function admit(worker: usize, device: u32, sender: usize, frame: usize, bytes: i32): i32 {
  const run = find(worker, keyOf(device, frame + SOURCE_MAC_OFFSET));
  if (run === 0) return DROP_UNKNOWN_PEER;
  const verdict = judge(run + PEER_RUN_SOURCE_OFFSET, sender, frame, bytes);
  if (verdict === 0) count(worker, run, PEER_RUN_RECEIVED_OFFSET, 1, bytes - ETHERNET_HEADER_BYTES);
  else if (verdict === DROP_PEER_ADDRESS) refuse(run, PEER_ADDRESS_DROPS_OFFSET);
  else if (verdict === DROP_PEER_SUBNET) refuse(run, PEER_SUBNET_DROPS_OFFSET);
  return verdict;
}

/** Frames that were handed on for whoever has their destination MAC. It may be no peer. */
export function sent(worker: usize, device: u32, frame: usize, packets: u32, bytes: u32): void {
  const run = find(worker, keyOf(device, frame));
  if (run !== 0) count(worker, run, PEER_RUN_SENT_OFFSET, packets, bytes);
}

/** Adds what has been counted to the entries. */
export function settle(worker: usize): void {
  let runs = load<u64>(worker, WORKER_PEERS_OFFSET);
  if (runs === 0) return;
  store<u64>(worker, 0, WORKER_PEERS_OFFSET);
  for (; runs !== 0; runs &= runs - 1) {
    give(worker + PEER_RUNS_OFFSET + <usize>ctz<u64>(runs) * PEER_RUN_BYTES);
  }
}

/** The run of a key, 0 = it is no peer's. */
function find(worker: usize, key: u64): usize {
  const index = <usize>((key * RUN_MULTIPLIER) >>> PEER_RUN_SHIFT);
  const run = worker + PEER_RUNS_OFFSET + index * PEER_RUN_BYTES;
  if (load<u64>(run) === key) {
    const version = atomic.load<u32>(<usize>load<u32>(run, PEER_RUN_ENTRY_OFFSET), PEER_VERSION_OFFSET);
    if (version === load<u32>(run, PEER_RUN_VERSION_OFFSET)) return run;
  }
  return renew(run, key) ? run : 0;
}

/** Looks a key up, and copies its entry unless that is being changed and a copy is there. False: it is no peer's. */
function renew(run: usize, key: u64): bool {
  const entry = search(key);
  if (entry === 0) return false;
  const isCopied = load<u64>(run) === key && load<u32>(run, PEER_RUN_ENTRY_OFFSET) === <u32>entry;
  if (isCopied && (atomic.load<u32>(entry, PEER_VERSION_OFFSET) & 1) !== 0) return true;
  give(run);
  for (let spin = 0; spin < VERSION_SPINS; spin++) {
    const version = atomic.load<u32>(entry, PEER_VERSION_OFFSET);
    if ((version & 1) !== 0) continue;
    if (atomic.load<u64>(entry) !== key) break;
    for (let at: usize = 0; at < (PEER_SOURCE_BYTES as usize); at += 8) {
      store<u64>(run + PEER_RUN_SOURCE_OFFSET + at, atomic.load<u64>(entry + PEER_SOURCE_OFFSET + at));
    }
    if (atomic.load<u32>(entry, PEER_VERSION_OFFSET) !== version) continue;
    store<u64>(run, key);
    store<u32>(run, version, PEER_RUN_VERSION_OFFSET);
    store<u32>(run, <u32>entry, PEER_RUN_ENTRY_OFFSET);
    return true;
  }
  // The copy is half another's.
  store<u64>(run, 0);
  return false;
}

/** A frame that has the peer's MAC and is refused. */
function refuse(run: usize, counter: usize): void {
  const entry = <usize>load<u32>(run, PEER_RUN_ENTRY_OFFSET);
  if (atomic.load<u64>(entry) === load<u64>(run)) atomic.add<u64>(entry + counter, 1);
}

/** What is counted first marks the run: something is to be added to the entry. */
function count(worker: usize, run: usize, counter: usize, packets: u32, bytes: u32): void {
  const counted = load<u64>(run + counter);
  store<u64>(run + counter, counted + (((packets as u64) << PEER_RUN_PACKETS_SHIFT) | (bytes as u64)));
  if (counted !== 0) return;
  const index = (run - worker - PEER_RUNS_OFFSET) / PEER_RUN_BYTES;
  const runs = load<u64>(worker, WORKER_PEERS_OFFSET);
  store<u64>(worker, runs | ((1 as u64) << (index as u64)), WORKER_PEERS_OFFSET);
}

/** Adds what a run has counted to its entry, unless that is no more. */
function give(run: usize): void {
  const received = load<u64>(run, PEER_RUN_RECEIVED_OFFSET);
  const sent = load<u64>(run, PEER_RUN_SENT_OFFSET);
  if ((received | sent) === 0) return;
  store<u64>(run, 0, PEER_RUN_RECEIVED_OFFSET);
  store<u64>(run, 0, PEER_RUN_SENT_OFFSET);
  const entry = <usize>load<u32>(run, PEER_RUN_ENTRY_OFFSET);
  if (atomic.load<u64>(entry) !== load<u64>(run)) return;
  if (received !== 0) {
    add(entry + PEER_RX_PACKETS_OFFSET, entry + PEER_RX_BYTES_OFFSET, received);
    const now = load<u32>(HEADER_BASE, HEADER_NOW_OFFSET);
    if (load<u32>(entry, PEER_LAST_OFFSET) !== now) store<u32>(entry, now, PEER_LAST_OFFSET);
  }
  if (sent !== 0) add(entry + PEER_TX_PACKETS_OFFSET, entry + PEER_TX_BYTES_OFFSET, sent);
}

function add(packets: usize, bytes: usize, counted: u64): void {
  const mask: u64 = ((1 as u64) << PEER_RUN_PACKETS_SHIFT) - 1;
  atomic.add<u64>(packets, counted >>> PEER_RUN_PACKETS_SHIFT);
  atomic.add<u64>(bytes, counted & mask);
}

/** The entry of a key, 0 = it is no peer's. */
function search(key: u64): usize {
  const hash = mix(mix(load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET), key as u32), (key >>> 32) as u32);
  const tag = hash << PEER_TAG_SHIFT;
  let bucket = hash >>> PEER_HASH_SHIFT;
  for (let step = 0; step < PEER_BUCKET_COUNT; step++) {
    const line: usize = PEER_BUCKETS_BASE + bucket * PEER_BUCKET_BYTES;
    for (let slot: usize = 4; slot < (PEER_BUCKET_BYTES as usize); slot += 4) {
      const found = atomic.load<u32>(line + slot);
      if (found === 0 || (found & ~PEER_SLOT_ENTRY_MASK) !== tag) continue;
      const entry: usize = PEERS_BASE + ((found & PEER_SLOT_ENTRY_MASK) - 1) * PEER_BYTES;
      if (atomic.load<u64>(entry) === key) return entry;
    }
    if (atomic.load<u32>(line) === 0) return 0;
    bucket = (bucket + 1) & (PEER_BUCKET_COUNT - 1);
  }
  return 0;
}

function mix(hash: u32, word: u32): u32 {
  const mixed = (hash ^ word) * PEER_HASH_MULTIPLIER;
  return mixed ^ (mixed >>> 15);
}

/** @param source PEER_SOURCE of a peer */
function judge(source: usize, sender: usize, frame: usize, bytes: i32): i32 {
  if (!isAt(source, sender)) return DROP_PEER_ADDRESS;
  const l3 = ethernet.networkOffset(frame, bytes);
  const type = ethernet.etherTypeBefore(frame, l3);
  const packet = frame + l3;
  const left = bytes - l3;
  if (type === ETHERTYPE_IPV4) {
    if (left < IPV4_HEADER_BYTES) return DROP_SHORT_INNER_IP_RECEIVED;
    return isOfIpv4(source, load<u32>(packet, IPV4_SOURCE_OFFSET)) ? 0 : DROP_PEER_SUBNET;
  }
  if (type === ETHERTYPE_IPV6) {
    if (left < IPV6_HEADER_BYTES) return DROP_SHORT_INNER_IP_RECEIVED;
    return isOfIpv6(source, packet + IPV6_SOURCE_OFFSET) ? 0 : DROP_PEER_SUBNET;
  }
  // Of other frames nothing but the MAC is known to be wrong or right.
  if (type !== ETHERTYPE_ARP) return 0;
  const isWhole = left >= arp.ARP_BYTES && arp.isIpv4(packet);
  return isWhole && isOfIpv4(source, arp.senderIp(packet)) ? 0 : DROP_PEER_SUBNET;
}

/** Is the sender's address the peer's? All of one device are of one family. */
function isAt(source: usize, sender: usize): bool {
  const low = load<u64>(source, PEER_ADDRESS_OFFSET);
  if (load<u16>(sender) === AF_INET) return low === (load<u32>(sender, SOCKADDR_IN_ADDRESS_OFFSET) as u64);
  return (
    low === load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET) &&
    load<u64>(source, PEER_ADDRESS_OFFSET + 8) === load<u64>(sender, SOCKADDR_IN6_ADDRESS_OFFSET + 8)
  );
}

/** @param address in network order. Without a network the mask is 0, and nothing under it is all ones. */
function isOfIpv4(source: usize, address: u32): bool {
  return (address & load<u32>(source, PEER_IPV4_MASK_OFFSET)) === load<u32>(source, PEER_IPV4_OFFSET);
}

function isOfIpv6(source: usize, address: usize): bool {
  const high = load<u64>(address) & load<u64>(source, PEER_IPV6_MASK_OFFSET);
  const low = load<u64>(address, 8) & load<u64>(source, PEER_IPV6_MASK_OFFSET + 8);
  return high === load<u64>(source, PEER_IPV6_OFFSET) && low === load<u64>(source, PEER_IPV6_OFFSET + 8);
}
