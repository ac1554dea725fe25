/**
 * The whole walks in memory: frames with virtio headers -> messages, datagrams -> TAP writes, in batches of 64
 * as the workers make them; FDB look-ups apart. Beside them the same in plain TypeScript, written as a
 * Node program would that does not care for offloads: a Map for the FDB, a copy into a new datagram.
 *
 *   node --import tsx bench/walk.bench.ts
 */
import { fileURLToPath } from 'node:url';
import { Bench } from 'tinybench';
import {
  DESCRIPTOR_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_LENGTH_OFFSET,
  OFFLOAD_COALESCE,
  OFFLOAD_UDP_SEGMENT,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_STRIDE_BYTES,
  RECEIVES_OFFSET,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_TAKEN_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCE_SEGMENT_OFFSET,
  SOURCES_BASE,
  WORKER_BYTES,
} from '../assembly/layout.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { flowHash } from '../test/support/flow.ts';
import { ethernet, ipv4 } from '../test/support/frames.ts';
import { udp } from '../test/support/messages.ts';
import { type KernelRow, kernelTable } from './table.ts';

const BATCH = 64;
const FRAME_BYTES = [64, 128, 256, 512, 1024, 1500, 9000];
const MACS = 1024;
const TASK_MS = 200;
const WARMUP_MS = 50;

/** A frame of `bytes` with UDP inside, to the MAC of this number. */
function frameOf(bytes: number, mac: number): Uint8Array {
  return ethernet({ destination: macText(mac) }, ipv4({}, udp({}, new Uint8Array(bytes - 42))));
}

function macText(number: number): string {
  const hex = number.toString(16).padStart(4, '0');
  return `02:00:00:01:${hex.slice(0, 2)}:${hex.slice(2)}`;
}

function planeOf(build: 'release' | 'scalar'): Dataplane {
  const plane = new Dataplane(compileEngine(build), 2, OFFLOAD_UDP_SEGMENT | OFFLOAD_COALESCE);
  const { view } = plane.views;
  view.setUint32(SOURCES_BASE + SOURCE_PORTS_OFFSET, SOURCE_PORT_COUNT, true);
  view.setUint8(SOURCES_BASE + SOURCE_SEGMENT_OFFSET, 1);
  const index = plane.devices.claim('vx0');
  plane.devices.write(index, {
    vni: 1,
    address: '02:00:00:00:00:ff',
    mtu: 9000,
    family: 2,
    port: 8472,
    learning: false,
    ageing: 300,
    maxaddress: 0,
    ttl: 0,
    tos: 0,
    df: 'unset',
    source: 0,
    sourceDf: 0,
  });
  plane.devices.setUp(index, true);
  plane.vni.add(1, 1, index);
  for (let mac = 0; mac < MACS; ++mac) {
    plane.fdb.apply({ op: 'add', dev: 'vx0', mac: macText(mac), dst: `10.0.${mac >> 8}.${mac & 255}` });
  }
  plane.exports.decapPrepare(workerBase(1));
  return plane;
}

/** One engine call for a batch of frames that lie in the arena. */
function encapBatch(plane: Dataplane, bytes: number): () => number {
  const { u32, view, bytes: memory } = plane.views;
  const base = workerBase(0);
  const ring = base + ENCAP_RING_OFFSET;
  const stride = (bytes + 127) & ~63;
  for (let slot = 0; slot < ENCAP_RING_COUNT; ++slot) {
    const header = base + ENCAP_ARENA_OFFSET + (slot % BATCH) * stride + 54;
    const descriptor = ring + RING_DESCRIPTORS_OFFSET + slot * DESCRIPTOR_BYTES;
    memory.fill(0, header, header + 10);
    memory.set(frameOf(bytes, slot % BATCH), header + 10);
    view.setUint32(descriptor, header, true);
    view.setUint32(descriptor + 4, bytes, true);
    view.setUint32(descriptor + 8, 1, true);
  }
  const filled = (ring + RING_FILLED_OFFSET) >>> 2;
  const taken = (ring + RING_TAKEN_OFFSET) >>> 2;
  return () => {
    u32[filled]! += BATCH;
    const runs = plane.exports.encap(base);
    if (runs < 1 || u32[taken] !== u32[filled]) throw new Error('encap: frames were left in the ring');
    return runs;
  };
}

/** One engine call for a batch of datagrams that lie in the receive buffers. */
function decapBatch(plane: Dataplane, bytes: number): () => number {
  const { view, bytes: memory } = plane.views;
  const base = workerBase(1);
  for (let slot = 0; slot < BATCH; ++slot) {
    const at = base + RECEIVE_BUFFERS_OFFSET + slot * RECEIVE_STRIDE_BYTES;
    memory.set([8, 0, 0, 0, 0, 0, 1, 0], at);
    memory.set(frameOf(bytes, slot), at + 8);
    view.setUint32(base + RECEIVES_OFFSET + slot * MMSGHDR_BYTES + MMSGHDR_LENGTH_OFFSET, bytes + 8, true);
    view.setUint16(base + RECEIPTS_OFFSET + slot * 192, 2, true);
  }
  return () => {
    const writes = plane.exports.decap(base, 1, BATCH);
    if (writes !== BATCH) throw new Error(`decap: ${writes} writes for ${BATCH} datagrams`);
    plane.exports.decapDone(base, BATCH);
    return writes;
  };
}

/** What a plain program does for a frame: Map, header, copy; the source port by a flow hash. */
function plainEncap(bytes: number): () => number {
  const frames = Array.from({ length: BATCH }, (_, mac) => frameOf(bytes, mac));
  const fdb = plainFdb();
  return () => {
    let sum = 0;
    for (const frame of frames) {
      const remote = fdb.get(plainKey(frame, 0));
      if (remote === undefined) continue;
      const datagram = new Uint8Array(8 + frame.length);
      datagram[0] = 8;
      datagram[6] = 1;
      datagram.set(frame, 8);
      sum += datagram.length + (flowHash(frame, 1) % SOURCE_PORT_COUNT) + remote.length;
    }
    return sum;
  };
}

/** A plain program on arrival: I flag, VNI, own MAC, and the frame as a view. */
function plainDecap(bytes: number): () => number {
  const datagrams = Array.from({ length: BATCH }, (_, mac) =>
    Uint8Array.from([8, 0, 0, 0, 0, 0, 1, 0, ...frameOf(bytes, mac)]),
  );
  const devices = new Map([[1, 'vx0']]);
  return () => {
    let sum = 0;
    for (const datagram of datagrams) {
      if (datagram.length < 22 || (datagram[0]! & 8) === 0) continue;
      const vni = (datagram[4]! << 16) | (datagram[5]! << 8) | datagram[6]!;
      const device = devices.get(vni);
      if (device === undefined || plainKey(datagram, 14) === 0x0200000000ff) continue;
      sum += datagram.subarray(8).length;
    }
    return sum;
  };
}

function plainKey(frame: Uint8Array, at: number): number {
  const low = (frame[at + 2]! << 24) | (frame[at + 3]! << 16) | (frame[at + 4]! << 8) | frame[at + 5]!;
  return ((frame[at]! << 8) | frame[at + 1]!) * 2 ** 32 + (low >>> 0);
}

function plainFdb(): Map<number, string> {
  const fdb = new Map<number, string>();
  for (let mac = 0; mac < MACS; ++mac) fdb.set(plainKey(frameOf(64, mac), 0), `10.0.0.${mac & 255}`);
  return fdb;
}

/** Look-ups of MACs that are there, spread over the table. */
function lookups(plane: Dataplane): () => number {
  const { bytes } = plane.views;
  const at = workerBase(0) + WORKER_BYTES - 65536;
  for (let mac = 0; mac < MACS; ++mac) bytes.set(frameOf(64, mac).subarray(0, 6), at + mac * 8);
  let next = 0;
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; ++i) {
      next = (next + 7) & (MACS - 1);
      sum += plane.exports.fdbFind(1, at + next * 8);
    }
    return sum;
  };
}

function plainLookups(): () => number {
  const fdb = plainFdb();
  const frames = Array.from({ length: MACS }, (_, mac) => frameOf(64, mac));
  let next = 0;
  return () => {
    let sum = 0;
    for (let i = 0; i < BATCH; ++i) {
      next = (next + 7) & (MACS - 1);
      sum += fdb.get(plainKey(frames[next]!, 0))!.length;
    }
    return sum;
  };
}

/** Nanoseconds per frame (or look-up), medians. */
export async function walks(): Promise<KernelRow[]> {
  const planes = { scalar: planeOf('scalar'), simd: planeOf('release') };
  const rows: KernelRow[] = [];
  const measure = async (name: string, bytes: number, bursts: Record<string, () => number>) => {
    const bench = new Bench({ time: TASK_MS, warmupTime: WARMUP_MS });
    for (const [implementation, burst] of Object.entries(bursts)) {
      bench.add(implementation, () => {
        burst();
      });
    }
    await bench.run();
    for (const task of bench.tasks) {
      if (task.result.state !== 'completed') throw new Error(`${name} ${task.name}: ${task.result.state}`);
      rows.push({
        name,
        implementation: task.name,
        bytes,
        nsPerOp: (task.result.latency.p50 * 1e6) / BATCH,
      });
    }
  };
  const { scalar, simd } = planes;
  await measure('fdb look-up', 6, {
    typescript: plainLookups(),
    scalar: lookups(scalar),
    simd: lookups(simd),
  });
  for (const bytes of FRAME_BYTES) {
    await measure('encap', bytes, {
      typescript: plainEncap(bytes),
      scalar: encapBatch(scalar, bytes),
      simd: encapBatch(simd, bytes),
    });
  }
  for (const bytes of FRAME_BYTES) {
    await measure('decap', bytes, {
      typescript: plainDecap(bytes),
      scalar: decapBatch(scalar, bytes),
      simd: decapBatch(simd, bytes),
    });
  }
  return rows;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(kernelTable(await walks()));
