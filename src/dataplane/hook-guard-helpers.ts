/** The functions that are added to a module: what happens off the fast path, and the doors for the host. */
import { ModuleWriter } from './hook-guard-bytes.ts';
import { FAULT, FUEL_BYTES_SHIFT, type Injected } from './hook-guard-injected.ts';
import { NO_RESULT, OP, VALUE } from './hook-guard-opcodes.ts';

const { i32, i64 } = VALUE;
/** A function that is added: its type and its body, locals included. */
export interface Helper {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
  readonly body: Uint8Array;
}

/** (address, offset, bytes) -> the address that it stands for: the exact comparison, in 64 bits. */
export function outsideHelper(injected: Injected): Helper {
  const [address, offset, bytes, begin, end] = [0, 1, 2, 3, 4];
  const code = new ModuleWriter().u32(1).u32(2).write(i64);
  extend(extend(code, address), offset).write(OP.i64Add, OP.localTee).u32(begin);
  extend(code, bytes).write(OP.i64Add, OP.localSet).u32(end);
  returnWithinArea(code, injected, address, end);
  // A logical address stays one: no immediate offset leads out of the area.
  code.write(OP.localGet).u32(address).write(OP.i32Const).i32(injected.areaBytes).write(OP.i32GeU);
  isWithinWindow(code, injected, begin, end).write(OP.i32And);
  returnOrRefuse(code, injected, address, begin);
  return { parameters: [i32, i32, i32], results: [i32], body: code.bytes };
}

/** (address, bytes) -> address in this memory: for bulk operations, which pay for their length. */
export function rangeHelper(injected: Injected): Helper {
  const [address, bytes, begin, end] = [0, 1, 2, 3];
  const { fuel, fault } = injected;
  const code = new ModuleWriter().u32(1).u32(2).write(i64);
  code.write(OP.globalGet).u32(fuel).write(OP.localGet).u32(bytes);
  code.write(OP.i32Const, FUEL_BYTES_SHIFT, OP.i32ShrU, OP.i32Sub, OP.globalSet).u32(fuel);
  code.write(OP.globalGet).u32(fuel).write(OP.i32Const, 0, OP.i32LtS, OP.if, NO_RESULT);
  code.write(OP.i32Const, FAULT.fuel, OP.globalSet).u32(fault).write(OP.unreachable, OP.end);
  extend(code, address).write(OP.localTee).u32(begin);
  extend(code, bytes).write(OP.i64Add, OP.localSet).u32(end);
  returnWithinArea(code, injected, address, end);
  isWithinWindow(code, injected, begin, end);
  returnOrRefuse(code, injected, address, begin);
  return { parameters: [i32, i32], results: [i32], body: code.bytes };
}

/** (the user's parameters ..., fuel) -> the user's results: a door for the host. */
export function doorHelper(
  { fuel, fault }: Injected,
  target: number,
  parameters: readonly number[],
  results: readonly number[],
): Helper {
  const code = new ModuleWriter().u32(0);
  code.write(OP.i32Const, FAULT.none, OP.globalSet).u32(fault);
  code.write(OP.localGet).u32(parameters.length).write(OP.globalSet).u32(fuel);
  for (const index of parameters.keys()) code.write(OP.localGet).u32(index);
  code.write(OP.call).u32(target).write(OP.end);
  return { parameters: [...parameters, i32], results, body: code.bytes };
}

function extend(code: ModuleWriter, local: number): ModuleWriter {
  return code.write(OP.localGet).u32(local).write(OP.i64ExtendI32U);
}

function returnWithinArea(
  code: ModuleWriter,
  { areaBytes, base }: Injected,
  address: number,
  end: number,
): void {
  code.write(OP.localGet).u32(end).write(OP.i64Const).i32(areaBytes).write(OP.i64LeU, OP.if, NO_RESULT);
  code.write(OP.localGet).u32(address).write(OP.globalGet).u32(base).write(OP.i32Add, OP.return, OP.end);
}

function isWithinWindow(
  code: ModuleWriter,
  { low, high }: Injected,
  begin: number,
  end: number,
): ModuleWriter {
  code.write(OP.localGet).u32(begin).write(OP.globalGet).u32(low).write(OP.i64ExtendI32U, OP.i64GeU);
  code.write(OP.localGet).u32(end).write(OP.globalGet).u32(high).write(OP.i64ExtendI32U, OP.i64LeU);
  return code.write(OP.i32And);
}

/** [whether it may] -> the end of the function */
function returnOrRefuse(code: ModuleWriter, injected: Injected, address: number, begin: number): void {
  code.write(OP.if, NO_RESULT, OP.localGet).u32(address).write(OP.return, OP.end);
  code.write(OP.localGet).u32(begin).write(OP.i32WrapI64, OP.globalSet).u32(injected.address);
  code.write(OP.i32Const, FAULT.access, OP.globalSet).u32(injected.fault).write(OP.unreachable, OP.end);
}
