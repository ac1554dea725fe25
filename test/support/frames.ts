/**
 * Valid frames from a few words: each builder writes one header and takes what the next one made.
 *
 *   ethernet({ source: '02:00:00:00:00:01' },
 *     vlan({ id: 5 },
 *       ipv4({ source: '10.244.1.2', destination: '10.244.2.2', ttl: 9 },
 *         tcp({ sourcePort: 40000, destinationPort: 80, flags: 'SA' }, payload))))
 *
 * Lengths, types and checksums are filled in; a field of that name overrides what is filled in, which
 * makes the broken frames. `checksum: 'partial'` leaves the sum of the pseudo header, as a sender with
 * checksum offload does. A fragment is ipv4() or ipv6() over raw() with a part of a message's bytes.
 */
import ipaddr from 'ipaddr.js';
import { internetSum, pseudoIpv4, pseudoIpv6 } from './reference.ts';

/** A number in network order as it goes into the field. */
export type Checksum = number | 'partial';

/** What follows an IP header; the IP builder finishes its checksum. */
export interface Message {
  readonly protocol: number;
  readonly bytes: Uint8Array;
  /** Absent where the message has no checksum, or a given one. */
  readonly checksum?: { offset: number; pseudo: boolean; partial: boolean };
}

/** What follows an Ethernet header or tag. */
export interface Packet {
  readonly type: number;
  readonly bytes: Uint8Array;
}

export interface EthernetFields {
  source?: string;
  destination?: string;
  type?: number;
}

export function ethernet(fields: EthernetFields, inner: Packet): Uint8Array {
  const header = new Uint8Array(14);
  header.set(macBytes(fields.destination ?? '02:00:00:00:00:02'), 0);
  header.set(macBytes(fields.source ?? '02:00:00:00:00:01'), 6);
  set16(header, 12, fields.type ?? inner.type);
  return concat(header, inner.bytes);
}

export interface VlanFields {
  id: number;
  priority?: number;
  dropEligible?: boolean;
  /** 0x8100 (802.1Q) or 0x88a8 (802.1ad) */
  type?: number;
}

export function vlan(fields: VlanFields, inner: Packet): Packet {
  const tag = new Uint8Array(4);
  set16(tag, 0, ((fields.priority ?? 0) << 13) | (fields.dropEligible ? 0x1000 : 0) | fields.id);
  set16(tag, 2, inner.type);
  return { type: fields.type ?? 0x8100, bytes: concat(tag, inner.bytes) };
}

/** Any ethertype with any bytes. */
export function rawPacket(type: number, bytes: Uint8Array): Packet {
  return { type, bytes };
}

export interface ArpFields {
  /** 1 request, 2 reply */
  operation?: number;
  senderMac?: string;
  senderIp: string;
  targetMac?: string;
  targetIp: string;
}

export function arp(fields: ArpFields): Packet {
  const bytes = new Uint8Array(28);
  bytes.set([0, 1, 8, 0, 6, 4], 0);
  set16(bytes, 6, fields.operation ?? 1);
  bytes.set(macBytes(fields.senderMac ?? '02:00:00:00:00:01'), 8);
  bytes.set(ipBytes(fields.senderIp), 14);
  bytes.set(macBytes(fields.targetMac ?? '00:00:00:00:00:00'), 18);
  bytes.set(ipBytes(fields.targetIp), 24);
  return { type: 0x0806, bytes };
}

export interface Ipv4Fields {
  source?: string;
  destination?: string;
  tos?: number;
  identification?: number;
  dontFragment?: boolean;
  moreFragments?: boolean;
  /** in bytes, a multiple of 8 */
  fragmentOffset?: number;
  ttl?: number;
  protocol?: number;
  /** a multiple of 4 bytes */
  options?: Uint8Array;
  totalLength?: number;
  checksum?: number;
}

export function ipv4(fields: Ipv4Fields, inner: Message): Packet {
  const options = fields.options ?? new Uint8Array(0);
  const header = new Uint8Array(20 + options.length);
  header[0] = 0x40 | (header.length >> 2);
  header[1] = fields.tos ?? 0;
  set16(header, 2, fields.totalLength ?? header.length + inner.bytes.length);
  set16(header, 4, fields.identification ?? 0);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0);
  set16(header, 6, flags | ((fields.fragmentOffset ?? 0) >> 3));
  header[8] = fields.ttl ?? 64;
  header[9] = fields.protocol ?? inner.protocol;
  header.set(ipBytes(fields.source ?? '10.244.1.2'), 12);
  header.set(ipBytes(fields.destination ?? '10.244.2.2'), 16);
  header.set(options, 20);
  set16(header, 10, fields.checksum ?? internetSum(header) ^ 0xffff);
  return { type: 0x0800, bytes: concat(header, finish(inner, header, pseudoIpv4)) };
}

/** Hop-by-hop (0), routing (43), destination options (60): `bytes` behind its first two, padded to whole units. */
export interface Extension {
  type: number;
  bytes?: Uint8Array;
}

export interface Ipv6Fields {
  source?: string;
  destination?: string;
  trafficClass?: number;
  flowLabel?: number;
  hopLimit?: number;
  nextHeader?: number;
  payloadLength?: number;
  extensions?: Extension[];
  /** Adds a fragment header behind the extensions; the offset is in bytes, a multiple of 8. */
  fragment?: { offset: number; more: boolean; identification?: number };
}

export function ipv6(fields: Ipv6Fields, inner: Message): Packet {
  const chain = extensionChain(fields, inner.protocol);
  const header = new Uint8Array(40);
  const trafficClass = fields.trafficClass ?? 0;
  const flowLabel = fields.flowLabel ?? 0;
  header[0] = 0x60 | (trafficClass >> 4);
  header[1] = ((trafficClass & 15) << 4) | (flowLabel >> 16);
  set16(header, 2, flowLabel & 0xffff);
  set16(header, 4, fields.payloadLength ?? chain.bytes.length + inner.bytes.length);
  header[6] = fields.nextHeader ?? chain.first;
  header[7] = fields.hopLimit ?? 64;
  header.set(ipBytes(fields.source ?? 'fd00:1::2'), 8);
  header.set(ipBytes(fields.destination ?? 'fd00:2::2'), 24);
  return { type: 0x86dd, bytes: concat(header, chain.bytes, finish(inner, header, pseudoIpv6)) };
}

/** Built from the last header to the first, since each names the one behind it. */
function extensionChain(fields: Ipv6Fields, protocol: number): { first: number; bytes: Uint8Array } {
  let first = protocol;
  let bytes = new Uint8Array(0);
  if (fields.fragment) {
    const header = new Uint8Array(8);
    header[0] = first;
    set16(header, 2, fields.fragment.offset | (fields.fragment.more ? 1 : 0));
    new DataView(header.buffer).setUint32(4, fields.fragment.identification ?? 1);
    bytes = header;
    first = 44;
  }
  for (const extension of [...(fields.extensions ?? [])].reverse()) {
    const body = extension.bytes ?? new Uint8Array(0);
    const header = new Uint8Array(Math.ceil((2 + body.length) / 8) * 8);
    header[0] = first;
    header[1] = header.length / 8 - 1;
    header.set(body, 2);
    bytes = concat(header, bytes);
    first = extension.type;
  }
  return { first, bytes };
}

/** The message's bytes with its checksum, of which it knew all but the pseudo header. */
function finish(
  inner: Message,
  ip: Uint8Array,
  pseudo: (ip: Uint8Array, protocol: number, length: number) => number,
): Uint8Array {
  if (!inner.checksum) return inner.bytes;
  const { offset, pseudo: counts, partial } = inner.checksum;
  const bytes = inner.bytes.slice();
  const start = counts ? pseudo(ip, inner.protocol, bytes.length) : 0;
  const sum = partial ? start : internetSum(bytes, start) ^ 0xffff;
  // RFC 768: a computed zero is sent as all ones, for zero says that there is none.
  set16(bytes, offset, inner.protocol === 17 && sum === 0 ? 0xffff : sum);
  return bytes;
}

export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

/** 4 or 16 bytes */
export function ipBytes(text: string): Uint8Array {
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function set16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >> 8;
  bytes[offset + 1] = value;
}
