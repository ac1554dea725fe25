/** What follows an opcode: reads over it, and holds every number to what the module has. */
import { type ModuleReader, unsupported } from './hook-guard-bytes.ts';
import { below, readType } from './hook-guard-module.ts';
import { EXTERNREF, FUNCREF, NO_RESULT, OP } from './hook-guard-opcodes.ts';
import type { HookModule } from './hook-guard-shape.ts';

/**
 * Of an instruction that stays as it is, begins and ends no block, and whose effect on the stack nobody follows.
 * @param at where the instruction begins; the reader stands behind its opcode
 * @returns false: it is none of those
 */
export function readImmediates(
  reader: ModuleReader,
  module: HookModule,
  at: number,
  opcode: number,
): boolean {
  switch (opcode) {
    case OP.unreachable:
    case OP.nop:
    case OP.return:
    case OP.refIsNull:
      return true;
    case OP.br:
    case OP.brIf:
      reader.u32();
      return true;
    case OP.brTable:
      reader.vector(() => reader.u32());
      reader.u32();
      return true;
    case OP.call:
    case OP.refFunc:
      below(reader.u32(), module.functions.length, 'function', reader);
      return true;
    case OP.callIndirect:
      below(reader.u32(), module.types.length, 'type', reader);
      readTable(reader, module);
      return true;
    case OP.selectTyped:
      reader.vector(() => readType(reader));
      return true;
    case OP.tableGet:
    case OP.tableSet:
      readTable(reader, module);
      return true;
    case OP.refNull:
      readReferenceType(reader, at);
      return true;
    default:
      return false;
  }
}

export function readBlockType(reader: ModuleReader, module: HookModule): void {
  const { at } = reader;
  const type = reader.s33();
  if (type >= 0) below(type, module.types.length, 'type', reader);
  else {
    reader.at = at;
    if (reader.bytes[at] === NO_RESULT) reader.byte();
    else readType(reader);
  }
}

/** Of a plain access. @returns its offset */
export function readMemoryArgument(reader: ModuleReader, at: number, hasLane: boolean): number {
  const alignment = reader.u32();
  // Bit 6: a memory's number follows.
  if (alignment >= 32) throw unsupported(`another memory at byte ${at}`, 'a hook has one');
  const offset = reader.u32();
  if (hasLane) reader.byte();
  return offset;
}

/** The number of a memory, of which there is one. */
export function readMemory(reader: ModuleReader): void {
  below(reader.u32(), 1, 'memory', reader);
}

export function readTable(reader: ModuleReader, module: HookModule): void {
  below(reader.u32(), module.tables, 'table', reader);
}

function readReferenceType(reader: ModuleReader, at: number): void {
  const type = reader.byte();
  if (type !== FUNCREF && type !== EXTERNREF)
    throw unsupported(`a reference at byte ${at}`, 'a hook computes with numbers');
}
