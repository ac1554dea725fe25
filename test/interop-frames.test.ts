/**
 * Single frames through the tunnel: what goes into one flannel.1 comes out of the other byte for byte, whatever it
 * carries, and goes where the FDB says. Packet sockets stand in for the hosts' stacks.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { layer2 } from './support/scenario.ts';
import { ethernet, hexdump, ipv4, numberedMac, numberOf, pattern, udp } from './support/traffic-frames.ts';
import { pairings, suite } from './support/traffic-gate.ts';
import { difference } from './support/traffic-packets.ts';
import { multicastSamples, type NumberedFrame, numbered, taggedSamples } from './support/traffic-samples.ts';
import { HOSTS, type Host, UNDERLAY, VTEP } from './support/traffic-vtep.ts';

const DIRECTIONS = [
  { name: 'master to worker', from: 0, to: 1 },
  { name: 'worker to master', from: 1, to: 0 },
] as const;
const EXPERIMENTAL = 0x88b5;
const UNKNOWN = '02:ff:00:00:00:01';
const ZERO = '00:00:00:00:00:00';

/** Sends frames out of one interface and returns what came in at another. */
async function carried(
  from: Host,
  to: Host,
  frames: readonly Uint8Array[],
  ends: { out?: string; in?: string; expected?: number } = {},
): Promise<Uint8Array[]> {
  const capture = await to.agent.capture(ends.in ?? VTEP, { direction: 'in' });
  await from.agent.call('inject', ends.out ?? VTEP, [...frames], { paceUs: 100 });
  const result = await capture.stop({
    frames: ends.expected ?? frames.length,
    quietMs: 50,
    withinMs: 2000,
  });
  assert.equal(result.missed, 0);
  return result.frames.map((frame) => frame.data);
}

function assertUnchanged(sent: readonly NumberedFrame[], received: readonly Uint8Array[]): void {
  for (const { name, number, frame } of sent) {
    const copies = received.filter((other) => numberOf(other) === number);
    assert.equal(copies.length, 1, `${name}: ${copies.length} copies\n${hexdump(frame)}`);
    assert.equal(difference(frame, copies[0]!, ['sent', 'received']), null, name);
  }
  assert.equal(received.length, sent.length, 'frames that nobody sent');
}

/** Plain frames of `sizes` bytes that no stack takes an interest in. */
function sized(sizes: readonly number[], to: string): NumberedFrame[] {
  return sizes.map((size, i) => ({
    name: `${size} bytes`,
    number: i + 1,
    frame: ethernet({ to, from: numberedMac(i + 1), type: EXPERIMENTAL }, pattern(size - 14, i)),
  }));
}

const sizes = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

for (const pairing of pairings) {
  const name = pairing.join(' to ');

  suite(`frames over ${name} with a default remote`, pairing, (bed) => {
    let hosts: [Host, Host];
    before(async () => {
      hosts = await layer2(bed, pairing, { remote: true });
    });

    for (const { name: direction, from, to } of DIRECTIONS) {
      test(`broadcast, multicast and unknown unicast reach the default remote unchanged, ${direction}`, async () => {
        const frames = numbered(multicastSamples);
        assertUnchanged(
          frames,
          await carried(
            hosts[from],
            hosts[to],
            frames.map(({ frame }) => frame),
          ),
        );
      });

      test(`802.1Q and 802.1ad tags cross unchanged, ${direction}`, async () => {
        const frames = numbered(taggedSamples(HOSTS[to].vtepMac));
        assertUnchanged(
          frames,
          await carried(
            hosts[from],
            hosts[to],
            frames.map(({ frame }) => frame),
          ),
        );
      });

      test(`frames of every size from 14 bytes to the MTU cross unchanged, ${direction}`, async () => {
        const frames = sized(sizes(14, 1464), UNKNOWN);
        assertUnchanged(
          frames,
          await carried(
            hosts[from],
            hosts[to],
            frames.map(({ frame }) => frame),
          ),
        );
      });

      test(`a burst of one flow arrives whole and in order, ${direction}`, async () => {
        const ports = { from: '10.1.0.1', to: '10.1.0.2', sourcePort: 4000, port: 9 };
        const burst = Array.from({ length: 512 }, (_, i) => {
          const packet = ipv4({ ...ports, protocol: 17, id: i }, udp(ports, pattern(64, i)));
          return ethernet({ to: UNKNOWN, from: numberedMac(i), type: 0x0800 }, packet);
        });
        const capture = await hosts[to].agent.capture(VTEP, { direction: 'in' });
        await hosts[from].agent.call('inject', VTEP, burst, {});
        const { frames } = await capture.stop({ frames: burst.length, quietMs: 50, withinMs: 2000 });
        assert.deepEqual(
          frames.map(({ data }) => numberOf(data)).join(' '),
          burst.map((_, i) => i).join(' '),
        );
      });
    }

    test('the VTEPs are alive', () => {
      for (const host of hosts) host.assertAlive();
    });
  });

  suite(`bridged frames over ${name}`, pairing, (bed) => {
    let hosts: [Host, Host];
    before(async () => {
      hosts = await layer2(bed, pairing, { remote: true });
      // A tag that enters by a bridge port travels beside the frame, not in it, until a device puts it back.
      for (const { namespace } of hosts)
        namespace.ip(
          'link add br0 type bridge mcast_snooping 0',
          'link add port0 type veth peer name port1',
          'link set port0 master br0 up',
          `link set ${VTEP} master br0`,
          'link set port1 up',
          'link set br0 up',
        );
    });

    for (const { name: direction, from, to } of DIRECTIONS)
      test(`802.1Q and 802.1ad tags from a bridge port cross unchanged, ${direction}`, async () => {
        const frames = numbered(taggedSamples(UNKNOWN));
        const ends = { out: 'port1', in: 'port1' };
        assertUnchanged(
          frames,
          await carried(
            hosts[from],
            hosts[to],
            frames.map(({ frame }) => frame),
            ends,
          ),
        );
      });
  });

  suite(`frames over ${name} with an IPv6 underlay`, pairing, (bed) => {
    let hosts: [Host, Host];
    before(async () => {
      hosts = await layer2(bed, pairing, { remote: true, ipv6: true });
    });

    for (const { name: direction, from, to } of DIRECTIONS) {
      test(`broadcast, multicast, unknown unicast and tagged frames cross unchanged, ${direction}`, async () => {
        const frames = numbered([...multicastSamples, ...taggedSamples(UNKNOWN)]);
        assertUnchanged(
          frames,
          await carried(
            hosts[from],
            hosts[to],
            frames.map(({ frame }) => frame),
          ),
        );
      });

      test(`frames of every size from 14 bytes to the MTU cross unchanged, ${direction}`, async () => {
        const frames = sized(sizes(14, 1444), UNKNOWN);
        assertUnchanged(
          frames,
          await carried(
            hosts[from],
            hosts[to],
            frames.map(({ frame }) => frame),
          ),
        );
      });
    }
  });

  suite(`forwarding over ${name}`, pairing, (bed) => {
    let hosts: [Host, Host];
    const known = '02:00:00:00:00:07';
    const toward = (to: string) => ethernet({ to, from: known, type: EXPERIMENTAL }, pattern(50));
    before(async () => {
      // Only the master knows where to send what it does not know; the worker has to learn.
      hosts = await layer2(bed, pairing, [{ remote: true, learning: true }, { learning: true }]);
    });

    test('a frame to an unknown address goes nowhere without a default remote', async () => {
      assert.deepEqual(await carried(hosts[1], hosts[0], [toward(UNKNOWN)], { expected: 0 }), []);
    });

    test('an address learned from a received frame is answered directly', async () => {
      const [there] = await carried(hosts[0], hosts[1], [toward(UNKNOWN)]);
      assert.ok(there, 'the frame that teaches the address did not arrive');
      const back = ethernet({ to: known, from: numberedMac(1), type: EXPERIMENTAL }, pattern(50));
      const received = await carried(hosts[1], hosts[0], [back]);
      assert.deepEqual(
        received,
        [Buffer.from(back)].map((frame) => new Uint8Array(frame)),
      );
    });

    test('an entry of its own sends broadcasts only where it says', async () => {
      const broadcast = 'ff:ff:ff:ff:ff:ff';
      hosts[1].fdb('append', broadcast, 'dst', HOSTS[0].underlay);
      assert.equal((await carried(hosts[1], hosts[0], [toward(broadcast)])).length, 1);
      assert.equal((await carried(hosts[1], hosts[0], [toward(UNKNOWN)], { expected: 0 })).length, 0);
      hosts[1].fdb('del', broadcast);
      assert.equal((await carried(hosts[1], hosts[0], [toward(broadcast)], { expected: 0 })).length, 0);
    });

    test('every default remote gets one copy', async () => {
      const second = '10.169.72.99';
      const third = '10.169.72.100';
      hosts[1].namespace.ip(`addr add ${second}/24 dev ${UNDERLAY}`, `addr add ${third}/24 dev ${UNDERLAY}`);
      for (const address of [second, third]) {
        hosts[0].namespace.ip(
          `neigh add ${address} lladdr ${HOSTS[1].underlayMac} dev ${UNDERLAY} nud permanent`,
        );
        hosts[0].fdb('append', ZERO, 'dst', address);
      }
      const wire = await hosts[1].agent.capture(UNDERLAY, { direction: 'in', udpPort: 8472 });
      const received = await carried(hosts[0], hosts[1], [toward(UNKNOWN)], { expected: 3 });
      const { frames } = await wire.stop({ frames: 3 });
      assert.equal(received.length, 3);
      // The kernel sends to the first remote last.
      const destinations = frames.map(({ data }) => data.subarray(30, 34).join('.'));
      assert.deepEqual(destinations, [second, third, HOSTS[1].underlay]);
    });
  });
}
