/** Sets for the FDB as the way out reads it: which remotes a frame goes to, in which order, by which port and VNI. */

import type { Case, OptionSet, Round } from './differential-cases.ts';
import { Dice } from './differential-dice.ts';
import { sent } from './differential-encap.ts';
import { anyInner, BROADCAST, type Inner, ZERO } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, OTHER_MAC, UNKNOWN_MAC } from './differential-words.ts';
import { UNDERLAY } from './traffic-vtep.ts';

const ALL_MACS = [BROADCAST, GROUP_MAC, KNOWN_MAC, OTHER_MAC, UNKNOWN_MAC, '33:33:00:00:00:01', ZERO];
const SEQUENCE_LENGTH = 60;

/** One frame to each address, and some to any of them. */
function everywhere(dice: Dice, random = 8): Case[] {
  const plain: Inner[] = ALL_MACS.map((to) => ({
    kind: dice.pick(['IPv4', 'IPv6', 'ARP', 'other'] as const),
    to,
  }));
  for (let i = 0; i < random; i++) plain.push(anyInner(dice, ALL_MACS));
  return plain.map((spec) => sent(spec));
}

function families(
  make: (v6: boolean, remotes: readonly string[], any: string, dice: Dice) => OptionSet,
): OptionSet[] {
  return [false, true].map((v6) => {
    const remotes = v6 ? REMOTES6 : REMOTES;
    const set = make(v6, remotes, v6 ? '::' : '0.0.0.0', new Dice(`entries ${v6}`));
    return { ...set, name: `${set.name}, IPv${v6 ? 6 : 4} underlay` };
  });
}

const ownEntries = families((v6, [a, b, c, d], _, dice) => ({
  name: 'own entries before the default one',
  branch: 'own entry, all-zeros entry',
  setup: [
    ...device({ v6 }),
    fdb('append', KNOWN_MAC, `dst ${b}`),
    fdb('append', BROADCAST, `dst ${c}`),
    fdb('append', GROUP_MAC, `dst ${d}`),
  ],
  rounds: [
    { name: 'entries of their own', cases: everywhere(dice) },
    { name: 'without that of broadcast', before: [fdb('del', BROADCAST)], cases: everywhere(dice) },
    {
      name: 'without a default entry',
      before: [fdb('del', ZERO, `dst ${a}`)],
      cases: everywhere(dice),
    },
    {
      name: 'with another default entry',
      before: [fdb('append', ZERO, `dst ${d}`)],
      cases: everywhere(dice),
    },
    { name: 'none at all', before: [`fdb flush dev ${DEVICE}`], cases: everywhere(dice) },
  ],
}));

const replication = families((v6, [a, b, c, d], _, dice) => ({
  name: 'replication',
  branch: 'replication order',
  setup: [
    ...device({ v6 }),
    ...[b, c, d].map((remote) => fdb('append', ZERO, `dst ${remote}`)),
    ...[d, a].map((remote) => fdb('append', GROUP_MAC, `dst ${remote}`)),
    fdb('append', KNOWN_MAC, `dst ${b}`),
  ],
  rounds: [
    { name: 'four default remotes', cases: everywhere(dice, 16) },
    {
      name: 'three, the first one gone',
      before: [fdb('del', ZERO, `dst ${a}`), fdb('append', GROUP_MAC, `dst ${c}`)],
      cases: everywhere(dice, 16),
    },
    {
      name: 'the last one back',
      before: [fdb('append', ZERO, `dst ${a}`), fdb('append', ZERO, `dst ${a}`)],
      cases: everywhere(dice, 16),
    },
    {
      name: 'the same address by several ports and VNIs',
      before: [
        fdb('append', ZERO, `dst ${b} port 9000`),
        fdb('append', ZERO, `dst ${b} vni 1000`),
        fdb('append', ZERO, `dst ${b} port 9000 vni 1000`),
        fdb('append', ZERO, `dst ${b} via ${UNDERLAY}`),
      ],
      cases: everywhere(dice, 16),
    },
  ],
}));

const details = families((v6, [, b, c, d], any, dice) => ({
  name: 'remotes with port, VNI and way',
  branch: 'remote port, VNI, via',
  setup: [
    ...device({ v6 }),
    fdb('append', KNOWN_MAC, `dst ${b} port 4789`),
    fdb('append', OTHER_MAC, `dst ${c} vni 16777215`),
    fdb('append', BROADCAST, `dst ${d} port 1 vni 2 via ${UNDERLAY}`),
    fdb('append', GROUP_MAC, `dst ${c} port 8472 vni 1`),
  ],
  rounds: [
    { name: 'as appended', cases: everywhere(dice, 12) },
    {
      name: 'replaced',
      before: [
        fdb('replace', KNOWN_MAC, `dst ${d} vni 9`),
        fdb('replace', OTHER_MAC, `dst ${b} port 65535`),
        fdb('replace', GROUP_MAC, `dst ${b}`),
      ],
      cases: everywhere(dice, 12),
    },
    {
      name: 'with remotes that are not tunnelled to',
      before: [
        fdb('replace', KNOWN_MAC, `dst ${any}`),
        fdb('append', GROUP_MAC, `dst ${any}`),
        fdb('append', BROADCAST, `dst ${any}`),
      ],
      cases: everywhere(dice, 12).map((entry) => ({ ...entry, branch: 'any remote' })),
    },
    {
      name: 'after the device was down',
      before: [`link set ${DEVICE} down`, `link set ${DEVICE} up`],
      cases: everywhere(dice, 6).map((entry) => ({ ...entry, branch: 'device down and up' })),
    },
  ],
}));

const noTarget = families((v6, [, b], __, dice) => ({
  name: 'no default entry',
  branch: 'no target',
  setup: [...device({ v6, remote: false }), fdb('add', KNOWN_MAC, `dst ${b}`)],
  rounds: [{ name: 'frames', cases: everywhere(dice, 20) }],
}));

/** Commands at random, each followed by a frame to every address. */
function sequence(v6: boolean): OptionSet {
  const dice = new Dice(`sequence ${v6}`);
  const remotes = v6 ? REMOTES6 : REMOTES;
  const line = (): string => {
    const verb = dice.pick(['add', 'append', 'append', 'replace', 'replace', 'del', 'del', 'flush'] as const);
    // Filters that iproute2 has known since there is a flush: it passes over the others.
    if (verb === 'flush' && dice.chance(50)) {
      const filter = dice.pick([
        'permanent',
        'nopermanent',
        'static',
        'nostatic',
        'dynamic',
        'nodynamic',
        'extern_learn',
      ]);
      return `fdb flush dev ${DEVICE} ${filter}`;
    }
    const words: string[] = [];
    // A refused replace of these is a case of its own.
    const macs =
      verb === 'replace' ? [KNOWN_MAC, OTHER_MAC] : [KNOWN_MAC, OTHER_MAC, GROUP_MAC, ZERO, BROADCAST];
    const wide = verb === 'del' || verb === 'flush' ? dice.chance(50) : true;
    if (wide) words.push(`dst ${dice.pick(remotes)}`);
    if (wide && dice.chance(25)) words.push(`port ${dice.pick([8472, 9000])}`);
    if (wide && dice.chance(25)) words.push(`vni ${dice.pick([1, 55])}`);
    if (wide && dice.chance(15)) words.push(`via ${UNDERLAY}`);
    if (verb !== 'del' && dice.chance(50))
      words.push(dice.pick(['static', 'dynamic', 'permanent', 'router', 'extern_learn', 'self', 'use']));
    return fdb(verb === 'flush' ? 'del' : verb, dice.pick(macs), words.join(' '));
  };
  const rounds = Array.from({ length: SEQUENCE_LENGTH }, (): Round => {
    const before = line();
    return {
      name: before,
      before: [before],
      cases: [KNOWN_MAC, OTHER_MAC, GROUP_MAC, BROADCAST, UNKNOWN_MAC].map((to) =>
        sent({ kind: 'IPv4', to }),
      ),
    };
  });
  return {
    name: `FDB commands at random, IPv${v6 ? 6 : 4} underlay`,
    branch: 'FDB commands',
    setup: device({ v6 }),
    rounds,
  };
}

export const entrySets = (): OptionSet[] => [
  ...ownEntries,
  ...replication,
  ...details,
  ...noTarget,
  sequence(false),
  sequence(true),
];
