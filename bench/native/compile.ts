/** The hot kernels twice on one memory: the engine's, compiled by asc as the engine is, and the same in C. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type koffi from 'koffi';
import * as layout from '../../assembly/layout.ts';

type Batch<Numbers extends number[]> = (...numbers: Numbers) => number;

/** Of numbers alone: addresses in the memory, lengths, counts. The result keeps the work from being left out. */
export interface Kernels {
  checksumBatch: Batch<[at: number, bytes: number, stride: number, count: number]>;
  lookUpBatch: Batch<[domain: number, macs: number, count: number]>;
  headerBatch: Batch<
    [domain: number, vni: number, frames: number, stride: number, count: number, into: number]
  >;
  insertBatch: Batch<[domain: number, macs: number, count: number, now: number, sender: number]>;
  flowBatch: Batch<[frames: number, length: number, stride: number, count: number, seed: number]>;
}

/** Names in C, and how many of the numbers each takes. */
const IN_C: Record<keyof Kernels, [name: string, numbers: number]> = {
  checksumBatch: ['checksum_batch', 4],
  lookUpBatch: ['look_up_batch', 3],
  headerBatch: ['header_batch', 6],
  insertBatch: ['insert_batch', 4],
  flowBatch: ['flow_batch', 5],
};

const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** Runs `use` with a directory that goes afterwards. */
function inScratch<Result>(use: (directory: string) => Result): Result {
  const directory = mkdtempSync(join(tmpdir(), 'vxlane-bench-'));
  try {
    return use(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The engine's functions, with the engine's options. @param target SIMD or not */
export function wasmKernels(memory: WebAssembly.Memory, target: 'release' | 'scalar'): Kernels {
  const asc = fileURLToPath(new URL('../bin/asc.js', import.meta.resolve('assemblyscript')));
  const bytes = inScratch((directory) => {
    const file = join(directory, 'kernels.wasm');
    const config = ['--config', pathOf('../../asconfig.json'), '--target', target];
    const out = ['--outFile', file, '--textFile', join(directory, 'kernels.wat')];
    execFileSync(process.execPath, [asc, pathOf('kernels.ts'), ...config, ...out], {
      cwd: pathOf('../..'),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return new Uint8Array(readFileSync(file));
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return exports as unknown as Kernels;
}

/** How the C is compiled; undefined: there is no compiler, or no koffi. */
export function nativeKernels(memory: WebAssembly.Memory, options: readonly string[]): Kernels | undefined {
  if (spawnSync('cc', ['--version']).status !== 0) return undefined;
  let ffi: typeof koffi;
  try {
    ffi = createRequire(import.meta.url)('koffi') as typeof koffi;
  } catch {
    return undefined;
  }
  const library = inScratch((directory) => {
    const file = join(directory, 'kernels.so');
    const defines = Object.entries(layout as unknown as Record<string, number>)
      .filter(([name]) => /^(HEADER|FDB|DEVICES?|DOMAINS?)_/.test(name))
      .map(([name, value]) => `-D${name}=${value}`);
    execFileSync('cc', [...options, '-shared', '-fPIC', ...defines, '-o', file, pathOf('kernels.c')]);
    return ffi.load(file);
  });
  const base = ffi.address(new Uint8Array(memory.buffer));
  const kernels = Object.entries(IN_C).map(([name, [symbol, numbers]]) => {
    const call = library.func(symbol, 'uint32_t', ['uint64_t', ...Array<string>(numbers).fill('uint32_t')]);
    return [name, (...given: number[]) => call(base, ...given.slice(0, numbers)) as number];
  });
  return Object.fromEntries(kernels) as Kernels;
}
