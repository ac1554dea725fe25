/** Modules from their instructions: an assembler of bytes, for what no compiler would write. */

export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;
export const V128 = 0x7b;

export interface HandMade {
  /** Instructions of hook(records, count), its `end` left out. */
  hook: readonly number[];
  /** Types of locals from 2 on. */
  locals?: readonly number[];
  /** Other functions, from number 1 on: () -> () each. */
  others?: readonly (readonly number[])[];
  /** Sections by number, behind their length, in place of what would stand there; [] = none. */
  sections?: Readonly<Record<number, readonly number[]>>;
}

export function uleb(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...uleb(Math.floor(value / 128))];
}

/** @param value of at most 53 bits */
export function sleb(value: number): number[] {
  const low = ((value % 128) + 128) % 128;
  const rest = (value - low) / 128;
  const isLast = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
  return isLast ? [low] : [low | 128, ...sleb(rest)];
}

/** i32.const, of either way to read 32 bits */
export function i32(value: number): number[] {
  return [0x41, ...sleb(value | 0)];
}

export function text(value: string): number[] {
  return [...uleb(value.length), ...Buffer.from(value)];
}

function counted(items: readonly (readonly number[])[]): number[] {
  return [...uleb(items.length), ...items.flat()];
}

function body(locals: readonly number[], code: readonly number[]): number[] {
  const bytes = [...counted(locals.map((type) => [1, type])), ...code, 0x0b];
  return [...uleb(bytes.length), ...bytes];
}

export const SHARED_MEMORY = [1, ...text('env'), ...text('memory'), 2, 3, 1, ...uleb(65536)];

export function handMade({
  hook,
  locals = [],
  others = [],
  sections = {},
}: HandMade): Uint8Array<ArrayBuffer> {
  const made: Record<number, readonly number[]> = {
    // (i32, i32) -> (); () -> ()
    1: [2, 0x60, 2, I32, I32, 0, 0x60, 0, 0],
    2: SHARED_MEMORY,
    3: counted([[0], ...others.map(() => [1])]),
    7: [1, ...text('hook'), 0, 0],
    10: counted([body(locals, hook), ...others.map((code) => body([], code))]),
    ...sections,
  };
  const order = [1, 2, 3, 4, 5, 6, 13, 7, 8, 9, 12, 10, 11];
  const bytes = order.flatMap((id) => {
    const section = made[id];
    return section && section.length > 0 ? [id, ...uleb(section.length), ...section] : [];
  });
  return Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, ...bytes]);
}

/** Every instruction that touches memory: its bytes up to the alignment, what stands behind the offset. */
export interface MemoryInstruction {
  name: string;
  code: readonly number[];
  bytes: number;
  /** Operands above the address, and what it gives. */
  operands: readonly number[];
  result?: number;
  lane?: true;
  isAtomic?: true;
}

const ATOMIC_WIDTHS: readonly [number, number][] = [
  ...([
    [4, I32],
    [8, I64],
    [1, I32],
    [2, I32],
    [1, I64],
    [2, I64],
    [4, I64],
  ] as const),
].map(([bytes, type]) => [bytes, type]);

function plainInstructions(): MemoryInstruction[] {
  const loads: readonly (readonly [number, number])[] = [
    ...([
      [4, I32],
      [8, I64],
      [4, F32],
      [8, F64],
      [1, I32],
      [1, I32],
      [2, I32],
      [2, I32],
    ] as const),
    ...([
      [1, I64],
      [1, I64],
      [2, I64],
      [2, I64],
      [4, I64],
      [4, I64],
    ] as const),
  ];
  const stores: readonly (readonly [number, number])[] = [
    ...([
      [4, I32],
      [8, I64],
      [4, F32],
      [8, F64],
      [1, I32],
      [2, I32],
      [1, I64],
      [2, I64],
      [4, I64],
    ] as const),
  ];
  return [
    ...loads.map(([bytes, result], index) => ({
      ...{ name: `load ${index}`, code: [0x28 + index], bytes, operands: [], result },
    })),
    ...stores.map(([bytes, type], index) => ({
      ...{ name: `store ${index}`, code: [0x36 + index], bytes, operands: [type] },
    })),
  ];
}

function vectorInstructions(): MemoryInstruction[] {
  const loads = [16, 8, 8, 8, 8, 8, 8, 1, 2, 4, 8];
  const lanes = [1, 2, 4, 8];
  return [
    ...loads.map((bytes, index) => ({
      ...{ name: `vector load ${index}`, code: [0xfd, index], bytes, operands: [], result: V128 },
    })),
    { name: 'vector store', code: [0xfd, 11], bytes: 16, operands: [V128] },
    { name: 'vector load zero 32', code: [0xfd, 0x5c], bytes: 4, operands: [], result: V128 },
    { name: 'vector load zero 64', code: [0xfd, 0x5d], bytes: 8, operands: [], result: V128 },
    ...lanes.map((bytes, index) => ({
      ...{ name: `load lane ${bytes}`, code: [0xfd, 0x54 + index], bytes, operands: [V128], result: V128 },
      lane: true as const,
    })),
    ...lanes.map((bytes, index) => ({
      ...{
        name: `store lane ${bytes}`,
        code: [0xfd, 0x58 + index],
        bytes,
        operands: [V128],
        lane: true as const,
      },
    })),
  ];
}

function atomicInstructions(): MemoryInstruction[] {
  const groups = ['load', 'store', 'add', 'sub', 'and', 'or', 'xor', 'exchange', 'compare'];
  return groups.flatMap((name, group) =>
    ATOMIC_WIDTHS.map(([bytes, type], width) => ({
      ...{
        name: `atomic ${name} ${width}`,
        code: [0xfe, 0x10 + group * 7 + width],
        bytes,
        isAtomic: true as const,
      },
      operands: name === 'load' ? [] : name === 'compare' ? [type, type] : [type],
      ...(name !== 'store' && { result: type }),
    })),
  );
}

export const MEMORY_INSTRUCTIONS: readonly MemoryInstruction[] = [
  ...plainInstructions(),
  ...vectorInstructions(),
  ...atomicInstructions(),
];

const ONES: Readonly<Record<number, readonly number[]>> = {
  [I32]: i32(-1),
  [I64]: [0x42, 0x7f],
  [F32]: [0x43, 0xff, 0xff, 0xff, 0xff],
  [F64]: [0x44, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [V128]: [0xfd, 12, ...Array.from({ length: 16 }, () => 0xff)],
};

/** The instruction at an address that `address` puts on the stack; what it gives is thrown away. */
export function accessCode(
  instruction: MemoryInstruction,
  address: readonly number[],
  offset: number,
): number[] {
  const { code, operands, result, lane, bytes, isAtomic } = instruction;
  const alignment = isAtomic ? Math.log2(bytes) : 0;
  return [
    ...address,
    ...operands.flatMap((type) => ONES[type]!),
    ...code,
    ...[alignment, ...uleb(offset), ...(lane ? [0] : [])],
    ...(result === undefined ? [] : [0x1a]),
  ];
}
