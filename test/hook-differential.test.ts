/** A hook does what it did before it was made harmless: the same module, as it is, on a memory of its own. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HOOK_AREA_BYTES, WASM_PAGE_BYTES } from '../assembly/layout.ts';
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
});
