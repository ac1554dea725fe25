/**
 * Makes a user's WebAssembly module harmless by rewriting it: a sandbox by construction.
 *
 * What comes out holds, whatever went in:
 *
 *  - It imports `env.memory` and four numbers, and no function: it can call nothing but itself.
 *  - Every load, store, atomic, SIMD access and bulk operation touches bytes of its own area, or bytes of the window
 *    [low, high) that it was instantiated with, and none else; reads no less than writes. Each is compared with both
 *    right before it happens, on a value that nothing else can change; sums of address and immediate offset are taken
 *    in 33 bits. What reaches elsewhere traps before it happens.
 *  - Addresses below `areaBytes` are the module's own memory: they mean the area, wherever that lies. `memory.size`
 *    says how large it is, `memory.grow` that it does not grow.
 *  - It ends. Every function and every turn of a loop pays fuel, one unit for each 256 bytes of instructions begun (and
 *    of locals, which are cleared at each call), bulk operations for each 256 bytes; where none is left it traps. It can't wait: `memory.atomic.wait` is refused.
 *  - It exports functions for the host only. Its own globals, tables and functions can't be reached from outside.
 *  - It writes nothing while it is instantiated: data segments and the start function are the host's to run.
 *
 * Depth of calls is the runtime's to limit: a RangeError in place of a trap. Time is bounded in fuel, not in
 * seconds. A fault is contained, not undone: what the hook wrote to its area and its window before stays.
 */
import { ModuleWriter, malformed, unsupported } from './hook-guard-bytes.ts';
import { rewriteBody } from './hook-guard-code.ts';
import { doorHelper, type Helper, outsideHelper, rangeHelper } from './hook-guard-helpers.ts';
import type { Injected } from './hook-guard-injected.ts';
import { readModule } from './hook-guard-module.ts';
import { FUNCTION_TYPE, OP, VALUE } from './hook-guard-opcodes.ts';
import {
  type DataSegment,
  type FunctionType,
  type HookModule,
  KIND,
  PAGE_BYTES,
  PREAMBLE,
  SECTION,
} from './hook-guard-shape.ts';

export interface GuardLimits {
  /** Bytes of memory that the module has to itself: a multiple of 65536, and not above `low`. */
  areaBytes: number;
  /** Kind of the memory that it is for. */
  shared: boolean;
}

/** A module that can do no harm. */
export interface GuardedModule {
  bytes: Uint8Array<ArrayBuffer>;
  /** What lies in its area before it starts. */
  segments: readonly DataSegment[];
  /** Exported constants: name -> value. In AssemblyScript, `export const table: usize = memory.data(64)`. */
  constants: ReadonlyMap<string, number>;
  /** Doors of the bytes; each takes fuel as its last parameter. */
  hasConfigure: boolean;
  hasStart: boolean;
}

/** What the bytes export. */
export const DOOR = {
  hook: 'hook',
  configure: 'configure',
  start: 'start',
  fault: 'fault',
  address: 'address',
} as const;
/** What they import beside env.memory: constant numbers. */
export const PLACE = ['base', 'low', 'high', 'reach'] as const;

const MEMORY_PAGES_MAX = 65536;
const { i32 } = VALUE;

/**
 * @param bytes a module that exports `hook(records: usize, count: i32): void`, and, if it likes,
 * `configure(pointer: usize, length: i32): void` or `: i32`
 * @throws VtepError USAGE: it is malformed or exports no `hook`; UNSUPPORTED: it has what a hook may not have, named
 */
export function guardModule(bytes: Uint8Array, { areaBytes, shared }: GuardLimits): GuardedModule {
  // A copy, which nobody changes between one look and the next, and of no shared memory: runtimes don't take that.
  const own = bytes.slice();
  const module = readModule(own);
  // Its types are the runtime's to check.
  if (!WebAssembly.validate(own)) throw malformed('the runtime finds it invalid', 0);
  return rewriteModule(module, areaBytes, shared);
}

/** Without the runtime's opinion: whatever comes of an invalid module, it is as confined. */
export function rewriteModule(module: HookModule, areaBytes: number, shared: boolean): GuardedModule {
  if (module.pages * PAGE_BYTES > areaBytes) {
    throw unsupported(
      `memory of ${module.pages} pages`,
      `a hook has ${areaBytes / PAGE_BYTES}: compile with --initialMemory ${areaBytes / PAGE_BYTES}`,
    );
  }
  const functions = module.functions.length;
  const shift = PLACE.length;
  const own = shift + module.globals.length;
  const injected: Injected = {
    ...{ base: 0, low: 1, high: 2, reach: 3, shift },
    ...{ fuel: own, fault: own + 1, address: own + 2 },
    ...{ outside: functions, range: functions + 1 },
    areaBytes,
  };
  const doors = doorsOf(module);
  const helpers: Helper[] = [
    outsideHelper(injected),
    rangeHelper(injected),
    ...doors.map(({ index, type }) => doorHelper(injected, index, type.parameters, type.results)),
  ];
  const writer = new ModuleWriter().append(PREAMBLE);
  writer.section(SECTION.type, (section) => writeTypes(section, module.types, helpers));
  writer.section(SECTION.import, (section) => writeImports(section, shared));
  writer.section(SECTION.function, (section) => {
    section.u32(functions + helpers.length);
    for (const type of module.functions) section.u32(type);
    for (const index of helpers.keys()) section.u32(module.types.length + index);
  });
  if (module.tableSection) writer.section(SECTION.table, (section) => section.append(module.tableSection!));
  writer.section(SECTION.global, (section) => writeGlobals(section, module));
  writer.section(SECTION.export, (section) => {
    section.u32(doors.length + 2);
    for (const [index, { name }] of doors.entries())
      section
        .name(name)
        .write(KIND.function)
        .u32(injected.range + 1 + index);
    section.name(DOOR.fault).write(KIND.global).u32(injected.fault);
    section.name(DOOR.address).write(KIND.global).u32(injected.address);
  });
  if (module.elementSection)
    writer.section(SECTION.element, (section) => section.append(module.elementSection!));
  const { segments } = module;
  if (module.hasDataCount) writer.section(SECTION.dataCount, (section) => section.u32(segments.length));
  writer.section(SECTION.code, (section) => {
    section.u32(functions + helpers.length);
    for (const body of module.bodies) section.sized(rewriteBody(module, body, injected));
    for (const { body } of helpers) section.sized(body);
  });
  if (module.hasDataCount) writer.section(SECTION.data, (section) => writePassive(section, segments));
  return {
    bytes: writer.bytes.slice(),
    segments: initialOf(segments, areaBytes),
    constants: constantsOf(module),
    hasConfigure: doors.some(({ name }) => name === DOOR.configure),
    hasStart: doors.some(({ name }) => name === DOOR.start),
  };
}

interface Door {
  name: string;
  index: number;
  type: FunctionType;
}

function doorsOf(module: HookModule): Door[] {
  const doors: Door[] = [];
  for (const name of [DOOR.hook, DOOR.configure]) {
    const exported = module.exports.get(name);
    if (exported === undefined) continue;
    const type = exported.kind === KIND.function ? typeOf(module, exported.index) : undefined;
    if (type === undefined || !isDoor(type, name === DOOR.configure)) {
      throw malformed(
        `${name} is not a function (pointer: usize, ${name === DOOR.hook ? 'count' : 'length'}: i32)`,
        0,
      );
    }
    doors.push({ name, index: exported.index, type });
  }
  if (doors[0]?.name !== DOOR.hook)
    throw malformed('it exports no function hook(records: usize, count: i32): void', 0);
  if (module.start !== undefined) {
    const type = typeOf(module, module.start)!;
    if (type.parameters.length + type.results.length > 0)
      throw malformed('its start function takes or gives values', 0);
    doors.push({ name: DOOR.start, index: module.start, type });
  }
  return doors;
}

function typeOf(module: HookModule, index: number): FunctionType | undefined {
  return module.types[module.functions[index] ?? -1];
}

function isDoor({ parameters, results }: FunctionType, mayAnswer: boolean): boolean {
  return (
    parameters.length === 2 &&
    parameters.every((type) => type === i32) &&
    results.length <= (mayAnswer ? 1 : 0) &&
    results.every((type) => type === i32)
  );
}

function writeTypes(section: ModuleWriter, types: readonly FunctionType[], helpers: readonly Helper[]): void {
  section.u32(types.length + helpers.length);
  for (const { parameters, results } of [...types, ...helpers]) {
    section.write(FUNCTION_TYPE).sized(Uint8Array.from(parameters)).sized(Uint8Array.from(results));
  }
}

function writeImports(section: ModuleWriter, shared: boolean): void {
  section.u32(1 + PLACE.length);
  // Limits: there is a maximum, 1; the memory is shared, 2.
  section
    .name('env')
    .name('memory')
    .write(KIND.memory, shared ? 3 : 1)
    .u32(1)
    .u32(MEMORY_PAGES_MAX);
  for (const name of PLACE) section.name('env').name(name).write(KIND.global, i32, 0);
}

function writeGlobals(section: ModuleWriter, { bytes, globals }: HookModule): void {
  section.u32(globals.length + 3);
  for (const { type, isMutable, initial } of globals) {
    section.write(type, isMutable ? 1 : 0).append(bytes.subarray(initial.from, initial.to));
  }
  // fuel, fault, address
  for (let count = 0; count < 3; ++count) section.write(i32, 1, OP.i32Const, 0, OP.end);
}

/** Active segments are the host's to copy; for memory.init they are as after that: empty. */
function writePassive(section: ModuleWriter, segments: readonly DataSegment[]): void {
  section.u32(segments.length);
  for (const { offset, bytes } of segments)
    section.u32(1).sized(offset === undefined ? bytes : new Uint8Array());
}

function initialOf(segments: readonly DataSegment[], areaBytes: number): DataSegment[] {
  const initial = segments.filter(({ offset }) => offset !== undefined);
  for (const { offset, bytes } of initial) {
    const end = offset! + bytes.length;
    if (end > areaBytes)
      throw unsupported(`data up to address ${end}`, `a hook has ${areaBytes} bytes: keep less`);
  }
  return initial.map(({ offset, bytes }) => ({ offset, bytes: bytes.slice() }));
}

function constantsOf({ exports, globals }: HookModule): Map<string, number> {
  const constants = new Map<string, number>();
  for (const [name, { kind, index }] of exports) {
    const found = kind === KIND.global ? globals[index] : undefined;
    if (found === undefined || found.isMutable || found.initial.value === undefined) continue;
    constants.set(name, found.initial.value >>> 0);
  }
  return constants;
}
