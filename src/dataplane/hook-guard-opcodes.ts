/**
 * What follows each instruction in a function's bytes, and which of them touch memory (WebAssembly core specification
 * 2.0, section 5.4; the threads proposal). What is not listed here is refused.
 */

export const VALUE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export const FUNCREF = 0x70;
export const EXTERNREF = 0x6f;
export const FUNCTION_TYPE = 0x60;
export const NO_RESULT = 0x40;

export const OP = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  drop: 0x1a,
  select: 0x1b,
  selectTyped: 0x1c,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  tableGet: 0x25,
  tableSet: 0x26,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i32LtS: 0x48,
  i32LtU: 0x49,
  i32GtU: 0x4b,
  i32GeU: 0x4f,
  i64LeU: 0x58,
  i64GeU: 0x5a,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32And: 0x71,
  i32ShrU: 0x76,
  i64Add: 0x7c,
  i32WrapI64: 0xa7,
  i64ExtendI32U: 0xad,
  refNull: 0xd0,
  refIsNull: 0xd1,
  refFunc: 0xd2,
  misc: 0xfc,
  simd: 0xfd,
  atomic: 0xfe,
} as const;

/** Behind OP.misc. */
export const MISC = {
  lastTruncate: 7,
  memoryInit: 8,
  dataDrop: 9,
  memoryCopy: 10,
  memoryFill: 11,
  tableSize: 16,
} as const;

/** An instruction that touches memory: how many bytes, and which operands lie above the address. */
export interface Access {
  readonly bytes: number;
  readonly operands: readonly number[];
  /** It gives a value. */
  readonly gives: boolean;
  /** A lane's number follows the offset. */
  readonly hasLane: boolean;
}

function load(bytes: number): Access {
  return { bytes, operands: [], gives: true, hasLane: false };
}

function store(bytes: number, type: number): Access {
  return { bytes, operands: [type], gives: false, hasLane: false };
}

function lane(bytes: number, gives: boolean): Access {
  return { bytes, operands: [VALUE.v128], gives, hasLane: true };
}

const { i32, i64, f32, f64, v128 } = VALUE;

/** Loads from 0x28 and stores from 0x36, in order. */
const PLAIN_BYTES = [4, 8, 4, 8, 1, 1, 2, 2, 1, 1, 2, 2, 4, 4];
const PLAIN_STORES = [
  ...[store(4, i32), store(8, i64), store(4, f32), store(8, f64)],
  ...[store(1, i32), store(2, i32), store(1, i64), store(2, i64), store(4, i64)],
];
const PLAIN = [...PLAIN_BYTES.map(load), ...PLAIN_STORES];
const PLAIN_FIRST = 0x28;

/** @returns undefined: it touches no memory */
export function plainAccess(opcode: number): Access | undefined {
  return PLAIN[opcode - PLAIN_FIRST];
}

/** First of each run of instructions that compute with as many operands as stand beside it. */
const COMPUTING: readonly (readonly [number, number])[] = [
  ...([
    [0x45, 1],
    [0x46, 2],
    [0x50, 1],
    [0x51, 2],
    [0x67, 1],
    [0x6a, 2],
    [0x79, 1],
    [0x7c, 2],
  ] as const),
  ...([
    [0x8b, 1],
    [0x92, 2],
    [0x99, 1],
    [0xa0, 2],
    [0xa7, 1],
    [0xc5, 0],
  ] as const),
];

/** @returns operands of an instruction that computes a value from them and has no immediates; 0: it is none */
export function operandsOf(opcode: number): number {
  if (opcode === OP.select) return 3;
  return COMPUTING.findLast(([first]) => opcode >= first)?.[1] ?? 0;
}

const SIMD_STORE = 11;
const SIMD_LANES_FIRST = 0x54;
const SIMD_ZERO_FIRST = 0x5c;
const SIMD_LOADS = [16, 8, 8, 8, 8, 8, 8, 1, 2, 4, 8].map(load);
const SIMD_LANES = [true, false].flatMap((gives) => [1, 2, 4, 8].map((bytes) => lane(bytes, gives)));

/** @param opcode behind OP.simd */
export function simdAccess(opcode: number): Access | undefined {
  if (opcode < SIMD_STORE) return SIMD_LOADS[opcode];
  if (opcode === SIMD_STORE) return store(16, v128);
  if (opcode === SIMD_ZERO_FIRST) return load(4);
  if (opcode === SIMD_ZERO_FIRST + 1) return load(8);
  return SIMD_LANES[opcode - SIMD_LANES_FIRST];
}

export const SIMD_CONST = 12;
const SIMD_SHUFFLE = 13;
const SIMD_LANE_FIRST = 21;
const SIMD_LANE_LAST = 34;
const SIMD_RELAXED_LAST = 0x113;
/** Numbers between the SIMD instructions that stand for none. */
const SIMD_NONE = new Set([
  0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4,
  0xe2, 0xee,
]);

/** @returns bytes of what follows an instruction that touches no memory; undefined: there is no such instruction */
export function simdImmediateBytes(opcode: number): number | undefined {
  if (opcode > SIMD_RELAXED_LAST || SIMD_NONE.has(opcode)) return undefined;
  if (opcode === SIMD_CONST || opcode === SIMD_SHUFFLE) return 16;
  if (opcode >= SIMD_LANE_FIRST && opcode <= SIMD_LANE_LAST) return 1;
  return 0;
}

export const ATOMIC_NOTIFY = 0;
export const ATOMIC_WAIT_LAST = 2;
export const ATOMIC_FENCE = 3;
const ATOMIC_LOADS_FIRST = 0x10;
const ATOMIC_STORES_FIRST = 0x17;
const ATOMIC_CHANGES_FIRST = 0x1e;
const ATOMIC_EXCHANGES_FIRST = 0x48;
const ATOMIC_LAST = 0x4e;
/** Each group of atomics comes in these seven widths. */
const ATOMIC_WIDTHS = [
  ...[
    { bytes: 4, type: i32 },
    { bytes: 8, type: i64 },
    { bytes: 1, type: i32 },
    { bytes: 2, type: i32 },
  ],
  ...[
    { bytes: 1, type: i64 },
    { bytes: 2, type: i64 },
    { bytes: 4, type: i64 },
  ],
] as const;

/** Loads, stores, add, sub, and, or, xor, exchange, compare-exchange. @param opcode behind OP.atomic */
export function atomicAccess(opcode: number): Access | undefined {
  if (opcode < ATOMIC_LOADS_FIRST || opcode > ATOMIC_LAST) return undefined;
  const { bytes, type } = ATOMIC_WIDTHS[(opcode - ATOMIC_LOADS_FIRST) % ATOMIC_WIDTHS.length]!;
  if (opcode < ATOMIC_STORES_FIRST) return load(bytes);
  if (opcode < ATOMIC_CHANGES_FIRST) return store(bytes, type);
  const operands = opcode < ATOMIC_EXCHANGES_FIRST ? [type] : [type, type];
  return { bytes, operands, gives: true, hasLane: false };
}

/** Instructions that are known and refused, so that the refusal can name them. */
const REFUSED: Record<number, string> = {
  6: 'try',
  7: 'catch',
  8: 'throw',
  9: 'rethrow',
  10: 'throw_ref',
  18: 'return_call',
  19: 'return_call_indirect',
  20: 'call_ref',
  21: 'return_call_ref',
  24: 'delegate',
  25: 'catch_all',
  31: 'try_table',
  211: 'ref.eq',
  212: 'ref.as_non_null',
  213: 'br_on_null',
  214: 'br_on_non_null',
  251: 'an instruction of the garbage collector (0xfb)',
};

/** @param second what follows a prefix */
export function nameOfRefused(opcode: number, second?: number): string {
  if (opcode === OP.atomic && second === ATOMIC_NOTIFY) return 'memory.atomic.notify';
  if (opcode === OP.atomic && second! <= ATOMIC_WAIT_LAST)
    return `memory.atomic.wait${second === 1 ? 32 : 64}`;
  const number = `0x${opcode.toString(16)}${second === undefined ? '' : ` 0x${second.toString(16)}`}`;
  return REFUSED[opcode] ?? `instruction ${number}`;
}
