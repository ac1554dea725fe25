/**
 * What instructions cost beyond their bytes, in bytes of instructions: those that can take much longer than they are
 * long. So a unit of fuel buys about the same time, whatever it is spent on (bench/hook-fuel.bench.ts).
 */
import { MISC, OP } from './hook-guard-opcodes.ts';

/** Of an access: the memory may be far away. */
export const ACCESS_PRICE = 32;
/** That a local is cleared. */
export const LOCAL_PRICE = 8;

/** Of an operation on a run of memory, which pays for its length besides. */
const BULK_PRICE = 64;
const DIVISION_PRICE = 32;
const FLOAT_PRICE = 8;
const COUNT_PRICE = 4;

/** [first, last, price] of instructions that compute, without a prefix. */
const PRICES: readonly (readonly [number, number, number])[] = [
  // clz, ctz, popcnt
  [0x67, 0x69, COUNT_PRICE],
  [0x79, 0x7b, COUNT_PRICE],
  // Division and remainder of integers; division and square root of floats.
  [0x6d, 0x70, DIVISION_PRICE],
  [0x7f, 0x82, DIVISION_PRICE],
  [0x91, 0x91, DIVISION_PRICE],
  [0x95, 0x95, DIVISION_PRICE],
  [0x9f, 0x9f, DIVISION_PRICE],
  [0xa3, 0xa3, DIVISION_PRICE],
  // Rounding; from one kind of number to another.
  [0x8d, 0x90, FLOAT_PRICE],
  [0x9b, 0x9e, FLOAT_PRICE],
  [0xa8, 0xbb, FLOAT_PRICE],
];
/** The same behind OP.simd: division and square root. */
const SIMD_DIVISIONS = new Set([0xe3, 0xe7, 0xef, 0xf3]);

/** @param second what follows a prefix */
export function priceOf(opcode: number, second = 0): number {
  if (opcode === OP.simd) return SIMD_DIVISIONS.has(second) ? DIVISION_PRICE : 0;
  if (opcode === OP.misc) return second > MISC.lastTruncate ? BULK_PRICE : FLOAT_PRICE;
  return PRICES.find(([first, last]) => opcode >= first && opcode <= last)?.[2] ?? 0;
}
