/** A memory on which a hook runs: its area, its window, and around them bytes that must stay as they are. */
import assert from 'node:assert/strict';
import { HOOK_AREA_BYTES, HOOK_FENCE_BYTES } from '../../assembly/layout.ts';
import { compileHook, type HookFault, HookProgram } from '../../src/dataplane/hook-program.ts';

const PAGES = 10;
export const AREA = 0x20000;
export const LOW = 0x50000;
export const HIGH = 0x60040;
const PATTERN = 0xa5;
/** What it may touch. */
const RANGES = [
  [AREA, AREA + HOOK_AREA_BYTES],
  [LOW, HIGH + HOOK_FENCE_BYTES],
] as const;

export class HookWorld {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly #outside: Uint8Array;

  constructor(shared = true) {
    this.memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared });
    this.bytes = new Uint8Array(this.memory.buffer).fill(PATTERN);
    this.#outside = this.#masked();
  }

  load(module: Uint8Array, fuel?: number): HookProgram {
    const compiled = compileHook(module, !(this.memory.buffer instanceof ArrayBuffer));
    return new HookProgram(compiled, this.memory, {
      area: AREA,
      low: LOW,
      high: HIGH,
      ...(fuel && { fuel }),
    });
  }

  /** Runs it and compares what it may not touch. */
  run(program: HookProgram, records = LOW, count = 1): HookFault | undefined {
    const fault = program.run(records, count);
    this.assertContained();
    return fault;
  }

  assertContained(): void {
    const now = this.#masked();
    assert.ok(equal(now, this.#outside), 'written outside of its area and its window');
  }

  fillWindow(): void {
    this.bytes.fill(PATTERN, LOW, HIGH + HOOK_FENCE_BYTES);
  }

  #masked(): Uint8Array {
    const copy = this.bytes.slice();
    for (const [from, to] of RANGES) copy.fill(0, from, to);
    return copy;
  }
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
