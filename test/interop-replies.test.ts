/**
 * The kernel's own device is asked for ARP and ND replies, for ICMP errors and for frames past a router, and so is the
 * engine: both must send the same bytes. What the kernel sent is kept as golden-replies.json for machines without
 * it; VXLANE_GOLDEN=write takes it anew.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { DEVICE_FLAG_NOARP, FDB_FLAGS_OFFSET, NTF_NEXTHOP, NTF_SELF } from '../assembly/layout.ts';
import { entryRecord } from '../src/dataplane/fdb-record.ts';
import { assertBytes, sameBytes } from './support/bytes.ts';
import { arp, ethernet } from './support/frames.ts';
import {
  GOLDEN_FILE,
  type GoldenQuote,
  type GoldenReplies,
  golden,
  headBytes,
} from './support/golden-replies.ts';
import { KernelReplies } from './support/kernel-replies.ts';
import { ipText, macText } from './support/parse.ts';
import { mulberry32 } from './support/reference.ts';
import { REMOTE, ReplyEngine } from './support/reply-engine.ts';
import { BIG, mutatedRequest, REQUESTS } from './support/reply-mutations.ts';
import {
  FORBIDDEN_CASES,
  isForRouter,
  NOT_PROXIED_CASES,
  PATH_MTU,
  PROXY_CASES,
  type ReplyCase,
  SHORT_CIRCUIT_CASES,
  sourceOf,
  TOO_BIG_CASES,
} from './support/reply-world.ts';
import { suite } from './support/traffic-gate.ts';

const OVERHEAD = 50;
const LIVE_FRAMES = 4000;
/** IPv6 extension headers. */
const EXTENSIONS = [0, 43, 44, 51, 60];
const NOTHING = new Uint8Array(0);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Of a source that the kernel answers and should not. */
const isUnfitSource = (address: string) => address === '::1' || address.startsWith('ff');

/** Answers by the source MAC of what they answer. */
function bySource(replies: readonly Uint8Array[]): Map<string, Uint8Array> {
  const found = new Map(replies.map((reply) => [macText(reply, 0), reply]));
  assert.equal(found.size, replies.length, 'one answer each');
  return found;
}

function quotes(
  cases: readonly ReplyCase[],
  replies: readonly Uint8Array[],
): Record<string, GoldenQuote | null> {
  const found = bySource(replies);
  const quoteOf = ({ frame }: ReplyCase): GoldenQuote | null => {
    const reply = found.get(macText(frame, 6));
    if (!reply) return null;
    const head = headBytes(reply);
    assertBytes(reply.subarray(head), frame.subarray(14, 14 + reply.length - head), 'quote');
    return { head: hex(reply.subarray(0, head)), bytes: reply.length };
  };
  return Object.fromEntries(cases.map((one) => [one.name, quoteOf(one)]));
}

suite('replies of the kernel', ['kernel'], (bed) => {
  let kernel: KernelReplies;
  let engine: ReplyEngine;
  const taken: GoldenReplies = { proxy: {}, shortCircuit: {}, tooBig: {}, forbidden: {} };
  before(async () => {
    kernel = await KernelReplies.start(bed);
    engine = await ReplyEngine.open('release');
  });

  test('the proxy’s are the golden ones', async () => {
    kernel.refresh();
    for (const { name, frame } of PROXY_CASES) {
      const replies = await kernel.proxy([frame]);
      assert.ok(replies.length <= 1, name);
      taken.proxy[name] = replies[0] ? hex(replies[0]) : null;
    }
  });

  test('what is not for the proxy goes through the tunnel', async () => {
    for (const { name, frame } of NOT_PROXIED_CASES) {
      const sent = await kernel.sent([frame], 'vx1');
      assert.deepEqual(sent.map(hex), [hex(frame)], name);
    }
    for (const { name, frame } of PROXY_CASES) assert.deepEqual(await kernel.sent([frame], 'vx1'), [], name);
  });

  test('the short-circuited frames are the golden ones', async () => {
    kernel.refresh();
    for (const { name, frame } of SHORT_CIRCUIT_CASES) {
      // Neighbours that are probed because of it send requests of their own.
      const isAsked = (other: Uint8Array) => sameBytes(other.subarray(14), frame.subarray(14));
      const sent = (await kernel.sent([frame])).filter(isAsked);
      assert.ok(sent.length <= 1, name);
      taken.shortCircuit[name] = sent[0] ? hex(sent[0]) : null;
      if (isForRouter(frame)) assertBytes(engine.shortCircuit(frame).reply!, sent[0], name);
    }
  });

  test('the ICMP errors are the golden ones', async () => {
    const frames = (cases: readonly ReplyCase[]) => cases.map(({ frame }) => frame);
    taken.tooBig = quotes(TOO_BIG_CASES, await kernel.tooBig(frames(TOO_BIG_CASES), PATH_MTU));
    taken.forbidden = quotes(FORBIDDEN_CASES, await kernel.tooBig(frames(FORBIDDEN_CASES), PATH_MTU));
  });

  test('all of them as they were taken', () => {
    if (process.env.VXLANE_GOLDEN === 'write') {
      writeFileSync(GOLDEN_FILE, `${JSON.stringify(taken, null, 2)}\n`);
    } else assert.deepEqual(taken, golden);
  });

  test('ICMP errors to frames of both sides of each limit', async () => {
    const few = TOO_BIG_CASES.filter(({ name }) => ['ipv4', 'ipv6', 'ipv6 of 3000 bytes'].includes(name));
    for (const mtu of [575, 576, 577, 1279, 1280, 1281]) {
      const replies = bySource(
        await kernel.tooBig(
          few.map(({ frame }) => frame),
          mtu + OVERHEAD,
        ),
      );
      for (const { name, frame } of few) {
        const expected = replies.get(macText(frame, 6));
        assert.equal(engine.tooBig(frame, mtu) === undefined, expected === undefined, `${name}, ${mtu}`);
        if (expected) assertBytes(engine.tooBig(frame, mtu)!, expected, name);
      }
    }
  });

  test('mutated requests get the same replies', async (t) => {
    kernel.refresh();
    const prng = mulberry32(4861);
    const frames: Uint8Array[] = [];
    while (frames.length < LIVE_FRAMES) {
      const frame = mutatedRequest(prng, REQUESTS);
      if (frame.length < 14) continue;
      // The asker's address comes back in the answer, and nobody looks at it.
      const at = frame[12] === 0x08 ? 28 : 34;
      if (frame.length >= at + 4) new DataView(frame.buffer, frame.byteOffset).setUint32(at, frames.length);
      frames.push(frame);
    }
    const replies = new Map<number, Uint8Array>();
    for (const reply of await kernel.proxy(frames)) {
      const view = new DataView(reply.buffer, reply.byteOffset);
      replies.set(view.getUint32(reply[12] === 0x08 ? 38 : 50), reply);
    }
    for (const [i, frame] of frames.entries()) {
      const { reply } = engine.proxy(frame);
      assert.equal(hex(reply ?? NOTHING), hex(replies.get(i) ?? NOTHING), hex(frame));
    }
    t.diagnostic(`${replies.size} answers to ${frames.length} frames`);
    assert.ok(replies.size > LIVE_FRAMES / 10);
  });

  test('mutated frames that are too big get the same ICMP errors', async (t) => {
    const prng = mulberry32(4443);
    const frames: Uint8Array[] = [];
    while (frames.length < LIVE_FRAMES) {
      const frame = mutatedRequest(prng, BIG);
      // Where the kernel reads amiss: extension headers, and sources that it takes for fit.
      const isIpv6 = frame[12] === 0x86 && frame.length >= 54;
      const isAmiss = isIpv6 && (EXTENSIONS.includes(frame[20]!) || isUnfitSource(ipText(frame, 22, 16)));
      if (frame.length < 1465 || isAmiss) continue;
      frame.set(
        Uint8Array.from(sourceOf(6, frames.length).split(':'), (byte) => Number.parseInt(byte, 16)),
        6,
      );
      frames.push(frame);
    }
    const replies = bySource(await kernel.tooBig(frames, PATH_MTU));
    for (const frame of frames) {
      const reply = engine.tooBig(frame, PATH_MTU - OVERHEAD);
      assert.equal(
        hex(reply ?? NOTHING),
        hex(replies.get(macText(frame, 6)) ?? NOTHING),
        hex(frame.subarray(0, 80)),
      );
    }
    t.diagnostic(`${replies.size} answers to ${frames.length} frames`);
    assert.ok(replies.size > LIVE_FRAMES / 10);
  });

  test('a neighbour behind a nexthop group is answered for', async () => {
    const { namespace } = kernel;
    namespace.ip(`nexthop add id 1 via ${REMOTE} fdb`, 'nexthop add id 10 group 1 fdb');
    namespace.ip('neigh replace 10.5.0.20 lladdr 02:bb:00:00:00:14 dev vx1 nud permanent');
    namespace.run('bridge', 'fdb', 'add', '02:bb:00:00:00:14', 'dev', 'vx1', 'nhid', '10');
    const entry = engine.path.entry(engine.device, '02:bb:00:00:00:14', [{ address: REMOTE }]);
    engine.path.engine.view.setUint16(entryRecord(entry) + FDB_FLAGS_OFFSET, NTF_SELF | NTF_NEXTHOP, true);
    engine.know('10.5.0.20', '02:bb:00:00:00:14', true);
    const frame = ethernet({}, arp({ senderIp: '10.5.0.77', targetIp: '10.5.0.20' }));
    const replies = await kernel.proxy([frame]);
    assert.equal(replies.length, 1);
    assertBytes(engine.proxy(frame).reply ?? NOTHING, replies[0]);
  });

  test('short ARP is a drop, but not where ARP is off', async () => {
    const { namespace } = kernel;
    const frames = PROXY_CASES.filter(({ name }) => /^arp of \d+ bytes$/.test(name)).map(
      ({ frame }) => frame,
    );
    assert.ok(frames.length > 1);
    const dropped = () => namespace.ipJson('-s', 'link', 'show', 'vx1')[0].stats64.tx.dropped as number;
    for (const [words, each] of [
      ['arp on', 1],
      ['arp off', 0],
    ] as const) {
      namespace.ip(`link set vx1 ${words}`);
      const before = dropped();
      assert.deepEqual(await kernel.proxy(frames), []);
      assert.equal(dropped() - before, each * frames.length, words);
      engine.flags(each === 1 ? 0 : DEVICE_FLAG_NOARP);
      for (const frame of frames) {
        const { counters } = engine.proxy(frame);
        assert.deepEqual(counters, each === 1 ? { drop_short_request: 1 } : { proxy_swallowed: 1 }, words);
      }
    }
  });
});
