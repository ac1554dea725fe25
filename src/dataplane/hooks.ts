/** The hooks of a queue: which program is shown which device's packets, and what becomes of one that fails. */
import {
  DEVICE_COUNT,
  HOOK_AREA_BYTES,
  HOOK_AREA_COUNT,
  HOOK_AREAS_OFFSET,
  HOOK_FAULT,
  HOOK_MIRROR,
  HOOK_PARKED_BYTES,
  HOOK_PARKED_PLACE_OFFSET,
  HOOK_PARKEDS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORDS_OFFSET,
  HOOK_UNDECIDED,
  HOOK_WINDOW_DECAP_OFFSET,
  HOOK_WINDOW_ENCAP_OFFSET,
  HOOK_WINDOW_END_OFFSET,
  WORKER_HOOKED_OFFSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { HookScript } from './hook-batch.ts';
import { type CompiledHook, HookProgram } from './hook-program.ts';
import type { HookDirection, HookFailure, HookFunction, HookRunner } from './hook-types.ts';
import type { Views } from './memory.ts';

const FAILURE_MILLISECONDS = 1000;
/** The device stands above the domain. */
const PLACE_DEVICE = 2;

interface Loaded {
  readonly runner: HookRunner;
  /** Number of its area, -1 = it has none. */
  readonly area: number;
  toldAt: number;
}

export class Hooks {
  readonly #views: Views;
  readonly #u16: Uint16Array;
  readonly #direction: HookDirection;
  /** Address of the block. */
  readonly #base: number;
  readonly #failed: (failure: HookFailure) => void;
  /** By device. */
  readonly #loaded: (Loaded | undefined)[] = Array.from({ length: DEVICE_COUNT }, () => undefined);
  #count = 0;
  #areas = 0;

  constructor(views: Views, direction: HookDirection, base: number, failed: (failure: HookFailure) => void) {
    this.#views = views;
    this.#u16 = new Uint16Array(views.memory.buffer);
    this.#direction = direction;
    this.#base = base;
    this.#failed = failed;
  }

  /** Devices that have one. */
  get count(): number {
    return this.#count;
  }

  /**
   * From the next batch on; what there was before stays until the new one is ready.
   * @returns the module's instance. @throws VtepError USAGE, NO_SPACE; then nothing has changed
   */
  set(device: number, hook: HookFunction | CompiledHook | undefined): HookProgram | undefined {
    const before = this.#loaded[device];
    const loaded = hook === undefined ? undefined : this.#load(hook);
    this.#loaded[device] = loaded;
    this.#count += Number(loaded !== undefined) - Number(before !== undefined);
    this.#views.bytes[this.#base + WORKER_HOOKED_OFFSET + device] = Number(loaded !== undefined);
    if (before !== undefined && before.area >= 0) this.#areas &= ~(1 << before.area);
    return loaded?.runner instanceof HookProgram ? loaded.runner : undefined;
  }

  /** Shows the programs the first `count` records of their walk: those of one device in a row at a time. */
  show(count: number): void {
    const places = this.#base + HOOK_PARKEDS_OFFSET + HOOK_PARKED_PLACE_OFFSET + PLACE_DEVICE;
    const u16 = this.#u16;
    if (this.#count === 1 && count > 0) {
      // All of them are that device's: only those that have a hook are parked.
      const device = u16[places >>> 1]!;
      this.#run(this.#loaded[device]!, device, 0, count);
      return;
    }
    for (let first = 0; first < count; ) {
      const device = u16[(places + first * HOOK_PARKED_BYTES) >>> 1]!;
      let end = first + 1;
      while (end < count && u16[(places + end * HOOK_PARKED_BYTES) >>> 1] === device) ++end;
      // One that has gone in between leaves its packets undecided, and so they pass.
      const loaded = this.#loaded[device];
      if (loaded !== undefined) this.#run(loaded, device, first, end - first);
      first = end;
    }
  }

  #run(loaded: Loaded, device: number, first: number, count: number): void {
    const records = this.#base + HOOK_RECORDS_OFFSET + first * HOOK_RECORD_BYTES;
    const fault = loaded.runner.run(records, count);
    if (fault === undefined) return;
    const { u32 } = this.#views;
    for (let index = 0; index < count; ++index) {
      const verdict = (records + index * HOOK_RECORD_BYTES + HOOK_RECORD_VERDICT_OFFSET) >>> 2;
      if ((u32[verdict]! & ~HOOK_MIRROR) === HOOK_UNDECIDED) u32[verdict] = HOOK_FAULT;
    }
    const now = performance.now();
    if (now - loaded.toldAt < FAILURE_MILLISECONDS) return;
    loaded.toldAt = now;
    this.#failed({ device, direction: this.#direction, message: fault.message });
  }

  #load(hook: HookFunction | CompiledHook): Loaded {
    const toldAt = Number.NEGATIVE_INFINITY;
    if (typeof hook === 'function')
      return { runner: new HookScript(hook, this.#views, this.#direction), area: -1, toldAt };
    if (!(hook?.module instanceof WebAssembly.Module))
      throw new VtepError('USAGE', 'hook: give a function, or what compileHook() gave');
    const area = this.#freeArea();
    const window = this.#direction === 'encap' ? HOOK_WINDOW_ENCAP_OFFSET : HOOK_WINDOW_DECAP_OFFSET;
    const runner = new HookProgram(hook, this.#views.memory, {
      area: this.#base + HOOK_AREAS_OFFSET + area * HOOK_AREA_BYTES,
      low: this.#base + window,
      high: this.#base + HOOK_WINDOW_END_OFFSET,
    });
    this.#areas |= 1 << area;
    return { runner, area, toldAt };
  }

  #freeArea(): number {
    for (let area = 0; area < HOOK_AREA_COUNT; ++area) if ((this.#areas & (1 << area)) === 0) return area;
    throw new VtepError(
      'NO_SPACE',
      `hook: all ${HOOK_AREA_COUNT} places for modules are taken: one is needed beside those that are set`,
    );
  }
}
