/** Whole walks in memory, a batch at a time, on a dataplane whose tables a growth fills. */
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_LENGTH_OFFSET,
  ENCAP_ARENA_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  FDB_BUCKETS_BASE,
  FDB_FLAGS_OFFSET,
  FDB_STATE_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_LENGTH_OFFSET,
  NTF_SELF,
  NUD_PERMANENT,
  OFFLOAD_COALESCE,
  OFFLOAD_UDP_SEGMENT,
  RECEIPT_BYTES,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_STRIDE_BYTES,
  RECEIVES_OFFSET,
  REMOTE_VNI_DEFAULT,
  REMOTES_BASE,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_TAKEN_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCE_SEGMENT_OFFSET,
  SOURCES_BASE,
  VIRTIO_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
  WORKERS_BASE,
} from '../../assembly/layout.ts';
import { type CounterName, clearCounters, readCounters } from '../../src/dataplane/counters.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { compileEngine } from '../../src/dataplane/engine-file.ts';
import { entryRecord, writeRemote } from '../../src/dataplane/fdb-record.ts';
import { type Mac, parseAddress } from '../../src/dataplane/fdb-text.ts';
import { workerBase } from '../../src/dataplane/memory.ts';
import { makeResident, preferHugePages } from '../../src/io/residence.ts';
import { syscalls } from '../../src/io/syscalls.ts';
import { ethernet, ipv4 } from '../../test/support/frames.ts';
import { udp } from '../../test/support/messages.ts';
import { NOTHING_ASKED, type VirtioHeader, writeVirtio } from '../../test/support/virtio.ts';
import type { Burst } from './measure.ts';

const BATCH = 64;
const ENCAP = workerBase(0);
const DECAP = workerBase(1);
/** Frames begin on a multiple of 4, so that words of them can be written at once. */
const FRAME_ALIGNMENT = 64;
const FRAME_HEADROOM = 64;
export const LISTENER = 1;
export const DEVICE = 1;

/** An empty dataplane with one device, VNI 1. */
export function planeOf(learning = false): Dataplane {
  const plane = new Dataplane(compileEngine(), 2, OFFLOAD_UDP_SEGMENT | OFFLOAD_COALESCE);
  const { view } = plane.views;
  view.setUint32(SOURCES_BASE + SOURCE_PORTS_OFFSET, SOURCE_PORT_COUNT, true);
  view.setUint8(SOURCES_BASE + SOURCE_SEGMENT_OFFSET, 1);
  plane.devices.claim('vx0');
  plane.devices.write(DEVICE, {
    ...{ vni: 1, address: '02:ff:00:00:00:ff', mtu: 65_000, family: 2, port: 8472, learning },
    ...{ ageing: 'never', maxaddress: 0, ttl: 0, tos: 0, df: 'unset', source: 0, sourceDf: 0 },
  });
  plane.devices.setUp(DEVICE, true);
  plane.vni.add(LISTENER, 1, DEVICE);
  plane.exports.decapPrepare(DECAP);
  // As the VTEP does.
  const address = syscalls().addressOf(plane.views.bytes);
  preferHugePages(address + FDB_BUCKETS_BASE, REMOTES_BASE - FDB_BUCKETS_BASE);
  makeResident(address + WORKERS_BASE, plane.views.bytes.length - WORKERS_BASE);
  return plane;
}

/** The unicast MAC of a number below 2^24: 02, then its bytes, lowest first. */
export function macOf(number: number): Mac {
  return { low: ((number << 8) | 2) >>> 0, high: 0 };
}

/** An FDB entry with these remotes, straight through the engine. */
export function place(plane: Dataplane, domain: number, mac: Mac, remotes: readonly string[]): void {
  const { exports, views } = plane;
  const entry = exports.fdbInsert(domain, mac.low, mac.high, 1000);
  if (entry < 0) throw new Error('the FDB is full');
  views.view.setUint16(entryRecord(entry) + FDB_STATE_OFFSET, NUD_PERMANENT, true);
  views.view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, NTF_SELF, true);
  for (const text of remotes) {
    const remote = exports.fdbAddRemote(entry);
    if (remote === 0) throw new Error('there is no room for one more remote');
    const address = parseAddress(text)!;
    writeRemote(views.view, remote, { address, port: 0, vni: REMOTE_VNI_DEFAULT, ifindex: 0 });
  }
  exports.fdbPublish(entry);
}

/** A frame with UDP inside, from and to MACs that `macOf` makes of 1 and 0. */
export function udpFrame(bytes: number): Uint8Array {
  const macs = { source: '02:01:00:00:00:00', destination: '02:00:00:00:00:00' };
  return ethernet(macs, ipv4({}, udp({}, new Uint8Array(bytes - 42))));
}

export interface Frames {
  /** Addresses of the frames of a batch. */
  frames: readonly number[];
  burst: Burst;
}

/**
 * Batches of one frame over and over; `prepare` may change them before each.
 * @param copies datagrams that one frame becomes
 */
export function encapOf(
  plane: Dataplane,
  frame: Uint8Array,
  copies: number,
  virtio: VirtioHeader = NOTHING_ASKED,
): Frames & { descriptors: readonly number[] } {
  const { u32, view, bytes } = plane.views;
  const stride = Math.ceil((frame.length + FRAME_HEADROOM) / FRAME_ALIGNMENT) * FRAME_ALIGNMENT;
  const ops = 2 ** Math.floor(Math.log2(Math.min(BATCH, ENCAP_ARENA_BYTES / stride)));
  const ring = ENCAP + ENCAP_RING_OFFSET;
  const frames: number[] = [];
  const descriptors: number[] = [];
  for (let slot = 0; slot < ENCAP_RING_COUNT; slot++) {
    const at = ENCAP + ENCAP_ARENA_OFFSET + (slot % ops) * stride + FRAME_HEADROOM;
    const descriptor = ring + RING_DESCRIPTORS_OFFSET + slot * DESCRIPTOR_BYTES;
    writeVirtio(view, at - VIRTIO_HEADER_BYTES, virtio);
    bytes.set(frame, at);
    view.setUint32(descriptor, at - VIRTIO_HEADER_BYTES, true);
    view.setUint32(descriptor + DESCRIPTOR_LENGTH_OFFSET, frame.length, true);
    view.setUint32(descriptor + 8, DEVICE, true);
    descriptors.push(descriptor);
    if (slot < ops) frames.push(at);
  }
  const filled = (ring + RING_FILLED_OFFSET) >>> 2;
  const taken = (ring + RING_TAKEN_OFFSET) >>> 2;
  const run = () => {
    u32[filled] = (u32[filled]! + ops) >>> 0;
    do plane.exports.encap(ENCAP);
    while (u32[taken] !== u32[filled]);
  };
  return { frames, descriptors, burst: { ops, run: checked(plane, run, 'encap_packets', ops * copies) } };
}

/** Batches of one datagram over and over; `frames` are the datagrams' addresses. */
export function decapOf(plane: Dataplane, frame: Uint8Array): Frames {
  const { view, bytes } = plane.views;
  const frames: number[] = [];
  for (let slot = 0; slot < BATCH; slot++) {
    const at = DECAP + RECEIVE_BUFFERS_OFFSET + slot * RECEIVE_STRIDE_BYTES;
    bytes.set([8, 0, 0, 0, 0, 0, 1, 0], at);
    bytes.set(frame, at + VXLAN_HEADER_BYTES);
    const length = DECAP + RECEIVES_OFFSET + slot * MMSGHDR_BYTES + MMSGHDR_LENGTH_OFFSET;
    view.setUint32(length, frame.length + VXLAN_HEADER_BYTES, true);
    // The sender: 10.0.0.1.
    const sender = DECAP + RECEIPTS_OFFSET + slot * RECEIPT_BYTES;
    view.setUint16(sender, 2, true);
    bytes.set([10, 0, 0, 1], sender + 4);
    frames.push(at);
  }
  const run = () => {
    plane.exports.decap(DECAP, LISTENER, BATCH);
    plane.exports.decapDone(DECAP, BATCH);
  };
  return { frames, burst: { ops: BATCH, run: checked(plane, run, 'decap_packets', BATCH) } };
}

/** The first calls prove that nothing is dropped, and that frames are as they were again: else the walk would be a short one. */
function checked(plane: Dataplane, run: () => void, counter: CounterName, packets: number): () => void {
  let unproved = 2;
  return () => {
    if (unproved === 0) return run();
    unproved--;
    clearCounters(plane.views, 2, DEVICE);
    run();
    const counted = readCounters(plane.views, 2, DEVICE);
    if (counted[counter] !== packets)
      throw new Error(`${counter}: ${packets} expected, ${JSON.stringify(counted)}`);
  };
}
