/**
 * The checks that are put into a function: of the address of an access, of the range of a bulk operation, of the fuel
 * that is left; and the locals that they need beside the user's.
 */
import { HOOK_FENCE_BYTES } from '../../assembly/layout.ts';
import type { ModuleWriter } from './hook-guard-bytes.ts';
import { type AddressFacts, constantOf, UNKNOWN } from './hook-guard-facts.ts';
import { FAULT, type Injected } from './hook-guard-injected.ts';
import { type Access, NO_RESULT, OP, VALUE } from './hook-guard-opcodes.ts';

export class Checks {
  readonly #code: ModuleWriter;
  readonly #facts: AddressFacts;
  readonly #injected: Injected;
  /** The user's parameters and locals. */
  readonly #own: number;
  readonly #added: number[] = [];
  readonly #temporaries = new Map<number, number>();
  readonly #shadows = new Map<number, number>();
  /** Where the function keeps the fuel that is left; -1: the global keeps it. */
  readonly #left: number;

  /**
   * @param own how many parameters and locals are the user's; ours are numbered from there
   * @param keepsFuel in a local, and puts it back wherever others may look at it: a global is memory, and each turn of a
   *   loop would wait for what the one before it has written
   */
  constructor(code: ModuleWriter, facts: AddressFacts, injected: Injected, own: number, keepsFuel: boolean) {
    this.#code = code;
    this.#facts = facts;
    this.#injected = injected;
    this.#own = own;
    this.#left = keepsFuel ? this.#temporary(VALUE.i32, 3) : -1;
  }

  /** Types of the locals behind the user's. */
  get locals(): readonly number[] {
    return this.#added;
  }

  /** [address, operands ...] -> what the access gives, its address confined. @param instruction as the user has it */
  access({ bytes, operands, gives }: Access, offset: number, instruction: Uint8Array): void {
    const code = this.#code;
    const temporaries = operands.map((type, index) => this.#temporary(type, index));
    for (const local of temporaries.toReversed()) code.write(OP.localSet).u32(local);
    this.#facts.pop(operands.length);
    this.#confine(this.#facts.pop(), offset, bytes);
    for (const local of temporaries) code.write(OP.localGet).u32(local);
    code.append(instruction);
    if (gives) this.#facts.push(UNKNOWN);
  }

  /** [to, value or from, length] -> []. @param write writes the operation itself */
  bulk(hasSource: boolean, write: (code: ModuleWriter) => unknown): void {
    const { range } = this.#injected;
    const code = this.#code;
    const second = this.#temporary(VALUE.i32, 0);
    const length = this.#temporary(VALUE.i32, 1);
    this.putFuelBack();
    code.write(OP.localSet).u32(length).write(OP.localSet).u32(second);
    code.write(OP.localGet).u32(length).write(OP.call).u32(range);
    code.write(OP.localGet).u32(second);
    if (hasSource) code.write(OP.localGet).u32(length).write(OP.call).u32(range);
    write(code.write(OP.localGet).u32(length));
    this.takeFuelAgain();
  }

  /** A function begins: it pays for itself. Returns as `pay`. */
  begin(): number {
    if (this.#left >= 0) this.takeFuelAgain();
    return this.pay();
  }

  /** Takes fuel; traps where none is left. Returns where the code has the number of units, which is to be settled. */
  pay(): number {
    const { fuel } = this.#injected;
    const code = this.#code;
    const isKept = this.#left >= 0;
    const left = isKept ? this.#left : this.#temporary(VALUE.i32, 2);
    if (isKept) code.write(OP.localGet).u32(left);
    else code.write(OP.globalGet).u32(fuel);
    const units = code.write(OP.i32Const).later();
    code.write(OP.i32Sub, OP.localTee).u32(left);
    if (!isKept) code.write(OP.globalSet).u32(fuel).write(OP.localGet).u32(left);
    code.write(OP.i32Const, 0, OP.i32LtS, OP.if, NO_RESULT);
    this.#stop(FAULT.fuel);
    code.write(OP.end);
    return units;
  }

  /** Before another function may pay, or the host ask; the stack stays as it is. */
  putFuelBack(): void {
    if (this.#left >= 0)
      this.#code.write(OP.localGet).u32(this.#left).write(OP.globalSet).u32(this.#injected.fuel);
  }

  /** After it has. */
  takeFuelAgain(): void {
    if (this.#left >= 0)
      this.#code.write(OP.globalGet).u32(this.#injected.fuel).write(OP.localSet).u32(this.#left);
  }

  /** The address on the stack becomes the one that it stands for. @param operand what it is (hook-guard-facts.ts) */
  #confine(operand: number, offset: number, bytes: number): void {
    const { base, outside, areaBytes } = this.#injected;
    const facts = this.#facts;
    const code = this.#code;
    const constant = constantOf(operand);
    if (constant !== undefined && constant + offset + bytes <= areaBytes) {
      code.write(OP.globalGet).u32(base).write(OP.i32Add);
      return;
    }
    const isNear = offset + bytes <= HOOK_FENCE_BYTES;
    const address = operand >= 0 && isNear ? this.#shadow(operand) : this.#temporary(VALUE.i32, 2);
    if (isNear && operand >= 0 && facts.isConfined(operand)) {
      code.write(OP.drop, OP.localGet).u32(address);
      return;
    }
    code.write(OP.localTee).u32(address);
    if (isNear) {
      this.#checkNear(address);
      if (operand >= 0) facts.setConfined(operand);
    } else {
      code.write(OP.i32Const).i32(offset).write(OP.i32Const).i32(bytes).write(OP.call).u32(outside);
      code.write(OP.localSet).u32(address);
    }
    code.write(OP.localGet).u32(address);
  }

  /**
   * [address, which the local holds too] -> []: the local becomes the confined address, from which HOOK_FENCE_BYTES may be
   * touched. The way that frames and records take comes first.
   */
  #checkNear(address: number): void {
    const { low, reach, base, areaBytes } = this.#injected;
    const code = this.#code;
    code
      .write(OP.globalGet)
      .u32(low)
      .write(OP.i32Sub, OP.globalGet)
      .u32(reach)
      .write(OP.i32GeU, OP.if, NO_RESULT);
    code
      .write(OP.localGet)
      .u32(address)
      .write(OP.i32Const)
      .i32(areaBytes - HOOK_FENCE_BYTES);
    code.write(OP.i32GtU, OP.if, NO_RESULT, OP.localGet).u32(address);
    this.#stop(FAULT.access);
    code
      .write(OP.end, OP.localGet)
      .u32(address)
      .write(OP.globalGet)
      .u32(base)
      .write(OP.i32Add, OP.localSet)
      .u32(address);
    code.write(OP.end);
  }

  /** Traps, and says why. @param fault of an access: the address is on the stack */
  #stop(fault: number): void {
    const { fault: reason, address } = this.#injected;
    const code = this.#code;
    if (fault === FAULT.access) code.write(OP.globalSet).u32(address);
    code.write(OP.i32Const, fault, OP.globalSet).u32(reason).write(OP.unreachable);
  }

  /** A local for an operand. @param place operands of the same type that are needed at the same time differ */
  #temporary(type: number, place: number): number {
    return this.#localFor(this.#temporaries, type * 4 + place, type);
  }

  /** A local for the confined address of one of the user's. */
  #shadow(local: number): number {
    return this.#localFor(this.#shadows, local, VALUE.i32);
  }

  #localFor(known: Map<number, number>, key: number, type: number): number {
    let index = known.get(key);
    if (index === undefined) {
      index = this.#own + this.#added.length;
      this.#added.push(type);
      known.set(key, index);
    }
    return index;
  }
}
