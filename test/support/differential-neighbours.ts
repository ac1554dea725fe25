/** Sets for what needs the neighbour table: ARP and ND answered by the device, and frames to a router cut short. */
import type { Case, OptionSet } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, build, CTAG, ETHERTYPE, type Inner, ZERO } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, KNOWN_MAC, OTHER_MAC, OWN_MAC, UNKNOWN_MAC } from './differential-words.ts';
import {
  arp,
  ethernet,
  ip,
  ipv6,
  join,
  numberedMac,
  sealed,
  solicitation,
  u16,
  u32,
} from './traffic-frames.ts';

const NEAR = '10.1.0.1';
const FAR = '10.1.0.2';
const NEAR6 = 'fd01::1';
const FAR6 = 'fd01::2';
const ICMPV6 = 58;
const ROUTER_MAC = '02:aa:00:00:00:fe';
/** A neighbour in each state that the kernel's table can be given. */
const STATES = ['permanent', 'noarp', 'reachable', 'stale', 'none'] as const;

const neighbour = (address: string, mac: string, state = 'permanent') =>
  `neigh replace ${address} lladdr ${mac} dev ${DEVICE} nud ${state}`;

interface Question {
  from?: string;
  to?: string;
  ethernetTo?: string;
  /** Bytes of the ARP header and payload, changed before sending. */
  change?(body: Uint8Array): Uint8Array;
  tags?: readonly (readonly [number, number])[];
}

function asked(name: string, question: Question = {}): Case {
  const { from = NEAR, to = FAR, ethernetTo = BROADCAST, change = (body) => body, tags = [] } = question;
  return {
    name: `ARP ${name}`,
    branch: 'proxy, ARP',
    frames: (number) => {
      const source = numberedMac(number);
      return [
        ethernet({ to: ethernetTo, from: source, type: ETHERTYPE.arp, tags }, change(arp(source, from, to))),
      ];
    },
  };
}

const put = (at: number, bytes: readonly number[]) => (body: Uint8Array) => {
  const copy = body.slice();
  copy.set(bytes, at);
  return copy;
};

const questions: readonly Case[] = [
  asked('request'),
  asked('request to the MAC itself', { ethernetTo: KNOWN_MAC }),
  asked('request from nobody (a probe)', { from: '0.0.0.0' }),
  asked('gratuitous', { from: FAR, to: FAR }),
  asked('request for an unknown address', { to: '10.1.0.99' }),
  asked('request for a loopback address', { to: '127.0.0.1' }),
  asked('request for a group', { to: '224.0.0.1' }),
  asked('request for a MAC that is not tunnelled to', { to: '10.1.0.50' }),
  asked('reply', { change: put(6, u16(2)) }),
  asked('hardware type 6', { change: put(0, u16(6)) }),
  asked('hardware type 7', { change: put(0, u16(7)) }),
  asked('protocol 0x86dd', { change: put(2, u16(0x86dd)) }),
  asked('hardware length 8', { change: put(4, [8]) }),
  asked('protocol length 16', { change: put(5, [16]) }),
  asked('padded to 60 bytes', { change: (body) => join(body, new Uint8Array(18)) }),
  asked('tagged', { tags: [[CTAG, 5]] }),
  ...[0, 7, 8, 20, 27].map((bytes) =>
    asked(`cut off after ${bytes} bytes`, { change: (body) => body.slice(0, bytes) }),
  ),
  ...STATES.map((state, i) => asked(`request for a neighbour that is ${state}`, { to: `10.1.0.${10 + i}` })),
];

interface Solicitation {
  from?: string;
  to?: string;
  target?: string;
  ethernetTo?: string;
  hopLimit?: number;
  /** The ICMPv6 message in place of the ordinary one. */
  message?(source: string): Uint8Array;
  tags?: readonly (readonly [number, number])[];
}

const solicitedNode = 'ff02::1:ff00:2';

function solicited(name: string, fields: Solicitation = {}): Case {
  const { from = NEAR6, to = solicitedNode, target = FAR6, hopLimit = 255, tags = [] } = fields;
  return {
    name: `ND ${name}`,
    branch: 'proxy, ND',
    frames: (number) => {
      const source = numberedMac(number);
      const message = fields.message?.(source) ?? solicitation(source, from, to, target);
      const packet = ipv6({ from, to, next: ICMPV6, hopLimit }, message);
      const type = ETHERTYPE.ipv6;
      return [ethernet({ to: fields.ethernetTo ?? '33:33:ff:00:00:02', from: source, type, tags }, packet)];
    },
  };
}

/** A solicitation without options, or with others. */
const bareSolicitation = (
  from: string,
  to: string,
  target: string,
  options: readonly number[] = [],
  code = 0,
) => sealed(join([135, code, 0, 0], u32(0), ip(target), options), 2, from, to, ICMPV6);

const solicitations: readonly Case[] = [
  solicited('solicitation'),
  solicited('solicitation to the address itself', { to: FAR6, ethernetTo: KNOWN_MAC }),
  solicited('solicitation from nobody (DAD)', {
    from: '::',
    message: () => bareSolicitation('::', solicitedNode, FAR6),
  }),
  solicited('solicitation without an option', {
    message: () => bareSolicitation(NEAR6, solicitedNode, FAR6),
  }),
  solicited('solicitation with another option first', {
    message: (source) =>
      bareSolicitation(NEAR6, solicitedNode, FAR6, [
        14,
        1,
        1,
        2,
        3,
        4,
        5,
        6,
        1,
        1,
        ...source.split(':').map((part) => Number.parseInt(part, 16)),
      ]),
  }),
  solicited('solicitation with an option of length 0', {
    message: () => bareSolicitation(NEAR6, solicitedNode, FAR6, [14, 0, 1, 2, 3, 4, 5, 6]),
  }),
  solicited('solicitation with an option that is cut off', {
    message: () => bareSolicitation(NEAR6, solicitedNode, FAR6, [1, 1, 2, 3]),
  }),
  solicited('solicitation of code 1', { message: () => bareSolicitation(NEAR6, solicitedNode, FAR6, [], 1) }),
  solicited('solicitation with hop limit 64', { hopLimit: 64 }),
  solicited('solicitation for an unknown address', { target: 'fd01::99' }),
  solicited('solicitation for a group', { target: 'ff02::1' }),
  solicited('solicitation for loopback', { to: '::1', target: FAR6 }),
  solicited('solicitation for a router', { target: 'fd01::fe' }),
  solicited('solicitation for a MAC that is not tunnelled to', { target: 'fd01::50' }),
  solicited('solicitation, tagged', { tags: [[CTAG, 5]] }),
  solicited('advertisement', {
    message: () => sealed(join([136, 0, 0, 0], u32(0), ip(FAR6)), 2, NEAR6, solicitedNode, ICMPV6),
  }),
  solicited('solicitation cut off', {
    message: () =>
      sealed(Uint8Array.from([135, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]), 2, NEAR6, solicitedNode, ICMPV6),
  }),
  ...STATES.map((state, i) =>
    solicited(`solicitation for a neighbour that is ${state}`, { target: `fd01::1${i}` }),
  ),
];

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
