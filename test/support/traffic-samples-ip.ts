/**
 * Inner frames for the comparison of encapsulations: IPv4 and IPv6 with every mark and oddity that bears on the outer
 * header, and what is neither.
 */
import { arp, echo, ip, ipv4, ipv6, join, pattern, u16, udp } from './traffic-frames.ts';
import {
  A,
  A6,
  B,
  B6,
  CTAG,
  EXPERIMENTAL,
  IP4,
  IP6,
  multicastSamples,
  raw,
  type Sample,
  taggedSamples,
  tcp4,
  tcp6,
  udp4,
  udp6,
} from './traffic-samples.ts';

const ICMP = 1;
const ICMPV6 = 58;
const UDP = 17;

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
