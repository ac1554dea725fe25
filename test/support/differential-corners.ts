/** Sets for what happens seldom: entries that age, checksums left to the receiver, link-local underlays, half a request. */
import { type Case, type OptionSet, WIRE } from './differential-cases.ts';
import { received } from './differential-decap.ts';
import { sent } from './differential-encap.ts';
import { BROADCAST, build, type Inner } from './differential-frames.ts';
import { outer } from './differential-outer.ts';
import { DEVICE, REMOTES } from './differential-twins.ts';
import { device, fdb, GROUP_MAC, KNOWN_MAC, OTHER_MAC, OWN_MAC } from './differential-words.ts';
import { pseudoHeader, sum, u16 } from './traffic-frames.ts';
import { HOSTS, PORT, UNDERLAY, VNI } from './traffic-vtep.ts';

/** The timer looks ten seconds after the device came up; a little more for a busy machine. */
const AGED_MS = 12_500;
const LINK_LOCAL = ['fe80::93', 'fe80::98', 'fe80::99'] as const;
const FLAG_I = 0x08000000;
const FLAG_RCO = 0x00200000;

/** A refused request that has been half carried out by then: the kernel has the new flags, vxlane the old ones. */
const refusedReplace: OptionSet = {
  name: 'a replace that is refused',
  branch: 'FDB commands',
  setup: [
    ...device(),
    fdb('append', BROADCAST, `dst ${REMOTES[1]}`),
    fdb('append', GROUP_MAC, `dst ${REMOTES[1]}`),
  ],
  rounds: [
    {
      name: 'with other flags',
      before: [fdb('replace', BROADCAST, `dst ${REMOTES[2]} router`)],
      cases: [sent({ kind: 'IPv4' })],
    },
    {
      name: 'with the same flags',
      before: [fdb('replace', GROUP_MAC, `dst ${REMOTES[2]}`)],
      cases: [sent({ kind: 'IPv4', to: GROUP_MAC })],
    },
  ],
};

const TALKER = '02:aa:00:00:02:01';
const aged: OptionSet = {
  name: 'entries that age',
  branch: 'ageing',
  setup: [
    ...device({ learning: true, words: 'ageing 1' }),
    fdb('add', KNOWN_MAC, `dst ${REMOTES[1]} dynamic`),
    fdb('add', OTHER_MAC, `dst ${REMOTES[1]} dynamic extern_learn`),
    fdb('add', '02:aa:00:00:02:02', `dst ${REMOTES[1]} static`),
    fdb('append', GROUP_MAC, `dst ${REMOTES[1]} dynamic`),
    fdb('append', GROUP_MAC, `dst ${REMOTES[2]} dynamic`),
  ],
  rounds: [
    {
      name: 'learned',
      cases: [
        received({ kind: 'IPv4', to: OWN_MAC }, {}, { source: TALKER }),
        sent({ kind: 'IPv4', to: TALKER }),
      ],
    },
    { name: 'gone', cases: [], waitMs: AGED_MS },
    {
      name: 'afterwards',
      cases: [TALKER, KNOWN_MAC, OTHER_MAC, GROUP_MAC].map((to) => sent({ kind: 'IPv4', to })),
    },
  ],
};

/** A segment that holds the sum of its pseudo header where its checksum belongs, as remcsumtx sends it. */
function unfinished(spec: Inner, low: number, field: number): Case {
  return {
    name: `${spec.kind} ${spec.protocol ?? 'udp'}, checksum from ${(low & 0x7f) * 2}`,
    at: WIRE,
    unfinished: true,
    frames: (own) => {
      const frame = build(spec, own);
      const v6 = spec.kind === 'IPv6';
      const l4 = v6 ? 54 : 34;
      const [from, to] = v6
        ? [frame.slice(22, 38), frame.slice(38, 54)]
        : [frame.slice(26, 30), frame.slice(30, 34)];
      const protocol = spec.protocol === 'tcp' ? 6 : 17;
      frame.set(u16(sum(pseudoHeader(from, to, protocol, frame.length - l4))), l4 + field);
      return outer({ flags: FLAG_I | FLAG_RCO, low }, frame);
    },
  };
}

const UDP_FIELD = 6;
const TCP_FIELD = 16;
const LOW_UDP = 0x80;

const remoteChecksum: OptionSet = {
  name: 'checksums left to the receiver',
  branch: 'remote checksum',
  setup: device({ words: 'remcsumrx' }),
  rounds: [
    {
      name: 'frames',
      cases: [
        unfinished({ kind: 'IPv4', to: OWN_MAC, payload: 200 }, LOW_UDP | 17, UDP_FIELD),
        unfinished({ kind: 'IPv4', to: OWN_MAC, payload: 201 }, LOW_UDP | 17, UDP_FIELD),
        unfinished({ kind: 'IPv4', to: OWN_MAC, payload: 200, protocol: 'tcp' }, 17, TCP_FIELD),
        unfinished({ kind: 'IPv6', to: OWN_MAC, payload: 90 }, LOW_UDP | 27, UDP_FIELD),
        unfinished({ kind: 'IPv6', to: OWN_MAC, payload: 91, protocol: 'tcp' }, 27, TCP_FIELD),
        received({ kind: 'IPv4', to: OWN_MAC }),
        received({ kind: 'IPv4', to: OWN_MAC }, { low: 1 }),
        received({ kind: 'IPv4', to: OWN_MAC, payload: 10 }, { flags: FLAG_I | FLAG_RCO, low: 0x7f }),
        received({ kind: 'IPv4', to: OWN_MAC, payload: 10 }, { flags: FLAG_I | FLAG_RCO, low: 0xff }),
        received({ kind: 'IPv4', to: OWN_MAC, payload: 10 }, { flags: FLAG_I | FLAG_RCO | 0x01000000 }),
        // As much of the segment as there is bears what was left of its checksum.
        ...[14, 20, 34, 40, 41, 42].map((cut) => {
          const fields = { flags: FLAG_I | FLAG_RCO, low: LOW_UDP | 17, cut: 8 + cut };
          return received({ kind: 'IPv4', to: OWN_MAC, payload: 10 }, fields, { unfinished: true });
        }),
      ],
    },
  ],
};

const linkLocal: OptionSet = {
  name: 'link-local addresses below',
  branch: 'link-local underlay',
  setup: [
    `addr add ${LINK_LOCAL[0]}/64 dev ${UNDERLAY} nodad`,
    ...LINK_LOCAL.slice(1).map(
      (address) => `neigh replace ${address} lladdr ${HOSTS[1].underlayMac} dev ${UNDERLAY} nud permanent`,
    ),
    `link add ${DEVICE} address ${OWN_MAC} mtu 1430 type vxlan id ${VNI} local ${LINK_LOCAL[0]} remote ${LINK_LOCAL[1]} dev ${UNDERLAY} dstport ${PORT} learning`,
    `link set ${DEVICE} up`,
  ],
  teardown: [`addr del ${LINK_LOCAL[0]}/64 dev ${UNDERLAY}`],
  rounds: [
    { name: 'sent', cases: [sent({ kind: 'IPv4' }), sent({ kind: 'IPv6', to: KNOWN_MAC })] },
    {
      name: 'received',
      cases: [1, 2].flatMap((i) => [
        received(
          { kind: 'IPv4', to: OWN_MAC },
          { v6: true, from: LINK_LOCAL[i]!, to: LINK_LOCAL[0] },
          { source: KNOWN_MAC },
        ),
        received({ kind: 'ARP' }, { v6: true, from: LINK_LOCAL[i]!, to: LINK_LOCAL[0] }),
      ]),
    },
    {
      name: 'answered',
      cases: [sent({ kind: 'IPv4', to: KNOWN_MAC }), sent({ kind: 'IPv4', to: '02:00:00:00:00:02' })],
    },
  ],
};

export const cornerSets = (): OptionSet[] => [refusedReplace, remoteChecksum, linkLocal, aged];
