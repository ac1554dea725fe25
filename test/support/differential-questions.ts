/** ARP requests and neighbour solicitations, right and wrong, and what is neither. */
import type { Case } from './differential-cases.ts';
import { BROADCAST, CTAG, ETHERTYPE } from './differential-frames.ts';
import { KNOWN_MAC } from './differential-words.ts';
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
export const FAR = '10.1.0.2';
const NEAR6 = 'fd01::1';
export const FAR6 = 'fd01::2';
const ICMPV6 = 58;
/** A neighbour in each state that the kernel's table can be given. */
export const STATES = ['permanent', 'noarp', 'reachable', 'stale', 'none'] as const;

interface Question {
  from?: string;
  to?: string;
  ethernetTo?: string;
  /** Bytes of the ARP header and payload, changed before sending. */
  change?(body: Uint8Array): Uint8Array;
  tags?: readonly (readonly [number, number])[];
}

export function asked(name: string, question: Question = {}): Case {
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

export const questions: readonly Case[] = [
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

export function solicited(name: string, fields: Solicitation = {}): Case {
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

export const solicitations: readonly Case[] = [
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
