/** Sets for what a flow's frames have in common, and for the way between two devices of one host. */
import type { Case, OptionSet } from './differential-cases.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, type Inner, TAGS } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6, SECOND_LOCAL, SECOND_LOCAL6 } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, OTHER_MAC, UNKNOWN_MAC } from './differential-words.ts';
import { HOSTS, PORT, UNDERLAY } from './traffic-vtep.ts';

const TO = [BROADCAST, KNOWN_MAC, UNKNOWN_MAC];
const SECOND_DEVICE = 'vx1';

/** Frames without tags: the kernel's bypass mangles those of packet sockets, which is a set of its own. */
function untagged(dice: Dice, count: number, to: readonly string[]): Case[] {
  return Array.from({ length: count }, () => sent({ ...anyInner(dice, to), tags: [] }));
}

function bypass(v6: boolean, words: string): OptionSet {
  const own = v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay;
  const second = v6 ? SECOND_LOCAL6 : SECOND_LOCAL;
  const dice = new Dice(`bypass ${v6}`);
  return {
    name: `a remote that is this host, ${words}, IPv${v6 ? 6 : 4}`,
    branch: words,
    devices: [DEVICE, SECOND_DEVICE],
    setup: [
      ...device({ v6, words, learning: true }),
      `link add ${SECOND_DEVICE} address 02:bb:00:00:00:02 mtu ${v6 ? 1430 : 1450} type vxlan id 2 local ${own} dev ${UNDERLAY} dstport ${PORT} learning`,
      `link set ${SECOND_DEVICE} up`,
      fdb('append', KNOWN_MAC, `dst ${own} vni 2`),
      fdb('append', OTHER_MAC, `dst ${second} vni 2`),
      fdb('append', GROUP_MAC, `dst ${own} vni 7`),
    ],
    rounds: [
      { name: 'to the other device', cases: untagged(dice, 12, [KNOWN_MAC, OTHER_MAC]) },
      { name: 'to a VNI that nobody has', cases: untagged(dice, 4, [GROUP_MAC]) },
      {
        name: 'broadcast to both kinds of remote',
        before: [
          fdb('append', BROADCAST, `dst ${own} vni 2`),
          fdb('append', BROADCAST, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`),
        ],
        cases: untagged(dice, 6, [BROADCAST]),
      },
      {
        name: 'and the way back',
        before: [`fdb append ${UNKNOWN_MAC} dev ${SECOND_DEVICE} dst ${own} vni 1`],
        cases: untagged(dice, 6, [UNKNOWN_MAC]).map((entry) => ({ ...entry, at: SECOND_DEVICE })),
      },
    ],
  };
}

/** A tag within the frame, past the device's bypass. */
const taggedBypass: OptionSet = {
  ...bypass(false, 'localbypass'),
  name: 'tagged frames to a remote that is this host',
  rounds: [
    {
      name: 'to the other device',
      cases: Object.values(TAGS)
        .slice(1)
        .map((tags) => sent({ kind: 'IPv4', to: KNOWN_MAC, tags })),
    },
  ],
};

/** Frames of flows: the same flow both ways, in fragments, with other marks; all of one flow share a port. */
function flows(v6: boolean): OptionSet {
  const dice = new Dice(`flows ${v6}`);
  const cases: Case[] = [];
  const flowOf: number[] = [];
  const add = (flow: number, spec: Inner) => {
    flowOf.push(flow);
    cases.push(sent(spec));
  };
  for (let flow = 0; flow < 24; flow++) {
    const kind = dice.pick(['IPv4', 'IPv6'] as const);
    const [source, destination] =
      kind === 'IPv6' ? [`fd01::${flow + 1}`, 'fd01::aaaa'] : [`10.1.1.${flow + 1}`, '10.1.2.3'];
    const [sourcePort, port] = [dice.between(1024, 65535), dice.between(1, 1023)];
    const base: Inner = {
      kind,
      to: dice.pick(TO),
      source,
      destination,
      sourcePort,
      port,
      protocol: dice.pick(['udp', 'tcp']),
    };
    add(flow, base);
    add(flow, { ...base, to: dice.pick(TO), tos: dice.byte(), ttl: 9, payload: 300 });
    add(flow, { ...base, source: destination!, destination: source!, sourcePort: port, port: sourcePort });
  }
  for (let flow = 24; flow < 32; flow++) {
    const base: Inner = { kind: 'IPv4', to: BROADCAST, source: `10.1.3.${flow}`, destination: '10.1.2.3' };
    add(flow, { ...base, fragment: 0x2000, sourcePort: dice.between(1, 65535) });
    add(flow, { ...base, fragment: 0x2010, sourcePort: dice.between(1, 65535) });
    add(flow, { ...base, fragment: 0x0020, payload: 77 });
  }
  for (const [i, type] of [0x88b5, 0x8847, 0x9000].entries())
    for (const to of TO) add(32 + i, { kind: 'other', type, to, payload: dice.between(10, 90) });
  for (let i = 0; i < 4; i++) add(40, { kind: 'ARP', to: BROADCAST, source: `10.1.4.${i}` });
  for (let i = 0; i < 4; i++)
    add(41, {
      kind: 'IPv4',
      tags: [[0x8100, 100 + i]],
      source: '10.1.5.1',
      destination: '10.1.5.2',
      sourcePort: dice.between(1, 65535),
      to: BROADCAST,
    });
  for (let i = 0; i < 4; i++)
    add(42, {
      kind: 'IPv4',
      protocol: 'icmp',
      source: '10.1.6.1',
      destination: '10.1.6.2',
      sourcePort: dice.between(1, 65535),
      to: BROADCAST,
    });
  return {
    name: `flows and source ports, IPv${v6 ? 6 : 4} underlay`,
    branch: 'source port by flow',
    setup: device({ v6 }),
    rounds: [
      {
        name: 'flows',
        cases,
        judge: (wire) => {
          const ports = new Map<number, number>();
          const v4 = v6 ? 54 : 34;
          for (const [number, [packet]] of wire) {
            if (packet === undefined || number < 1) continue;
            const port = ((packet[v4] ?? 0) << 8) | (packet[v4 + 1] ?? 0);
            const flow = flowOf[number - 1]!;
            const known = ports.get(flow) ?? port;
            if (known !== port)
              return `flow ${flow} has the ports ${known} and ${port}: ${cases[number - 1]!.name}`;
            ports.set(flow, port);
          }
          const distinct = new Set(ports.values()).size;
          // Few flows meet: vxlane has some sixty ports open, whatever the range.
          return distinct < ports.size / 2 ? `${ports.size} flows share ${distinct} ports` : null;
        },
      },
    ],
  };
}

export const flowSets = (): OptionSet[] => [
  ...[false, true].flatMap((v6) => [flows(v6), bypass(v6, 'localbypass'), bypass(v6, 'nolocalbypass')]),
  taggedBypass,
];
