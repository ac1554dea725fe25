/*
 * The way out: frames from a TAP -> datagrams for UDP sockets. In packet order, with the names of the
 * kernel driver's own steps in brackets; the functions below stand in this order.
 *
 *   1. the ring: one descriptor per frame that the host has read
 *   2. what the device's hook said of the frame (ours): hook-encap.ts
 *   3. the VNI: the device's, or that of the frame's VLAN
 *   4. ARP and ND requests that the proxy answers                           [arp_reduce, neigh_reduce]
 *   5. MDB: the group of a multicast frame                                  [vxlan_mdb_xmit]
 *   6. FDB: the destination MAC, route short circuit, else the all-zeros
 *      entry, else a drop                                                   [vxlan_find_mac, route_shortcircuit]
 *   7. the checksum the stack left open and what the header says, once for all copies
 *   8. for each remote, the first one last: transmit.ts                     [vxlan_xmit_one]
 *   9. messages grouped by socket: the host sends them                      [udp_tunnel_xmit_skb]
 *
 * The walk stops when messages or injections run out, or a path has to be asked for, also between two copies
 * of one frame; the host sends what there is and calls again.
 */
import * as counter from './count';
import * as dispatch from './dispatch';
import * as event from './event';
import * as fdb from './fdb';
import * as flow from './flow';
import * as vxlanHeader from './header';
import * as hookEncap from './hook-encap';
import * as inject from './inject';
import {
  CHECKSUMS_COMPLETED,
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_DOMAIN_OFFSET,
  DESCRIPTOR_HOOK_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_L2MISS,
  DEVICE_FLAG_MDB,
  DEVICE_FLAG_PROXY,
  DEVICE_FLAG_RSC,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  DROP_BAD_OFFLOAD,
  DROP_MDB_NO_REMOTE,
  DROP_NO_NEXTHOP,
  DROP_NO_TARGET,
  DROP_SHORT_FRAME,
  DROP_SHORT_INNER_IP,
  DROP_UNKNOWN_PROTOCOL,
  DROP_UNMAPPED_VLAN,
  ENCAP_FANOUT_COUNT_OFFSET,
  ENCAP_FANOUT_NEXT_OFFSET,
  ENCAP_FRAME_FLAGS_OFFSET,
  ENCAP_FRAME_SHORT_CIRCUITED,
  ENCAP_L3_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  ENCAP_WARM_OFFSET,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  FANOUT_MAX,
  FANOUT_OFFSET,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NOW_OFFSET,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  L2_MISSES,
  NTF_ROUTER,
  REMOTE_BYTES,
  VIRTIO_GSO_NONE,
  VIRTIO_HEADER_BYTES,
  VLAN_TAG_BYTES,
} from './layout';
import * as mdb from './mdb';
import * as message from './message';
import * as nexthop from './nexthop';
import * as parcel from './parcel';
import * as peers from './peer';
import * as proxy from './proxy';
import * as ring from './ring';
import * as segment from './segment';
import { shortCircuit } from './short-circuit';
import { transmit } from './transmit';
import * as vlan from './vlan';
import * as vni from './vni';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as virtio from './wire/virtio';

/** Where a frame goes: this many remotes in the fan-out; none: it has been dropped or answered; no room: come back. */
const DONE = 0;
const COME_BACK = -1;
/** Not settled yet: on to the FDB. */
const PASSED = -2;
/** Dropped, where 0 says that nothing was found. */
const LOST = -3;

/** Anything but plain forwarding by the FDB. */
const DETOURS: u32 = DEVICE_FLAG_PROXY | DEVICE_FLAG_MDB;
/** Frames that are not their device's as they come. */
const UNCOMMON: u32 = DEVICE_FLAG_EXTERNAL | DEVICE_FLAG_GPE;

/** Walks the worker's ring. Returns the number of runs to send; frames left in the ring want another call. */
export function encap(worker: usize): i32 {
  walk(worker);
  return dispatch.runs(worker);
}

/** The same for a program that takes the datagrams itself. Returns the number of parcels. */
export function encapParcels(worker: usize): i32 {
  walk(worker);
  return <i32>parcel.used(worker);
}

function walk(worker: usize): void {
  const frames = worker + ENCAP_RING_OFFSET;
  const filled = ring.filled(frames);
  let cursor = ring.taken(frames);
  message.begin(worker);
  segment.begin(worker);
  inject.begin(worker);
  store<u32>(worker + ENCAP_STATE_OFFSET, 0, ENCAP_PATH_WANTED_OFFSET);
  if (fdb.isLarge()) warm(worker, frames, cursor, filled);
  hookEncap.begin(worker);
  while (cursor !== filled) {
    const descriptor = ring.descriptor(frames, cursor);
    const isJudged = load<u32>(descriptor, DESCRIPTOR_HOOK_OFFSET) !== 0;
    const walked = isJudged ? hookEncap.turn(worker, descriptor) : descriptor;
    const done = walked > hookEncap.GONE ? forward(worker, walked) : walked === hookEncap.GONE;
    if (isJudged ? hookEncap.turned(worker, descriptor, walked, done) : done) ++cursor;
    else if (!done) break;
  }
  ring.take(frames, cursor);
  peers.settle(worker);
}

/** Fetches the FDB entries of a batch. The sum of them is of no use but to keep the compiler from leaving it out. */
function warm(worker: usize, frames: usize, cursor: u32, filled: u32): void {
  let sum = 0;
  for (; cursor !== filled; ++cursor) {
    const descriptor = ring.descriptor(frames, cursor);
    const device = <u32>load<u16>(descriptor, DESCRIPTOR_DEVICE_OFFSET);
    if (load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET) < ETHERNET_HEADER_BYTES) continue;
    sum += fdb.find(device, <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET) + VIRTIO_HEADER_BYTES);
  }
  store<i32>(worker + ENCAP_STATE_OFFSET, sum, ENCAP_WARM_OFFSET);
}

/** One frame to all its remotes. False: no room, come back. */
function forward(worker: usize, descriptor: usize): boolean {
  const state = worker + ENCAP_STATE_OFFSET;
  const left = load<i32>(state, ENCAP_FANOUT_COUNT_OFFSET);
  let count = left;
  let next = 0;
  if (left !== 0) {
    next = load<i32>(state, ENCAP_FANOUT_NEXT_OFFSET);
  } else {
    count = resolve(worker, descriptor);
    if (count <= DONE) return count === DONE;
  }
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  const device = <u32>load<u16>(descriptor, DESCRIPTOR_DEVICE_OFFSET);
  const l3 = <i32>load<u16>(state, ENCAP_L3_OFFSET);
  for (; next < count; ++next) {
    // The kernel clones for the second remote and on, and sends the frame itself to the first, last.
    const position = next + 1 === count ? 0 : next + 1;
    const remote = worker + FANOUT_OFFSET + position * REMOTE_BYTES;
    if (!transmit(worker, device, remote, count === 1, header, length, l3)) {
      store<u32>(state, count, ENCAP_FANOUT_COUNT_OFFSET);
      store<u32>(state, next, ENCAP_FANOUT_NEXT_OFFSET);
      return false;
    }
  }
  if (left !== 0) store<u32>(state, 0, ENCAP_FANOUT_COUNT_OFFSET);
  return true;
}

/** Decides on a frame, once. Returns the remotes in the fan-out, DONE or COME_BACK. */
function resolve(worker: usize, descriptor: usize): i32 {
  const device = <u32>load<u16>(descriptor, DESCRIPTOR_DEVICE_OFFSET);
  const flags = load<u32>(DEVICES_BASE + device * DEVICE_BYTES, DEVICE_FLAGS_OFFSET);
  const domain = (flags & UNCOMMON) === 0 ? device : admit(worker, device, flags, descriptor);
  if (domain === 0) return DONE;
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  const frame = header + VIRTIO_HEADER_BYTES;
  if (length < ETHERNET_HEADER_BYTES) return drop(worker, device, domain, DROP_SHORT_FRAME);
  const l3 = ethernet.networkOffset(frame, length);
  vxlanHeader.begin(worker, domain, l3);
  let count = (flags & DETOURS) === 0 ? PASSED : detour(worker, device, domain, flags, frame, length);
  if (count === PASSED) {
    let entry = fdb.find(domain, frame);
    if (entry >= 0) {
      fdb.touch(entry, load<u32>(HEADER_BASE, HEADER_NOW_OFFSET));
      if ((flags & DEVICE_FLAG_RSC) !== 0) entry = reroute(worker, device, domain, entry, frame, length);
    }
    count = 0;
    if (entry >= 0) {
      const mac = ethernet.destination(frame);
      count = fdb.collect(entry, domain, mac, worker + FANOUT_OFFSET, FANOUT_MAX);
      if (fdb.isNexthop(entry)) count = choose(worker, device, domain, entry, count, frame, length);
    }
    if (count === 0) count = flood(worker, device, domain, flags, frame, length);
  }
  if (count <= DONE) return count === LOST ? DONE : count;
  if (!isWhole(frame, length, l3)) {
    // The kernel finds this out for each copy.
    counter.dropped(worker, device, domain, DROP_SHORT_INNER_IP, count);
    return DONE;
  }
  vxlanHeader.compose(worker, device, domain, flags, header, length, l3);
  if (virtio.needsChecksum(header) && !finish(worker, device, header, frame, length))
    return drop(worker, device, domain, DROP_BAD_OFFLOAD);
  return count;
}

function drop(worker: usize, device: u32, domain: u32, verdict: i32): i32 {
  counter.dropped(worker, device, domain, verdict);
  return DONE;
}

function lose(worker: usize, device: u32, domain: u32, verdict: i32): i32 {
  drop(worker, device, domain, verdict);
  return LOST;
}

/** The domain of a frame, which is made ready for the walk the first time; 0 = it has been dropped. */
function admit(worker: usize, device: u32, flags: u32, descriptor: usize): u32 {
  const known = <u32>load<u16>(descriptor, DESCRIPTOR_DOMAIN_OFFSET);
  if (known !== 0) return known;
  let domain = device;
  if ((flags & DEVICE_FLAG_GPE) !== 0) {
    if (!coverPacket(descriptor)) return <u32>drop(worker, device, device, DROP_UNKNOWN_PROTOCOL);
  } else {
    const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
    if (length < ETHERNET_HEADER_BYTES) return <u32>drop(worker, device, device, DROP_SHORT_FRAME);
    domain = untag(device, descriptor);
    if (domain === 0) return <u32>drop(worker, device, device, DROP_UNMAPPED_VLAN);
  }
  store<u16>(descriptor, <u16>domain, DESCRIPTOR_DOMAIN_OFFSET);
  return domain;
}

/** The domain of a frame of an external device, by its VLAN, which is taken off. 0 = none. */
function untag(device: u32, descriptor: usize): u32 {
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  const id = vlan.idOf(header + VIRTIO_HEADER_BYTES, length);
  const domain = vni.ofVlan(device, id);
  if (domain === 0) return 0;
  if (vlan.isTagged(header + VIRTIO_HEADER_BYTES, length)) {
    store<u32>(descriptor, <u32>vlan.strip(header), DESCRIPTOR_ADDRESS_OFFSET);
    store<i32>(descriptor, length - VLAN_TAG_BYTES, DESCRIPTOR_LENGTH_OFFSET);
  }
  return domain;
}

/**
 * A packet of a TUN has no Ethernet header. It gets one that is never sent, so that the walk needn't know:
 * the address of the zero MAC, whose entry has the device's remotes. False: neither IPv4 nor IPv6.
 */
function coverPacket(descriptor: usize): boolean {
  const header = <usize>load<u32>(descriptor, DESCRIPTOR_ADDRESS_OFFSET);
  const length = load<i32>(descriptor, DESCRIPTOR_LENGTH_OFFSET);
  if (length < 1) return false;
  const version = load<u8>(header + VIRTIO_HEADER_BYTES) >>> 4;
  if (version !== 4 && version !== 6) return false;
  const covered = header - ETHERNET_HEADER_BYTES;
  memory.copy(covered, header, VIRTIO_HEADER_BYTES);
  vlan.shift(covered, ETHERNET_HEADER_BYTES);
  const frame = covered + VIRTIO_HEADER_BYTES;
  memory.fill(frame, 0, ETHERNET_HEADER_BYTES);
  store<u16>(
    frame,
    bswap<u16>((version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6) as u16),
    ETHERNET_HEADER_BYTES - 2,
  );
  store<u32>(descriptor, <u32>covered, DESCRIPTOR_ADDRESS_OFFSET);
  store<i32>(descriptor, length + ETHERNET_HEADER_BYTES, DESCRIPTOR_LENGTH_OFFSET);
  return true;
}

/** What comes before the FDB: the proxy and the MDB. Returns PASSED, or as `resolve`. */
function detour(worker: usize, device: u32, domain: u32, flags: u32, frame: usize, length: i32): i32 {
  if ((flags & DEVICE_FLAG_PROXY) !== 0) {
    if (!inject.hasRoom(worker)) return COME_BACK;
    const bytes = proxy.reduce(worker, device, domain, frame, length, inject.reply(worker));
    if (bytes > 0) inject.sendReply(worker, device, domain, bytes);
    if (bytes !== 0) return DONE;
  }
  if ((flags & DEVICE_FLAG_MDB) === 0) return PASSED;
  const count = mdb.collect(domain, frame, length, worker + FANOUT_OFFSET, FANOUT_MAX);
  if (count === mdb.MDB_NOTHING) return PASSED;
  // The kernel counts these nowhere; nor does a VNI.
  return count === mdb.MDB_DROP ? drop(worker, device, device, DROP_MDB_NO_REMOTE) : count;
}

/** Route short circuit: the entry of the neighbour that a frame to a router is for, or the same entry. */
function reroute(worker: usize, device: u32, domain: u32, entry: i32, frame: usize, length: i32): i32 {
  if ((fdb.flagsOf(entry) & NTF_ROUTER) === 0) return entry;
  if (!shortCircuit(worker, device, domain, frame, length)) return entry;
  store<u8>(worker + ENCAP_STATE_OFFSET, ENCAP_FRAME_SHORT_CIRCUITED, ENCAP_FRAME_FLAGS_OFFSET);
  const beyond = fdb.find(domain, frame);
  if (beyond >= 0) fdb.touch(beyond, load<u32>(HEADER_BASE, HEADER_NOW_OFFSET));
  return beyond;
}

/** The flow's member of a nexthop group takes the first place of the fan-out. Returns 1, LOST, or 0: the entry has gone. */
function choose(
  worker: usize,
  device: u32,
  domain: u32,
  entry: i32,
  count: i32,
  frame: usize,
  length: i32,
): i32 {
  if (count === 0) {
    // A group without members is no reason to flood.
    return fdb.find(domain, frame) === entry ? lose(worker, device, domain, DROP_NO_NEXTHOP) : 0;
  }
  const fanout = worker + FANOUT_OFFSET;
  const hash = flow.hash(frame, length, load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET));
  const chosen = nexthop.choose(fanout, count, hash);
  if (chosen < 0) return lose(worker, device, domain, DROP_NO_NEXTHOP);
  if (chosen !== 0) memory.copy(fanout, fanout + chosen * REMOTE_BYTES, REMOTE_BYTES);
  return 1;
}

/** To the default remotes. Returns how many, DONE or LOST. */
function flood(worker: usize, device: u32, domain: u32, flags: u32, frame: usize, length: i32): i32 {
  const entry = fdb.findZero(domain);
  let count = 0;
  if (entry >= 0) {
    fdb.touch(entry, load<u32>(HEADER_BASE, HEADER_NOW_OFFSET));
    count = fdb.collect(entry, domain, 0, worker + FANOUT_OFFSET, FANOUT_MAX);
    if (fdb.isNexthop(entry)) count = choose(worker, device, domain, entry, count, frame, length);
  }
  if (count !== 0) return count;
  if ((flags & DEVICE_FLAG_L2MISS) !== 0 && !ethernet.isGroup(ethernet.destination(frame))) {
    counter.one(worker, device, L2_MISSES);
    event.l2Miss(worker, domain, frame);
  }
  return drop(worker, device, domain, DROP_NO_TARGET);
}

/** The checksum that the stack left open, unless the far end is to complete it. False: it can't be. */
function finish(worker: usize, device: u32, header: usize, frame: usize, length: i32): boolean {
  return vxlanHeader.leavesChecksum(worker) || completeChecksum(worker, device, header, frame, length);
}

/** Are the tags and the fixed part of an inner IP header there? Nothing else is asked of other frames. */
function isWhole(frame: usize, length: i32, l3: i32): boolean {
  const type = ethernet.etherTypeBefore(frame, l3);
  if (type === ETHERTYPE_IPV4) return l3 + IPV4_HEADER_BYTES <= length;
  if (type === ETHERTYPE_IPV6) return l3 + IPV6_HEADER_BYTES <= length;
  return true;
}

/**
 * A frame with NEEDS_CSUM carries the pseudo header's sum where the checksum belongs: sum it all, store
 * the complement. Super-frames are left alone: each of their segments gets a checksum of its own.
 */
function completeChecksum(worker: usize, device: u32, header: usize, frame: usize, length: i32): boolean {
  if (virtio.gsoType(header) !== VIRTIO_GSO_NONE || !virtio.needsChecksum(header)) return true;
  const start = virtio.checksumStart(header);
  const field = start + virtio.checksumField(header);
  if (start >= length || field + 2 > length) return false;
  const sum = ~checksum.sum(frame + start, length - start) & 0xffff;
  // As skb_checksum_help: zero would mean "none" in UDP, and all ones is the same number.
  store<u16>(frame + field, sum === 0 ? 0xffff : <u16>sum);
  virtio.clear(header);
  counter.one(worker, device, CHECKSUMS_COMPLETED);
  return true;
}
