/**
 * A user's module, taken apart (WebAssembly core specification 2.0, section 5.5). Only what a hook may have gets
 * through; bodies of functions are left as bytes.
 */
import { ModuleReader, malformed, unsupported } from './hook-guard-bytes.ts';
import { EXTERNREF, FUNCREF, FUNCTION_TYPE, OP, VALUE } from './hook-guard-opcodes.ts';
import { type HookModule, type Initialiser, KIND, PREAMBLE, SECTION } from './hook-guard-shape.ts';

/** A hook is a small program; what is larger is not looked at. */
export const MODULE_MAX_BYTES = 1 << 20;
/** Locals of a function, as browsers limit them; elements of its tables together, for each thread's instance has its own. */
const LOCALS_MAX = 50000;
const TABLE_MAX = 65536;
const VALUES: ReadonlySet<number> = new Set([...Object.values(VALUE), FUNCREF, EXTERNREF]);
/** Sections in the order in which they must stand. */
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];

/** @throws VtepError USAGE: malformed; UNSUPPORTED: what a hook may not have */
export function readModule(bytes: Uint8Array): HookModule {
  if (bytes.length > MODULE_MAX_BYTES) {
    throw unsupported(`a module of ${bytes.length} bytes`, `a hook has at most ${MODULE_MAX_BYTES}`);
  }
  if (PREAMBLE.some((byte, at) => bytes[at] !== byte)) throw malformed('it is no WebAssembly', 0);
  const module: HookModule = {
    bytes,
    types: [],
    functions: [],
    tables: 0,
    tableSection: undefined,
    elementSection: undefined,
    globals: [],
    exports: new Map(),
    start: undefined,
    bodies: [],
    segments: [],
    hasDataCount: false,
    pages: 0,
  };
  const reader = new ModuleReader(bytes, PREAMBLE.length);
  let last = -1;
  while (!reader.isAtEnd) {
    const { at } = reader;
    const id = reader.byte();
    const section = reader.part(reader.u32());
    if (id === SECTION.custom) continue;
    const place = ORDER.indexOf(id);
    if (place < 0) throw unsupported(`section ${id} at byte ${at}`, 'a hook has none of that kind');
    if (place <= last) throw malformed(`section ${id} is out of order`, at);
    last = place;
    READ[id]!(section, module);
    section.finish(`section ${id}`);
  }
  if (module.bodies.length !== module.functions.length)
    throw malformed('functions without a body', reader.at);
  return module;
}

const READ: Record<number, (section: ModuleReader, module: HookModule) => void> = {
  [SECTION.type]: (section, module) => {
    module.types = section.vector(() => {
      const { at } = section;
      if (section.byte() !== FUNCTION_TYPE)
        throw unsupported(`a type at byte ${at}`, 'a hook has functions’ types only');
      return { parameters: readTypes(section), results: readTypes(section) };
    }, 3);
  },
  [SECTION.import]: (section, module) => {
    section.vector(() => {
      const [from, name, kind] = [section.name(), section.name(), section.byte()];
      if (from !== 'env' || name !== 'memory' || kind !== KIND.memory) {
        throw unsupported(`import ${from}.${name}`, 'a hook imports env.memory and nothing else');
      }
      readMemory(section, module);
    }, 4);
  },
  [SECTION.function]: (section, module) => {
    module.functions = section.vector(() => below(section.u32(), module.types.length, 'type', section));
  },
  [SECTION.table]: (section, module) => {
    module.tableSection = section.rest;
    let elements = 0;
    module.tables = section.vector(() => {
      const type = section.byte();
      if (type !== FUNCREF && type !== EXTERNREF)
        throw unsupported(`a table of type 0x${type.toString(16)}`, 'a hook’s tables hold functions');
      elements += readLimits(section).least;
      if (elements > TABLE_MAX)
        throw unsupported(`tables of ${elements} elements`, `a hook’s have at most ${TABLE_MAX}`);
    }, 3).length;
  },
  [SECTION.memory]: (section, module) => {
    section.vector(() => readMemory(section, module), 2);
  },
  [SECTION.global]: (section, module) => {
    module.globals = section.vector(() => {
      const type = readType(section);
      const isMutable = section.byte() === 1;
      return { type, isMutable, initial: readInitialiser(section, module) };
    }, 4);
  },
  [SECTION.export]: (section, module) => {
    section.vector(() => {
      const name = section.name();
      module.exports.set(name, { kind: section.byte(), index: section.u32() });
    }, 3);
  },
  [SECTION.start]: (section, module) => {
    module.start = below(section.u32(), module.functions.length, 'function', section);
  },
  [SECTION.element]: (section, module) => {
    module.elementSection = section.rest;
    section.vector(() => readElements(section, module), 2);
  },
  [SECTION.dataCount]: (section, module) => {
    section.u32();
    module.hasDataCount = true;
  },
  [SECTION.code]: (section, module) => {
    let index = 0;
    module.bodies = section.vector(() => {
      const body = section.part(section.u32());
      let count = 0;
      const locals = body.vector(() => {
        const run = { count: body.u32(), type: readType(body) };
        count += run.count;
        if (count > LOCALS_MAX)
          throw unsupported(`a function of ${count} locals`, `a hook’s has at most ${LOCALS_MAX}`);
        return run;
      }, 2);
      return { type: module.functions[index++]!, locals, from: body.at, to: body.end };
    }, 3);
  },
  [SECTION.data]: (section, module) => {
    module.segments = section.vector(() => {
      const { at } = section;
      const kind = section.u32();
      if (kind === 2) below(section.u32(), 1, 'memory', section);
      if (kind > 2) throw malformed('a data segment of no kind', at);
      const offset = kind === 1 ? undefined : readInitialiser(section, module).value;
      if (kind !== 1 && offset === undefined)
        throw unsupported(
          `a data segment at byte ${at} whose place is computed`,
          'compile with a fixed memory base',
        );
      const length = section.u32();
      const from = section.at;
      section.skip(length);
      return {
        offset: offset === undefined ? undefined : offset >>> 0,
        bytes: section.bytes.subarray(from, section.at),
      };
    }, 2);
  },
};

/** An index that is there. @throws VtepError USAGE */
export function below(index: number, count: number, what: string, reader: ModuleReader): number {
  if (index >= count) throw malformed(`there is no ${what} ${index}`, reader.at);
  return index;
}

export function readType(reader: ModuleReader): number {
  const { at } = reader;
  const type = reader.byte();
  if (!VALUES.has(type))
    throw unsupported(`type 0x${type.toString(16)} at byte ${at}`, 'a hook computes with numbers');
  return type;
}

function readTypes(reader: ModuleReader): number[] {
  return reader.vector(() => readType(reader));
}

function readLimits(reader: ModuleReader): { least: number } {
  const { at } = reader;
  const flags = reader.byte();
  // 1: a maximum follows; 2: shared. What is above is memory of 64 bits and its kind.
  if (flags > 3)
    throw unsupported(`limits of kind ${flags} at byte ${at}`, 'a hook’s memory has 32-bit addresses');
  const least = reader.u32();
  if ((flags & 1) !== 0) reader.u32();
  return { least };
}

function readMemory(reader: ModuleReader, module: HookModule): void {
  if (module.pages >= 0x10000) throw malformed('too much memory', reader.at);
  module.pages = Math.max(module.pages, readLimits(reader).least);
}

/** Flags: 1 passive or declared, 2 a table (active) or declared (passive), 4 expressions instead of indices. */
function readElements(reader: ModuleReader, module: HookModule): void {
  const { at } = reader;
  const flags = reader.u32();
  if (flags > 7) throw malformed('an element segment of no kind', at);
  if ((flags & 1) === 0) {
    if ((flags & 2) !== 0) below(reader.u32(), module.tables, 'table', reader);
    readInitialiser(reader, module);
  }
  if ((flags & 3) !== 0) {
    const kind = reader.byte();
    if ((flags & 4) === 0 ? kind !== 0 : kind !== FUNCREF && kind !== EXTERNREF) {
      throw unsupported(
        `an element segment of type 0x${kind.toString(16)}`,
        'a hook’s tables hold functions',
      );
    }
  }
  reader.vector(() => {
    if ((flags & 4) !== 0) readInitialiser(reader, module);
    else below(reader.u32(), module.functions.length, 'function', reader);
  });
}

/** One constant; what is computed, or read from another global, is refused. */
function readInitialiser(reader: ModuleReader, module: HookModule): Initialiser {
  const from = reader.at;
  const opcode = reader.byte();
  let value: number | undefined;
  if (opcode === OP.i32Const) value = reader.s33() | 0;
  else if (opcode === OP.i64Const) reader.skipNumber(10);
  else if (opcode === OP.f32Const) reader.skip(4);
  else if (opcode === OP.f64Const) reader.skip(8);
  else if (opcode === OP.refNull) reader.byte();
  else if (opcode === OP.refFunc) below(reader.u32(), module.functions.length, 'function', reader);
  else if (opcode === OP.simd) {
    // v128.const
    if (reader.u32() !== 12) throw malformed('an initialiser that is not constant', from);
    reader.skip(16);
  } else throw unsupported(`an initialiser at byte ${from} that is no constant`, 'compile without it');
  if (reader.byte() !== OP.end)
    throw unsupported(`an initialiser at byte ${from} that is computed`, 'compile without it');
  return { from, to: reader.at, value };
}
