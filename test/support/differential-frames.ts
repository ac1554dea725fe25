/**
 * Inner frames for the differential suite: one description of what bears on the outer header, built exactly or drawn
 * at random. A frame bears the number of its case in its source address and once more in its payload, so that it is
 * known again whatever a VTEP does to its addresses.
 */
import type { Dice } from './differential-dice.ts';
import {
  arp,
  echo,
  ethernet,
  ipv4,
  ipv6,
  join,
  numberedMac,
  numberOf,
  pattern,
  tcp,
  u16,
  udp,
} from './traffic-frames.ts';

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd, experimental: 0x88b5 } as const;
export const CTAG = 0x8100;
export const STAG = 0x88a8;
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const ZERO = '00:00:00:00:00:00';

export type Tags = readonly (readonly [tpid: number, tci: number])[];
export const KINDS = ['IPv4', 'IPv6', 'ARP', 'other'] as const;
export type InnerKind = (typeof KINDS)[number];
export const TAGS: Readonly<Record<string, Tags>> = {
  untagged: [],
  tagged: [[CTAG, 0x6064]],
  'double tagged': [
    [STAG, 200],
    [CTAG, 100],
  ],
};

/** What a frame is; all that is not given is ordinary. */
export interface Inner {
  kind: InnerKind;
  to?: string;
  tags?: Tags;
  /** TOS or traffic class, TTL or hop limit. */
  tos?: number;
  ttl?: number;
  /** The 16 bits of flags and fragment offset. */
  fragment?: number;
  label?: number;
  protocol?: 'udp' | 'tcp' | 'icmp';
  source?: string;
  destination?: string;
  sourcePort?: number;
  port?: number;
  /** Bytes behind the transport header; behind the Ethernet header where there is none. */
  payload?: number;
  options?: Uint8Array;
  type?: number;
  /** The frame ends here. */
  cut?: number;
}

const MAGIC = [0xd1, 0xff, 0x5e];
const SEARCHED_BYTES = 256;
const PROTOCOL = { udp: 17, tcp: 6, icmp: 1, icmp6: 58 } as const;

function payloadOf(length: number, number: number): Uint8Array {
  const bytes = pattern(length, number);
  if (length >= 5) bytes.set([...MAGIC, ...u16(number)]);
  return bytes;
}

/** The number of the case that a frame belongs to, or -1. */
export function caseOf(frame: Uint8Array): number {
  const bySource = numberOf(frame);
  if (bySource >= 0) return bySource;
  const byDestination = numberOf(join(frame.subarray(6, 12), frame.subarray(0, 6), frame.subarray(12)));
  if (byDestination >= 0) return byDestination;
  const end = Math.min(frame.length, SEARCHED_BYTES) - 5;
  for (let at = 14; at <= end; at++)
    if (MAGIC.every((byte, i) => frame[at + i] === byte))
      return ((frame[at + 3] ?? 0) << 8) | (frame[at + 4] ?? 0);
  return -1;
}

function transport(spec: Inner, from: string, to: string, payload: Uint8Array): Uint8Array {
  const ports = { from, to, sourcePort: spec.sourcePort ?? 40_001, port: spec.port ?? 9 };
  if (spec.protocol === 'tcp') return tcp(ports, payload);
  if (spec.protocol === 'icmp') return echo(from, to, ports.sourcePort, 1, payload);
  return udp(ports, payload);
}

/** The frame of case `number`, from its numbered address unless another is given. */
export function build(spec: Inner, number: number, from = numberedMac(number)): Uint8Array {
  const whole = wholeFrame(spec, number, from);
  return spec.cut === undefined ? whole : whole.slice(0, spec.cut);
}

function wholeFrame(spec: Inner, number: number, from: string): Uint8Array {
  const { kind, to = BROADCAST, tags = [], payload = 46, protocol = 'udp' } = spec;
  const ends = { to, from, tags };
  const v6 = kind === 'IPv6';
  const source = spec.source ?? (v6 ? 'fd01::1' : '10.1.0.1');
  const destination = spec.destination ?? (v6 ? 'fd01::2' : '10.1.0.2');
  const filled = payloadOf(payload, number);
  switch (kind) {
    case 'IPv4': {
      const fields = {
        from: source,
        to: destination,
        protocol: PROTOCOL[protocol],
        id: number,
        ...(spec.tos === undefined ? {} : { tos: spec.tos }),
        ...(spec.ttl === undefined ? {} : { ttl: spec.ttl }),
        ...(spec.fragment === undefined ? {} : { fragment: spec.fragment }),
        ...(spec.options === undefined ? {} : { options: spec.options }),
      };
      return ethernet(
        { ...ends, type: ETHERTYPE.ipv4 },
        ipv4(fields, transport(spec, source, destination, filled)),
      );
    }
    case 'IPv6': {
      const fields = {
        from: source,
        to: destination,
        next: protocol === 'icmp' ? PROTOCOL.icmp6 : PROTOCOL[protocol],
        ...(spec.tos === undefined ? {} : { tos: spec.tos }),
        ...(spec.ttl === undefined ? {} : { hopLimit: spec.ttl }),
        ...(spec.label === undefined ? {} : { label: spec.label }),
      };
      return ethernet(
        { ...ends, type: ETHERTYPE.ipv6 },
        ipv6(fields, transport(spec, source, destination, filled)),
      );
    }
    case 'ARP':
      return ethernet({ ...ends, type: ETHERTYPE.arp }, join(arp(from, source, destination), filled));
    case 'other':
      return ethernet({ ...ends, type: spec.type ?? ETHERTYPE.experimental }, filled);
  }
}

/** Names of what a description says, for a report. */
export function nameOf(spec: Inner): string {
  const { kind, tags = [], cut } = spec;
  const parts: string[] = [kind];
  if (tags.length > 0) parts.push(tags.length === 1 ? 'tagged' : `${tags.length} tags`);
  for (const key of [
    'protocol',
    'to',
    'tos',
    'ttl',
    'fragment',
    'label',
    'payload',
    'source',
    'destination',
  ] as const)
    if (spec[key] !== undefined)
      parts.push(
        `${key} ${key === 'tos' || key === 'fragment' ? `0x${spec[key]!.toString(16)}` : spec[key]}`,
      );
  if (cut !== undefined) parts.push(`cut off after ${cut} bytes`);
  return parts.join(', ');
}

/** Every kind of frame, tagged in every way, with marks that show where they are copied from. */
export function marksProduct(dice: Dice, to: readonly string[]): Inner[] {
  const specs: Inner[] = [];
  for (const kind of KINDS)
    for (const tags of Object.values(TAGS)) {
      const rounds = kind === 'IPv4' || kind === 'IPv6' ? 4 : 1;
      for (let ecn = 0; ecn < rounds; ecn++)
        specs.push({
          kind,
          tags,
          to: dice.pick(to),
          tos: (dice.byte() & 0xfc) | ecn,
          ttl: dice.between(1, 255),
          label: dice.between(0, 0xfffff),
          fragment: dice.chance(50) ? 0x4000 : 0,
          protocol: dice.pick(['udp', 'tcp', 'icmp']),
          payload: dice.between(5, 400),
        });
    }
  return specs;
}

/** Anything that a host might send, and some things that none should. */
export function anyInner(dice: Dice, to: readonly string[], payloadMax = 1300): Inner {
  const kind = dice.pick(KINDS);
  const v6 = kind === 'IPv6';
  const host = () =>
    v6
      ? `fd01::${dice.between(1, 0xffff).toString(16)}`
      : `10.${dice.byte()}.${dice.byte()}.${dice.between(1, 254)}`;
  const spec: Inner = {
    kind,
    to: dice.pick(to),
    tags: dice.chance(70) ? [] : dice.pick(Object.values(TAGS)),
    tos: dice.byte(),
    ttl: dice.byte(),
    label: dice.between(0, 0xfffff),
    fragment: dice.chance(70) ? dice.pick([0, 0x4000]) : dice.pick([0x2000, 0x0010, 0x2010, 0x8000, 0x6000]),
    protocol: dice.pick(['udp', 'tcp', 'icmp']),
    source: host(),
    destination: host(),
    sourcePort: dice.between(0, 0xffff),
    port: dice.between(0, 0xffff),
    payload: dice.chance(80) ? dice.between(1, 200) : dice.between(1, payloadMax),
  };
  if (kind === 'other') spec.type = dice.pick([0x88b5, 0x8847, 0x8035, 0x0001, 0x05dc, 0x9000, 0xffff]);
  if (kind === 'IPv4' && dice.chance(10)) spec.options = new Uint8Array(4 * dice.between(1, 10)).fill(1);
  // Not right behind a tag: what the kernel counts for such a frame is a case of its own.
  if (dice.chance(8)) spec.cut = dice.pick([15, 19, 20, 21, 23, 24, 27, 30, 33, 34, 41, 50, 53, 54, 60]);
  return spec;
}
