/** A WebAssembly module in its parts (core specification 2.0, section 5.5), as far as hooks have them. */

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;

export const KIND = { function: 0, table: 1, memory: 2, global: 3 } as const;

export const PREAMBLE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
export const PAGE_BYTES = 65536;

export interface FunctionType {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
}

export interface LocalRun {
  readonly count: number;
  readonly type: number;
}

export interface FunctionBody {
  readonly type: number;
  /** Declared ones, parameters left out. */
  readonly locals: readonly LocalRun[];
  /** First byte and end of the instructions. */
  readonly from: number;
  readonly to: number;
}

/** An expression that initialises something: its bytes, and its value where that is one plain number. */
export interface Initialiser {
  readonly from: number;
  readonly to: number;
  readonly value: number | undefined;
}

export interface ModuleGlobal {
  readonly type: number;
  readonly isMutable: boolean;
  readonly initial: Initialiser;
}

export interface ModuleExport {
  readonly kind: number;
  readonly index: number;
}

/** Bytes that an instance begins with, and where in its own memory. */
export interface DataSegment {
  /** Absent: a passive one. */
  readonly offset: number | undefined;
  readonly bytes: Uint8Array;
}

export interface HookModule {
  readonly bytes: Uint8Array;
  types: FunctionType[];
  /** Type of each function. */
  functions: number[];
  tables: number;
  /** Sections that stay as they are, without their heads. */
  tableSection: Uint8Array | undefined;
  elementSection: Uint8Array | undefined;
  globals: ModuleGlobal[];
  exports: Map<string, ModuleExport>;
  start: number | undefined;
  bodies: FunctionBody[];
  segments: DataSegment[];
  hasDataCount: boolean;
  /** Pages of memory that it wants from the beginning. */
  pages: number;
}
