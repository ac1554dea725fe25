/**
 * Sets for what the kernel does by other means than vxlane, so that only the wire can be compared: many VNIs on one
 * device, for which the kernel's twin has a device each, and group policies, which the kernel takes from marks.
 */
import type { Case, OptionSet } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { Dice } from './differential-dice.ts';
import { anyInner, BROADCAST, build, CTAG, type Inner, nameOf, ZERO } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, KNOWN_MAC, OTHER_MAC, OWN_MAC, UNKNOWN_MAC } from './differential-words.ts';
import { HOSTS, PORT, UNDERLAY } from './traffic-vtep.ts';

const SECOND = 'vx1';
const VNIS = [10010, 10020] as const;
const VLANS = [10, 20] as const;
const TO = [BROADCAST, KNOWN_MAC, OTHER_MAC, UNKNOWN_MAC];

/** The frame of a VLAN: the kernel's device for its VNI has it untagged. */
function ofVlan(which: 0 | 1, spec: Inner): Case {
  return {
    name: `VLAN ${VLANS[which]}: ${nameOf(spec)}`,
    at: { kernel: which === 0 ? DEVICE : SECOND, vxlane: DEVICE },
    frames: (number, { kind }) => {
      const tags = [[CTAG, VLANS[which]] as const, ...(spec.tags ?? [])];
      return [build(kind === 'kernel' ? spec : { ...spec, tags, ...cutBehind(spec) }, number)];
    },
  };
}

const cutBehind = ({ cut }: Inner): Partial<Inner> => (cut === undefined ? {} : { cut: cut + 4 });

function external(v6: boolean, filter: boolean): OptionSet {
  const remotes = v6 ? REMOTES6 : REMOTES;
  const local = v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay;
  const dice = new Dice(`external ${v6} ${filter}`);
  const mtu = v6 ? 1430 : 1450;
  const common = `local ${local} dev ${UNDERLAY} dstport ${PORT} learning ttl inherit tos inherit`;
  const any = (which: 0 | 1) => Array.from({ length: 20 }, () => ofVlan(which, anyInner(dice, TO)));
  const teach = (vni: number, sender: number) =>
    received({ kind: 'IPv4', to: BROADCAST }, { v6, vni, sender }, { source: UNKNOWN_MAC });
  return {
    name: `external${filter ? ' vnifilter' : ''}, IPv${v6 ? 6 : 4} underlay`,
    branch: filter ? 'external, vnifilter' : 'external',
    wireOnly: true,
    devices: { kernel: [DEVICE, SECOND], vxlane: [DEVICE] },
    setup: {
      kernel: [
        `link add ${DEVICE} address ${OWN_MAC} mtu ${mtu} type vxlan id ${VNIS[0]} ${common}`,
        `link add ${SECOND} address ${OWN_MAC} mtu ${mtu} type vxlan id ${VNIS[1]} ${common}`,
        `link set ${DEVICE} up`,
        `link set ${SECOND} up`,
        `fdb append ${ZERO} dev ${DEVICE} dst ${remotes[0]}`,
        `fdb append ${ZERO} dev ${SECOND} dst ${remotes[1]}`,
        `fdb append ${ZERO} dev ${SECOND} dst ${remotes[2]}`,
        `fdb add ${KNOWN_MAC} dev ${DEVICE} dst ${remotes[2]}`,
        `fdb add ${KNOWN_MAC} dev ${SECOND} dst ${remotes[3]} vni 77 port 4790`,
      ],
      vxlane: [
        `link add ${DEVICE} address ${OWN_MAC} mtu ${mtu} type vxlan external ${filter ? 'vnifilter' : ''} ${common}`,
        ...(filter ? [`vni add vni ${VNIS.join()} dev ${DEVICE}`] : []),
        ...VNIS.map((vni, i) => `vlan add dev ${DEVICE} vid ${VLANS[i]} tunnel_info id ${vni}`),
        `link set ${DEVICE} up`,
        fdb('append', ZERO, `src_vni ${VNIS[0]} dst ${remotes[0]}`),
        fdb('append', ZERO, `src_vni ${VNIS[1]} dst ${remotes[1]}`),
        fdb('append', ZERO, `src_vni ${VNIS[1]} dst ${remotes[2]}`),
        fdb('add', KNOWN_MAC, `src_vni ${VNIS[0]} dst ${remotes[2]}`),
        fdb('add', KNOWN_MAC, `src_vni ${VNIS[1]} dst ${remotes[3]} vni 77 port 4790`),
      ],
    },
    rounds: [
      { name: 'the first VLAN', cases: any(0) },
      { name: 'the second VLAN', cases: any(1) },
      { name: 'one MAC in two VNIs', cases: [teach(VNIS[0], 1), teach(VNIS[1], 3)] },
      {
        name: 'answered',
        cases: ([0, 1] as const).map((which) => ofVlan(which, { kind: 'IPv6', to: UNKNOWN_MAC })),
      },
      { name: 'moved in one of them', cases: [teach(VNIS[1], 0), teach(99, 2)] },
      {
        name: 'answered again',
        cases: ([0, 1] as const).map((which) => ofVlan(which, { kind: 'ARP', to: UNKNOWN_MAC })),
      },
    ],
  };
}

const GBP_DONT_LEARN = 0x400000;
const GBP_APPLIED = 0x80000;

/** Bits of the kernel's mark, and the words that vxlane takes for them. */
const POLICIES: readonly [mark: number, words: string][] = [
  [5, 'id 5'],
  [0xffff, 'id 65535'],
  [0x1234 | GBP_DONT_LEARN, 'id 0x1234 dontlearn'],
  [7 | GBP_APPLIED, 'id 7 applied'],
  [9 | GBP_APPLIED | GBP_DONT_LEARN, 'id 9 applied dontlearn'],
];

const policy: OptionSet = {
  name: 'group policies of what is sent',
  branch: 'group policy, sent',
  wireOnly: true,
  setup: device({ words: 'gbp' }),
  rounds: POLICIES.flatMap(([mark, words], i) => {
    const dice = new Dice(`policy ${words}`);
    const cases = Array.from({ length: 8 }, (): Case => {
      const spec = anyInner(dice, TO);
      return { name: nameOf(spec), mark, frames: (number) => [build(spec, number)] };
    });
    const without = { name: 'with none', frames: (number: number) => [build({ kind: 'IPv4' }, number)] };
    const before = [...(i === 0 ? [] : [`policy del dev ${DEVICE}`]), `policy add dev ${DEVICE} ${words}`];
    return [
      { name: words, vxlaneBefore: before, cases },
      { name: `${words}, taken back`, vxlaneBefore: [`policy del dev ${DEVICE}`], cases: [without] },
      { name: 'again', vxlaneBefore: [`policy add dev ${DEVICE} ${words}`], cases: cases.slice(0, 1) },
    ];
  }),
};

export const manySets = (): OptionSet[] => [
  external(false, false),
  external(false, true),
  external(true, false),
  external(true, true),
  policy,
];
