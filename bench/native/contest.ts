/** WASM against C, kernel by kernel, in turns, on the same bytes. What they compute is compared first. */
import {
  DEVICE_BYTES,
  DEVICE_FDB_COUNT_OFFSET,
  DEVICES_BASE,
  FDB_BUCKETS_BASE,
  FDB_BUCKETS_BYTES,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_FREE_OFFSET,
  HEADER_FDB_FRESH_OFFSET,
  WORKERS_BASE,
} from '../../assembly/layout.ts';
import type { Dataplane } from '../../src/dataplane/dataplane.ts';
import { ethernet, ipv4, ipv6 } from '../../test/support/frames.ts';
import { tcp } from '../../test/support/messages.ts';
import { mulberry32, randomBytes } from '../../test/support/reference.ts';
import { type Burst, inTurns } from '../growth/measure.ts';
import { DEVICE, macOf, planeOf } from '../growth/walks.ts';
import { median } from '../samples.ts';
import { type Kernels, nativeKernels, wasmKernels } from './compile.ts';

export interface KernelResult {
  name: string;
  /** Nanoseconds per operation, medians; without a compiler the WASM's alone. */
  wasm: number;
  scalar?: number;
  native?: number;
  /** The same with -march=native. */
  tuned?: number;
  /** Median over the rounds of C's time / WASM's. */
  ratio?: number;
}

const ROUNDS = 11;
const BATCH = 64;
const FRAME_STRIDE = 128;
const MAC_BYTES = 8;
const ENTRIES = 1_000_000;
const SMALL = 1024;
const PICKS = 1 << 20;
const NOW = 1000;

/** Worker blocks that no worker has: data lies at the front, results at the end. */
const DATA = WORKERS_BASE;
const SENDER = WORKERS_BASE + 10 * 2 ** 20;
const RESULTS = SENDER + 4096;

interface Contest {
  name: string;
  ops: number;
  run: (kernels: Kernels) => number;
  prepare?: () => void;
}

/** Each writes its input when its turn comes, for all share the memory. */
function contests(plane: Dataplane, wasm: Kernels): (() => Contest)[] {
  const { bytes, view } = plane.views;
  const writeMacs = (numbers: Iterable<number>) => {
    let at = DATA;
    for (const number of numbers) {
      view.setUint32(at, macOf(number).low, true);
      view.setUint32(at + 4, 0, true);
      at += MAC_BYTES;
    }
  };
  const clear = () => {
    bytes.fill(0, FDB_BUCKETS_BASE, FDB_BUCKETS_BASE + FDB_BUCKETS_BYTES);
    for (const offset of [HEADER_FDB_COUNT_OFFSET, HEADER_FDB_FREE_OFFSET, HEADER_FDB_FRESH_OFFSET])
      view.setUint32(HEADER_BASE + offset, 0, true);
    view.setUint32(DEVICES_BASE + DEVICE * DEVICE_BYTES + DEVICE_FDB_COUNT_OFFSET, 0, true);
  };
  const fill = (entries: number) => {
    clear();
    writeMacs(Array(entries).keys());
    wasm.insertBatch(DEVICE, DATA, entries, NOW, SENDER);
  };
  const random = mulberry32(7);
  const pick = (entries: number, count: number) =>
    Array.from({ length: count }, () => Math.floor(random() * entries));
  view.setUint16(SENDER, 2, true);

  const checksum = (length: number) => () => {
    const stride = (length + 63) & ~63;
    bytes.set(randomBytes(mulberry32(length), stride * BATCH), DATA);
    return {
      name: `checksum, ${length} bytes`,
      ops: BATCH,
      run: (kernels: Kernels) => kernels.checksumBatch(DATA, length, stride, BATCH),
    };
  };
  const lookUp = (entries: number) => () => {
    fill(entries);
    writeMacs(pick(entries, PICKS));
    return {
      name: `FDB look-up, ${entries.toLocaleString('en')} entries, random`,
      ops: PICKS,
      run: (kernels: Kernels) => kernels.lookUpBatch(DEVICE, DATA, PICKS),
    };
  };
  const header = (entries: number) => () => {
    fill(entries);
    const frames = pick(entries, BATCH);
    for (const [slot, number] of frames.entries()) {
      view.setUint32(DATA + slot * FRAME_STRIDE + 64, macOf(number).low, true);
      view.setUint32(DATA + slot * FRAME_STRIDE + 68, 0, true);
    }
    return {
      name: 'look-up, remote and header, batch of 64',
      ops: BATCH,
      run: (kernels: Kernels) => kernels.headerBatch(DEVICE, 7, DATA + 64, FRAME_STRIDE, BATCH, RESULTS),
    };
  };
  const insert = () => {
    writeMacs(Array(ENTRIES).keys());
    return {
      name: 'FDB insertion, 1,000,000 entries',
      ops: ENTRIES,
      prepare: clear,
      run: (kernels: Kernels) => kernels.insertBatch(DEVICE, DATA, ENTRIES, NOW, SENDER),
    };
  };
  const flow = (name: string, build: (sourcePort: number) => Uint8Array) => () => {
    const frames = Array.from({ length: BATCH }, (_, n) => build(32_768 + n));
    for (const [slot, frame] of frames.entries()) bytes.set(frame, DATA + slot * FRAME_STRIDE);
    return {
      name,
      ops: BATCH,
      run: (kernels: Kernels) => kernels.flowBatch(DATA, frames[0]!.length, FRAME_STRIDE, BATCH, 0x1badb002),
    };
  };
  return [
    ...[64, 1472, 65_535].map(checksum),
    lookUp(SMALL),
    lookUp(ENTRIES),
    header(SMALL),
    insert,
    flow('flow hash, IPv4', (sourcePort) => ethernet({}, ipv4({}, tcp({ sourcePort })))),
    flow('flow hash, IPv6', (sourcePort) => ethernet({}, ipv6({}, tcp({ sourcePort })))),
  ];
}

/** Measures all kernels in half a minute. */
export function compare(): KernelResult[] {
  const plane = planeOf();
  const { memory } = plane.views;
  const wasm = wasmKernels(memory, 'release');
  const native = nativeKernels(memory, ['-O3']);
  const tuned = nativeKernels(memory, ['-O3', '-march=native']);
  const sides = {
    wasm,
    scalar: wasmKernels(memory, 'scalar'),
    ...(native && { native }),
    ...(tuned && { tuned }),
  };
  return contests(plane, wasm).map((make) => measure(make(), sides));
}

function measure({ name, ops, run, prepare }: Contest, sides: Record<string, Kernels>): KernelResult {
  const results = Object.values(sides).map((kernels) => {
    prepare?.();
    return run(kernels) >>> 0;
  });
  if (new Set(results).size > 1) throw new Error(`${name}: ${results.join(', ')} are not one result`);
  const bursts = Object.entries(sides).map(([side, kernels]): [string, Burst] => {
    const burst = { ops, run: () => void run(kernels) };
    return [side, prepare ? { ...burst, prepare } : burst];
  });
  const samples = inTurns(Object.fromEntries(bursts), ROUNDS);
  const of = (side: string) => (samples[side] ? { [side]: median(samples[side]) } : {});
  const ratios = samples.native?.map((time, round) => time / samples.wasm![round]!);
  return {
    name,
    wasm: median(samples.wasm!),
    ...of('scalar'),
    ...of('native'),
    ...of('tuned'),
    ...(ratios && { ratio: median(ratios) }),
  };
}
