/**
 * How long a hook in WebAssembly that never ends holds the batch that it was shown: milliseconds until its fuel is gone,
 * for the largest batch, most of nine. Each program loops over one kind of instruction.
 *
 *   node --import tsx bench/hook-fuel.bench.ts [fuel of a packet]
 */
import { HOOK_RECORD_COUNT } from '../assembly/layout.ts';
import { compileHook, HOOK_FUEL, HookProgram } from '../src/dataplane/hook-program.ts';
import { F64, handMade, I32, I64, i32, sleb, V128 } from '../test/support/hook-modules.ts';

const [FUEL = HOOK_FUEL] = process.argv.slice(2).map(Number);
const ROUNDS = 9;
const AREA = 0x200000;
const LOW = 0x400000;
const HIGH = 0xd00000;
/** Locals behind the two parameters, one of each kind. */
const LOCALS = [I32, I64, F64, V128];
const [NUMBER, WIDE, FLOAT, VECTOR] = [2, 3, 4, 5];
/** Bytes of a turn of a loop. */
const TURN_BYTES = 240;

const memory = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });

/** `before`, the instructions as often as they fit, `after`. */
function turn(
  instructions: readonly number[],
  before: readonly number[] = [],
  after: readonly number[] = [],
): number[] {
  const room = TURN_BYTES - before.length - after.length;
  const times = Math.max(Math.floor(room / instructions.length), 1);
  return [...before, ...Array.from({ length: times }, () => instructions).flat(), ...after];
}

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const f64Const = [0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];

/** What a turn of the endless loop does. */
const TURNS: Record<string, readonly number[]> = {
  nothing: [],
  'adds integers': turn([...get(NUMBER), 0x6a], get(NUMBER), set(NUMBER)),
  'divides integers': turn(
    [...get(WIDE), 0x7f],
    [...get(WIDE), 0x42, 1, 0x84, ...set(WIDE), 0x42, ...sleb(1e15), 0x42, 1, 0x84],
    set(WIDE),
  ),
  'takes square roots': turn([0x9f], [...f64Const, ...get(FLOAT), 0xa0], set(FLOAT)),
  'takes square roots of vectors': turn([0xfd, 0xef, 0x01], get(VECTOR), set(VECTOR)),
  'loads, each where the last one says': turn([0x28, 2, 0], get(NUMBER), set(NUMBER)),
  'adds atomically': turn([...i32(LOW), ...i32(1), 0xfe, 0x1e, 2, 0, 0x1a]),
  'counts bits': turn([0x69], get(NUMBER), set(NUMBER)),
  'converts floats': turn([0xb6, 0xbb], get(FLOAT), set(FLOAT)),
  'adds floats': turn([...get(FLOAT), 0xa0], get(FLOAT), set(FLOAT)),
  'fills 255 bytes': turn([...i32(0), ...i32(0), ...i32(255), 0xfc, 0x0b, 0]),
  'copies 255 bytes': turn([...i32(512), ...i32(0), ...i32(255), 0xfc, 0x0a, 0, 0]),
  'fills 32 KiB': [...i32(0), ...i32(0), ...i32(32768), 0xfc, 0x0b, 0],
  calls: turn([0x10, 1]),
};

/** A chain through the window, one line of memory after another, in no order that hardware foresees. */
function chain(): void {
  const words = new Uint32Array(memory.buffer);
  const lines = Array.from({ length: (HIGH - LOW) >> 6 }, (_, line) => LOW + (line << 6));
  let seed = 1;
  for (let last = lines.length - 1; last > 0; --last) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (last + 1);
    [lines[last], lines[other]] = [lines[other]!, lines[last]!];
  }
  for (const [index, line] of lines.entries()) words[line >> 2] = lines[(index + 1) % lines.length]!;
}

chain();
console.log(
  `fuel ${FUEL} a packet, ${HOOK_RECORD_COUNT} packets: milliseconds until a hook is stopped that, for ever,`,
);
for (const [name, code] of Object.entries(TURNS)) {
  const module = handMade({
    locals: LOCALS,
    hook: [...i32(LOW), ...set(NUMBER), 0x03, 0x40, ...code, 0x0c, 0, 0x0b],
    others: [[]],
  });
  const program = new HookProgram(compileHook(module), memory, {
    area: AREA,
    low: LOW,
    high: HIGH,
    fuel: FUEL,
  });
  const samples = Array.from({ length: ROUNDS }, () => {
    const begin = performance.now();
    const fault = program.run(LOW, HOOK_RECORD_COUNT);
    if (fault?.kind !== 'fuel') throw new Error(`${name}: ${JSON.stringify(fault)}`);
    return performance.now() - begin;
  });
  console.log(
    `  ${name.padEnd(38)} ${Math.max(...samples)
      .toFixed(1)
      .padStart(8)}`,
  );
}
