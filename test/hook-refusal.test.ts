/** Modules that are no hooks: refused, with what they have and where. And hooks that don't end, or write at start. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HOOK_AREA_BYTES } from '../assembly/layout.ts';
import { guardModule, rewriteModule } from '../src/dataplane/hook-guard.ts';
import { readModule } from '../src/dataplane/hook-guard-module.ts';
import { compileHook } from '../src/dataplane/hook-program.ts';
import { VtepError, type VtepErrorCode } from '../src/errors.ts';
import {
  accessCode,
  handMade,
  I32,
  I64,
  i32,
  MEMORY_INSTRUCTIONS,
  SHARED_MEMORY,
  text,
  uleb,
} from './support/hook-modules.ts';
import { AREA, HIGH, HookWorld, LOW } from './support/hook-world.ts';
import { below } from './support/mutate.ts';
import { mulberry32 } from './support/reference.ts';

const LIMITS = { areaBytes: HOOK_AREA_BYTES, shared: true };
const NOTHING = [0x01];

function refused(module: Uint8Array, code: VtepErrorCode, message: RegExp): void {
  assert.throws(
    () => compileHook(module),
    (error) => {
      assert.ok(error instanceof VtepError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    },
  );
}

describe('refused when it is loaded', () => {
  const importing = (from: string, name: string, ...kind: number[]) =>
    handMade({ hook: NOTHING, sections: { 2: [1, ...text(from), ...text(name), ...kind] } });

  it('imports', () => {
    refused(importing('env', 'abort', 0, 1), 'UNSUPPORTED', /env\.abort/);
    refused(importing('env', 'table', 1, 0x70, 0, 1), 'UNSUPPORTED', /env\.table/);
    refused(importing('env', 'fuel', 3, I32, 1), 'UNSUPPORTED', /env\.fuel/);
    refused(importing('wasi', 'memory', 2, 0, 1), 'UNSUPPORTED', /wasi\.memory/);
  });

  it('instructions', () => {
    const cases: [number[], RegExp][] = [
      [[0xfe, 0x00, 2, 0], /memory\.atomic\.notify at byte/],
      [[0xfe, 0x01, 2, 0], /memory\.atomic\.wait32/],
      [[0xfe, 0x02, 3, 0], /memory\.atomic\.wait64/],
      [[0x06, 0x40, 0x0b], /try/],
      [[0x08, 0], /throw/],
      [[0x12, 0], /return_call/],
      [[0x14, 0], /call_ref/],
      [[0xfb, 0], /garbage/],
      [[0xfc, 17, 0], /0xfc 0x11/],
      [[0x27], /0x27/],
    ];
    for (const [code, message] of cases) {
      const module = handMade({ hook: code });
      // Whether or not this runtime knows the instruction.
      assert.throws(
        () => rewriteModule(readModule(module), HOOK_AREA_BYTES, true),
        (error) => {
          assert.ok(error instanceof VtepError && error.code === 'UNSUPPORTED', String(error));
          assert.match(error.message, message);
          return true;
        },
      );
      assert.throws(() => compileHook(module), VtepError);
    }
  });

  it('what is injected can’t be named: locals, globals and functions beyond its own', () => {
    for (const code of [
      [0x20, 2, 0x1a],
      [0x23, 0, 0x1a],
      [0x41, 9, 0x24, 0],
      [0x10, 1],
      [0xd2, 1, 0x1a],
    ]) {
      assert.throws(
        () => rewriteModule(readModule(handMade({ hook: code })), HOOK_AREA_BYTES, true),
        /there is no/,
      );
    }
    const element = handMade({
      hook: NOTHING,
      sections: { 4: [1, 0x70, 0, 2], 9: [1, 0, 0x41, 0, 0x0b, 1, 1] },
    });
    assert.throws(() => readModule(element), /there is no function 1/);
  });

  it('memory, tables and data that are too large', () => {
    refused(
      handMade({ hook: NOTHING, sections: { 2: [], 5: [1, 0, 2] } }),
      'UNSUPPORTED',
      /2 pages.*--initialMemory 1/,
    );
    refused(
      handMade({ hook: NOTHING, sections: { 4: [1, 0x70, 0, ...uleb(1e6)] } }),
      'UNSUPPORTED',
      /tables of 1000000/,
    );
    // Each thread's instance has them all.
    refused(
      handMade({ hook: NOTHING, sections: { 4: [2, ...[1, 2].flatMap(() => [0x70, 0, ...uleb(40000)])] } }),
      'UNSUPPORTED',
      /tables of 80000/,
    );
    for (const offset of [65533, -1]) {
      const data = handMade({ hook: NOTHING, sections: { 11: [1, 0, ...i32(offset), 0x0b, 4, 1, 2, 3, 4] } });
      refused(data, 'UNSUPPORTED', /data up to address/);
    }
    refused(new Uint8Array(2 << 20), 'UNSUPPORTED', /at most/);
  });

  it('no hook, or one of another type', () => {
    refused(handMade({ hook: NOTHING, sections: { 7: [] } }), 'USAGE', /exports no function hook/);
    refused(
      handMade({ hook: NOTHING, others: [NOTHING], sections: { 7: [1, ...text('hook'), 0, 1] } }),
      'USAGE',
      /hook is not a function/,
    );
    const global = { 6: [1, I32, 0, 0x41, 0, 0x0b], 7: [1, ...text('hook'), 3, 0] };
    refused(handMade({ hook: NOTHING, sections: global }), 'USAGE', /hook is not a function/);
    const configures = { 7: [2, ...text('hook'), 0, 0, ...text('configure'), 0, 0] };
    refused(handMade({ hook: NOTHING, sections: configures }), 'USAGE', /SETTINGS/);
  });

  it('whatever it is: random bytes, and modules with a few bytes changed', () => {
    const prng = mulberry32(7);
    const accesses = MEMORY_INSTRUCTIONS.filter(({ isAtomic }) => !isAtomic).flatMap((each) =>
      accessCode(each, [0x20, 0], 8),
    );
    const whole = handMade({
      hook: [...accesses, 3, 0x40, 0x20, 1, 0x0d, 0, 0x0b, 0x23, 0, 0x1a],
      others: [NOTHING],
      sections: {
        ...{ 4: [1, 0x70, 0, 2], 6: [1, I32, 1, 0x41, 5, 0x0b], 8: [1], 9: [1, 0, 0x41, 0, 0x0b, 1, 1] },
        11: [1, 0, 0x41, 8, 0x0b, 3, 1, 2, 3],
      },
    });
    const world = new HookWorld();
    assert.equal(world.run(world.load(whole), LOW, 0), undefined);
    const counts = { loaded: 0, refused: 0, confined: 0 };
    for (let round = 0; round < 12000; ++round) {
      const bytes =
        round % 10 === 0
          ? Uint8Array.from({ length: 8 + below(prng, 200) }, () => below(prng, 256))
          : whole.slice();
      if (round % 10 === 0) bytes.set(whole.subarray(0, 8));
      const end = round % 7 === 0 ? below(prng, bytes.length) : bytes.length;
      for (let left = 1 + below(prng, 3); left > 0; --left)
        bytes[below(prng, bytes.length)] = below(prng, 256);
      const module = bytes.subarray(0, end);
      try {
        const program = world.load(module, 1000);
        counts.loaded++;
        for (const records of [0, LOW, AREA, HIGH, -8]) program.run(records, 1);
      } catch (error) {
        assert.ok(error instanceof VtepError, String(error));
        counts.refused++;
      }
      counts.confined += rewritten(module) ? 1 : 0;
      if (round % 50 === 0) world.assertContained();
    }
    world.assertContained();
    assert.ok(
      counts.loaded > 500 && counts.refused > 5000 && counts.confined > counts.loaded,
      JSON.stringify(counts),
    );
  });

  /** Without the runtime's validation before it, the reader must hold by itself. */
  function rewritten(module: Uint8Array): boolean {
    try {
      rewriteModule(readModule(module), HOOK_AREA_BYTES, true);
      return true;
    } catch (error) {
      assert.ok(error instanceof VtepError, String(error));
      return false;
    }
  }

  it('counts that promise more than there is', () => {
    for (const id of [1, 2, 3, 4, 6, 7, 9, 10, 11]) {
      const section = [...uleb(0xffffffff), 0];
      assert.throws(
        () => guardModule(handMade({ hook: NOTHING, sections: { [id]: section } }), LIMITS),
        VtepError,
      );
    }
    const locals = [1, ...uleb(0x7ffffff0), I32, 0x0b];
    assert.throws(
      () => guardModule(handMade({ hook: NOTHING, sections: { 10: [1, locals.length, ...locals] } }), LIMITS),
      VtepError,
    );
  });
});

describe('contained when it runs', () => {
  const world = new HookWorld();
  const kindOf = (module: Uint8Array, fuel?: number) => world.run(world.load(module, fuel))?.kind;

  it('loops without end, with and without memory', () => {
    assert.equal(kindOf(handMade({ hook: [3, 0x40, 0x0c, 0, 0x0b] })), 'fuel');
    const storing = [3, 0x40, ...i32(0), ...i32(1), 0x36, 0, 0, 0x0c, 0, 0x0b];
    assert.equal(kindOf(handMade({ hook: storing })), 'fuel');
    // A long fill, again and again: it pays for its bytes.
    const filling = [3, 0x40, ...i32(0), ...i32(7), ...i32(65536), 0xfc, 11, 0, 0x0c, 0, 0x0b];
    assert.equal(kindOf(handMade({ hook: filling }), 2560), 'fuel');
  });

  it('fuel is what was given, for each packet', () => {
    // One for the function, one for each turn.
    const turns = (count: number) =>
      handMade({
        locals: [I32],
        hook: [...i32(count), 0x21, 2, 3, 0x40, 0x20, 2, ...i32(1), 0x6b, 0x22, 2, 0x0d, 0, 0x0b],
      });
    assert.equal(kindOf(turns(99), 100), undefined);
    assert.equal(kindOf(turns(100), 100), 'fuel');
    const program = world.load(turns(250), 100);
    assert.equal(world.run(program, LOW, 2)?.kind, 'fuel');
    assert.equal(world.run(program, LOW, 3), undefined);
  });

  it('a turn of a long loop costs as much as its bytes, a call as much as the locals that it clears', () => {
    const nops = Array.from({ length: 256 * 50 }, () => 0x01);
    const turns = (count: number) =>
      handMade({
        locals: [I32],
        hook: [...i32(count), 0x21, 2, 3, 0x40, ...nops, 0x20, 2, ...i32(1), 0x6b, 0x22, 2, 0x0d, 0, 0x0b],
      });
    assert.equal(kindOf(turns(9), 10 * 51), undefined);
    assert.equal(kindOf(turns(10), 10 * 51), 'fuel');
    const many = [1, ...uleb(32000), I32, 0x0b];
    const calling = [0, 0x10, 1, 0x10, 1, 0x0b];
    const bodies = [2, calling.length, ...calling, many.length, ...many];
    const clearing = handMade({ hook: NOTHING, others: [NOTHING], sections: { 10: bodies } });
    assert.equal(kindOf(clearing, 2003), undefined);
    assert.equal(kindOf(clearing, 2002), 'fuel');
  });

  it('what takes longer than its bytes tell costs more', () => {
    const price = (instructions: readonly number[], times: number) => {
      const hook = Array.from({ length: times }, () => instructions).flat();
      const module = handMade({ hook });
      let least = 1;
      while (kindOf(module, least) === 'fuel') ++least;
      // With its own bytes: the end, and the number of locals that is not counted.
      return { least, bytes: hook.length + 1 };
    };
    const wide = [0x42, 1];
    for (const [instructions, more] of [
      [[...i32(0), 0x28, 2, 0, 0x1a], 32],
      [[...i32(0), ...i32(0), 0x36, 2, 0], 32],
      [[...i32(0), ...i32(0), 0xfe, 0x1e, 2, 0, 0x1a], 32],
      [[...wide, ...wide, 0x7f, 0x1a], 32],
      [[0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x9f, 0x1a], 32],
      [[0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x9e, 0x1a], 8],
      [[...i32(7), 0x69, 0x1a], 4],
      [[...i32(7), ...i32(7), 0x6a, 0x1a], 0],
    ] as const) {
      const { least, bytes } = price(instructions, 100);
      assert.equal(least, 1 + ((bytes + 100 * more) >> 8), instructions.join(' '));
    }
    // Of nothing, too, and its length besides.
    assert.equal(price([...i32(0), ...i32(0), ...i32(0), 0xfc, 0x0b, 0], 100).least, 1 + ((901 + 6400) >> 8));
  });

  it('every way out of a function has paid: its end, a branch, a return; with one value, several, or none', () => {
    const leave: Record<string, [number, readonly number[]]> = {
      'its end': [1, []],
      'a return': [1, [0x0f]],
      'a branch out': [1, [0x02, 0x40, 0x0c, 1, 0x0b]],
      'a table': [1, [...i32(0), 0x0e, 0, 0]],
      'a value': [2, [...i32(5)]],
      'a value, returned': [2, [...i32(5), 0x0f]],
      'a value, by a branch': [2, [...i32(5), 0x0c, 0]],
      'two values': [3, [...i32(5), ...i32(6)]],
    };
    for (const [name, [type, code]] of Object.entries(leave)) {
      const drops = Array.from({ length: type - 1 }, () => 0x1a);
      const loop = [
        ...[...i32(100), 0x21, 2, 0x03, 0x40, 0x10, 1, ...drops],
        ...[0x20, 2, ...i32(1), 0x6b, 0x22, 2, 0x0d, 0, 0x0b],
      ];
      const bodies = [
        [1, 1, I32, ...loop, 0x0b],
        [0, ...code, 0x0b],
      ].map((each) => [...uleb(each.length), ...each]);
      const module = handMade({
        hook: NOTHING,
        others: [NOTHING],
        sections: {
          1: [4, 0x60, 2, I32, I32, 0, 0x60, 0, 0, 0x60, 0, 1, I32, 0x60, 0, 2, I32, I32],
          3: [2, 0, type],
          10: [2, ...bodies.flat()],
        },
      });
      // One for hook, and for each of a hundred turns one for the turn and one for the call.
      assert.equal(kindOf(module, 201), undefined, name);
      assert.equal(kindOf(module, 200), 'fuel', name);
    }
  });

  it('no module takes longer to rewrite than its length: many operands, locals, blocks at a time', () => {
    const times = (count: number, code: (index: number) => number[]) =>
      Array.from({ length: count }, (_, index) => code(index)).flat();
    const withLocals = (count: number, code: number[]) => {
      const body = [1, ...uleb(count), I32, ...code, 0x0b];
      return handMade({ hook: NOTHING, sections: { 10: [1, ...uleb(body.length), ...body] } });
    };
    const block = [0x02, 0x40];
    const set = (local: number) => [...i32(0), 0x21, ...uleb(local)];
    const confine = (local: number) => [0x20, ...uleb(local), 0x2d, 0, 0, 0x1a];
    for (const module of [
      withLocals(1, [
        ...times(80000, () => [0x20, 0]),
        ...times(80000, () => set(2)),
        ...times(80000, () => [0x1a]),
      ]),
      withLocals(8000, [
        ...times(8000, (index) => confine(index + 2)),
        ...times(24000, () => [...block, 0x0b]),
      ]),
      withLocals(8000, [
        ...times(24000, () => block),
        ...times(8000, (index) => set(index + 2)),
        ...times(24000, () => [0x0b]),
      ]),
    ]) {
      const before = performance.now();
      compileHook(module);
      const milliseconds = performance.now() - before;
      assert.ok(milliseconds < 5000, `${module.length} bytes: ${milliseconds} ms`);
    }
  });

  it('calls that multiply', () => {
    // Number n calls n + 1 sixteen times: 16 ** 8 in all.
    const others = Array.from({ length: 8 }, (_, index) =>
      index < 7 ? Array.from({ length: 16 }, () => [0x10, index + 2]).flat() : NOTHING,
    );
    assert.equal(kindOf(handMade({ hook: [0x10, 1], others })), 'fuel');
  });

  it('calls without end', () => {
    assert.equal(kindOf(handMade({ hook: [0x10, 1], others: [[0x10, 1]] }), 1e9), 'stack');
    assert.equal(kindOf(handMade({ hook: [0x10, 1], others: [[0x10, 1]] }), 100), 'fuel');
  });

  it('bulk operations', () => {
    const fill = (at: number, length: number) =>
      handMade({ hook: [...i32(at), ...i32(7), ...i32(length), 0xfc, 11, 0] });
    const copy = (to: number, from: number, length: number) =>
      handMade({ hook: [...i32(to), ...i32(from), ...i32(length), 0xfc, 10, 0, 0] });
    const good: [number, number][] = [
      [0, 65536],
      [65536, 0],
      [LOW, 16],
      [LOW, HIGH - LOW],
      [HIGH, 0],
      [65535, 1],
    ];
    const bad: [number, number][] = [
      [0, 65537],
      [65535, 2],
      [65536, 1],
      [AREA, 1],
      [LOW - 1, 2],
      [LOW, HIGH - LOW + 1],
      [-1, 1],
      [-1, 2],
      [-16, 32],
      [0, -1],
      [LOW, -1],
      [LOW - 1, 0],
    ];
    for (const [at, length] of good) {
      assert.equal(kindOf(fill(at, length)), undefined, `fill ${at} ${length}`);
      if (length < 65536) assert.equal(kindOf(copy(at, 0, length)), undefined, `copy to ${at} ${length}`);
    }
    for (const [at, length] of bad) {
      const kinds = length < 0 ? ['access', 'fuel'] : ['access'];
      for (const module of [fill(at, length), copy(at, LOW, length), copy(LOW, at, length)]) {
        assert.ok(kinds.includes(kindOf(module)!), `${at} ${length}`);
      }
    }
    const passive = { 12: [1], 11: [1, 1, 4, 1, 2, 3, 4] };
    const init = (at: number, length = 4) =>
      handMade({ hook: [...i32(at), ...i32(0), ...i32(length), 0xfc, 8, 0, 0], sections: passive });
    assert.equal(kindOf(init(100)), undefined);
    assert.deepEqual([...world.bytes.subarray(AREA + 99, AREA + 105)], [0, 1, 2, 3, 4, 0]);
    assert.equal(kindOf(init(LOW)), undefined);
    assert.equal(kindOf(init(AREA)), 'access');
    assert.equal(kindOf(init(65533)), 'access');
    assert.equal(kindOf(init(0, 5)), 'trap');
  });

  it('memory neither grows nor is larger than its area', () => {
    const hook = [...i32(0), 0x3f, 0, 0x36, 2, 0, ...i32(4), ...i32(1), 0x40, 0, 0x36, 2, 0];
    assert.equal(kindOf(handMade({ hook })), undefined);
    const view = new DataView(world.memory.buffer, AREA);
    assert.deepEqual([view.getInt32(0, true), view.getInt32(4, true)], [1, -1]);
    assert.equal(world.memory.buffer.byteLength, world.bytes.length);
  });

  it('data and the start function: in its area, with fuel', () => {
    const data = { 11: [1, 0, ...i32(1000), 0x0b, 3, 7, 8, 9] };
    world.load(handMade({ hook: NOTHING, sections: data }));
    world.assertContained();
    assert.deepEqual([...world.bytes.subarray(AREA + 999, AREA + 1004)], [0, 7, 8, 9, 0]);
    const starting = (code: number[]) => handMade({ hook: NOTHING, others: [code], sections: { 8: [1] } });
    world.load(starting([...i32(0), ...i32(77), 0x36, 2, 0]));
    assert.equal(world.bytes[AREA], 77);
    for (const code of [[...i32(AREA), ...i32(77), 0x36, 2, 0], [3, 0x40, 0x0c, 0, 0x0b], [0]]) {
      assert.throws(() => world.load(starting(code)), /start function failed/);
    }
    // Packets wait for it: the slowest instructions there are, as many as a unit of fuel pays for.
    const dividing = Array.from({ length: 34 }, () => [0x23, 0, 0x23, 0, 0x7f, 0x24, 0]).flat();
    const slow = handMade({
      hook: NOTHING,
      others: [[3, 0x40, ...dividing, 0x0c, 0, 0x0b]],
      sections: { 6: [1, I64, 1, 0x42, 3, 0x0b], 8: [1] },
    });
    const before = performance.now();
    assert.throws(() => world.load(slow), /ran too long/);
    const milliseconds = performance.now() - before;
    assert.ok(milliseconds < 4000, `${milliseconds} ms`);
  });

  it('exports of its own can’t take the place of ours', () => {
    const names = ['fuel', 'base', 'fault', 'address', 'reach', 'start'];
    const globals = names.flatMap(() => [I32, 1, 0x41, 0, 0x0b]);
    const exports = names.flatMap((name, index) => [...text(name), 3, index]);
    const sections = {
      6: [names.length, ...globals],
      7: [names.length + 2, ...text('hook'), 0, 0, ...text('memory'), 2, 0, ...exports],
    };
    const forever = [...i32(100000), 0x24, 0, 3, 0x40, ...i32(1 << 30), 0x24, 0, 0x0c, 0, 0x0b];
    assert.equal(kindOf(handMade({ hook: forever, sections })), 'fuel');
    const { module } = compileHook(handMade({ hook: NOTHING, sections }));
    assert.deepEqual(
      WebAssembly.Module.exports(module).map(({ name }) => name),
      ['hook', 'fault', 'address'],
    );
    assert.deepEqual(
      WebAssembly.Module.imports(module).map(({ name }) => name),
      ['memory', 'base', 'low', 'high', 'reach'],
    );
  });

  it('a table of its own; elements outside of it', () => {
    const table = { 4: [1, 0x70, 0, 4], 9: [1, 0, ...i32(1), 0x0b, 1, 1] };
    const calling = (index: number) =>
      handMade({
        hook: [...i32(index), 0x11, 1, 0],
        others: [[...i32(0), ...i32(5), 0x36, 2, 0]],
        sections: table,
      });
    assert.equal(kindOf(calling(1)), undefined);
    assert.equal(world.bytes[AREA], 5);
    for (const index of [0, 4, -1]) assert.equal(kindOf(calling(index)), 'trap');
    const outside = handMade({
      hook: NOTHING,
      sections: { 4: [1, 0x70, 0, 1], 9: [1, 0, ...i32(1), 0x0b, 1, 0] },
    });
    assert.throws(() => world.load(outside), VtepError);
  });

  it('a memory of its own, or none, is ours in its place', () => {
    const store = [...i32(3), ...i32(9), 0x3a, 0, 0];
    assert.equal(kindOf(handMade({ hook: store, sections: { 2: [], 5: [1, 0, 1] } })), undefined);
    assert.equal(world.bytes[AREA + 3], 9);
    assert.equal(kindOf(handMade({ hook: NOTHING, sections: { 2: [] } })), undefined);
    assert.ok(SHARED_MEMORY.length > 0);
  });
});
