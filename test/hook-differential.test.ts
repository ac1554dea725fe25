/** A hook does what it did before it was made harmless: the same module, as it is, on a memory of its own. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HOOK_AREA_BYTES, WASM_PAGE_BYTES } from '../assembly/layout.ts';
import { compileAssembly } from './support/asc.ts';
import { AREA, HookWorld, LOW } from './support/hook-world.ts';
import { RandomModule } from './support/random-module.ts';
import { mulberry32 } from './support/reference.ts';

const SEEDS = 1000;

interface Outcome {
  trapped: boolean;
  memory: Uint8Array;
}

function unguarded(module: Uint8Array<ArrayBuffer>): Outcome {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory } });
  let trapped = false;
  try {
    (exports.hook as (records: number, count: number) => void)(LOW, 1);
  } catch (error) {
    assert.ok(error instanceof WebAssembly.RuntimeError);
    trapped = true;
  }
  return { trapped, memory: new Uint8Array(memory.buffer) };
}

describe('a guarded hook', () => {
  it(`is the hook that it was: ${SEEDS} random functions`, () => {
    assert.equal(HOOK_AREA_BYTES, WASM_PAGE_BYTES);
    const world = new HookWorld();
    const counts = { trapped: 0, done: 0 };
    for (let seed = 0; seed < SEEDS; ++seed) {
      const module = new RandomModule(mulberry32(seed)).bytes();
      const expected = unguarded(module);
      const program = world.load(module);
      const fault = program.run(LOW, 1);
      assert.equal(fault?.kind, expected.trapped ? 'access' : undefined, `seed ${seed}: ${fault?.message}`);
      const area = world.bytes.subarray(AREA, AREA + HOOK_AREA_BYTES);
      assert.equal(Buffer.compare(area, expected.memory), 0, `seed ${seed}`);
      if (seed % 20 === 0) world.assertContained();
      counts[expected.trapped ? 'trapped' : 'done']++;
    }
    world.assertContained();

    assert.ok(counts.trapped > SEEDS / 20 && counts.done > SEEDS / 20, JSON.stringify(counts));
  });

  it('is the hook that it was: programs in AssemblyScript', async () => {
    const module = await compileAssembly('programs.ts', PROGRAMS, [
      '--enable',
      'simd',
      '--enable',
      'threads',
      '--initialMemory',
      '1',
      '--maximumMemory',
      '1',
    ]);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const alone = handedMemory(module, memory);
    const world = new HookWorld();
    const program = world.load(module, 1e6);
    for (let count = 1; count < 40; ++count) {
      alone.hook(0, count);
      assert.equal(world.run(program, 0, count), undefined, `program ${count}`);
      const [expected, found] = [
        new Uint8Array(alone.memory.buffer),
        world.bytes.subarray(AREA, AREA + HOOK_AREA_BYTES),
      ];
      assert.equal(Buffer.compare(found, expected), 0, `program ${count}`);
    }
    const results = [...new Uint32Array(program.read('RESULTS', 40).buffer)];
    assert.equal(new Set(results).size, results.length, 'the programs say something');
  });
});

function handedMemory(module: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory } });
  return exports as { hook(records: number, count: number): void; memory: WebAssembly.Memory };
}

/** Statics, heap, strings, floats, tables, recursion, vectors, atomics, bulk operations: one after the other. */
const PROGRAMS = `
export const RESULTS: usize = memory.data(64);
const scratch: usize = memory.data(2048);
const table: StaticArray<u32> = [7, 1, 99, 4, 65537, 23, 5, 1000];
const atStart: i32 = fibonacci(9);
function fibonacci(n: i32): i32 { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
function crc(from: usize, bytes: i32): u32 {
  let sum: u32 = 0xffffffff;
  for (let i = 0; i < bytes; ++i) {
    sum ^= load<u8>(from + i);
    for (let bit = 0; bit < 8; ++bit) sum = (sum >>> 1) ^ (0xedb88320 & (0 - (sum & 1)));
  }
  return sum;
}
function sorted(seed: u32): u32 {
  for (let i: usize = 0; i < 64; ++i) { seed = seed * 1664525 + 1013904223; store<u32>(scratch + (i << 2), seed); }
  for (let i: usize = 1; i < 64; ++i) {
    const value = load<u32>(scratch + (i << 2));
    let at = scratch + (i << 2);
    while (at > scratch && load<u32>(at - 4) > value) { store<u32>(at, load<u32>(at - 4)); at -= 4; }
    store<u32>(at, value);
  }
  return load<u32>(scratch, 128);
}
function onHeap(count: i32): u32 {
  const map = new Map<i32, i32>();
  for (let i = 0; i < count % 4; ++i) map.set(i * 7, i + count);
  let sum = 0;
  for (let i = 0; i < 4; ++i) if (map.has(i * 7)) sum += map.get(i * 7);
  return sum + 'packet'.concat('lane').charCodeAt(count % 10);
}
function vectors(count: i32): u32 {
  let sum = i32x4.splat(count);
  for (let i: usize = 0; i < 256; i += 16) sum = i32x4.add(sum, v128.load(scratch + i));
  v128.store(scratch + 512, sum);
  return i32x4.extract_lane(sum, 1);
}
export function hook(records: usize, count: i32): void {
  store<u32>(RESULTS, fibonacci(count % 15) + atStart);
  store<u32>(RESULTS + 4, crc(RESULTS, 64));
  store<u32>(RESULTS + 8, sorted(count));
  if (count % 8 === 0) store<u32>(RESULTS + 12, onHeap(count));
  store<u32>(RESULTS + 16, vectors(count));
  store<u32>(RESULTS + 20, atomic.add<u32>(scratch + 1024, count * 3) + 1000001);
  memory.copy(scratch + 1100, scratch + count, 300);
  memory.fill(scratch + 1500, <u8>count, 77);
  store<u32>(RESULTS + 24, crc(scratch, 2000));
  store<f64>(scratch + 1600, Math.sqrt(count) * 1.5);
  store<u32>(RESULTS + 28, <u32>(load<f64>(scratch + 1600) * 1000));
  store<u32>(RESULTS + 32, table[count & 7] * 31 + 11 * count);
  table[count & 7] = count + 123456;
  store<u32>(RESULTS + 36, memory.grow(1) + 90000001 + (memory.size() << 28));
}
`;
