/**
 * What is known, at a place in a function, of addresses: which operands on the stack are plain copies of a local or
 * constants, and of which locals the confined address has been computed already, and where it is kept. Whatever is not
 * certain is forgotten, so that a check is left out only where the same value passed it on every way to this place.
 */

/** What an operand on the stack is. */
export const UNKNOWN = -1;

interface Block {
  readonly isLoop: boolean;
  /** Locals whose confined address was known where the block begins. */
  readonly before: ReadonlySet<number>;
  /** Locals that are set somewhere in it. */
  readonly changed: Set<number>;
}

export class AddressFacts {
  /** Operands that are known of, topmost last: a local's number, UNKNOWN, or a constant as UNKNOWN - 1 - value. */
  readonly #stack: number[] = [];
  #confined = new Set<number>();
  readonly #blocks: Block[] = [];

  push(operand: number): void {
    this.#stack.push(operand);
  }

  pushConstant(value: number): void {
    this.#stack.push(UNKNOWN - 1 - (value >>> 0));
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
    this.#confined.add(local);
  }

  /** The local has another value from here on. */
  change(local: number): void {
    this.#confined.delete(local);
    this.#blocks.at(-1)?.changed.add(local);
    for (const [index, operand] of this.#stack.entries()) if (operand === local) this.#stack[index] = UNKNOWN;
  }

  enter(isLoop: boolean): void {
    this.#blocks.push({ isLoop, before: new Set(this.#confined), changed: new Set() });
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
    const { isLoop, before, changed } = block;
    const outer = this.#blocks.at(-1);
    for (const local of changed) outer?.changed.add(local);
    // The end of a loop is reached in one way; that of another block by any branch in it.
    if (!isLoop) this.#confined = new Set([...before].filter((local) => !changed.has(local)));
  }
}

export function constantOf(operand: number): number | undefined {
  return operand < UNKNOWN ? UNKNOWN - 1 - operand : undefined;
}
