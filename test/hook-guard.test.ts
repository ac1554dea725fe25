/** Hooks that reach where they may not, run for ever, call too deep, or are no modules at all: contained or refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HOOK_AREA_BYTES, HOOK_FENCE_BYTES } from '../assembly/layout.ts';
import {
  accessCode,
  handMade,
  i32,
  MEMORY_INSTRUCTIONS,
  type MemoryInstruction,
} from './support/hook-modules.ts';
import { AREA, HIGH, HookWorld, LOW } from './support/hook-world.ts';

const OFFSETS = [0, 1, 8, 255, 256, 257, 4096, 65535, 65536, LOW, HIGH, 0x7fffffff, 0xfffffff0, 0xffffffff];
const ADDRESSES = [
  ...[0, 16, 0x8000, HOOK_AREA_BYTES - 256, HOOK_AREA_BYTES - 16, HOOK_AREA_BYTES - 8, HOOK_AREA_BYTES],
  ...[AREA, LOW - 256, LOW - 8, LOW, LOW + 4096, HIGH - 16, HIGH - 8, HIGH, HIGH + 256, 0x80000000],
  ...[0xffffff00, 0xfffffff0, 0xfffffff8],
];
const RECORDS = [0x20, 0];

/** Where the access goes; undefined: it is refused. From the words of hook-guard.ts. */
function placeOf(address: number, offset: number, bytes: number): number | undefined {
  const [begin, end] = [address + offset, address + offset + bytes];
  if (offset + bytes <= HOOK_FENCE_BYTES) {
    if (address >= LOW && address < HIGH) return begin;
    return address <= HOOK_AREA_BYTES - HOOK_FENCE_BYTES ? AREA + begin : undefined;
  }
  if (end <= HOOK_AREA_BYTES) return AREA + begin;
  return address >= HOOK_AREA_BYTES && begin >= LOW && end <= HIGH ? begin : undefined;
}

/** A constant address is looked at when the module is loaded: the area is open to it up to its last byte. */
function placeOfConstant(address: number, offset: number, bytes: number): number | undefined {
  const end = address + offset + bytes;
  return end <= HOOK_AREA_BYTES ? AREA + address + offset : placeOf(address, offset, bytes);
}

function isWrite({ name }: MemoryInstruction): boolean {
  return /store|exchange|xor|add|sub/.test(name);
}

describe('accesses of a hook', () => {
  const world = new HookWorld();

  /** One access at each address; the module has it with the address from its parameter. */
  function attack(instruction: MemoryInstruction, offset: number): void {
    const program = world.load(handMade({ hook: accessCode(instruction, RECORDS, offset) }));
    const { bytes, name } = instruction;
    for (const address of ADDRESSES) {
      const place = placeOf(address, offset, bytes);
      const what = `${name} at ${address} + ${offset}`;
      if (place !== undefined) world.bytes.fill(0x11, place, place + bytes);
      const fault = program.run(address | 0, 1);
      if (place === undefined) assert.equal(fault?.kind, 'access', what);
      else if (instruction.isAtomic && place % bytes !== 0) assert.equal(fault?.kind, 'trap', what);
      else {
        assert.equal(fault, undefined, what);
        if (isWrite(instruction)) assert.notEqual(world.bytes[place], 0x11, what);
      }
    }
    world.assertContained();
  }

  for (const group of ['load', 'store', 'vector', 'lane', 'atomic']) {
    const instructions = MEMORY_INSTRUCTIONS.filter(({ name }) => name.includes(group));
    it(`${group}: ${instructions.length} instructions, each address and offset`, () => {
      assert.ok(instructions.length > 7);
      for (const instruction of instructions) for (const offset of OFFSETS) attack(instruction, offset);
    });
  }

  it('the same where the address is a constant', () => {
    for (const instruction of MEMORY_INSTRUCTIONS.filter(({ isAtomic }) => !isAtomic)) {
      for (const address of ADDRESSES) {
        for (const offset of [0, 200, 256, 65535, 0xfffffff0]) {
          const program = world.load(handMade({ hook: accessCode(instruction, i32(address), offset) }));
          const place = placeOfConstant(address, offset, instruction.bytes);
          const what = `${instruction.name} at ${address} + ${offset}`;
          assert.equal(program.run(LOW, 1)?.kind, place === undefined ? 'access' : undefined, what);
        }
      }
      world.assertContained();
    }
  });
});
