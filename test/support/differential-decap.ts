/** Sets for the way in: which datagrams are delivered, with which bytes, and what they teach. */

import { type Case, type OptionSet, type Round, WIRE } from './differential-cases.ts';
import { Dice } from './differential-dice.ts';
import { anyInner, BROADCAST, build, CTAG, type Inner, nameOf, ZERO } from './differential-frames.ts';
import { type Outer, outer } from './differential-outer.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, OTHER_MAC, OWN_MAC } from './differential-words.ts';

const MARKS = ['Not-ECT', 'ECT(1)', 'ECT(0)', 'CE'];
const FLAG_I = 0x08000000;
const TO = [OWN_MAC, BROADCAST, GROUP_MAC, KNOWN_MAC];
const EPHEMERAL_LOW = 32768;

const labelOf = (fields: Outer) =>
  Object.entries(fields)
    .filter(([key]) => key !== 'v6')
    .map(([key, value]) => `${key} ${key === 'flags' ? `0x${(value as number).toString(16)}` : value}`)
    .join(' ');

/** A frame that comes in by the tunnel; `source` takes the place of its numbered address. */
export function received(
  spec: Inner,
  fields: Outer = {},
  more: Partial<Case> & { source?: string } = {},
): Case {
  const { source, ...rest } = more;
  return {
    name: `${nameOf(spec)}${source === undefined ? '' : ` from ${source}`} in ${labelOf(fields) || 'a plain datagram'}`,
    at: WIRE,
    frames: (number) => outer(fields, build(spec, number, source)),
    ...rest,
  };
}

/** All sixteen pairs of marks around each kind of frame. */
function congestion(v6: boolean): Round {
  const inners: Inner[] = [
    { kind: 'IPv4' },
    { kind: 'IPv6' },
    { kind: 'IPv4', tags: [[CTAG, 5]] },
    { kind: 'ARP' },
    { kind: 'other' },
  ];
  const cases = inners.flatMap((inner) =>
    MARKS.flatMap((inside, i) =>
      MARKS.map((outside, o) => {
        const entry = received({ ...inner, to: OWN_MAC, tos: 0xb8 | i }, { v6, tos: 0x48 | o });
        const name = `${inside} ${inner.kind}${inner.tags ? ' tagged' : ''} in ${outside}`;
        return { ...entry, name, branch: 'ECN, received' };
      }),
    ),
  );
  return { name: 'congestion marks', cases };
}

function reservedBits(v6: boolean): Round {
  const branch = 'reserved bits';
  const inner: Inner = { kind: 'IPv4', to: OWN_MAC };
  const cases: Case[] = [];
  for (let bit = 0; bit < 32; bit++)
    if (1 << bit !== FLAG_I)
      cases.push(received(inner, { v6, flags: (FLAG_I | (1 << bit)) >>> 0 }, { branch }));
  for (let bit = 0; bit < 8; bit++) cases.push(received(inner, { v6, low: 1 << bit }, { branch }));
  for (const flags of [0, 0xf7ffffff, 0x00000008, 0xffffffff])
    cases.push(received(inner, { v6, flags }, { branch }));
  return { name: 'header bits', cases };
}

function lengths(v6: boolean): Round[] {
  const branch = 'truncated, received';
  return (['IPv4', 'IPv6', 'other', 'ARP'] as const).map((kind) => ({
    name: `${kind} cut short`,
    cases: Array.from({ length: 63 }, (_, cut) => received({ kind, to: OWN_MAC }, { v6, cut }, { branch })),
  }));
}

function outerOddities(v6: boolean): Round {
  const branch = 'outer packet';
  const inner: Inner = { kind: 'IPv4', to: OWN_MAC, payload: 700 };
  const list: Outer[] = [
    { spoil: 0x0100 },
    { noChecksum: true },
    { sourcePort: 0 },
    { sourcePort: 8472 },
    { ttl: 1 },
    { ttl: 255 },
    { port: 4789 },
    { fragmentBytes: 256 },
    { fragmentBytes: 512, backward: true },
    { fragmentBytes: 64 },
    { sender: 3 },
    { vni: 0 },
    { vni: 2 },
    { vni: 0x10000 },
    { vni: 0xffffff },
    ...(v6 ? [{ from: 'fd69::77' }] : [{ from: '10.169.72.77' }, { options: new Uint8Array(4).fill(1) }]),
  ];
  const cases = list.map((fields) => received(inner, { v6, ...fields }, { branch }));
  for (const payload of [1380, 1400, 1422, 1423, 1450, 2000, 4000, 8900])
    cases.push(received({ ...inner, payload }, { v6 }, { branch: 'inner length' }));
  return { name: 'outer packets', cases };
}

function addresses(v6: boolean): Round {
  const branch = 'source address';
  const sources = [OWN_MAC, ZERO, BROADCAST, GROUP_MAC, '33:33:00:00:00:01', '03:00:00:00:00:01'];
  return {
    name: 'source addresses',
    cases: sources.map((source) => received({ kind: 'IPv4', to: OWN_MAC }, { v6 }, { branch, source })),
  };
}

function random(v6: boolean, dice: Dice, count: number): Round {
  const cases = Array.from({ length: count }, () => {
    const fields: Outer = {
      v6,
      sender: dice.between(0, 3),
      tos: dice.byte(),
      ttl: dice.between(1, 255),
      sourcePort: dice.between(EPHEMERAL_LOW, 0xffff),
    };
    if (dice.chance(10)) fields.flags = (FLAG_I | (1 << dice.between(0, 31))) >>> 0;
    if (dice.chance(5)) fields.vni = dice.between(0, 0xffffff);
    if (dice.chance(5)) fields.cut = dice.between(0, 80);
    if (dice.chance(5)) fields.noChecksum = true;
    return received(anyInner(dice, TO), fields, { branch: 'any datagram' });
  });
  return { name: 'any datagrams', cases };
}

function receiveSet(v6: boolean, learning: boolean, words = ''): OptionSet {
  const name = `received over IPv${v6 ? 6 : 4}, ${learning ? 'learning' : 'not learning'}${words && `, ${words}`}`;
  const dice = new Dice(name);
  return {
    name,
    branch: `received over IPv${v6 ? 6 : 4}`,
    setup: device({ v6, learning, words }),
    rounds: [
      congestion(v6),
      reservedBits(v6),
      ...lengths(v6),
      outerOddities(v6),
      addresses(v6),
      random(v6, dice, 60),
    ],
  };
}

/** Who sends what from which address, onto an entry of every kind. */
function moves(v6: boolean): OptionSet {
  const remotes = v6 ? REMOTES6 : REMOTES;
  const any = v6 ? '::' : '0.0.0.0';
  const MOVER = '02:aa:00:00:00:77';
  // With a TTL of its own from each sender, so that frames of one burst are not merged: they are compared one by one.
  const from = (sender: number, more: Partial<Inner> = {}, source = MOVER, fields: Outer = {}) =>
    received({ kind: 'IPv4', to: OWN_MAC, ttl: 60 + sender, ...more }, { v6, sender, ...fields }, { source });
  const back = { name: 'answered', frames: (number: number) => [build({ kind: 'IPv4', to: MOVER }, number)] };
  // Comes out behind a frame that does not: what that one taught is known by then.
  const last = from(0, { to: BROADCAST }, '02:aa:00:00:00:88');
  const states = [
    '',
    'permanent',
    'static',
    'dynamic',
    'dynamic extern_learn',
    'extern_learn',
    'static router',
    'dynamic router',
    'dynamic port 9000 vni 55',
    'dynamic via ens224',
    'static via ens224',
    'via ens224',
    'dynamic sticky',
  ];
  const rounds: Round[] = [
    { name: 'new', cases: [from(0)] },
    { name: 'the same again', cases: [from(0), back] },
    { name: 'moved', cases: [from(1), back] },
    { name: 'moved to and fro in one burst', cases: [from(2), from(3), from(0), from(2), last, back] },
    {
      name: 'a frame that is dropped for its marks teaches',
      cases: [from(3, { tos: 0 }, MOVER, { tos: 3 }), last, back],
    },
    { name: 'a frame that is cut short teaches', cases: [from(1, { cut: 30 }), last, back] },
    { name: 'a frame with reserved bits does not', cases: [from(2, {}, MOVER, { low: 1 }), last, back] },
    { name: 'nor one of another VNI', cases: [from(2, {}, MOVER, { vni: 9 }), last, back] },
    { name: 'removed', before: [fdb('del', MOVER)], cases: [back] },
    ...states.flatMap((state): Round[] => [
      {
        name: `known as "${state}"`,
        before: [fdb('replace', MOVER, `dst ${remotes[1]} ${state}`)],
        cases: [from(1), back],
      },
      { name: `known as "${state}", from elsewhere`, cases: [from(2), last, back] },
      { name: `known as "${state}", forgotten`, before: [fdb('del', MOVER)], cases: [] },
    ]),
    {
      name: 'not to be tunnelled to',
      before: [fdb('add', MOVER, `dst ${any}`)],
      cases: [from(2), last, back],
    },
    {
      name: 'not to be tunnelled to, dynamic',
      before: [fdb('del', MOVER), fdb('add', MOVER, `dst ${any} dynamic`)],
      cases: [from(2), last, back],
    },
    {
      name: 'learning off',
      before: [`link set ${DEVICE} type vxlan nolearning`],
      cases: [from(3), from(0, {}, OTHER_MAC), back],
    },
    {
      name: 'learning on',
      before: [`link set ${DEVICE} type vxlan learning`],
      cases: [from(3), from(0, {}, OTHER_MAC), back],
    },
    {
      name: 'flushed by down and up',
      before: [`link set ${DEVICE} down`, `link set ${DEVICE} up`],
      cases: [back],
    },
    {
      name: 'a multicast source is refused',
      cases: [from(0, {}, GROUP_MAC), from(0, {}, ZERO), from(0, {}, OWN_MAC)],
    },
  ];
  return {
    name: `learning and moves over IPv${v6 ? 6 : 4}`,
    branch: 'learning and moves',
    setup: device({ v6, learning: true, remote: false }),
    rounds,
  };
}

function limited(v6: boolean): OptionSet {
  const sources = Array.from({ length: 8 }, (_, i) => `02:aa:00:00:01:0${i}`);
  return {
    name: `maxaddress over IPv${v6 ? 6 : 4}`,
    branch: 'maxaddress',
    setup: device({ v6, learning: true, words: 'maxaddress 4' }),
    rounds: [
      {
        name: 'eight senders',
        cases: sources.map((source, i) =>
          received({ kind: 'IPv4', to: OWN_MAC }, { v6, sender: i & 3 }, { source }),
        ),
      },
      {
        name: 'commands beyond the limit',
        before: [
          fdb('add', KNOWN_MAC, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`),
          fdb('append', ZERO, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`),
          fdb('del', sources[0]!),
          fdb('add', KNOWN_MAC, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`),
          fdb('add', OTHER_MAC, `dst ${(v6 ? REMOTES6 : REMOTES)[1]}`),
        ],
        cases: [received({ kind: 'IPv4', to: OWN_MAC }, { v6, sender: 2 }, { source: sources[0]! })],
      },
    ],
  };
}

export const decapSets = (): OptionSet[] => [
  ...[false, true].flatMap((v6) => [receiveSet(v6, false), receiveSet(v6, true), moves(v6), limited(v6)]),
  receiveSet(true, false, 'udp6zerocsumrx'),
];
