/**
 * Frames of every kind that a VTEP meets, each numbered in its source address so that it can be told apart after
 * the tunnel. The lists are data for the interop and wire tests; a name says what is special about a frame.
 */
import {
  arp,
  ethernet,
  ipv4,
  ipv6,
  join,
  numberedMac,
  pattern,
  solicitation,
  tcp,
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

export const A = '10.1.0.1';
export const B = '10.1.0.2';
export const A6 = 'fd01::1';
export const B6 = 'fd01::2';
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export const IP4 = 0x0800;
export const IP6 = 0x86dd;
const ARP = 0x0806;
export const EXPERIMENTAL = 0x88b5;
export const CTAG = 0x8100;
const STAG = 0x88a8;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

type Tags = readonly (readonly [number, number])[];

export function udp4(
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

export function udp6(
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

export function tcp4(
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

export function tcp6(
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

export const raw = (to: string, from: string, type: number, payload: Uint8Array, tags: Tags = []) =>
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

export function numbered(samples: readonly Sample[], first = 1): NumberedFrame[] {
  return samples.map(({ name, build }, i) => ({
    name,
    number: first + i,
    frame: build(numberedMac(first + i)),
  }));
}
