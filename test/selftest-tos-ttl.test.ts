/** Linux's selftest "l2 tos ttl inherit", from its description: outer TOS and TTL, fixed and inherited. */
import assert from 'node:assert/strict';
import { arp, ethernet, ipv4, ipv6, type Packet, vlan } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { twice } from './support/selftest.ts';
import { HERE, HERE6, PEERS, PEERS6, Underlay } from './support/selftest-underlay.ts';

const NEITHER = { tos: 0, ttl: 64 };
/** ECN bits are zero, so that the TOS is copied as it is. */
const INNER = { tos: 0x94, ttl: 77 };
const FIXED = { tos: 0x28, ttl: 33 };

const INSIDE: readonly { name: string; packet: Packet; inherits: typeof INNER }[] = [
  {
    name: 'IPv4',
    packet: ipv4({ tos: INNER.tos, ttl: INNER.ttl }, udp({}, new Uint8Array(20))),
    inherits: INNER,
  },
  {
    name: 'IPv6',
    packet: ipv6({ trafficClass: INNER.tos, hopLimit: INNER.ttl }, udp({}, new Uint8Array(20))),
    inherits: INNER,
  },
  { name: 'ARP', packet: arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.2' }), inherits: NEITHER },
];

const OUTSIDE = [
  { name: 'IPv4', words: `local ${HERE} remote ${PEERS[0]}` },
  { name: 'IPv6', words: `local ${HERE6} remote ${PEERS6[0]}` },
];

twice(
  'tos and ttl',
  OUTSIDE.flatMap((outside) =>
    (['inherited', 'fixed'] as const).map((how) => ({
      name: `${how}, over ${outside.name}, with and without a VLAN tag`,
      async steps(place) {
        const net = await Underlay.join(place);
        const words =
          how === 'inherited'
            ? 'tos inherit ttl inherit'
            : `tos 0x${FIXED.tos.toString(16)} ttl ${FIXED.ttl}`;
        place.ok(
          `ip link add vx0 type vxlan id 100 ${outside.words} dstport 4789 ${words}`,
          'ip link set vx0 up',
        );
        for (const tagged of [false, true])
          for (const { name, packet, inherits } of INSIDE) {
            const inner = tagged ? vlan({ id: 10 }, packet) : packet;
            const frame = ethernet({ destination: '02:00:00:00:00:09', source: '02:00:00:00:00:01' }, inner);
            const sent = await net.sent('vx0', [frame]);
            const seen = sent.map(({ tos, ttl }) => ({ tos, ttl }));
            place.note(`${name}${tagged ? ' tagged' : ''}`, seen);
            assert.deepEqual(
              seen,
              [how === 'inherited' ? inherits : FIXED],
              `${name} ${tagged ? 'tagged' : ''}`,
            );
          }
      },
    })),
  ),
);
