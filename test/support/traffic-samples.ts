/**
 * Frames of every kind that a VTEP meets, each numbered in its source address so that it can be told apart after
 * the tunnel. The lists are data for the interop and wire tests; a name says what is special about a frame.
 */
import {
  arp,
  echo,
  ethernet,
  ip,
  ipv4,
  ipv6,
  join,
  numberedMac,
  pattern,
  solicitation,
  tcp,
  u16,
  udp,
} from './traffic-frames.ts';

/** A frame made from its source MAC, so that the caller numbers it. */
export interface Sample {
  name: string;
  build(from: string): Uint8Array;
}

export interface NumberedFrame {
  name: string;
  number: number;
  frame: Uint8Array;
}

const A = '10.1.0.1';
const B = '10.1.0.2';
const A6 = 'fd01::1';
const B6 = 'fd01::2';
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export const IP4 = 0x0800;
export const IP6 = 0x86dd;
const ARP = 0x0806;
const EXPERIMENTAL = 0x88b5;
export const CTAG = 0x8100;
const STAG = 0x88a8;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

type Tags = readonly (readonly [number, number])[];

function udp4(
  to: string,
  from: string,
  payload: number,
  ip4: Partial<Parameters<typeof ipv4>[0]> = {},
  tags: Tags = [],
) {
  const ports = { from: A, to: B, sourcePort: 40_001, port: 9 };
  const packet = ipv4({ from: A, to: B, protocol: UDP, ...ip4 }, udp(ports, pattern(payload)));
  return ethernet({ to, from, type: IP4, tags }, packet);
}

function udp6(
  to: string,
  from: string,
  payload: number,
  ip6: Partial<Parameters<typeof ipv6>[0]> = {},
  tags: Tags = [],
) {
  const ports = { from: A6, to: B6, sourcePort: 40_002, port: 9 };
  const packet = ipv6({ from: A6, to: B6, next: UDP, ...ip6 }, udp(ports, pattern(payload)));
  return ethernet({ to, from, type: IP6, tags }, packet);
}

function tcp4(
  to: string,
  from: string,
  payload: number,
  fields: { flags?: number; options?: number[] } = {},
) {
  const ports = { from: A, to: B, sourcePort: 40_003, port: 80, ...fields };
  return ethernet(
    { to, from, type: IP4 },
    ipv4({ from: A, to: B, protocol: TCP }, tcp(ports, pattern(payload))),
  );
}

function tcp6(
  to: string,
  from: string,
  payload: number,
  fields: { flags?: number; options?: number[] } = {},
) {
  const ports = { from: A6, to: B6, sourcePort: 40_004, port: 80, ...fields };
  return ethernet(
    { to, from, type: IP6 },
    ipv6({ from: A6, to: B6, next: TCP }, tcp(ports, pattern(payload))),
  );
}

const raw = (to: string, from: string, type: number, payload: Uint8Array, tags: Tags = []) =>
  ethernet({ to, from, type, tags }, payload);

/** 802.1Q and 802.1ad tags in the combinations that occur, around each kind of payload. */
export function taggedSamples(to: string): Sample[] {
  const stacks: [string, Tags][] = [
    ['VLAN 0', [[CTAG, 0]]],
    ['VLAN 100', [[CTAG, 100]]],
    ['VLAN 4094 with priority 7 and DEI', [[CTAG, 0xfffe]]],
    ['802.1ad tag', [[STAG, 300]]],
    [
      'QinQ',
      [
        [STAG, 200],
        [CTAG, 100],
      ],
    ],
    [
      'two 802.1Q tags',
      [
        [CTAG, 7],
        [CTAG, 8],
      ],
    ],
  ];
  return stacks.flatMap(([name, tags]) => [
    { name: `${name}, IPv4 UDP`, build: (from: string) => udp4(to, from, 100, {}, tags) },
    { name: `${name}, IPv6 UDP`, build: (from: string) => udp6(to, from, 100, {}, tags) },
    { name: `${name}, ARP`, build: (from: string) => raw(to, from, ARP, arp(from, A, B), tags) },
    { name: `${name}, not IP`, build: (from: string) => raw(to, from, EXPERIMENTAL, pattern(46), tags) },
  ]);
}

/** Broadcast and multicast frames as hosts really send them. */
export const multicastSamples: Sample[] = [
  { name: 'ARP request', build: (from) => raw(BROADCAST, from, ARP, arp(from, A, B)) },
  {
    name: 'ARP request padded to 60 bytes',
    build: (from) => raw(BROADCAST, from, ARP, join(arp(from, A, B), new Uint8Array(18))),
  },
  { name: 'IPv4 broadcast', build: (from) => udp4(BROADCAST, from, 200, { to: '255.255.255.255' }) },
  {
    name: 'IPv4 multicast',
    build: (from) => udp4('01:00:5e:00:00:fb', from, 80, { to: '224.0.0.251', ttl: 255 }),
  },
  {
    name: 'IPv6 multicast',
    build: (from) => udp6('33:33:00:00:00:fb', from, 80, { to: 'ff02::fb', hopLimit: 255 }),
  },
  {
    name: 'neighbour solicitation',
    build: (from) => {
      const message = solicitation(from, A6, 'ff02::1:ff00:2', B6);
      const packet = ipv6({ from: A6, to: 'ff02::1:ff00:2', next: ICMPV6, hopLimit: 255 }, message);
      return raw('33:33:ff:00:00:02', from, IP6, packet);
    },
  },
  { name: 'LLDP', build: (from) => raw('01:80:c2:00:00:0e', from, 0x88cc, pattern(60)) },
  {
    name: 'spanning tree BPDU (a length, not a type)',
    build: (from) => raw('01:80:c2:00:00:00', from, 38, join([0x42, 0x42, 3], pattern(43))),
  },
  { name: 'unicast to nobody in particular', build: (from) => udp4('02:ff:00:00:00:01', from, 33) },
];

function ipv4Samples(to: string, mtu: number): Sample[] {
  const icmp = (payload: number) => echo(A, B, 7, 1, pattern(payload));
  const marks = [0, 1, 2, 3].flatMap((ecn) => [ecn, 0xb8 | ecn]);
  return [
    ...[0, 18, 56, mtu - 28].map((bytes) => ({
      name: `IPv4 ICMP echo of ${bytes} bytes`,
      build: (from: string) => raw(to, from, IP4, ipv4({ from: A, to: B, protocol: ICMP }, icmp(bytes))),
    })),
    ...[0, 1, 18, 101, mtu - 28].map((bytes) => ({
      name: `IPv4 UDP of ${bytes} bytes`,
      build: (from: string) => udp4(to, from, bytes),
    })),
    {
      name: 'IPv4 UDP without a checksum',
      build: (from) => {
        const ports = { from: A, to: B, sourcePort: 5, port: 6, noChecksum: true };
        return raw(to, from, IP4, ipv4({ from: A, to: B, protocol: UDP }, udp(ports, pattern(9))));
      },
    },
    {
      name: 'IPv4 TCP SYN with options',
      build: (from) => tcp4(to, from, 0, { flags: 2, options: [2, 4, 5, 0xb4, 4, 2, 1, 1] }),
    },
    ...[0, 1, 537, mtu - 40].map((bytes) => ({
      name: `IPv4 TCP of ${bytes} bytes`,
      build: (from: string) => tcp4(to, from, bytes),
    })),
    { name: 'IPv4 TCP FIN', build: (from) => tcp4(to, from, 3, { flags: 0x19 }) },
    ...marks.map((tos) => ({
      name: `IPv4 with TOS 0x${tos.toString(16)}`,
      build: (from: string) => udp4(to, from, 40, { tos }),
    })),
    ...[1, 2, 128, 255].map((ttl) => ({
      name: `IPv4 with TTL ${ttl}`,
      build: (from: string) => udp4(to, from, 40, { ttl }),
    })),
    { name: 'IPv4 with DF', build: (from) => udp4(to, from, 40, { fragment: 0x4000 }) },
    { name: 'IPv4 first fragment', build: (from) => udp4(to, from, 40, { fragment: 0x2000 }) },
    { name: 'IPv4 later fragment', build: (from) => udp4(to, from, 40, { fragment: 0x0005 }) },
    {
      name: 'IPv4 with options',
      build: (from) => udp4(to, from, 40, { options: Uint8Array.of(148, 4, 0, 0) }),
    },
    {
      name: 'IPv4 with a length beyond the frame',
      build: (from) => udp4(to, from, 40, { totalLength: 1200 }),
    },
    {
      name: 'IPv4 with bytes behind the packet',
      build: (from) => join(udp4(to, from, 4), new Uint8Array(14)),
    },
    { name: 'IPv4 type, version nibble 0', build: (from) => raw(to, from, IP4, pattern(60)) },
    ...[0, 1, 19].map((bytes) => ({
      name: `IPv4 cut off after ${bytes} bytes`,
      build: (from: string) => udp4(to, from, 40).slice(0, 14 + bytes),
    })),
    ...['100.64.0.1', '10.1.0.2'].map((last) => ({
      name: `VLAN and TOS 0x1 and TTL 9 to ${last}`,
      build: (from: string) =>
        udp4(to, from, 40, { tos: 1, ttl: 9, to: last, fragment: 0x4000 }, [[CTAG, 5]]),
    })),
    { name: 'VLAN with IPv4 CE', build: (from) => udp4(to, from, 40, { tos: 3 }, [[CTAG, 5]]) },
  ];
}

function ipv6Samples(to: string, mtu: number): Sample[] {
  const icmp = (payload: number) => echo(A6, B6, 7, 1, pattern(payload));
  const marks = [0, 1, 2, 3].flatMap((ecn) => [ecn, 0xb8 | ecn]);
  const extension = (next: number, header: number[], payload: Uint8Array) =>
    join([next, 0, ...header], payload);
  const message = (from: string) => udp({ from: A6, to: B6, sourcePort: 1, port: 2 }, pattern(from.length));
  return [
    ...[0, 56, mtu - 48].map((bytes) => ({
      name: `IPv6 ICMP echo of ${bytes} bytes`,
      build: (from: string) => raw(to, from, IP6, ipv6({ from: A6, to: B6, next: ICMPV6 }, icmp(bytes))),
    })),
    ...[0, 1, 101, mtu - 48].map((bytes) => ({
      name: `IPv6 UDP of ${bytes} bytes`,
      build: (from: string) => udp6(to, from, bytes),
    })),
    ...[0, 1, 537, mtu - 60].map((bytes) => ({
      name: `IPv6 TCP of ${bytes} bytes`,
      build: (from: string) => tcp6(to, from, bytes),
    })),
    ...marks.map((tos) => ({
      name: `IPv6 with traffic class 0x${tos.toString(16)}`,
      build: (from: string) => udp6(to, from, 40, { tos }),
    })),
    ...[1, 255].map((hopLimit) => ({
      name: `IPv6 with hop limit ${hopLimit}`,
      build: (from: string) => udp6(to, from, 40, { hopLimit }),
    })),
    { name: 'IPv6 with a flow label', build: (from) => udp6(to, from, 40, { label: 0xabcde }) },
    {
      name: 'IPv6 with a hop-by-hop header',
      build: (from) =>
        raw(
          to,
          from,
          IP6,
          ipv6({ from: A6, to: B6, next: 0 }, extension(17, [1, 4, 0, 0, 0, 0], message(from))),
        ),
    },
    {
      name: 'IPv6 fragment',
      build: (from) =>
        raw(
          to,
          from,
          IP6,
          ipv6({ from: A6, to: B6, next: 44 }, extension(17, [0, 9, 1, 2, 3, 4], message(from))),
        ),
    },
    ...[0, 1, 39].map((bytes) => ({
      name: `IPv6 cut off after ${bytes} bytes`,
      build: (from: string) => udp6(to, from, 40).slice(0, 14 + bytes),
    })),
    {
      name: 'IPv6 with a length beyond the frame',
      build: (from) => udp6(to, from, 40, { payloadLength: 1200 }),
    },
    {
      name: 'VLAN with IPv6 CE and hop limit 9',
      build: (from) => udp6(to, from, 40, { tos: 3, hopLimit: 9 }, [[CTAG, 5]]),
    },
  ];
}

function otherSamples(to: string, mtu: number): Sample[] {
  return [
    ...[0, 1, 46, mtu].map((bytes) => ({
      name: `not IP, ${bytes} bytes of payload`,
      build: (from: string) => raw(to, from, EXPERIMENTAL, pattern(bytes)),
    })),
    {
      name: 'MPLS',
      build: (from) =>
        raw(to, from, 0x8847, join([0, 1, 1, 64], ipv4({ from: A, to: B, protocol: 59 }, pattern(10)))),
    },
    { name: 'a tag and nothing behind it', build: (from) => raw(to, from, CTAG, Uint8Array.from(u16(5))) },
    {
      name: 'VLAN with IPv4 cut off',
      build: (from) => udp4(to, from, 40, {}, [[CTAG, 5]]).slice(0, 18 + 12),
    },
    {
      name: 'IPv4 in the largest tagged frame, which makes the outer packet too big',
      build: (from) => udp4(to, from, mtu - 28, {}, [[CTAG, 5]]),
    },
    {
      name: 'not IP in the largest tagged frame',
      build: (from) => raw(to, from, EXPERIMENTAL, pattern(mtu), [[CTAG, 5]]),
    },
    { name: 'RARP', build: (from) => raw(to, from, 0x8035, arp(from, A, B)) },
    {
      name: 'IPv4 addresses of loopback',
      build: (from) => udp4(to, from, 5, { from: '127.0.0.1', to: '127.0.0.1' }),
    },
    {
      name: 'IPv4 to itself',
      build: (from) => raw(to, from, IP4, ipv4({ from: A, to: A, protocol: 59 }, ip(B))),
    },
  ];
}

/** All that the encapsulation is compared on, to `to` where the sample does not say otherwise, up to a VTEP's MTU. */
export const encapSamples = (to: string, mtu: number): Sample[] => [
  ...ipv4Samples(to, mtu),
  ...ipv6Samples(to, mtu),
  ...otherSamples(to, mtu),
  ...taggedSamples(to),
  ...multicastSamples,
];

export function numbered(samples: readonly Sample[], first = 1): NumberedFrame[] {
  return samples.map(({ name, build }, i) => ({
    name,
    number: first + i,
    frame: build(numberedMac(first + i)),
  }));
}
