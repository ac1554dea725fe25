/**
 * The kernels of the hot path, one at a time, in memory: plain TypeScript, WASM without SIMD, WASM with it. One
 * iteration is a burst of calls from JavaScript, so that every WASM figure holds the 3 to 5 ns of crossing the
 * border, which a walk pays once a batch. Figures are medians; compare columns, not machines.
 *
 *   node --import tsx bench/kernels.bench.ts
 */
import { fileURLToPath } from 'node:url';
import { Bench } from 'tinybench';
import { WORKERS_BASE } from '../assembly/layout.ts';
import { type EngineBuild, instantiateEngine } from '../src/dataplane/engine.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { createMemory, viewsOf } from '../src/dataplane/memory.ts';
import { flowHash } from '../test/support/flow.ts';
import { ethernet, ipv4, ipv6 } from '../test/support/frames.ts';
import { tcp } from '../test/support/messages.ts';
import { mulberry32, randomBytes } from '../test/support/reference.ts';
import { type KernelRow, kernelTable } from './table.ts';

type Implementation = 'typescript' | 'scalar' | 'simd';
/**
 * A burst of calls. Each has a loop of its own: one loop for all would call through a function value that V8
 * can't inline. The result keeps the work from being optimised away.
 */
type Burst = (calls: number) => number;

interface Kernel {
  name: string;
  bytes: number;
  bursts: Record<Implementation, Burst>;
}

const BUILD_OF: Record<Exclude<Implementation, 'typescript'>, EngineBuild> = {
  scalar: 'scalar',
  simd: 'release',
};
const BURST_CALLS = 1000;
const BURST_CALLS_MIN = 16;
/** Long inputs get shorter bursts, so that each has enough of them for a median. */
const BURST_BYTES = 1 << 20;
const TASK_MS = 150;
const WARMUP_MS = 50;

const CHECKSUM_BYTES = [64, 128, 256, 512, 1024, 1500, 9000, 65535];
const FLOW_COUNT = 64;
const SEED = 0x1badb002;

type Arena = ReturnType<typeof arena>;

/** One memory and both builds on it; every kernel puts its input at `base`. */
function arena() {
  const memory = createMemory(2);
  const { bytes } = viewsOf(memory);
  const engine = (build: EngineBuild) => instantiateEngine(compileEngine(build), memory);
  return { bytes, base: WORKERS_BASE, scalar: engine(BUILD_OF.scalar), simd: engine(BUILD_OF.simd) };
}

function checksum({ bytes, base, scalar, simd }: Arena, length: number): Kernel {
  bytes.set(randomBytes(mulberry32(1), length), base);
  const words = new Uint16Array(bytes.buffer, base, length >> 1);
  const tail = length % 2 === 1 ? bytes[base + length - 1]! : 0;
  return {
    name: 'checksum',
    bytes: length,
    bursts: {
      typescript: (calls) => {
        let sum = 0;
        for (let i = 0; i < calls; i++) sum += sumWords(words, tail);
        return sum;
      },
      scalar: (calls) => {
        let sum = 0;
        for (let i = 0; i < calls; i++) sum += scalar.checksum(base, length);
        return sum;
      },
      simd: (calls) => {
        let sum = 0;
        for (let i = 0; i < calls; i++) sum += simd.checksum(base, length);
        return sum;
      },
    },
  };
}

/**
 * The checksum as plain TypeScript does it best: aligned 16-bit loads, folded at the end. `| 0` tells V8 that the
 * sum stays an integer, which 65535 bytes just allow and which saves a third.
 */
function sumWords(words: Uint16Array, tail: number): number {
  let sum = tail;
  const { length } = words;
  for (let i = 0; i < length; i++) sum = (sum + words[i]!) | 0;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function flow(
  { bytes, base, scalar, simd }: Arena,
  name: string,
  build: (port: number) => Uint8Array,
): Kernel {
  const built = Array.from({ length: FLOW_COUNT }, (_, i) => build(32768 + i));
  const length = built[0]!.length;
  const frames = built.map((frame, i) => {
    bytes.set(frame, base + i * length);
    return bytes.subarray(base + i * length, base + (i + 1) * length);
  });
  return {
    name,
    bytes: length,
    bursts: {
      typescript: (calls) => {
        let sum = 0;
        for (let i = 0; i < calls; i++) sum += flowHash(frames[i % FLOW_COUNT]!, SEED);
        return sum;
      },
      scalar: (calls) => {
        let sum = 0;
        for (let i = 0; i < calls; i++)
          sum += scalar.flowHash(base + (i % FLOW_COUNT) * length, length, SEED);
        return sum;
      },
      simd: (calls) => {
        let sum = 0;
        for (let i = 0; i < calls; i++) sum += simd.flowHash(base + (i % FLOW_COUNT) * length, length, SEED);
        return sum;
      },
    },
  };
}

/** Each is made when its turn comes, for all share the memory. */
const KERNELS: ((of: Arena) => Kernel)[] = [
  ...CHECKSUM_BYTES.map((length) => (of: Arena) => checksum(of, length)),
  (of) => flow(of, 'flow hash IPv4', (sourcePort) => ethernet({}, ipv4({}, tcp({ sourcePort })))),
  (of) => flow(of, 'flow hash IPv6', (sourcePort) => ethernet({}, ipv6({}, tcp({ sourcePort })))),
];

/** Measures everything in about ten seconds. */
export async function kernels(): Promise<KernelRow[]> {
  const of = arena();
  const rows: KernelRow[] = [];
  for (const make of KERNELS) rows.push(...(await measure(make(of))));
  return rows;
}

async function measure({ name, bytes, bursts }: Kernel): Promise<KernelRow[]> {
  const calls = Math.max(BURST_CALLS_MIN, Math.min(BURST_CALLS, Math.floor(BURST_BYTES / bytes)));
  const bench = new Bench({ time: TASK_MS, warmupTime: WARMUP_MS });
  const implementations = Object.keys(bursts) as Implementation[];
  for (const implementation of implementations)
    bench.add(implementation, () => bursts[implementation](calls));
  await bench.run();
  return implementations.map((implementation) => {
    const result = bench.getTask(implementation)?.result;
    if (result?.state !== 'completed')
      throw new Error(`${name}, ${bytes} bytes: ${implementation} ${result?.state}`);
    return { name, implementation, bytes, nsPerOp: (result.latency.p50 * 1e6) / calls };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(`${kernelTable(await kernels())}\n`);
}
