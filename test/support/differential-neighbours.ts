/** Sets for what needs the neighbour table: ARP and ND answered by the device, and frames to a router cut short. */
import type { Case, OptionSet } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, build, CTAG, type Inner, ZERO } from './differential-frames.ts';
import { asked, FAR, FAR6, questions, STATES, solicitations, solicited } from './differential-questions.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, KNOWN_MAC, OTHER_MAC, OWN_MAC, UNKNOWN_MAC } from './differential-words.ts';

const ROUTER_MAC = '02:aa:00:00:00:fe';

const neighbour = (address: string, mac: string, state = 'permanent') =>
  `neigh replace ${address} lladdr ${mac} dev ${DEVICE} nud ${state}`;

/** No address and no talk of its own: only so can neighbours be named on it. */
const ipv6On = `sysctl net/ipv6/conf/${DEVICE}/disable_ipv6=0`;

function proxy(v6: boolean, words: string): OptionSet {
  const remotes = v6 ? REMOTES6 : REMOTES;
  const dice = new Dice(`proxy ${v6}`);
  return {
    name: `${words}, IPv${v6 ? 6 : 4} underlay`,
    branch: 'proxy, other frames',
    setup: [
      ...device({ v6, words, learning: true }),
      ipv6On,
      fdb('add', KNOWN_MAC, `dst ${remotes[1]}`),
      fdb('add', ROUTER_MAC, `dst ${remotes[2]} router`),
      fdb('add', OTHER_MAC, `dst ${v6 ? '::' : '0.0.0.0'}`),
      neighbour(FAR, KNOWN_MAC),
      neighbour(FAR6, KNOWN_MAC),
      neighbour('fd01::fe', ROUTER_MAC),
      neighbour('10.1.0.50', OTHER_MAC),
      neighbour('fd01::50', OTHER_MAC),
      ...STATES.flatMap((state, i) =>
        state === 'none'
          ? []
          : [neighbour(`10.1.0.${10 + i}`, UNKNOWN_MAC, state), neighbour(`fd01::1${i}`, UNKNOWN_MAC, state)],
      ),
    ],
    rounds: [
      { name: 'ARP', cases: questions },
      { name: 'ND', cases: solicitations },
      {
        name: 'other frames',
        cases: Array.from({ length: 20 }, () =>
          sent(notArp(anyInner(dice, [BROADCAST, KNOWN_MAC, OTHER_MAC]))),
        ),
      },
      {
        name: 'neighbours that change',
        before: [
          `neigh del ${FAR} dev ${DEVICE}`,
          neighbour('10.1.0.99', UNKNOWN_MAC),
          neighbour('fd01::99', UNKNOWN_MAC),
          neighbour(FAR6, OTHER_MAC),
        ],
        cases: [
          asked('request for one that is gone'),
          asked('request for a new one', { to: '10.1.0.99' }),
          solicited('solicitation for a new one', { target: 'fd01::99' }),
          solicited('solicitation for one that is now not tunnelled to'),
        ],
      },
      {
        name: 'received',
        cases: [
          received({ kind: 'ARP', to: OWN_MAC }, { v6 }),
          received({ kind: 'IPv4', to: OWN_MAC }, { v6 }),
        ],
      },
    ],
  };
}

const notArp = (spec: Inner): Inner => (spec.kind === 'ARP' ? { ...spec, kind: 'other' } : spec);

function shortCircuit(v6: boolean, words: string): OptionSet {
  const remotes = v6 ? REMOTES6 : REMOTES;
  const any = v6 ? '::' : '0.0.0.0';
  const dice = new Dice(`rsc ${v6} ${words}`);
  const to = (destination: string, more: Partial<Inner> = {}): Case =>
    sent({
      kind: destination.includes(':') ? 'IPv6' : 'IPv4',
      to: ROUTER_MAC,
      destination,
      ttl: 2,
      payload: 60,
      ...more,
    });
  const local = [
    to(FAR),
    to(FAR6),
    to('10.1.0.60'),
    to('fd01::60'),
    to('10.1.0.99'),
    to('fd01::99'),
    to('10.1.0.70'),
    to('10.1.0.13'),
    to(FAR, { to: KNOWN_MAC }),
    to(FAR, { tags: [[CTAG, 7]] }),
    to(FAR, { ttl: 1 }),
    to(FAR, { cut: 30 }),
    to(FAR6, { cut: 50 }),
    sent({ kind: 'ARP', to: ROUTER_MAC }),
    sent({ kind: 'other', to: ROUTER_MAC }),
    {
      name: 'to a group by the router',
      frames: (number: number) => [
        build({ kind: 'IPv4', to: '01:00:5e:00:00:fe', destination: FAR }, number),
      ],
    },
  ];
  return {
    name: `${words}, IPv${v6 ? 6 : 4} underlay`,
    branch: 'rsc',
    setup: [
      ...device({ v6, words }),
      ipv6On,
      fdb('add', ROUTER_MAC, `dst ${remotes[3]} router`),
      fdb('add', KNOWN_MAC, `dst ${remotes[1]}`),
      fdb('add', OTHER_MAC, `dst ${any}`),
      neighbour(FAR, KNOWN_MAC),
      neighbour(FAR6, KNOWN_MAC),
      neighbour('10.1.0.13', KNOWN_MAC, 'stale'),
      neighbour('10.1.0.60', OTHER_MAC),
      neighbour('fd01::60', OTHER_MAC),
      neighbour('10.1.0.70', ROUTER_MAC),
    ],
    rounds: [
      { name: 'to the router', cases: local },
      {
        name: 'any frames',
        cases: Array.from({ length: 20 }, () => sent(anyInner(dice, [ROUTER_MAC, KNOWN_MAC, BROADCAST]))),
      },
    ],
  };
}

function misses(v6: boolean): OptionSet {
  const words = 'l2miss';
  const dice = new Dice(`misses ${v6}`);
  return {
    name: `${words}, IPv${v6 ? 6 : 4} underlay`,
    branch: 'l2miss',
    setup: [
      ...device({ v6, words, remote: false }),
      fdb('add', KNOWN_MAC, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`),
    ],
    rounds: [
      {
        name: 'no default entry',
        cases: [UNKNOWN_MAC, KNOWN_MAC, BROADCAST, '01:00:5e:00:00:01', OTHER_MAC, ZERO].map((to) =>
          sent({ kind: dice.pick(['IPv4', 'other'] as const), to }),
        ),
      },
      {
        name: 'with one',
        before: [fdb('append', ZERO, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`)],
        cases: [UNKNOWN_MAC, BROADCAST].map((to) => sent({ kind: 'IPv4', to })),
      },
      { name: 'received', cases: [received({ kind: 'IPv4', to: OWN_MAC }, { v6 })] },
    ],
  };
}

export const neighbourSets = (): OptionSet[] =>
  [false, true].flatMap((v6) => [
    proxy(v6, 'proxy'),
    proxy(v6, 'proxy l2miss l3miss'),
    shortCircuit(v6, 'rsc'),
    shortCircuit(v6, 'rsc l2miss l3miss'),
    misses(v6),
  ]);
