/*
 * The way out: frames from a TAP -> datagrams for UDP sockets. In packet order, with the names of the
 * kernel driver's own steps in brackets; the functions below, and in the files that are named, stand in this order.
 *
 *   1. the ring: one descriptor per frame that the host has read
 *   2. what the device's hook said of the frame (ours): hook-encap.ts
 *   3. the VNI: the device's, or that of the frame's VLAN: admit.ts
 *   4. ARP and ND requests that the proxy answers: resolve.ts, up to 7       [arp_reduce, neigh_reduce]
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
import * as dispatch from './dispatch';
import * as fdb from './fdb';
import * as hookEncap from './hook-encap';
import * as inject from './inject';
import {
  DESCRIPTOR_ADDRESS_OFFSET,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_HOOK_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  ENCAP_FANOUT_COUNT_OFFSET,
  ENCAP_FANOUT_NEXT_OFFSET,
  ENCAP_L3_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  ENCAP_WARM_OFFSET,
  ETHERNET_HEADER_BYTES,
  FANOUT_OFFSET,
  REMOTE_BYTES,
  VIRTIO_HEADER_BYTES,
} from './layout';
import * as message from './message';
import * as parcel from './parcel';
import * as peers from './peer';
import { DONE, resolve } from './resolve';
import * as ring from './ring';
import * as segment from './segment';
import { transmit } from './transmit';

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
