/** rsc: frames for a router that go straight to the next hop, as the kernel's device and the naive reference send them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEVICE_FLAG_L3MISS } from '../assembly/layout.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { golden } from './support/golden-replies.ts';
import { shortCircuitNaively } from './support/naive-proxy.ts';
import { mulberry32 } from './support/reference.ts';
import { naiveWorld, ReplyEngine } from './support/reply-engine.ts';
import { mutatedRequest, ROUTED } from './support/reply-mutations.ts';
import { isForRouter, SHORT_CIRCUIT_CASES } from './support/reply-world.ts';

for (const build of BUILDS) {
  describe(`short-circuit (${build})`, async () => {
    const engine = await ReplyEngine.open(build);
    const world = naiveWorld();

    it('rewrites what the kernel rewrites', () => {
      for (const { name, frame } of SHORT_CIRCUIT_CASES) {
        const sent = isForRouter(frame) ? engine.shortCircuit(frame).reply! : frame;
        const expected = golden.shortCircuit[name];
        assert.ok(expected, name);
        assertBytes(sent, Buffer.from(expected, 'hex'), name);
      }
    });

    it('tells of misses only when the device asks for it', () => {
      const { frame } = SHORT_CIRCUIT_CASES.find(({ name }) => name === 'to an unknown ipv4')!;
      const counters = { l3_misses: 1 };
      assert.deepEqual(engine.shortCircuit(frame), {
        verdict: 0,
        reply: frame,
        counters,
        misses: ['10.5.0.99'],
      });
      engine.flags(0);
      assert.deepEqual(engine.shortCircuit(frame), { verdict: 0, reply: frame, counters: {}, misses: [] });
      engine.flags(DEVICE_FLAG_L3MISS);
    });

    it('does what the reference does with mutated frames', () => {
      const prng = mulberry32(1812);
      const seen = { rewritten: 0, missed: 0, unchanged: 0 };
      const rounds = build === 'release' ? 40_000 : 5_000;
      for (let round = 0; round < rounds; round++) {
        const frame = mutatedRequest(prng, ROUTED);
        if (frame.length < 14) continue;
        const outcome = engine.shortCircuit(frame);
        const expected = shortCircuitNaively(frame, world);
        assert.equal(outcome.verdict, Number(expected.rewritten));
        assertBytes(outcome.reply!, expected.frame);
        assert.deepEqual(outcome.misses, expected.miss === undefined ? [] : [expected.miss]);
        const counted = expected.rewritten ? { route_short_circuits: 1 } : {};
        assert.deepEqual(outcome.counters, expected.miss === undefined ? counted : { l3_misses: 1 });
        seen[expected.rewritten ? 'rewritten' : expected.miss === undefined ? 'unchanged' : 'missed']++;
      }
      for (const [what, times] of Object.entries(seen)) assert.ok(times > rounds / 100, `${what}: ${times}`);
    });
  });
}
