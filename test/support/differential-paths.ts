/** Sets for frames that are too big for their way: fragmented, dropped, or answered, as the kernel does each. */
import { type Case, type OptionSet, type Round, WIRE } from './differential-cases.ts';
import { sent } from './differential-encap.ts';
import { BROADCAST, CTAG, ETHERTYPE, type Inner } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, KNOWN_MAC, OTHER_MAC } from './differential-words.ts';
import { checksum, ethernet, ipv4, ipv6, join, pattern, sealed, u16, u32 } from './traffic-frames.ts';
import { HOSTS, UNDERLAY } from './traffic-vtep.ts';

const PATH_MTU = 1300;
const ICMPV6 = 58;
/** vxlane asks for a path again after half a second; the kernel's driver sees at once what ICMP has said. */
const PATH_KNOWN_MS = 650;
/** Of a packet that an error quotes; even, so that its sum is easily taken. */
const QUOTED_BYTES = 548;
const QUOTED6_BYTES = 1100;
const BRIDGE = 'br0';
const PORT_BELOW = 'port0';
const PORT_ABOVE = 'port1';
const overhead = (v6: boolean) => (v6 ? 70 : 50);

/** Around the limit: inner packets of so many bytes. */
function sizes(v6: boolean): number[] {
  const limit = PATH_MTU - overhead(v6);
  return [limit - 1, limit, limit + 1, limit + 4, limit + 14, limit + 40, 1400];
}

/** Each kind of packet of `bytes`, to a MAC behind the narrow path. */
function frames(bytes: number, at: string): Case[] {
  const specs: Inner[] = [
    { kind: 'IPv4', fragment: 0x4000, payload: bytes - 28 },
    { kind: 'IPv4', fragment: 0, payload: bytes - 28 },
    { kind: 'IPv4', fragment: 0x6000, payload: bytes - 28 },
    { kind: 'IPv4', fragment: 0x4010, payload: bytes - 28 },
    { kind: 'IPv4', fragment: 0x4000, payload: bytes - 40, protocol: 'tcp', tos: 0xb9, ttl: 3 },
    { kind: 'IPv4', fragment: 0x4000, payload: bytes - 28, protocol: 'icmp' },
    { kind: 'IPv4', fragment: 0x4000, payload: bytes - 28, tags: [[CTAG, 9]] },
    { kind: 'IPv6', payload: bytes - 48, ttl: 9 },
    { kind: 'IPv6', payload: bytes - 60, protocol: 'tcp' },
    { kind: 'IPv6', payload: bytes - 48, tags: [[CTAG, 9]] },
    { kind: 'ARP', payload: bytes - 28 },
    { kind: 'other', payload: bytes },
  ];
  return specs.map((spec) => sent({ to: KNOWN_MAC, ...spec }, { at }));
}

/** What must not be answered with an error. */
function unanswered(at: string): Case[] {
  const from = '10.1.0.1';
  const error = (type: number) => {
    const message = join([type, 3, 0, 0], u32(0), pattern(1320));
    message.set(u16(checksum(message)), 2);
    return message;
  };
  const errors6 = (type: number) =>
    sealed(join([type, 0, 0, 0], u32(0), pattern(1320)), 2, 'fd01::1', 'fd01::2', 58);
  const raw = (name: string, make: (source: string) => Uint8Array): Case => ({
    name,
    at,
    frames: (number) => [
      make(
        `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`,
      ),
    ],
  });
  const big = (fields: Partial<Inner>) =>
    sent({ kind: 'IPv4', to: KNOWN_MAC, fragment: 0x4000, payload: 1350, ...fields }, { at });
  const big6 = (fields: Partial<Inner>) =>
    sent({ kind: 'IPv6', to: KNOWN_MAC, payload: 1330, ...fields }, { at });
  return [
    ...[3, 11, 12, 4, 5, 0, 8].map((type) =>
      raw(`ICMP type ${type}`, (source) =>
        ethernet(
          { to: KNOWN_MAC, from: source, type: ETHERTYPE.ipv4 },
          ipv4({ from, to: '10.1.0.2', protocol: 1, fragment: 0x4000 }, error(type)),
        ),
      ),
    ),
    ...[1, 2, 3, 4, 128, 137].map((type) =>
      raw(`ICMPv6 type ${type}`, (source) =>
        ethernet(
          { to: KNOWN_MAC, from: source, type: ETHERTYPE.ipv6 },
          ipv6({ from: 'fd01::1', to: 'fd01::2', next: 58 }, errors6(type)),
        ),
      ),
    ),
    big({ source: '0.0.0.0' }),
    big({ source: '127.0.0.1' }),
    big({ source: '224.0.0.1' }),
    big({ source: '255.255.255.255' }),
    big({ destination: '255.255.255.255' }),
    big({ destination: '224.0.0.5' }),
    big({ options: new Uint8Array(8).fill(1) }),
    big6({ source: '::' }),
    big6({ source: '::1' }),
    big6({ source: 'ff02::1' }),
    big6({ destination: 'ff02::5' }),
  ];
}

const narrow = (v6: boolean) => {
  const here = v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay;
  const [, far] = v6 ? REMOTES6 : REMOTES;
  return { far, route: `${far}/${v6 ? 128 : 32} dev ${UNDERLAY} src ${here} mtu ${PATH_MTU}` };
};

const family = (v6: boolean) => (v6 ? '-6 ' : '');
const bridged = [
  `link add ${BRIDGE} type bridge mcast_snooping 0`,
  `link add ${PORT_BELOW} type veth peer name ${PORT_ABOVE}`,
  `link set ${PORT_BELOW} master ${BRIDGE} up`,
  `link set ${PORT_ABOVE} up`,
  `link set ${DEVICE} master ${BRIDGE}`,
  `link set ${BRIDGE} up`,
];

function routed(v6: boolean, bridge: boolean, words: string): OptionSet {
  const { far, route } = narrow(v6);
  const at = bridge ? PORT_ABOVE : DEVICE;
  return {
    name: `a narrow path${bridge ? ', bridged' : ''}${words && `, ${words}`}, IPv${v6 ? 6 : 4} underlay`,
    branch: bridge ? 'path MTU, bridged' : 'path MTU',
    setup: [
      ...device({ v6, words, dev: false }),
      fdb('append', KNOWN_MAC, `dst ${far}`),
      fdb('append', OTHER_MAC, `dst ${(v6 ? REMOTES6 : REMOTES)[2]}`),
      `${family(v6)}route add ${route}`,
      ...(bridge ? bridged : []),
    ],
    teardown: [
      `${family(v6)}route del ${route}`,
      ...(bridge ? [`link del ${BRIDGE}`, `link del ${PORT_BELOW}`] : []),
    ],
    rounds: [
      ...sizes(v6).map((bytes): Round => ({ name: `${bytes} bytes`, cases: frames(bytes, at) })),
      { name: 'oddities', cases: unanswered(at) },
      {
        name: 'a wide path beside it',
        cases: [
          sent({ kind: 'IPv4', to: OTHER_MAC, payload: 1400 }, { at }),
          sent({ kind: 'IPv4', to: BROADCAST, payload: 1372 }, { at }),
        ],
      },
    ],
  };
}

/** What a router on the way says about the outer packet that the host sent last. */
function routerSays(v6: boolean, what: 'too big' | 'port unreachable', mtu = 0): Case {
  const here = v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay;
  const router = v6 ? REMOTES6[3] : REMOTES[3];
  const ends = { to: HOSTS[0].underlayMac, from: HOSTS[1].underlayMac };
  return {
    name: mtu === 0 ? what : `${what}, MTU ${mtu}`,
    at: WIRE,
    frames: (_, { last }) => {
      const quoted = last.slice(14, 14 + (v6 ? QUOTED6_BYTES : QUOTED_BYTES));
      if (v6) {
        const head = what === 'too big' ? [2, 0, 0, 0, ...u32(mtu)] : [1, 4, 0, 0, ...u32(0)];
        const message = sealed(join(head, quoted), 2, router, here, ICMPV6);
        const packet = ipv6({ from: router, to: here, next: ICMPV6 }, message);
        return [ethernet({ ...ends, type: ETHERTYPE.ipv6 }, packet)];
      }
      const message = join(
        what === 'too big' ? [3, 4, 0, 0, 0, 0, ...u16(mtu)] : [3, 3, 0, 0, ...u32(0)],
        quoted,
      );
      message.set(u16(checksum(message)), 2);
      return [
        ethernet({ ...ends, type: ETHERTYPE.ipv4 }, ipv4({ from: router, to: here, protocol: 1 }, message)),
      ];
    },
  };
}

function learned(v6: boolean, bridge: boolean): OptionSet {
  const [, far] = v6 ? REMOTES6 : REMOTES;
  const at = bridge ? PORT_ABOVE : DEVICE;
  const probe = sent({ kind: 'IPv4', to: KNOWN_MAC, payload: 1200 });
  const trial = (mtu: number) =>
    [mtu - overhead(v6), mtu - overhead(v6) + 1, 1380].flatMap((bytes) =>
      frames(bytes, at).slice(0, 2).concat(frames(bytes, at).slice(7, 8)),
    );
  return {
    name: `ICMP from the path${bridge ? ', bridged' : ''}, IPv${v6 ? 6 : 4} underlay`,
    branch: 'path MTU by ICMP',
    setup: [...device({ v6 }), fdb('append', KNOWN_MAC, `dst ${far}`), ...(bridge ? bridged : [])],
    teardown: [
      `${family(v6)}route flush cache`,
      ...(bridge ? [`link del ${BRIDGE}`, `link del ${PORT_BELOW}`] : []),
    ],
    rounds: [
      { name: 'before', cases: trial(1400) },
      { name: 'port unreachable', cases: [probe, routerSays(v6, 'port unreachable'), ...trial(1400)] },
      { name: 'too big, 1400', cases: [probe, routerSays(v6, 'too big', 1400)], waitMs: PATH_KNOWN_MS },
      { name: 'with 1400', cases: trial(1400) },
      { name: 'too big, 1350', cases: [probe, routerSays(v6, 'too big', 1350)], waitMs: PATH_KNOWN_MS },
      { name: 'with 1350', cases: trial(1350) },
    ],
  };
}

export const pathSets = (): OptionSet[] => [
  routed(false, false, ''),
  routed(false, false, 'df set'),
  routed(false, false, 'df inherit'),
  routed(true, false, ''),
  routed(false, true, ''),
  routed(false, true, 'df inherit'),
  routed(true, true, ''),
  learned(false, false),
  learned(true, false),
  learned(false, true),
  learned(true, true),
];
