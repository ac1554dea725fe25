/**
 * Streams into a VTEP that merges segments before it hands them on: nothing is merged that does not belong together, no
 * wrong checksum is made right, nothing is lost, doubled or put out of order. The kernel's device, which has its own
 * receive offload, is held to the same rules as the control.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { layer2 } from './support/scenario.ts';
import { join, vxlan } from './support/traffic-frames.ts';
import { kinds, suite } from './support/traffic-gate.ts';
import { ends, outerFrames } from './support/traffic-outer.ts';
import {
  datagramScene,
  isOrdinary,
  judge,
  type Scene,
  scenes,
  type Verdict,
} from './support/traffic-segments.ts';
import { type Host, UNDERLAY, VNI, VTEP } from './support/traffic-vtep.ts';

/** The ways in which a burst of datagrams reaches a socket. */
const WAYS = ['one by one', 'as UDP segments of one super-packet'] as const;

async function play(hosts: [Host, Host], scene: Scene, way: (typeof WAYS)[number]): Promise<Verdict> {
  const datagrams = scene.frames.map((frame) => vxlan(VNI, frame));
  const capture = await hosts[1].agent.capture(VTEP, { direction: 'in' });
  if (way === 'one by one') {
    const frames = datagrams.flatMap((datagram) => outerFrames({ name: scene.name, datagram }, false));
    await hosts[0].agent.call('inject', UNDERLAY, frames, {});
  } else {
    // Runs of equal length, the last of which may be shorter: what UDP_SEGMENT can carry.
    for (let at = 0; at < datagrams.length; ) {
      const size = datagrams[at]!.length;
      let end = at + 1;
      while (end < datagrams.length && datagrams[end]!.length === size && end - at < 48) end++;
      if (end < datagrams.length && end - at < 48 && datagrams[end]!.length < size) end++;
      const data = join(...datagrams.slice(at, end));
      await hosts[0].agent.call('datagrams', [{ data }], { ...ends(false), segmentBytes: size });
      at = end;
    }
  }
  const { frames, missed } = await capture.stop({ frames: 1, quietMs: 30 });
  assert.equal(missed, 0);
  return judge(scene.frames, frames);
}

for (const kind of kinds)
  suite(`streams received by ${kind}`, [kind], (bed) => {
    let hosts: [Host, Host];
    before(async () => {
      hosts = await layer2(bed, ['none', kind]);
    });

    for (const way of WAYS)
      for (const family of ['IPv4', 'IPv6'] as const)
        test(`are merged by the rules or not at all: ${family} TCP, ${way}`, async (t) => {
          const problems: string[] = [];
          let sent = 0;
          let received = 0;
          for (const scene of scenes(family === 'IPv6')) {
            const verdict = await play(hosts, scene, way);
            sent += scene.frames.length;
            received += verdict.received;
            problems.push(...verdict.problems.map((problem) => `${scene.name}: ${problem}`));
            // The kernel lets a frame that it cannot merge overtake what it holds; the others keep their order.
            const order = verdict.order.filter((i) => kind === 'vxlane' || isOrdinary(scene.frames[i]!));
            if (scene.name !== 'two streams in turn' && order.some((index, i) => index < (order[i - 1] ?? 0)))
              problems.push(`${scene.name}: came out in the order ${verdict.order.join(' ')}`);
          }
          t.diagnostic(`${sent} segments came out as ${received} frames`);
          assert.equal(problems.length, 0, problems.join('\n'));
          hosts[1].assertAlive();
        });

    if (kind === 'vxlane')
      test('are merged at all when they come as one super-packet', async () => {
        const [stream] = scenes(false);
        const { problems, received } = await play(hosts, stream!, WAYS[1]);
        assert.deepEqual(problems, []);
        const sent = stream!.frames.length;
        assert.ok(received < sent / 2, `${sent} segments came out as ${received} frames`);
      });

    for (const way of WAYS)
      test(`of UDP stay in order, merged or not: ${way}`, async () => {
        const scene = datagramScene();
        const { problems, received, order } = await play(hosts, scene, way);
        assert.deepEqual(problems, []);
        assert.deepEqual(
          order,
          scene.frames.map((_, index) => index),
        );
        const sent = scene.frames.length;
        // The kernel's device merges datagrams for no socket of its own.
        if (kind === 'kernel') assert.equal(received, sent);
        else if (way === WAYS[1])
          assert.ok(received < sent / 4, `${sent} datagrams came out as ${received} frames`);
      });
  });
