/** Sets for addresses, routes and options that change under way, and for two devices on one host. */

import type { Case, OptionSet, Round } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, build, type Inner, TAGS } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6, SECOND_LOCAL, SECOND_LOCAL6 } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, OTHER_MAC, OWN_MAC, UNKNOWN_MAC } from './differential-words.ts';
import { HOSTS, PORT, UNDERLAY } from './traffic-vtep.ts';

const TO = [BROADCAST, KNOWN_MAC, UNKNOWN_MAC];
const SECOND_DEVICE = 'vx1';
const FLAG_I = 0x08000000;

/** Frames without tags: the kernel's bypass mangles those of packet sockets, which is a set of its own. */
function untagged(dice: Dice, count: number, to: readonly string[]): Case[] {
  return Array.from({ length: count }, () => sent({ ...anyInner(dice, to), tags: [] }));
}

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
    flows(v6),
    bypass(v6, 'localbypass'),
    bypass(v6, 'nolocalbypass'),
    ...['0', '0xf7ffffff000000ff', '0xff', '0xf7ffffff00000000', '0x0040000000000001'].map((mask) =>
      reserved(v6, mask),
    ),
  ]),
  cachedSource,
  taggedBypass,
  foreignLocal,
  ...extensions(),
  tagStacks,
  bare,
];
