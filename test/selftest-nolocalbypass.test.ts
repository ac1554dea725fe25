/** Linux's selftest "nolocalbypass", from its description: two devices of one host, with and without loopback. */
import assert from 'node:assert/strict';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { twice } from './support/selftest.ts';
import { HERE, Underlay } from './support/selftest-underlay.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const FRAMES = Array.from({ length: 10 }, (_, n) =>
  ethernet(
    { destination: BROADCAST, source: `02:00:00:00:00:${10 + n}` },
    ipv4({}, udp({}, new Uint8Array(30))),
  ),
);

/** How many of the frames reach the second device, and how many packets pass loopback on the way. */
async function pass(net: Underlay): Promise<{ arrived: number; onLoopback: number }> {
  let arrived = 0;
  const packets = await net.arriving(
    'lo',
    async () => {
      arrived = (await net.arriving('vx1', () => net.inject('vx0', FRAMES), { expected: FRAMES.length }))
        .length;
    },
    { port: 4790, direction: 'in' },
  );
  const seen = { arrived, onLoopback: packets.length };
  net.place.note('pass', seen);
  return seen;
}

twice('nolocalbypass', [
  {
    name: 'a remote that is this host: past loopback by default, through it on request, and back',
    async steps(place) {
      const net = await Underlay.join(place);
      place.ok(
        `ip link add vx0 type vxlan id 100 local ${HERE} dstport 4789 nolearning`,
        `ip link add vx1 type vxlan id 100 local ${HERE} dstport 4790 nolearning`,
        'ip link set vx0 up',
        'ip link set vx1 up',
        `bridge fdb append 00:00:00:00:00:00 dev vx0 dst ${HERE} port 4790 self permanent`,
      );
      const all = FRAMES.length;
      assert.deepEqual(await pass(net), { arrived: all, onLoopback: 0 });
      await place.device('set', 'vx0', { localbypass: false });
      assert.deepEqual(await pass(net), { arrived: all, onLoopback: all });
      await place.device('set', 'vx0', { localbypass: true });
      assert.deepEqual(await pass(net), { arrived: all, onLoopback: 0 });
    },
  },
]);
