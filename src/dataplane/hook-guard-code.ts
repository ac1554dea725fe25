/**
 * Rewrites the body of one function. Instructions are copied as they are, but for those that touch memory, loops (which
 * pay fuel) and globals (whose numbers shift).
 */
import { HOOK_FENCE_BYTES } from '../../assembly/layout.ts';
import { ModuleReader, ModuleWriter, malformed, unsupported } from './hook-guard-bytes.ts';
import { AddressFacts, constantOf, UNKNOWN } from './hook-guard-facts.ts';
import { below, type FunctionBody, type HookModule, readType } from './hook-guard-module.ts';
import {
  type Access,
  ATOMIC_FENCE,
  atomicAccess,
  EXTERNREF,
  FUNCREF,
  MISC,
  NO_RESULT,
  nameOfRefused,
  OP,
  operandsOf,
  plainAccess,
  SIMD_CONST,
  simdAccess,
  simdImmediateBytes,
  VALUE,
} from './hook-guard-opcodes.ts';

/** Numbers of what is added to a module. */
export interface Injected {
  /** Globals in front of the user's: imported, constant. */
  readonly base: number;
  readonly low: number;
  readonly high: number;
  /** high - low */
  readonly reach: number;
  /** How far the user's own globals shift. */
  readonly shift: number;
  /** Globals behind the user's. */
  readonly fuel: number;
  readonly fault: number;
  readonly address: number;
  /** Functions behind the user's. */
  readonly outside: number;
  readonly range: number;
  readonly areaBytes: number;
}

/** Why a hook was stopped: the values of the global `fault`. */
export const FAULT = { none: 0, fuel: 1, access: 2 } as const;
/** Bytes of instructions, or of a bulk operation, that one unit of fuel pays for. */
export const FUEL_BYTES_SHIFT = 8;
/** That a local is cleared costs as much as so many bytes of instructions. */
const LOCAL_BYTES = 8;

function unitsOf(bytes: number): number {
  return 1 + (bytes >> FUEL_BYTES_SHIFT);
}

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
  readonly #added: number[] = [];
  readonly #temporaries = new Map<number, number>();
  readonly #shadows = new Map<number, number>();
  readonly #facts = new AddressFacts();
  /** Blocks that have begun; of loops, where they did and where their fuel stands. */
  readonly #blocks: ({ from: number; units: number } | undefined)[] = [];
  /** Bytes up to here have been copied or replaced. */
  #copied: number;

  constructor(module: HookModule, body: FunctionBody, injected: Injected) {
    const { parameters } = module.types[body.type]!;
    this.#module = module;
    this.#body = body;
    this.#injected = injected;
    this.#reader = new ModuleReader(module.bytes, body.from, body.to);
    this.#own = body.locals.reduce((sum, run) => sum + run.count, parameters.length);
    this.#copied = body.from;
  }

  run(): Uint8Array {
    const reader = this.#reader;
    const { from, to, locals: declared } = this.#body;
    const cleared = declared.reduce((sum, { count }) => sum + count * LOCAL_BYTES, 0);
    this.#code.settle(this.#pay(), unitsOf(to - from + cleared));
    let last = -1;
    while (!reader.isAtEnd) {
      last = reader.at;
      this.#instruction(last);
    }
    if (last < 0 || reader.bytes[last] !== OP.end) throw malformed('a function without an end', reader.at);
    this.#copy(reader.at);
    const { locals } = this.#body;
    const whole = new ModuleWriter();
    whole.u32(locals.length + this.#added.length);
    for (const { count, type } of locals) whole.u32(count).write(type);
    for (const type of this.#added) whole.u32(1).write(type);
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
        this.#blockType();
        this.#blocks.push(undefined);
        facts.enter(false);
        return;
      case OP.loop:
        this.#blockType();
        facts.enter(true);
        this.#copy(reader.at);
        this.#blocks.push({ from: at, units: this.#pay() });
        return;
      case OP.else:
        facts.else();
        return;
      case OP.end:
        this.#endBlock(at);
        facts.leave();
        return;
      case OP.unreachable:
      case OP.nop:
      case OP.return:
      case OP.refIsNull:
        return;
      case OP.br:
      case OP.brIf:
        reader.u32();
        return;
      case OP.brTable:
        reader.vector(() => reader.u32());
        reader.u32();
        return;
      case OP.call:
      case OP.refFunc:
        below(reader.u32(), this.#module.functions.length, 'function', reader);
        return;
      case OP.callIndirect:
        below(reader.u32(), this.#module.types.length, 'type', reader);
        below(reader.u32(), this.#module.tables, 'table', reader);
        return;
      case OP.selectTyped:
        reader.vector(() => readType(reader));
        return;
      case OP.tableGet:
      case OP.tableSet:
        below(reader.u32(), this.#module.tables, 'table', reader);
        return;
      case OP.memorySize:
        this.#onlyMemory();
        this.#replace(at)
          .write(OP.i32Const)
          .i32(this.#injected.areaBytes / 65536);
        return;
      case OP.memoryGrow:
        this.#onlyMemory();
        this.#replace(at).write(OP.drop, OP.i32Const).i32(-1);
        return;
      case OP.refNull:
        this.#referenceType(at);
        return;
      case OP.misc:
        this.#misc(at);
        return;
      default:
        this.#refuse(at, opcode);
    }
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
    switch (opcode) {
      case MISC.memoryInit:
      case MISC.dataDrop: {
        const segment = below(reader.u32(), this.#module.segments.length, 'data segment', reader);
        if (opcode === MISC.dataDrop) return;
        this.#onlyMemory();
        this.#bulk(at, false, (code) => code.write(OP.misc).u32(opcode).u32(segment).write(0));
        return;
      }
      case MISC.memoryCopy:
        this.#onlyMemory();
        this.#onlyMemory();
        this.#bulk(at, true, (code) => code.write(OP.misc).u32(opcode).write(0, 0));
        return;
      case MISC.memoryFill:
        this.#onlyMemory();
        this.#bulk(at, false, (code) => code.write(OP.misc).u32(opcode).write(0));
        return;
      case MISC.tableSize:
        below(reader.u32(), this.#module.tables, 'table', reader);
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
  #access(at: number, { bytes, operands, gives, hasLane }: Access): void {
    const reader = this.#reader;
    const alignment = reader.u32();
    // Bit 6: a memory's number follows.
    if (alignment >= 32) throw unsupported(`another memory at byte ${at}`, 'a hook has one');
    const offset = reader.u32();
    if (hasLane) reader.byte();
    const code = this.#replace(at);
    const temporaries = operands.map((type, index) => this.#temporary(type, index));
    for (const local of temporaries.toReversed()) code.write(OP.localSet).u32(local);
    this.#facts.pop(operands.length);
    this.#confine(this.#facts.pop(), offset, bytes);
    for (const local of temporaries) code.write(OP.localGet).u32(local);
    code.append(reader.bytes.subarray(at, reader.at));
    if (gives) this.#facts.push(UNKNOWN);
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

  /** [to, value or from, length] */
  #bulk(at: number, hasSource: boolean, write: (code: ModuleWriter) => unknown): void {
    const { range } = this.#injected;
    const code = this.#replace(at);
    const second = this.#temporary(VALUE.i32, 0);
    const length = this.#temporary(VALUE.i32, 1);
    code.write(OP.localSet).u32(length).write(OP.localSet).u32(second);
    code.write(OP.localGet).u32(length).write(OP.call).u32(range);
    code.write(OP.localGet).u32(second);
    if (hasSource) code.write(OP.localGet).u32(length).write(OP.call).u32(range);
    write(code.write(OP.localGet).u32(length));
  }

  /** What a turn of a loop costs is known where it ends. */
  #endBlock(at: number): void {
    const loop = this.#blocks.pop();
    if (loop !== undefined) this.#code.settle(loop.units, unitsOf(at - loop.from));
  }

  /** Takes fuel; traps where none is left. Returns where the code has the number of units, which is to be settled. */
  #pay(): number {
    const { fuel } = this.#injected;
    const left = this.#temporary(VALUE.i32, 2);
    const code = this.#code;
    const units = code.write(OP.globalGet).u32(fuel).write(OP.i32Const).later();
    code.write(OP.i32Sub);
    code.write(OP.localTee).u32(left).write(OP.globalSet).u32(fuel);
    code.write(OP.localGet).u32(left).write(OP.i32Const, 0, OP.i32LtS, OP.if, NO_RESULT);
    this.#stop(FAULT.fuel);
    code.write(OP.end);
    return units;
  }

  #global(at: number, opcode: number): void {
    const { globals } = this.#module;
    const index = below(this.#reader.u32(), globals.length, 'global', this.#reader);
    this.#replace(at)
      .write(opcode)
      .u32(index + this.#injected.shift);
  }

  #blockType(): void {
    const reader = this.#reader;
    const { at } = reader;
    const type = reader.s33();
    if (type >= 0) below(type, this.#module.types.length, 'type', reader);
    else {
      reader.at = at;
      if (reader.bytes[at] === NO_RESULT) reader.byte();
      else readType(reader);
    }
  }

  #referenceType(at: number): void {
    const type = this.#reader.byte();
    if (type !== FUNCREF && type !== EXTERNREF)
      throw unsupported(`a reference at byte ${at}`, 'a hook computes with numbers');
  }

  #onlyMemory(): void {
    below(this.#reader.u32(), 1, 'memory', this.#reader);
  }

  /** A local of our own for an operand. @param place operands of the same type that are needed at the same time differ */
  #temporary(type: number, place: number): number {
    const key = type * 4 + place;
    let index = this.#temporaries.get(key);
    if (index === undefined) {
      index = this.#own + this.#added.length;
      this.#added.push(type);
      this.#temporaries.set(key, index);
    }
    return index;
  }

  /** A local of our own for the confined address of one of the user's. */
  #shadow(local: number): number {
    let index = this.#shadows.get(local);
    if (index === undefined) {
      index = this.#own + this.#added.length;
      this.#added.push(VALUE.i32);
      this.#shadows.set(local, index);
    }
    return index;
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
