/**
 * Hand-made datagrams for a VTEP, right and wrong in every way that the decapsulation has to tell apart. Each holds
 * a frame that is numbered in its source address; some travel in outer packets that only a packet socket can send.
 */

import {
  ethernet,
  ip,
  ipv4,
  ipv6,
  join,
  numberedMac,
  pattern,
  u16,
  u32,
  udp,
  vxlan,
} from './traffic-frames.ts';
import { BROADCAST, CTAG, IP4, IP6 } from './traffic-samples.ts';
import { encapSamples } from './traffic-samples-ip.ts';
import { HOSTS, PORT, VNI } from './traffic-vtep.ts';

const [MASTER, WORKER] = HOSTS;
const A = '10.1.0.1';
const B = '10.1.0.2';
const A6 = 'fd01::1';
const B6 = 'fd01::2';
const FLAGS_I = 0x08000000;
const EXPERIMENTAL = 0x88b5;
const MARKS = ['Not-ECT', 'ECT(1)', 'ECT(0)', 'CE'];

/** One thing to send to the VTEP and what it is called. */
export interface Case {
  name: string;
  /** UDP payload: VXLAN header and frame. */
  datagram: Uint8Array;
  /** TOS or traffic class of the outer packet. */
  tos?: number;
  /** Set when a plain UDP socket cannot send it: the outer packets, from the IP header on. */
  packets?: (ipv6Underlay: boolean) => Uint8Array[];
  /** Only for one underlay. */
  only?: 4 | 6;
}

/** Cases get their number, and so their frame's source address, in the order of the list. */
class Cases {
  readonly list: Case[] = [];

  add(name: string, build: (from: string, number: number) => Uint8Array, more: Partial<Case> = {}): void {
    const number = this.list.length + 1;
    this.list.push({ name, datagram: build(numberedMac(number), number), ...more });
  }
}

const to = WORKER.vtepMac;

function udp4(from: string, tos = 0, payload = 40, tags: [number, number][] = []): Uint8Array {
  const ports = { from: A, to: B, sourcePort: 7, port: 9 };
  return ethernet(
    { to, from, type: IP4, tags },
    ipv4({ from: A, to: B, protocol: 17, tos }, udp(ports, pattern(payload))),
  );
}

function udp6(from: string, tos = 0, payload = 40): Uint8Array {
  const ports = { from: A6, to: B6, sourcePort: 7, port: 9 };
  return ethernet(
    { to, from, type: IP6 },
    ipv6({ from: A6, to: B6, next: 17, tos }, udp(ports, pattern(payload))),
  );
}

const other = (from: string, payload = 46) => ethernet({ to, from, type: EXPERIMENTAL }, pattern(payload));

/** Outer IP packets around `datagram`, from the given fields; the plain ones when none are given. */
function outerPacket(
  ipv6Underlay: boolean,
  datagram: Uint8Array,
  fields: {
    tos?: number;
    udp?: Partial<Parameters<typeof udp>[0]>;
    ip4?: Partial<Parameters<typeof ipv4>[0]>;
  } = {},
): Uint8Array {
  const [from, dst] = ipv6Underlay
    ? [MASTER.underlay6, WORKER.underlay6]
    : [MASTER.underlay, WORKER.underlay];
  const ports = { from: fields.ip4?.from ?? from, to: fields.ip4?.to ?? dst, sourcePort: 50_000, port: PORT };
  const segment = udp({ ...ports, ...fields.udp }, datagram);
  const tos = fields.tos ?? 0;
  if (ipv6Underlay) return ipv6({ from, to: dst, next: 17, tos }, segment);
  return ipv4({ from, to: dst, protocol: 17, tos, ...fields.ip4 }, segment);
}

function headers(cases: Cases): void {
  for (const { name, build } of encapSamples(to, 1430)) cases.add(name, (from) => vxlan(VNI, build(from)));
  for (let bit = 0; bit < 32; bit++)
    if (1 << bit !== FLAGS_I)
      cases.add(`reserved bit ${bit} of the flags`, (from) =>
        vxlan(VNI, udp4(from), (FLAGS_I | (1 << bit)) >>> 0),
      );
  for (let bit = 0; bit < 8; bit++)
    cases.add(`reserved bit ${bit} behind the VNI`, (from) => vxlan(VNI, udp4(from), FLAGS_I, 1 << bit));
  cases.add('every reserved bit', (from) => vxlan(VNI, udp4(from), 0xffffffff, 0xff));
  for (const flags of [0, 0xf7ffffff, 0x00000008])
    cases.add(`I flag clear, flags 0x${flags.toString(16)}`, (from) => vxlan(VNI, udp4(from), flags));
  for (const vni of [0, 2, 0x100, 0x10000, 0xffffff])
    cases.add(`unknown VNI ${vni}`, (from) => vxlan(vni, udp4(from)));
}

function lengths(cases: Cases): void {
  for (const [name, build] of [
    ['IPv4', udp4],
    ['IPv6', udp6],
    ['no IP', other],
  ] as const)
    for (let length = 0; length <= 60; length++)
      cases.add(`${name} cut off after ${length} bytes`, (from) => vxlan(VNI, build(from)).slice(0, length));
  cases.add('a tagged IPv4 frame cut off in the IP header', (from) =>
    vxlan(VNI, udp4(from, 0, 40, [[CTAG, 5]]).slice(0, 18 + 12)),
  );
  for (const payload of [1410, 1423, 1424, 4000, 9000])
    cases.add(`an inner packet of ${payload + 28} bytes, larger than the MTU or not`, (from) =>
      vxlan(VNI, udp4(from, 0, payload)),
    );
}

function addresses(cases: Cases): void {
  const from = (source: string) => (_: string, number: number) =>
    vxlan(VNI, ethernet({ to, from: source, type: EXPERIMENTAL }, join(u16(number), pattern(44))));
  cases.add('the own address as source', from(WORKER.vtepMac));
  cases.add('the zero address as source', from('00:00:00:00:00:00'));
  cases.add('broadcast as source', from(BROADCAST));
  cases.add('a multicast source', from('01:00:5e:00:00:01'));
  cases.add('to another address', (source) =>
    vxlan(VNI, ethernet({ to: '02:ff:00:00:00:09', from: source, type: EXPERIMENTAL }, pattern(46))),
  );
  cases.add('to the zero address', (source) =>
    vxlan(VNI, ethernet({ to: '00:00:00:00:00:00', from: source, type: EXPERIMENTAL }, pattern(46))),
  );
}

function congestion(cases: Cases): void {
  const inner: [string, (from: string, tos: number) => Uint8Array][] = [
    ['IPv4', udp4],
    ['IPv6', udp6],
    ['tagged IPv4', (from, tos) => udp4(from, tos, 40, [[CTAG, 5]])],
    ['no IP', (from) => other(from)],
    [
      'IPv4 with a wrong header checksum',
      (from, tos) => {
        const frame = udp4(from, tos);
        frame[24] = (frame[24] ?? 0) ^ 0x55;
        return frame;
      },
    ],
  ];
  for (const [name, build] of inner)
    for (let outside = 0; outside < 4; outside++)
      for (let inside = 0; inside < 4; inside++) {
        const dscp = 0xb8;
        cases.add(
          `${name} with ${MARKS[inside]} in an outer packet with ${MARKS[outside]}`,
          (from) => vxlan(VNI, build(from, dscp | inside)),
          { tos: 0x48 | outside },
        );
      }
}

function outer(cases: Cases): void {
  const special = (
    name: string,
    packets: (v6: boolean, datagram: Uint8Array) => Uint8Array[],
    only?: 4 | 6,
    payload = 40,
  ) => {
    const datagram = vxlan(VNI, udp4(numberedMac(cases.list.length + 1), 0, payload));
    cases.add(name, () => datagram, { packets: (v6) => packets(v6, datagram), ...(only ? { only } : {}) });
  };
  const patched = (packet: Uint8Array, at: number) => {
    packet[at] = (packet[at] ?? 0) ^ 0x40;
    return packet;
  };
  special('a wrong UDP checksum', (v6, d) => [patched(outerPacket(v6, d), v6 ? 46 : 26)]);
  special('no UDP checksum', (v6, d) => [outerPacket(v6, d, { udp: { noChecksum: true } })]);
  special('a wrong inner byte that only the UDP checksum covers', (v6, d) => {
    const packet = outerPacket(v6, d);
    return [patched(packet, packet.length - 1)];
  });
  special('a UDP length beyond the packet', (v6, d) => [
    outerPacket(v6, d, { udp: { length: d.length + 9 } }),
  ]);
  special('a UDP length short of the packet', (v6, d) => {
    const cut = outerPacket(v6, d.slice(0, d.length - 5));
    // The five bytes behind the datagram are not part of it.
    const packet = join(cut, pattern(5));
    packet.set(u16(v6 ? packet.length - 40 : packet.length), v6 ? 4 : 2);
    if (!v6) packet.set(ipv4Header(packet), 0);
    return [packet];
  });
  special('bytes behind the IP packet', (v6, d) => [join(outerPacket(v6, d), pattern(7))]);
  special('source port 0', (v6, d) => [outerPacket(v6, d, { udp: { sourcePort: 0 } })]);
  special('the VXLAN port as source port', (v6, d) => [outerPacket(v6, d, { udp: { sourcePort: PORT } })]);
  special('a wrong outer header checksum', (v6, d) => [patched(outerPacket(v6, d), 11)], 4);
  special(
    'outer IP options',
    (v6, d) => [outerPacket(v6, d, { ip4: { options: Uint8Array.of(1, 1, 1, 0) } })],
    4,
  );
  special('outer TTL 1', (v6, d) => [outerPacket(v6, d, { ip4: { ttl: 1 } })], 4);
  special(
    'a sender that nobody knows',
    (v6, d) => [outerPacket(v6, d, { ip4: { from: '10.169.72.200' } })],
    4,
  );
  special('outer fragments', (_, d) => fragments(d, 512), 4, 1200);
  special('outer fragments, the last one first', (_, d) => fragments(d, 512).reverse(), 4, 1200);
}

/** The IPv4 header of a packet, its checksum made right again. */
function ipv4Header(packet: Uint8Array): Uint8Array {
  const header = packet.slice(0, 20);
  header.set([0, 0], 10);
  let total = 0;
  for (let i = 0; i < 20; i += 2) total += ((header[i] ?? 0) << 8) | (header[i + 1] ?? 0);
  header.set(u16(~((total & 0xffff) + (total >> 16))), 10);
  return header;
}

function fragments(datagram: Uint8Array, bytes: number): Uint8Array[] {
  const whole = outerPacket(false, datagram).slice(20);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += bytes) {
    const more = at + bytes < whole.length ? 0x2000 : 0;
    const fields = {
      from: MASTER.underlay,
      to: WORKER.underlay,
      protocol: 17,
      id: 0x4711 + datagram.length,
      fragment: more | (at / 8),
    };
    parts.push(ipv4(fields, whole.subarray(at, at + bytes)));
  }
  return parts;
}

/** The whole table. */
export function decapCases(): Case[] {
  const cases = new Cases();
  headers(cases);
  lengths(cases);
  addresses(cases);
  congestion(cases);
  outer(cases);
  return cases.list;
}

/** Outer packets of a case as frames for the wire, fragmented where they exceed the underlay's MTU. */
export function outerFrames(entry: Case, ipv6Underlay: boolean): Uint8Array[] {
  const { datagram, tos = 0, packets } = entry;
  const fits = datagram.length + (ipv6Underlay ? 48 : 28) <= 1500;
  const list =
    packets?.(ipv6Underlay) ??
    (fits ? [outerPacket(ipv6Underlay, datagram, { tos })] : null) ??
    (ipv6Underlay ? fragments6(datagram) : fragments(datagram, 1480));
  const ends = { to: WORKER.underlayMac, from: MASTER.underlayMac, type: ipv6Underlay ? IP6 : IP4 };
  return list.map((packet) => ethernet(ends, packet));
}

function fragments6(datagram: Uint8Array): Uint8Array[] {
  const [from, dst] = [MASTER.underlay6, WORKER.underlay6];
  const whole = udp({ from, to: dst, sourcePort: 50_000, port: PORT }, datagram);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += 1440) {
    const more = at + 1440 < whole.length ? 1 : 0;
    const header = join([17, 0], u16(at | more), u32(datagram.length));
    parts.push(ipv6({ from, to: dst, next: 44 }, join(header, whole.subarray(at, at + 1440))));
  }
  return parts;
}

export const ends = (ipv6Underlay: boolean) => ({
  from: ip(ipv6Underlay ? MASTER.underlay6 : MASTER.underlay),
  to: ip(ipv6Underlay ? WORKER.underlay6 : WORKER.underlay),
  sourcePort: 50_000,
  port: PORT,
});
