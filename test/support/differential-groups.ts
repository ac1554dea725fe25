/** Sets for entries that stand for many: nexthop groups, and the multicast group of a device. */
import type { Case, OptionSet } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, type Inner } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, OTHER_MAC, OWN_MAC } from './differential-words.ts';
import { network } from './traffic-packets.ts';

const FLOWS = 240;
const TOLERANCE = 0.5;

/** Frames of many flows, of each one twice. */
function flows(dice: Dice, to: string, count: number): Case[] {
  const specs = Array.from({ length: count }, (_, i): Inner => {
    const source = `10.2.${i >> 8}.${i & 255}`;
    return {
      kind: 'IPv4',
      to,
      source,
      destination: '10.3.0.1',
      sourcePort: dice.between(1, 65535),
      port: 80,
      payload: 20,
    };
  });
  return [...specs, ...specs].map((spec) => sent(spec, { choice: true }));
}

/** How the flows are spread, and that each keeps its member. */
function spread(weights: readonly number[], count: number) {
  return (wire: ReadonlyMap<number, Uint8Array[]>): string | null => {
    const member = new Map<number, string>();
    const shares = new Map<string, number>();
    for (const [number, [packet]] of wire) {
      if (number < 1 || packet === undefined) continue;
      const { at, type } = network(packet);
      const to = Buffer.from(
        type === 0x0800 ? packet.subarray(at + 16, at + 20) : packet.subarray(at + 24, at + 40),
      ).toString('hex');
      const flow = (number - 1) % count;
      if (member.has(flow) && member.get(flow) !== to) return `flow ${flow} goes two ways`;
      if (!member.has(flow)) shares.set(to, (shares.get(to) ?? 0) + 1);
      member.set(flow, to);
    }
    const seen = [...shares.values()].sort((a, b) => a - b);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const wanted = weights.map((weight) => (count * weight) / total).sort((a, b) => a - b);
    const off =
      seen.length !== wanted.length ||
      seen.some((share, i) => Math.abs(share - wanted[i]!) > wanted[i]! * TOLERANCE);
    return off ? `${seen.join(' and ')} of ${count} flows, ${wanted.join(' and ')} expected` : null;
  };
}

function nexthops(v6: boolean): OptionSet {
  const remotes = v6 ? REMOTES6 : REMOTES;
  const dice = new Dice(`nexthops ${v6}`);
  const ids = [1, 2, 3];
  return {
    name: `nexthop groups, IPv${v6 ? 6 : 4} underlay`,
    branch: 'nexthop groups',
    setup: [
      ...device({ v6 }),
      ...ids.map((id) => `${v6 ? '-6 ' : ''}nexthop add id ${id} via ${remotes[id]} fdb`),
      'nexthop add id 101 group 1 fdb',
      'nexthop add id 102 group 1,1/2,3 fdb',
      'nexthop add id 103 group 1/2/3 fdb',
      fdb('add', KNOWN_MAC, 'nhid 101'),
      fdb('add', OTHER_MAC, 'nhid 102'),
      fdb('add', GROUP_MAC, 'nhid 103'),
    ],
    teardown: [103, 102, 101, ...ids].map((id) => `nexthop del id ${id}`),
    rounds: [
      {
        name: 'one member',
        cases: Array.from({ length: 20 }, () => sent(anyInner(dice, [KNOWN_MAC, BROADCAST]))),
      },
      { name: 'two, one to three', cases: flows(dice, OTHER_MAC, FLOWS), judge: spread([1, 3], FLOWS) },
      { name: 'three alike', cases: flows(dice, GROUP_MAC, FLOWS), judge: spread([1, 1, 1], FLOWS) },
      {
        name: 'a member leaves',
        before: ['nexthop del id 3'],
        cases: flows(dice, GROUP_MAC, FLOWS),
        judge: spread([1, 1], FLOWS),
      },
      {
        name: 'refused requests',
        before: [
          fdb('add', '02:aa:00:00:00:10', 'nhid 1'),
          fdb('add', '02:aa:00:00:00:10', 'nhid 999'),
          fdb('append', KNOWN_MAC, `dst ${remotes[2]}`),
          fdb('append', KNOWN_MAC, 'nhid 102'),
          fdb('replace', BROADCAST, 'nhid 101'),
          fdb('replace', KNOWN_MAC, `dst ${remotes[2]}`),
          fdb('add', '02:aa:00:00:00:11', `dst ${remotes[2]}`),
          fdb('replace', '02:aa:00:00:00:11', 'nhid 101'),
        ],
        cases: [sent({ kind: 'IPv4', to: KNOWN_MAC }), sent({ kind: 'IPv4', to: '02:aa:00:00:00:11' })],
      },
      {
        name: 'replaced by another group',
        before: [fdb('replace', KNOWN_MAC, 'nhid 103')],
        cases: flows(dice, KNOWN_MAC, 40),
      },
      {
        name: 'a source that has a group is not learned',
        cases: [received({ kind: 'IPv4', to: OWN_MAC }, { v6 }, { source: KNOWN_MAC })],
      },
      {
        name: 'the group goes',
        before: ['nexthop del id 102', fdb('del', KNOWN_MAC)],
        cases: [sent({ kind: 'IPv4', to: KNOWN_MAC }), sent({ kind: 'IPv4', to: OTHER_MAC })],
      },
    ],
  };
}

function multicast(v6: boolean, words: string): OptionSet {
  const group = v6 ? 'ff05::100' : '239.1.1.1';
  const dice = new Dice(`multicast ${v6} ${words}`);
  return {
    name: `group ${group}${words && `, ${words}`}`,
    branch: 'multicast group',
    setup: device({ v6, remote: false, learning: true, words: `group ${group} ${words}` }),
    rounds: [
      { name: 'sent', cases: Array.from({ length: 24 }, () => sent(anyInner(dice, [BROADCAST, KNOWN_MAC]))) },
      {
        name: 'received by the group',
        cases: [0, 1].flatMap((sender) => [
          received({ kind: 'IPv4', to: OWN_MAC }, { v6, sender, to: group }),
          received({ kind: 'other', to: BROADCAST }, { v6, sender, to: group }),
        ]),
      },
      {
        name: 'answered',
        cases: [1, 2].map((number) => sent({ kind: 'IPv4', to: `02:00:00:00:00:0${number}` })),
      },
      {
        name: 'down and up',
        before: [`link set ${DEVICE} down`, `link set ${DEVICE} up`],
        cases: [received({ kind: 'IPv4', to: OWN_MAC }, { v6, to: group }), sent({ kind: 'ARP' })],
      },
      {
        name: 'another group',
        before: [`link set ${DEVICE} type vxlan group ${v6 ? 'ff05::200' : '239.1.1.2'}`],
        cases: [
          sent({ kind: 'ARP' }),
          received({ kind: 'IPv4', to: OWN_MAC }, { v6, to: v6 ? 'ff05::200' : '239.1.1.2' }),
          received({ kind: 'IPv4', to: OWN_MAC }, { v6, to: group }),
        ],
      },
    ],
  };
}

export const groupSets = (): OptionSet[] =>
  [false, true].flatMap((v6) => [
    nexthops(v6),
    multicast(v6, ''),
    multicast(v6, 'ttl 5'),
    multicast(v6, 'ttl inherit'),
  ]);
