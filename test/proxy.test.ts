/**
 * ARP and ND suppression: each frame gets the kernel's verdict and the kernel's bytes (golden, taken by
 * interop-replies.test.ts), and mutated ones those of the naive reference. Nothing is read behind a frame.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DEVICE_FLAG_L3MISS,
  DEVICE_FLAG_NOARP,
  DEVICE_FLAG_PROXY_FORWARD,
  FDB_USED_OFFSET,
  HEADER_BASE,
  HEADER_NOW_OFFSET,
} from '../assembly/layout.ts';
import { entryRecord } from '../src/dataplane/fdb-record.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { golden } from './support/golden-replies.ts';
import { DEFAULT } from './support/hot-path.ts';
import { type NaiveWorld, type Reduction, reduceNaively } from './support/naive-proxy.ts';
import { mulberry32 } from './support/reference.ts';
import { naiveWorld, type Outcome, ReplyEngine } from './support/reply-engine.ts';
import { mutatedRequest, REQUESTS } from './support/reply-mutations.ts';
import {
  BEHIND_ROUTER,
  NOT_PROXIED_CASES,
  PERMANENT,
  PROXY_CASES,
  type ReplyCase,
} from './support/reply-world.ts';

const COUNTERS: Record<Reduction['verdict'], object> = {
  'not-mine': {},
  short: { drop_short_request: 1 },
  swallowed: { proxy_swallowed: 1 },
  answered: { proxy_replies: 1 },
};
const VERDICTS: Record<Reduction['verdict'], number> = {
  'not-mine': 0,
  short: -1,
  swallowed: -1,
  answered: 1,
};

function assertLike(outcome: Outcome, frame: Uint8Array, world: NaiveWorld, hears = true): Reduction {
  const expected = reduceNaively(frame, world);
  const misses = hears && expected.miss !== undefined ? [expected.miss] : [];
  assert.equal(Math.sign(outcome.verdict), VERDICTS[expected.verdict], expected.verdict);
  assert.deepEqual(outcome.misses, misses);
  const missed = misses.length === 0 ? {} : { l3_misses: 1 };
  assert.deepEqual(outcome.counters, { ...COUNTERS[expected.verdict], ...missed });
  if (expected.reply) assertBytes(outcome.reply ?? new Uint8Array(0), expected.reply);
  return expected;
}

const frameOf = (cases: readonly ReplyCase[], name: string) => {
  const found = cases.find((one) => one.name === name);
  assert.ok(found, name);
  return found.frame;
};

for (const build of BUILDS) {
  describe(`proxy (${build})`, async () => {
    const engine = await ReplyEngine.open(build);

    it('answers with the kernel’s bytes, and what the kernel does not answer is swallowed', () => {
      for (const { name, frame } of PROXY_CASES) {
        const { verdict, reply } = engine.proxy(frame);
        const expected = golden.proxy[name];
        assert.notEqual(expected, undefined, name);
        if (expected === null) assert.equal(verdict, -1, name);
        else assertBytes(reply ?? new Uint8Array(0), Buffer.from(expected!, 'hex'), name);
      }
    });

    it('leaves alone what is not for it', () => {
      for (const { name, frame } of NOT_PROXIED_CASES) {
        assert.deepEqual(engine.proxy(frame), { verdict: 0, counters: {}, misses: [] }, name);
      }
      for (let length = 0; length < 14; length++) {
        assert.equal(engine.proxy(PROXY_CASES[0]!.frame.subarray(0, length)).verdict, 0);
      }
    });

    it('swallows every ARP of a device without ARP, but not solicitations', () => {
      engine.flags(DEVICE_FLAG_L3MISS | DEVICE_FLAG_NOARP);
      for (const { frame } of REQUESTS) assertLike(engine.proxy(frame), frame, naiveWorld(true));
      engine.flags(DEVICE_FLAG_L3MISS);
    });

    it('with proxyforward lets go on what nobody here can answer, answers the rest, and tells of misses', () => {
      const world = { ...naiveWorld(), forward: true };
      const forwards = DEVICE_FLAG_L3MISS | DEVICE_FLAG_PROXY_FORWARD;
      engine.flags(forwards);
      const seen = new Map<string, number>();
      const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
      for (const { frame } of PROXY_CASES) assertLike(engine.proxy(frame), frame, world);
      const unknown = frameOf(PROXY_CASES, 'arp unknown');
      const { verdict, counters, misses } = engine.proxy(unknown);
      assert.deepEqual([verdict, counters, misses], [0, { l3_misses: 1 }, ['10.5.0.99']]);
      const prng = mulberry32(0xf0);
      for (let round = 0; round < 3000; round++) {
        const frame = mutatedRequest(prng, REQUESTS);
        const { verdict, miss } = assertLike(engine.proxy(frame), frame, world);
        count(verdict);
        if (verdict === 'not-mine' && miss) count('missed and gone on');
      }
      for (const what of [...Object.keys(VERDICTS), 'missed and gone on'])
        assert.ok((seen.get(what) ?? 0) > 10, `${what}: ${seen.get(what)}`);
      engine.flags(forwards | DEVICE_FLAG_NOARP);
      for (const { frame } of REQUESTS)
        assertLike(engine.proxy(frame), frame, { ...naiveWorld(true), forward: true });
      engine.flags(DEVICE_FLAG_L3MISS);
    });

    it('tells nobody of misses unless the device asks for it', () => {
      engine.flags(0);
      const { misses, counters } = engine.proxy(frameOf(PROXY_CASES, 'arp unknown'));
      assert.deepEqual([misses, counters], [[], { proxy_swallowed: 1 }]);
      engine.flags(DEVICE_FLAG_L3MISS);
      assert.deepEqual(engine.proxy(frameOf(PROXY_CASES, 'arp unknown')).misses, ['10.5.0.99']);
      assert.deepEqual(engine.proxy(frameOf(PROXY_CASES, 'ns unknown')).misses, ['fd05::99']);
    });

    it('looks for the neighbour’s MAC in the frame’s own domain, and not at the default remotes', async () => {
      const other = await ReplyEngine.open(build);
      // Behind "any" on another device; and the default remotes are nobody in particular.
      other.path.entry(1, '02:bb:00:00:00:01', [{ address: '0.0.0.0' }]);
      other.path.entry(other.device, DEFAULT, [{ address: '0.0.0.0' }]);
      const frame = frameOf(PROXY_CASES, `arp 10.5.0.${PERMANENT} permanent`);
      assert.equal(other.proxy(frame).counters.proxy_replies, 1);
    });

    it('counts the neighbour’s FDB entry as used', () => {
      const { view } = engine.path.engine;
      const entry = engine.find('02:bb:00:00:00:06');
      const frame = frameOf(PROXY_CASES, `arp 10.5.0.${BEHIND_ROUTER} permanent`);
      for (const now of [5000, 5001]) {
        view.setUint32(HEADER_BASE + HEADER_NOW_OFFSET, now, true);
        assert.notEqual(view.getUint32(entryRecord(entry) + FDB_USED_OFFSET, true), now);
        assert.equal(engine.proxy(frame).counters.proxy_replies, 1);
        assert.equal(view.getUint32(entryRecord(entry) + FDB_USED_OFFSET, true), now);
      }
    });

    it('does what the reference does with mutated requests', () => {
      const prng = mulberry32(826);
      const world = naiveWorld();
      const seen = new Map<string, number>();
      const rounds = build === 'release' ? 60_000 : 5_000;
      for (let round = 0; round < rounds; round++) {
        const frame = mutatedRequest(prng, REQUESTS);
        const { verdict, miss } = assertLike(engine.proxy(frame), frame, world);
        for (const what of [verdict, miss && 'missed']) {
          if (what) seen.set(what, (seen.get(what) ?? 0) + 1);
        }
      }
      for (const what of [...Object.keys(VERDICTS), 'missed']) {
        assert.ok((seen.get(what) ?? 0) > rounds / 100, `${what}: ${seen.get(what)} of ${rounds}`);
      }
    });
  });
}
