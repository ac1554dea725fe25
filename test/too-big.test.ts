/**
 * ICMP answers to what does not fit: the kernel's conditions and bytes (golden, taken by interop-replies.test.ts), and
 * those of the naive reference for mutated frames. Nothing is read behind a frame.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { ethernet, ipv4, ipv6 } from './support/frames.ts';
import { golden, quoted } from './support/golden-replies.ts';
import { tcp } from './support/messages.ts';
import { tooBigNaively } from './support/naive-too-big.ts';
import { verifyFrame } from './support/parse.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { ReplyEngine } from './support/reply-engine.ts';
import { BIG, mutatedRequest } from './support/reply-mutations.ts';
import { FORBIDDEN_CASES, PATH_MTU, TOO_BIG_CASES } from './support/reply-world.ts';

const OVERHEAD = 50;
const NOTHING = new Uint8Array(0);

for (const build of BUILDS) {
  describe(`too big (${build})`, async () => {
    const engine = await ReplyEngine.open(build);

    it('answers what the kernel answers, with the kernel’s bytes', () => {
      for (const { name, frame } of TOO_BIG_CASES) {
        const expected = golden.tooBig[name];
        assert.notEqual(expected, undefined, name);
        const reply = engine.tooBig(frame, PATH_MTU - OVERHEAD);
        if (expected === null) assert.equal(reply, undefined, name);
        else assertBytes(reply ?? NOTHING, quoted(expected!, frame), name);
      }
    });

    it('does not answer what RFC 4443 forbids, where the kernel does', () => {
      for (const { name, frame } of FORBIDDEN_CASES) {
        assert.notEqual(golden.forbidden[name], null, name);
        assert.equal(engine.tooBig(frame, PATH_MTU - OVERHEAD), undefined, name);
      }
    });

    it('tells no MTU below 576 (IPv4) and 1280 (IPv6), and all above', () => {
      const v4 = TOO_BIG_CASES.find(({ name }) => name === 'ipv4')!.frame;
      const v6 = TOO_BIG_CASES.find(({ name }) => name === 'ipv6')!.frame;
      for (const [frame, least, bytes] of [
        [v4, 576, 590],
        [v6, 1280, 1294],
      ] as const) {
        assert.equal(engine.tooBig(frame, least - 1), undefined);
        for (const mtu of [least, least + 1, 1499, 8950, 65515]) {
          assert.equal(engine.tooBig(frame, mtu)?.length, bytes);
          assertBytes(engine.tooBig(frame, mtu)!, tooBigNaively(frame, mtu));
        }
      }
    });

    it('quotes the beginning of a super-frame', () => {
      const prng = mulberry32(9000);
      const message = tcp({ checksum: 'partial', flags: 'PA' }, randomBytes(prng, 60_000));
      for (const packet of [ipv4({ dontFragment: true }, message), ipv6({}, message)]) {
        const frame = ethernet({}, packet);
        const reply = engine.tooBig(frame, 1450)!;
        assertBytes(reply, tooBigNaively(frame, 1450));
        assert.deepEqual(
          Object.values(verifyFrame(reply)).filter((valid) => valid === false),
          [],
        );
      }
    });

    it('does what the reference does with mutated frames', () => {
      const prng = mulberry32(1191);
      const rounds = build === 'release' ? 40_000 : 4_000;
      const answered = new Map<number, number>();
      for (let round = 0; round < rounds; round++) {
        const frame = mutatedRequest(prng, BIG);
        const mtu = Math.floor(prng() < 0.8 ? 1280 + prng() * 300 : prng() * 66_000);
        const reply = engine.tooBig(frame, mtu);
        const expected = tooBigNaively(frame, mtu);
        if (expected) assertBytes(reply ?? NOTHING, expected);
        else assert.equal(reply, undefined);
        const bytes = expected?.length ?? 0;
        answered.set(bytes, (answered.get(bytes) ?? 0) + 1);
      }
      for (const bytes of [0, 590, 1294]) assert.ok((answered.get(bytes) ?? 0) > rounds / 20, `${bytes}`);
    });
  });
}
