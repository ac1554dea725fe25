/**
 * Random functions of valid WebAssembly that load and store through locals which branches, loops and calls change: what
 * a rewriter that remembers checked addresses could get wrong. Addresses lie in the first half of a page, with offsets
 * up to 300; one in some eighty lies outside of any memory of the hook's.
 */
import { handMade, I32, i32, uleb } from './hook-modules.ts';
import { below, type Prng } from './mutate.ts';

const LOCALS = 3;
/** Parameters: records, count. */
const FIRST_LOCAL = 2;
/** Counts the turns of all loops down, so that they end. */
const TURNS = FIRST_LOCAL + LOCALS;
const ADDRESS_MASK = 0x7ff0;
const OPS = {
  get: 0x20,
  set: 0x21,
  tee: 0x22,
  drop: 0x1a,
  block: 2,
  loop: 3,
  if: 4,
  else: 5,
  end: 0x0b,
} as const;
const BINARY = [0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x76, 0x46, 0x4b, 0x48];
/** Loads of i32 and of i64 (which is wrapped), stores of i32: opcode and, of i64, 1. */
const LOADS = [0x28, 0x2c, 0x2d, 0x2e, 0x2f];
const STORES = [0x36, 0x3a, 0x3b];
const OUTSIDE = [0x10000, 0x12345, 0x1fff0, 0x7fffffff, -1, -16, -300];
const OFFSETS = [0, 1, 4, 12, 100, 250, 252, 256, 300];

export class RandomModule {
  readonly #prng: Prng;
  #depth = 0;
  /** Labels around the place at hand: whether each is a loop's. */
  readonly #labels: boolean[] = [];

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const locals = Array.from({ length: LOCALS + 1 }, () => I32);
    const setUp = [...i32(40), OPS.set, TURNS];
    for (let local = 0; local < LOCALS; ++local)
      setUp.push(...i32(this.#below(ADDRESS_MASK)), OPS.set, FIRST_LOCAL + local);
    const other = [...i32(64), ...i32(64), 0x28, 2, 0, ...i32(1), 0x6a, 0x36, 2, 0];
    return handMade({ hook: [...setUp, ...this.#statements(12)], locals, others: [other] });
  }

  #below(count: number): number {
    return below(this.#prng, count);
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[this.#below(items.length)]!;
  }

  #local(): number {
    return FIRST_LOCAL + this.#below(LOCALS);
  }

  #statements(most: number): number[] {
    return Array.from({ length: 1 + this.#below(most) }, () => this.#statement()).flat();
  }

  #statement(): number[] {
    const choice = this.#below(this.#depth < 4 ? 12 : 8);
    if (choice < 3) return this.#store();
    if (choice < 5) return [...this.#address(), OPS.set, this.#local()];
    if (choice === 5) return [...this.#load(), OPS.drop];
    if (choice === 6) return this.#branch();
    if (choice === 7) return this.#pick([[0x10, 1], [...this.#expression(1), OPS.drop], [0x01]]);
    return this.#nested(choice);
  }

  #nested(choice: number): number[] {
    this.#depth++;
    const isLoop = choice < 10;
    this.#labels.push(isLoop);
    let code: number[];
    if (isLoop) code = this.#loop();
    else if (choice < 11)
      code = [...this.#expression(2), OPS.if, 0x40, ...this.#statements(4), ...this.#else(), OPS.end];
    else code = [OPS.block, 0x40, ...this.#statements(5), OPS.end];
    this.#labels.pop();
    this.#depth--;
    return code;
  }

  #else(): number[] {
    return this.#below(2) === 0 ? [] : [OPS.else, ...this.#statements(4)];
  }

  /** Turns while there are turns left and, of some, an expression says so. */
  #loop(): number[] {
    const body = this.#statements(5);
    const turn = [OPS.get, TURNS, ...i32(1), 0x6b, OPS.tee, TURNS, ...i32(0), 0x4a];
    const also = this.#below(4) === 0 ? [...this.#expression(1), 0x71] : [];
    return [OPS.loop, 0x40, ...body, ...turn, ...also, 0x0d, 0, OPS.end];
  }

  /** Forwards only: to a loop's label would be a turn that is not counted. */
  #branch(): number[] {
    const depths = this.#labels.flatMap((_, depth) => (this.#labels.at(-1 - depth) ? [] : [depth]));
    if (depths.length === 0) return [];
    const depth = this.#pick(depths);
    return this.#below(4) === 0 ? [0x0c, depth] : [...this.#expression(2), ...i32(7), 0x71, 0x0d, depth];
  }

  /** An address, or what is used as one later. */
  #address(): number[] {
    if (this.#below(80) === 0) return i32(this.#pick(OUTSIDE));
    if (this.#below(3) === 0) return [OPS.get, this.#local()];
    return [...this.#expression(2), ...i32(ADDRESS_MASK), 0x71];
  }

  #pointer(): number[] {
    const choice = this.#below(8);
    if (choice < 5) return [OPS.get, this.#local()];
    if (choice === 5) return i32(this.#below(ADDRESS_MASK));
    if (choice === 6) return [...this.#address(), OPS.tee, this.#local()];
    return this.#address();
  }

  #memory(opcodes: readonly number[]): number[] {
    return [this.#pick(opcodes), 0, ...uleb(this.#pick(OFFSETS))];
  }

  #load(): number[] {
    return [...this.#pointer(), ...this.#memory(LOADS)];
  }

  #store(): number[] {
    return [...this.#pointer(), ...this.#expression(2), ...this.#memory(STORES)];
  }

  #expression(depth: number): number[] {
    const choice = this.#below(depth > 0 ? 7 : 2);
    if (choice === 0) return i32(this.#below(1000));
    if (choice === 1) return [OPS.get, this.#local()];
    if (choice === 2) return this.#load();
    if (choice === 3) return [...this.#address(), OPS.tee, this.#local()];
    if (choice === 4)
      return [...this.#expression(depth - 1), ...this.#expression(depth - 1), OPS.get, this.#local(), 0x1b];
    return [...this.#expression(depth - 1), ...this.#expression(depth - 1), this.#pick(BINARY)];
  }
}
