/**
 * A hook in WebAssembly: compiled once, and then, in each thread that carries packets, instantiated on the memory of
 * the dataplane. It runs between two calls of the engine, so that whatever becomes of it the engine's own state is whole.
 */
import { HOOK_AREA_BYTES, HOOK_FENCE_BYTES } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { DOOR, guardModule } from './hook-guard.ts';
import { FAULT } from './hook-guard-injected.ts';
import type { DataSegment } from './hook-guard-shape.ts';
import { check } from './shape.ts';
import type { EngineMemory, EngineModule } from './wasm-types.ts';

/**
 * Fuel of one batch, for each packet in it: turns of loops, more or less. It holds the largest batch up for some tens of
 * milliseconds at most (bench/hook-fuel.bench.ts).
 */
export const HOOK_FUEL = 700;
/** Fuel of what runs once: the start function and `configure`. The thread that they run on carries no packets meanwhile. */
const SETUP_FUEL = 2_000_000;
const FUEL_MAX = 0x7fffffff;
/** Exported constants: where the bytes for `configure` are put, and how many there is room for. */
const SETTINGS = 'SETTINGS';
const SETTINGS_BYTES = 'SETTINGS_BYTES';
/** Exported constants: where its counters are, u64 each, and how many bytes. */
const COUNTERS = 'COUNTERS';
const COUNTERS_BYTES = 'COUNTERS_BYTES';
const COUNTER_BYTES = 8;

/** What a thread needs to instantiate a hook; it can be posted to others. */
export interface CompiledHook {
  readonly module: EngineModule;
  readonly segments: readonly DataSegment[];
  readonly constants: ReadonlyMap<string, number>;
  readonly hasConfigure: boolean;
  readonly hasStart: boolean;
}

/** Where an instance lives: addresses in the memory. */
export interface HookPlace {
  /** Area of HOOK_AREA_BYTES that belongs to this instance alone; a multiple of 16. */
  area: number;
  /** Window [low, high) that it may read and write: records and frames of the thread's own block. */
  low: number;
  high: number;
  /** For each packet of a batch; HOOK_FUEL where it is absent. */
  fuel?: number;
}

/** Why a hook was stopped. */
export interface HookFault {
  /** fuel: it ran too long; access: it reached outside; stack: it called too deep; trap: anything else, such as abort(). */
  readonly kind: 'fuel' | 'access' | 'stack' | 'trap';
  /** Of an access: the first address of it, as the module sees it. */
  readonly address?: number;
  readonly message: string;
}

type Door = (first: number, second: number, fuel: number) => number | undefined;

/**
 * @param bytes a module as the SDK's page tells, not rewritten yet
 * @param shared kind of the memory that it will run on
 * @throws VtepError USAGE: malformed, or no hook; UNSUPPORTED: it has what a hook may not have
 */
export function compileHook(bytes: Uint8Array, shared = true): CompiledHook {
  bytesOf('the module', bytes);
  const guarded = guardModule(bytes, { areaBytes: HOOK_AREA_BYTES, shared });
  const { segments, constants, hasConfigure, hasStart } = guarded;
  if (hasConfigure) settingsOf(constants);
  countersOf(constants);
  try {
    return { module: new WebAssembly.Module(guarded.bytes), segments, constants, hasConfigure, hasStart };
  } catch (cause) {
    throw new VtepError('UNSUPPORTED', `hook: ${(cause as Error).message}: make it smaller`);
  }
}

function bytesOf(what: string, given: unknown): void {
  if (given instanceof Uint8Array) return;
  throw new VtepError('USAGE', `hook: ${what}: a Uint8Array is expected`);
}

/** One instance, of one thread. */
export class HookProgram {
  readonly #compiled: CompiledHook;
  readonly #bytes: Uint8Array;
  readonly #area: number;
  readonly #fuel: number;
  readonly #exports: WebAssembly.Exports;
  readonly #hook: Door;

  /**
   * Clears the area, puts the module's data there and runs its start function.
   * @throws VtepError USAGE: a place that can't be, or the start function failed; SYSTEM: the memory is of another kind
   */
  constructor(compiled: CompiledHook, memory: EngineMemory, place: HookPlace) {
    const { area, low, high, fuel = HOOK_FUEL } = place;
    const { byteLength } = memory.buffer;
    const isPlace =
      [area, low, high].every(Number.isInteger) &&
      area % 16 === 0 &&
      area >= HOOK_AREA_BYTES &&
      area + HOOK_AREA_BYTES <= byteLength &&
      low >= HOOK_AREA_BYTES &&
      high - low >= HOOK_FENCE_BYTES &&
      high + HOOK_FENCE_BYTES <= byteLength &&
      (area + HOOK_AREA_BYTES <= low || area >= high);
    if (!isPlace)
      throw new VtepError(
        'USAGE',
        `hook: area ${area} and window ${low} to ${high} can't be: ask the layout`,
      );
    if (!(fuel >= 1 && fuel <= FUEL_MAX))
      throw new VtepError('USAGE', `hook: fuel ${fuel} is not between 1 and ${FUEL_MAX}`);
    this.#compiled = compiled;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#area = area;
    this.#fuel = Math.floor(fuel);
    this.#bytes.fill(0, area, area + HOOK_AREA_BYTES);
    for (const { offset, bytes } of compiled.segments) this.#bytes.set(bytes, area + offset!);
    this.#exports = instantiate(compiled.module, { memory, base: area, low, high, reach: high - low });
    this.#hook = this.#exports[DOOR.hook] as Door;
    if (compiled.hasStart)
      this.#setUp('its start function', () =>
        (this.#exports[DOOR.start] as (fuel: number) => undefined)(SETUP_FUEL),
      );
  }

  /**
   * Shows it a batch. It never throws: what it decided of each record stands in the record.
   * @param records address of the first one. @returns undefined: it went through all of them
   */
  run(records: number, count: number): HookFault | undefined {
    try {
      this.#hook(records, count, Math.min(this.#fuel * Math.max(count, 1), FUEL_MAX));
      return undefined;
    } catch (error) {
      return this.#faultOf(error);
    }
  }

  /**
   * Hands it the user's settings, whose meaning is the module's own: copied to its SETTINGS, and its `configure` called.
   * @throws VtepError USAGE: it has no `configure`, no room for that many bytes, refused them, or failed
   */
  configure(settings: Uint8Array): void {
    const { hasConfigure, constants } = this.#compiled;
    if (!hasConfigure) throw new VtepError('USAGE', 'hook: it takes no settings: export configure from it');
    bytesOf('its settings', settings);
    const { address, room } = settingsOf(constants);
    if (settings.length > room) {
      throw new VtepError('USAGE', `hook: ${settings.length} bytes of settings: it has room for ${room}`);
    }
    this.#bytes.set(settings, this.#area + address);
    const configure = this.#exports[DOOR.configure] as Door;
    const answer = this.#setUp('configure', () => configure(address, settings.length, SETUP_FUEL)) ?? 0;
    if (answer !== 0)
      throw new VtepError('USAGE', `hook: configure answered ${answer}: give it settings that it knows`);
  }

  /** As countersOfHook, of this instance. */
  counters(): number[] {
    return countersOfHook(this.#compiled, this.#bytes, [this.#area]);
  }

  /** As readHook, of this instance. */
  read(name: string, length: number): Uint8Array<ArrayBuffer> {
    return readHook(this.#compiled, this.#bytes, this.#area, name, length);
  }

  #setUp<Result>(what: string, work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw new VtepError('USAGE', `hook: ${what} failed: ${this.#faultOf(error).message}: mend the module`);
    }
  }

  #faultOf(error: unknown): HookFault {
    if (error instanceof RangeError) return { kind: 'stack', message: 'it calls itself too deep' };
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    const { value } = this.#exports[DOOR.fault] as WebAssembly.Global;
    if (value === FAULT.fuel) return { kind: 'fuel', message: 'it ran too long' };
    if (value !== FAULT.access) return { kind: 'trap', message: error.message };
    const address = (this.#exports[DOOR.address] as WebAssembly.Global).value >>> 0;
    return { kind: 'access', address, message: `it reached outside its memory, at address ${address}` };
  }
}

/**
 * Bytes that an instance keeps, for instance counters: of any thread, from any thread, as they are at that moment.
 * @param name exported constant: `export const COUNTERS: usize = memory.data(64)`
 * @returns a copy. @throws VtepError NOT_FOUND: it exports no such constant; USAGE: that many bytes are not there
 */
export function readHook(
  { constants }: CompiledHook,
  memory: Uint8Array,
  area: number,
  name: string,
  length: number,
): Uint8Array<ArrayBuffer> {
  check('hook: the constant', 'text', name);
  const address = constants.get(name);
  if (address === undefined) throw new VtepError('NOT_FOUND', `hook: it exports no constant ${name}`);
  if (!(Number.isInteger(length) && length >= 0 && address + length <= HOOK_AREA_BYTES)) {
    throw new VtepError('USAGE', `hook: ${name}: ${String(length)} bytes are not there`);
  }
  return memory.slice(area + address, area + address + length) as Uint8Array<ArrayBuffer>;
}

/**
 * What a module has counted: its COUNTERS, as many u64 as COUNTERS_BYTES have room for, summed up over instances, of any
 * thread, as they are at that moment. @returns [] = it exports none
 */
export function countersOfHook(
  { constants }: CompiledHook,
  memory: Uint8Array,
  areas: readonly number[],
): number[] {
  const { address, bytes } = countersOf(constants);
  const view = new DataView(memory.buffer);
  return Array.from({ length: bytes / COUNTER_BYTES }, (_, index) => {
    const at = address + index * COUNTER_BYTES;
    return Number(areas.reduce((sum, area) => sum + view.getBigUint64(area + at, true), 0n));
  });
}

/** @throws VtepError USAGE: they are not within its memory */
function countersOf(constants: ReadonlyMap<string, number>): { address: number; bytes: number } {
  const [address, bytes] = [constants.get(COUNTERS), constants.get(COUNTERS_BYTES)];
  if (address === undefined || bytes === undefined) return { address: 0, bytes: 0 };
  if (bytes % COUNTER_BYTES !== 0 || address + bytes > HOOK_AREA_BYTES)
    throw new VtepError(
      'USAGE',
      `hook: ${COUNTERS_BYTES} is ${bytes}: give a multiple of ${COUNTER_BYTES} that its memory has room for`,
    );
  return { address, bytes };
}

function settingsOf(constants: ReadonlyMap<string, number>): { address: number; room: number } {
  const [address, room] = [constants.get(SETTINGS), constants.get(SETTINGS_BYTES)];
  if (address === undefined || room === undefined || address + room > HOOK_AREA_BYTES) {
    throw new VtepError(
      'USAGE',
      `hook: configure without constants ${SETTINGS} and ${SETTINGS_BYTES}: export them`,
    );
  }
  return { address, room };
}

function instantiate(module: EngineModule, env: WebAssembly.ModuleImports): WebAssembly.Exports {
  try {
    return new WebAssembly.Instance(module, { env }).exports;
  } catch (cause) {
    throw new VtepError('SYSTEM', `hook: ${(cause as Error).message}: compile it for a memory of this kind`);
  }
}
