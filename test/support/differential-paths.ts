/** Sets for frames that are too big for their way: fragmented, dropped, or answered, as the kernel does each. */
import { type Case, type OptionSet, type Round, WIRE } from './differential-cases.ts';
import { sent } from './differential-encap.ts';
import { BROADCAST, CTAG, ETHERTYPE, type Inner } from './differential-frames.ts';
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { device, fdb, KNOWN_MAC, OTHER_MAC } from './differential-words.ts';
import {
  checksum,
  ethernet,
  ipv4,
  ipv6,
  join,
  pattern,
  sealed,
  u16,
  u32,
  udp,
  vxlan,
} from './traffic-frames.ts';
import { HOSTS, PORT, UNDERLAY, VNI } from './traffic-vtep.ts';

const PATH_MTU = 1300;
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

/** "Too big" from a router on the way, about an outer packet to `to`. */
function tooBig(
  v6: boolean,
  to: string,
  mtu: number,
  vni = VNI,
  type: 'too big' | 'port unreachable' = 'too big',
): Case {
  const here = v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay;
  const router = v6 ? REMOTES6[3] : REMOTES[3];
  return {
    name: `${type}, MTU ${mtu}, VNI ${vni}`,
    at: WIRE,
    frames: () => {
      const quoted = udp(
        { from: here, to, sourcePort: 40_000, port: PORT, length: 1400 },
        vxlan(vni, pattern(60)),
      );
      const ends = { to: HOSTS[0].underlayMac, from: HOSTS[1].underlayMac };
      if (v6) {
        const packet = ipv6({ from: here, to, next: 17, payloadLength: 1400 }, quoted);
        const head = type === 'too big' ? [2, 0, 0, 0, ...u32(mtu)] : [1, 4, 0, 0, ...u32(0)];
        const message = sealed(join(head, packet), 2, router, here, 58);
        return [
          ethernet({ ...ends, type: ETHERTYPE.ipv6 }, ipv6({ from: router, to: here, next: 58 }, message)),
        ];
      }
      const packet = ipv4({ from: here, to, protocol: 17, totalLength: 1428 }, quoted);
      const message = join(
        type === 'too big' ? [3, 4, 0, 0, 0, 0, ...u16(mtu)] : [3, 3, 0, 0, ...u32(0)],
        packet,
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
  const try_ = (mtu: number) =>
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
      { name: 'before', cases: try_(1400) },
      { name: 'port unreachable', cases: [tooBig(v6, far, 0, VNI, 'port unreachable'), ...try_(1400)] },
      { name: 'too big, 1400', cases: [tooBig(v6, far, 1400)], waitMs: 50 },
      { name: 'with 1400', cases: try_(1400) },
      { name: 'too big, 1350', cases: [tooBig(v6, far, 1350)], waitMs: 50 },
      { name: 'with 1350', cases: try_(1350) },
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
