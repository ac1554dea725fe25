/**
 * Chance that can be had again: every set of cases has a stream of its own, made from the run's seed and the set's
 * name, so that a set can be repeated alone and a new one does not change the others.
 */
import { mulberry32 } from './reference.ts';

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** Printed by the suite; `VXLANE_TEST_SEED` repeats a run. */
export const SEED = Number(process.env.VXLANE_TEST_SEED ?? 20140804) >>> 0;

export class Dice {
  readonly #next: () => number;

  constructor(label: string, seed = SEED) {
    let hash = FNV_OFFSET;
    for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), FNV_PRIME);
    this.#next = mulberry32((hash ^ seed) >>> 0);
  }

  /** From `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.between(0, list.length - 1)]!;
  }

  chance(percent: number): boolean {
    return this.between(1, 100) <= percent;
  }

  byte(): number {
    return this.between(0, 255);
  }
}
