/*
 * Where a frame goes: the remotes of its entry into the fan-out, or a verdict. Once for all copies it also gets the
 * checksum that the stack left open, and its VXLAN header is made. In the order of encap.ts, whose steps these are.
 */
import { admit } from './admit';
import * as counter from './count';
import * as event from './event';
import * as fdb from './fdb';
import * as flow from './flow';
import * as vxlanHeader from './header';
import * as inject from './inject';
import {
  CHECKSUMS_COMPLETED,
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DEVICE_OFFSET,
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
  ENCAP_FRAME_FLAGS_OFFSET,
  ENCAP_FRAME_SHORT_CIRCUITED,
  ENCAP_STATE_OFFSET,
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
} from './layout';
import * as mdb from './mdb';
import * as nexthop from './nexthop';
import * as proxy from './proxy';
import { shortCircuit } from './short-circuit';
import * as checksum from './wire/checksum';
import * as ethernet from './wire/ethernet';
import * as virtio from './wire/virtio';

/** Where a frame goes: this many remotes in the fan-out; none: it has been dropped or answered; no room: come back. */
export const DONE = 0;
const COME_BACK = -1;
/** Not settled yet: on to the FDB. */
const PASSED = -2;
/** Dropped, where 0 says that nothing was found. */
const LOST = -3;
/** Anything but plain forwarding by the FDB. */
const DETOURS: u32 = DEVICE_FLAG_PROXY | DEVICE_FLAG_MDB;
/** Frames that are not their device's as they come. */
const UNCOMMON: u32 = DEVICE_FLAG_EXTERNAL | DEVICE_FLAG_GPE;

/** Decides on a frame, once. Returns the remotes in the fan-out, DONE or COME_BACK. */
export function resolve(worker: usize, descriptor: usize): i32 {
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
