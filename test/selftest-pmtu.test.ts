/** Linux's selftest "pmtu", its bridged VXLAN cases, from their description: a host behind the bridge is told. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { PATH_KNOWN_MILLISECONDS } from '../assembly/layout.ts';
import { ethernet, ipv4, ipv6 } from './support/frames.ts';
import { udp } from './support/messages.ts';
import { parseFrame } from './support/parse.ts';
import { type Place, twice } from './support/selftest.ts';
import { BridgedHost, LEFT_MAC } from './support/selftest-bridge.ts';
import { HERE, HERE6, PEERS, PEERS6 } from './support/selftest-underlay.ts';

const FAR = '02:00:00:00:0b:01';
const UNDERLAY_MTU = 1400;
const UNREACHABLE = { type: 3, code: 4 };
const TOO_BIG = { type: 2, code: 0 };

const OUTSIDE = [
  { name: 'IPv4', here: HERE, there: PEERS[0], overhead: 50, far: '198.51.100.2', prefix: 24 },
  { name: 'IPv6', here: HERE6, there: PEERS6[0], overhead: 70, far: '2001:db8:51::2', prefix: 64 },
] as const;
const INSIDE = ['IPv4', 'IPv6'] as const;

/** A frame whose IP packet is this long, from the left host to one beyond the tunnel. */
function sized(inside: (typeof INSIDE)[number], bytes: number, dontFragment = true): Uint8Array {
  const fields = { destination: FAR, source: LEFT_MAC };
  const message = (header: number) =>
    udp({ sourcePort: 7000, destinationPort: 9 }, new Uint8Array(bytes - header - 8));
  return inside === 'IPv4'
    ? ethernet(fields, ipv4({ source: '10.0.0.1', destination: '10.0.0.3', dontFragment }, message(20)))
    : ethernet(fields, ipv6({ source: 'fd00::1', destination: 'fd00::3' }, message(40)));
}

/** MTUs that the left host is told of while it sends one frame. */
async function told(host: BridgedHost, frame: Uint8Array, expected: number): Promise<number[]> {
  const frames = await host.atLeft(() => host.fromLeft([frame]), expected);
  const replies = frames.filter((reply) => {
    const { icmp, ipv4: v4 } = parseFrame(reply);
    const wanted = v4 ? UNREACHABLE : TOO_BIG;
    return icmp !== undefined && icmp.type === wanted.type && icmp.code === wanted.code;
  });
  for (const reply of replies) {
    // The packet in question comes back as evidence.
    const { payload, ethernet: header } = parseFrame(reply);
    assert.equal(header.destination, LEFT_MAC);
    host.place.note('reply', Buffer.from(payload.subarray(0, 64)).toString('hex'));
  }
  const mtus = replies.map((reply) => {
    const { transport } = parseFrame(reply);
    const view = new DataView(reply.buffer, reply.byteOffset);
    return parseFrame(reply).ipv4 ? view.getUint16(transport + 6) : view.getUint32(transport + 4);
  });
  host.place.note('told', mtus);
  return mtus;
}

function entry(place: Place, dst: string): void {
  place.ok(`bridge fdb add ${FAR} dev vx0 dst ${dst} self master static`);
}

twice(
  'bridged PMTU',
  OUTSIDE.flatMap((outside) =>
    INSIDE.flatMap((inside) => [
      {
        name: `${inside} over ${outside.name}: what the route's MTU can't hold is answered`,
        async steps(place: Place) {
          const { here, there, overhead } = outside;
          const host = await BridgedHost.make(place, `local ${here}`);
          place.ok(`ip route add ${there} dev v0 mtu ${UNDERLAY_MTU}`);
          entry(place, there);
          const fits = UNDERLAY_MTU - overhead;
          assert.deepEqual(await told(host, sized(inside, fits), 0), []);
          assert.deepEqual(await told(host, sized(inside, fits + 1), 1), [fits]);
          assert.deepEqual(await told(host, sized(inside, 1500), 1), [fits]);
          if (inside === 'IPv4') assert.deepEqual(await told(host, sized(inside, 1500, false), 0), []);
        },
      },
      {
        name: `${inside} over ${outside.name}: a router's narrow link beyond is heard of, then answered`,
        async steps(place: Place) {
          const { here, there, overhead, far, prefix } = outside;
          const host = await BridgedHost.make(
            place,
            `local ${here}${outside.name === 'IPv4' ? ' df set' : ''}`,
          );
          const { peer } = host.net;
          const beyond = place.neighbour('beyond');
          const gateway = far.replace(/2$/, '1');
          peer.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
          peer.ip(
            `link add q0 mtu ${UNDERLAY_MTU} type veth peer name q1 mtu ${UNDERLAY_MTU} netns ${beyond.name}`,
            `addr add ${gateway}/${prefix} dev q0${prefix === 64 ? ' nodad' : ''}`,
            'link set q0 up',
          );
          beyond.ip(
            `addr add ${far}/${prefix} dev q1${prefix === 64 ? ' nodad' : ''}`,
            'link set q1 up',
            `route add default via ${gateway}`,
          );
          place.ok(`ip route add ${far} via ${there}`);
          entry(place, far);
          const fits = UNDERLAY_MTU - overhead;
          // The first goes out and teaches the host; from then on the sender is told. vxlane asks for what the host
          // has learned twice a second.
          await told(host, sized(inside, fits + 1), 0);
          await pause(PATH_KNOWN_MILLISECONDS + 100);
          assert.deepEqual(await told(host, sized(inside, fits + 1), 1), [fits]);
          assert.deepEqual(await told(host, sized(inside, fits), 0), []);
        },
      },
    ]),
  ),
);
