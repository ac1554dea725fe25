/**
 * What is known, at a place in a function, of addresses: which operands on the stack are plain copies of a local or
 * constants, and of which locals the confined address has been computed already, and where it is kept. Whatever is not
 * certain is forgotten, so that a check is left out only where the same value passed it on every way to this place; and
 * so is what would be too much, so that no module takes longer than its length.
 */

/** Operands, and locals with a confined address, that are known of at a time. */
const OPERANDS_MAX = 32;
const CONFINED_MAX = 64;

/** What an operand on the stack is. */
export const UNKNOWN = -1;

interface Block {
  readonly isLoop: boolean;
  /** Locals whose confined address was known where the block begins. */
  readonly before: ReadonlySet<number>;
  /** Changes that there had been then. */
  readonly since: number;
}

export class AddressFacts {
  /** Operands that are known of, topmost last: a local's number, UNKNOWN, or a constant as UNKNOWN - 1 - value. */
  readonly #stack: number[] = [];
  #confined = new Set<number>();
  readonly #blocks: Block[] = [];
  #changes = 0;
  /** By local: the number of its last change. */
  readonly #changedAt = new Map<number, number>();

  push(operand: number): void {
    if (this.#stack.length === OPERANDS_MAX) this.#stack.shift();
    this.#stack.push(operand);
  }

  pushConstant(value: number): void {
    this.push(UNKNOWN - 1 - (value >>> 0));
  }

  pop(count = 1): number {
    let operand = UNKNOWN;
    for (let index = 0; index < count; ++index) operand = this.#stack.pop() ?? UNKNOWN;
    return operand;
  }

  /** Nothing is known of the stack any more. */
  clearStack(): void {
    this.#stack.length = 0;
  }

  isConfined(local: number): boolean {
    return this.#confined.has(local);
  }

  setConfined(local: number): void {
    if (this.#confined.size < CONFINED_MAX) this.#confined.add(local);
  }

  /** The local has another value from here on. */
  change(local: number): void {
    this.#confined.delete(local);
    this.#changedAt.set(local, ++this.#changes);
    for (const [index, operand] of this.#stack.entries()) if (operand === local) this.#stack[index] = UNKNOWN;
  }

  enter(isLoop: boolean): void {
    this.#blocks.push({ isLoop, before: new Set(this.#confined), since: this.#changes });
    // Its head is reached from behind, too.
    if (isLoop) this.#confined.clear();
    this.clearStack();
  }

  else(): void {
    this.#confined = new Set(this.#blocks.at(-1)?.before);
    this.clearStack();
  }

  leave(): void {
    this.clearStack();
    const block = this.#blocks.pop();
    if (block === undefined) return;
    const { isLoop, before, since } = block;
    // The end of a loop is reached in one way; that of another block by any branch in it.
    if (isLoop) return;
    const isAsBefore = (local: number) => (this.#changedAt.get(local) ?? 0) <= since;
    this.#confined = new Set([...before].filter(isAsBefore));
  }
}

export function constantOf(operand: number): number | undefined {
  return operand < UNKNOWN ? UNKNOWN - 1 - operand : undefined;
}
