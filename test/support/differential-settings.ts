/** Sets for addresses, routes and options that change under way, and for two devices on one host. */

import type { Case, OptionSet, Round } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, build, type Inner } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6, SECOND_LOCAL, SECOND_LOCAL6 } from './differential-twins.ts';
import { device, fdb, KNOWN_MAC, OWN_MAC, UNKNOWN_MAC } from './differential-words.ts';
import { HOSTS } from './traffic-vtep.ts';

const TO = [BROADCAST, KNOWN_MAC, UNKNOWN_MAC];
const FLAG_I = 0x08000000;

function some(dice: Dice, count: number, to: readonly string[] = TO): Case[] {
  return Array.from({ length: count }, () => sent(anyInner(dice, to)));
}

function changes(v6: boolean): OptionSet {
  const dice = new Dice(`changes ${v6}`);
  const [, b, c] = v6 ? REMOTES6 : REMOTES;
  const lines = [
    'ttl 9',
    'tos 0x20',
    // The kernel's IPv6 keeps a cached source address: that is a set of its own.
    ...(v6 ? [] : [`local ${SECOND_LOCAL}`]),
    `remote ${b}`,
    'tos inherit',
    'ttl 0',
    'ageing 17',
    `remote ${c}`,
    ...(v6 ? ['flowlabel 0x12345'] : ['df set', 'df inherit', 'df unset']),
    ...(v6 ? [] : [`local ${HOSTS[0].underlay}`]),
    'tos 0 ttl 200',
  ];
  return {
    name: `options changed under way, IPv${v6 ? 6 : 4} underlay`,
    branch: 'options changed under way',
    setup: [...device({ v6 }), fdb('append', KNOWN_MAC, `dst ${b}`)],
    rounds: lines.map((line): Round => {
      return { name: line, before: [`link set ${DEVICE} type vxlan ${line}`], cases: some(dice, 10) };
    }),
  };
}

function places(v6: boolean): OptionSet[] {
  const family = `IPv${v6 ? 6 : 4} underlay`;
  const remotes = v6 ? REMOTES6 : REMOTES;
  const own = v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay;
  const second = v6 ? SECOND_LOCAL6 : SECOND_LOCAL;
  const dice = new Dice(`places ${v6}`);
  const more = [fdb('append', KNOWN_MAC, `dst ${remotes[2]}`)];
  const plain = (name: string, options: Parameters<typeof device>[0]): OptionSet => ({
    name: `${name}, ${family}`,
    branch: 'local and dev',
    setup: [...device({ v6, ...options }), ...more],
    rounds: [
      { name: 'sent', cases: some(dice, 16) },
      {
        name: 'received on every address',
        cases: [own, second].map((to) => received({ kind: 'IPv4', to: OWN_MAC }, { v6, to })),
      },
    ],
  });
  const noRoute = v6 ? '2001:db8:77::1' : '203.0.113.9';
  return [
    plain('local on a second address', { local: second }),
    plain('no local', { local: false }),
    plain('no dev', { dev: false }),
    plain('neither local nor dev', { local: false, dev: false }),
    {
      name: `a remote without a route, ${family}`,
      branch: 'no route',
      setup: [...device({ v6 }), fdb('append', KNOWN_MAC, `dst ${noRoute}`)],
      rounds: [{ name: 'frames', cases: some(dice, 24) }],
    },
  ];
}

/** The kernel alone goes on with the source address of a route that it has cached. */
const cachedSource: OptionSet = {
  name: 'local changed while the route is cached, IPv6 underlay',
  branch: 'options changed under way',
  setup: device({ v6: true }),
  rounds: [
    { name: 'before', cases: [sent({ kind: 'other' })] },
    {
      name: 'changed',
      before: [`link set ${DEVICE} type vxlan local ${SECOND_LOCAL6}`],
      cases: [sent({ kind: 'other' })],
    },
    {
      name: 'to a remote that is new',
      before: [fdb('append', KNOWN_MAC, `dst ${REMOTES6[2]}`)],
      cases: [sent({ kind: 'other', to: KNOWN_MAC }), sent({ kind: 'IPv6', to: KNOWN_MAC })],
    },
  ],
};

const foreignLocal: OptionSet = {
  name: "a local address that is not the host's",
  branch: 'no route',
  setup: device({ local: '10.9.9.9', remote: false }).concat(fdb('append', KNOWN_MAC, `dst ${REMOTES[1]}`)),
  rounds: [{ name: 'frames', cases: some(new Dice('foreign local'), 12) }],
  silent: true,
};

function reserved(v6: boolean, mask: string): OptionSet {
  const dice = new Dice(`reserved ${mask} ${v6}`);
  const inner: Inner = { kind: 'IPv4', to: OWN_MAC };
  const cases: Case[] = [received(inner, { v6 })];
  for (let bit = 0; bit < 32; bit++)
    if (1 << bit !== FLAG_I) cases.push(received(inner, { v6, flags: (FLAG_I | (1 << bit)) >>> 0 }));
  for (let bit = 0; bit < 8; bit++) cases.push(received(inner, { v6, low: 1 << bit }));
  for (let i = 0; i < 12; i++) {
    const flags =
      (FLAG_I | (Math.imul(dice.between(0, 0xffff), 0x10001) & dice.between(0, 0x7fffffff))) >>> 0;
    cases.push(received(inner, { v6, flags, low: dice.byte() & dice.byte() }));
  }
  return {
    name: `reserved_bits ${mask}, IPv${v6 ? 6 : 4} underlay`,
    branch: 'reserved_bits',
    setup: device({ v6, words: `reserved_bits ${mask}` }),
    rounds: [{ name: 'header bits', cases }],
  };
}

function extensions(): OptionSet[] {
  const inner: Inner = { kind: 'IPv4', to: OWN_MAC };
  const words = [
    0, 0x80000000, 0x80400000, 0x80080000, 0x804812ab, 0x8000ffff, 0x0000ffff, 0x00400000, 0x00080000,
    0x40000000, 0x88ffffff, 0x00100000,
  ];
  return [true, false].map((learning) => ({
    name: `group policy, ${learning ? 'learning' : 'not learning'}`,
    branch: 'group policy, received',
    setup: device({ words: 'gbp', learning }),
    rounds: [
      {
        name: 'policy headers',
        cases: words.flatMap((word) =>
          [0, 1].map((low) => received(inner, { flags: (FLAG_I | word) >>> 0, low })),
        ),
      },
      { name: 'sent without a policy', cases: some(new Dice('policy'), 8) },
    ],
  }));
}

/** A frame of nothing but its Ethernet header, tagged or not. */
/** Tags without end: behind the seventh the kernel looks for nothing. */
const tagStacks: OptionSet = {
  name: 'stacks of tags',
  branch: 'stacks of tags',
  setup: device({ words: 'ttl inherit tos inherit' }),
  rounds: [
    {
      name: 'frames',
      cases: [3, 6, 7, 8, 9, 12].flatMap((count) =>
        (['IPv4', 'IPv6', 'ARP'] as const).map((kind) =>
          sent({
            kind,
            tags: Array.from({ length: count }, (_, i) => [0x8100, i] as const),
            tos: 0x88,
            ttl: 7,
          }),
        ),
      ),
    },
  ],
};

const bare: OptionSet = {
  name: 'nothing behind the Ethernet header',
  branch: 'empty frame',
  setup: device(),
  rounds: [
    {
      name: 'frames',
      cases: [
        { name: '14 bytes', frames: (number) => [build({ kind: 'other', cut: 14 }, number)] },
        {
          name: 'one tag',
          frames: (number) => [build({ kind: 'other', tags: [[0x8100, 5]], cut: 18 }, number)],
        },
        {
          name: 'two tags',
          frames: (number) => [
            build(
              {
                kind: 'ARP',
                tags: [
                  [0x88a8, 5],
                  [0x8100, 6],
                ],
                cut: 22,
              },
              number,
            ),
          ],
        },
      ],
    },
  ],
};

export const settingSets = (): OptionSet[] => [
  ...[false, true].flatMap((v6) => [
    changes(v6),
    ...places(v6),
    ...['0', '0xf7ffffff000000ff', '0xff', '0xf7ffffff00000000', '0x0040000000000001'].map((mask) =>
      reserved(v6, mask),
    ),
  ]),
  cachedSource,
  foreignLocal,
  ...extensions(),
  tagStacks,
  bare,
];
