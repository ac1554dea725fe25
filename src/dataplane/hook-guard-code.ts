/**
 * Rewrites the body of one function. Instructions are copied as they are, but for those that touch memory, loops (which
 * pay fuel) and globals (whose numbers shift).
 */
import { ModuleReader, ModuleWriter, malformed, unsupported } from './hook-guard-bytes.ts';
import { Checks } from './hook-guard-checks.ts';
import { AddressFacts, UNKNOWN } from './hook-guard-facts.ts';
import {
  readBlockType,
  readImmediates,
  readMemory,
  readMemoryArgument,
  readTable,
} from './hook-guard-immediates.ts';
import { fuelUnits, type Injected } from './hook-guard-injected.ts';
import { below } from './hook-guard-module.ts';
import {
  type Access,
  ATOMIC_FENCE,
  atomicAccess,
  MISC,
  NO_RESULT,
  nameOfRefused,
  OP,
  operandsOf,
  plainAccess,
  SIMD_CONST,
  simdAccess,
  simdImmediateBytes,
} from './hook-guard-opcodes.ts';
import { ACCESS_PRICE, LOCAL_PRICE, priceOf } from './hook-guard-prices.ts';
import { type FunctionBody, type HookModule, PAGE_BYTES } from './hook-guard-shape.ts';

/** The body, with its length before it. */
export function rewriteBody(module: HookModule, body: FunctionBody, injected: Injected): Uint8Array {
  return new Rewriter(module, body, injected).run();
}

class Rewriter {
  readonly #module: HookModule;
  readonly #body: FunctionBody;
  readonly #injected: Injected;
  readonly #reader: ModuleReader;
  readonly #code = new ModuleWriter();
  /** The user's parameters and locals. */
  readonly #own: number;
  readonly #facts = new AddressFacts();
  readonly #checks: Checks;
  /** Type of a block around the body, where every way to its end goes by; undefined: there is no such type. */
  readonly #result: number | undefined;
  /** Blocks that have begun; of loops, what had been written and priced before, and where their fuel stands. */
  readonly #blocks: ({ from: number; units: number } | undefined)[] = [];
  /** Of the instructions up to here, beyond their bytes. */
  #price = 0;
  /** Bytes up to here have been copied or replaced. */
  #copied: number;

  constructor(module: HookModule, body: FunctionBody, injected: Injected) {
    const { parameters, results } = module.types[body.type]!;
    this.#module = module;
    this.#body = body;
    this.#injected = injected;
    this.#reader = new ModuleReader(module.bytes, body.from, body.to);
    this.#own = body.locals.reduce((sum, run) => sum + run.count, parameters.length);
    this.#result = results.length > 1 ? undefined : (results[0] ?? NO_RESULT);
    this.#checks = new Checks(this.#code, this.#facts, injected, this.#own, this.#result !== undefined);
    this.#copied = body.from;
  }

  run(): Uint8Array {
    const reader = this.#reader;
    const { from, to, locals } = this.#body;
    const cleared = locals.reduce((sum, { count }) => sum + count * LOCAL_PRICE, 0);
    const units = this.#checks.begin();
    if (this.#result !== undefined) this.#code.write(OP.block, this.#result);
    let last = -1;
    while (!reader.isAtEnd) {
      last = reader.at;
      this.#instruction(last);
    }
    if (last < 0 || reader.bytes[last] !== OP.end) throw malformed('a function without an end', reader.at);
    this.#copy(reader.at);
    if (this.#result !== undefined) {
      this.#checks.putFuelBack();
      this.#code.write(OP.end);
    }
    this.#code.settle(units, fuelUnits(to - from + cleared + this.#price));
    const added = this.#checks.locals;
    const whole = new ModuleWriter();
    whole.u32(locals.length + added.length);
    for (const { count, type } of locals) whole.u32(count).write(type);
    for (const type of added) whole.u32(1).write(type);
    return whole.append(this.#code.bytes).bytes;
  }

  #instruction(at: number): void {
    const reader = this.#reader;
    const facts = this.#facts;
    const opcode = reader.byte();
    const access = plainAccess(opcode);
    if (access !== undefined) {
      this.#access(at, access);
      return;
    }
    const operands = operandsOf(opcode);
    if (operands > 0) {
      this.#price += priceOf(opcode);
      facts.pop(operands);
      facts.push(UNKNOWN);
      return;
    }
    if (this.#isSimple(at, opcode)) return;
    if (opcode === OP.simd || opcode === OP.atomic) {
      this.#prefixed(at, opcode);
      return;
    }
    facts.clearStack();
    switch (opcode) {
      case OP.block:
      case OP.if:
        readBlockType(reader, this.#module);
        this.#blocks.push(undefined);
        facts.enter(false);
        return;
      case OP.loop:
        readBlockType(reader, this.#module);
        facts.enter(true);
        this.#copy(reader.at);
        this.#blocks.push({ from: at + this.#price, units: this.#checks.pay() });
        return;
      case OP.else:
        facts.else();
        return;
      case OP.end:
        this.#endBlock(at);
        facts.leave();
        return;
      case OP.memorySize:
        readMemory(reader);
        this.#replace(at)
          .write(OP.i32Const)
          .i32(this.#injected.areaBytes / PAGE_BYTES);
        return;
      case OP.memoryGrow:
        readMemory(reader);
        this.#replace(at).write(OP.drop, OP.i32Const).i32(-1);
        return;
      case OP.misc:
        this.#misc(at);
        return;
      default:
        if (!readImmediates(reader, this.#module, at, opcode)) this.#refuse(at, opcode);
        if (opcode === OP.call || opcode === OP.callIndirect || opcode === OP.return)
          this.#leaving(at, opcode);
    }
  }

  /** To a function that pays fuel, or back to one. */
  #leaving(at: number, opcode: number): void {
    const code = this.#replace(at);
    this.#checks.putFuelBack();
    code.append(this.#reader.bytes.subarray(at, this.#reader.at));
    if (opcode !== OP.return) this.#checks.takeFuelAgain();
  }

  /** Instructions whose effect on the stack is known, beside those that compute. */
  #isSimple(at: number, opcode: number): boolean {
    const reader = this.#reader;
    const facts = this.#facts;
    switch (opcode) {
      case OP.drop:
        facts.pop();
        return true;
      case OP.localGet:
        facts.push(this.#local());
        return true;
      case OP.localSet:
        facts.pop();
        facts.change(this.#local());
        return true;
      case OP.localTee: {
        const local = this.#local();
        facts.pop();
        facts.change(local);
        facts.push(local);
        return true;
      }
      case OP.globalGet:
        this.#global(at, opcode);
        facts.push(UNKNOWN);
        return true;
      case OP.globalSet:
        this.#global(at, opcode);
        facts.pop();
        return true;
      case OP.i32Const:
        facts.pushConstant(reader.s33());
        return true;
      case OP.i64Const:
        reader.skipNumber(10);
        facts.push(UNKNOWN);
        return true;
      case OP.f32Const:
      case OP.f64Const:
        reader.skip(opcode === OP.f32Const ? 4 : 8);
        facts.push(UNKNOWN);
        return true;
      default:
        return false;
    }
  }

  #misc(at: number): void {
    const reader = this.#reader;
    const opcode = reader.u32();
    this.#price += priceOf(OP.misc, opcode);
    switch (opcode) {
      case MISC.memoryInit:
      case MISC.dataDrop: {
        const segment = below(reader.u32(), this.#module.segments.length, 'data segment', reader);
        if (opcode === MISC.dataDrop) return;
        readMemory(reader);
        this.#replace(at);
        this.#checks.bulk(false, (code) => code.write(OP.misc).u32(opcode).u32(segment).write(0));
        return;
      }
      case MISC.memoryCopy:
        readMemory(reader);
        readMemory(reader);
        this.#replace(at);
        this.#checks.bulk(true, (code) => code.write(OP.misc).u32(opcode).write(0, 0));
        return;
      case MISC.memoryFill:
        readMemory(reader);
        this.#replace(at);
        this.#checks.bulk(false, (code) => code.write(OP.misc).u32(opcode).write(0));
        return;
      case MISC.tableSize:
        readTable(reader, this.#module);
        return;
      default:
        if (opcode > MISC.lastTruncate) this.#refuse(at, OP.misc, opcode);
    }
  }

  /** Vectors and atomics. */
  #prefixed(at: number, prefix: number): void {
    const reader = this.#reader;
    const opcode = reader.u32();
    const access = prefix === OP.simd ? simdAccess(opcode) : atomicAccess(opcode);
    this.#price += priceOf(prefix, opcode);
    if (access !== undefined) {
      this.#access(at, access);
      return;
    }
    const isConstant = prefix === OP.simd && opcode === SIMD_CONST;
    if (isConstant) this.#facts.push(UNKNOWN);
    else this.#facts.clearStack();
    // Of the atomics only the fence is left: waiting would stop the thread that carries packets.
    const isFence = prefix === OP.atomic && opcode === ATOMIC_FENCE;
    const bytes = prefix === OP.simd ? simdImmediateBytes(opcode) : isFence ? 1 : undefined;
    if (bytes === undefined) this.#refuse(at, prefix, opcode);
    else reader.skip(bytes);
  }

  /** Copies an access with its address confined; the reader stands behind its opcode. */
  #access(at: number, access: Access): void {
    const reader = this.#reader;
    this.#price += ACCESS_PRICE;
    const offset = readMemoryArgument(reader, at, access.hasLane);
    this.#replace(at);
    this.#checks.access(access, offset, reader.bytes.subarray(at, reader.at));
  }

  /** What a turn of a loop costs is known where it ends. */
  #endBlock(at: number): void {
    const loop = this.#blocks.pop();
    if (loop !== undefined) this.#code.settle(loop.units, fuelUnits(at + this.#price - loop.from));
  }

  #global(at: number, opcode: number): void {
    const { globals } = this.#module;
    const index = below(this.#reader.u32(), globals.length, 'global', this.#reader);
    this.#replace(at)
      .write(opcode)
      .u32(index + this.#injected.shift);
  }

  #local(): number {
    return below(this.#reader.u32(), this.#own, 'local', this.#reader);
  }

  /** What stood from `at` to the reader's place is left out; the caller writes something else. */
  #replace(at: number): ModuleWriter {
    this.#copy(at);
    this.#copied = this.#reader.at;
    return this.#code;
  }

  #copy(to: number): void {
    this.#code.append(this.#reader.bytes.subarray(this.#copied, to));
    this.#copied = to;
  }

  #refuse(at: number, opcode: number, second?: number): never {
    throw unsupported(`${nameOfRefused(opcode, second)} at byte ${at}`, 'compile without it');
  }
}
