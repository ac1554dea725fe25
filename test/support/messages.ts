/**
 * What goes into ipv4() and ipv6() of frames.ts: TCP, UDP, SCTP's ports, ICMP, ICMPv6, or any bytes.
 */
import { type Checksum, concat, ipBytes, type Message, macBytes, set16 } from './frames.ts';

const NOTHING = new Uint8Array(0);

/** Any protocol with any bytes: the later part of a fragmented message, GRE, ESP ... */
export function raw(protocol: number, bytes: Uint8Array = NOTHING): Message {
  return { protocol, bytes };
}

const TCP_FLAGS = 'FSRPAUEC';

export interface TcpFields {
  sourcePort?: number;
  destinationPort?: number;
  sequence?: number;
  acknowledgment?: number;
  /** Letters of FIN, SYN, RST, PSH, ACK, URG, ECE, CWR; ACK alone by default. */
  flags?: string;
  window?: number;
  urgent?: number;
  /** A multiple of 4 bytes, at most 40; see tcpTimestamps(). */
  options?: Uint8Array;
  checksum?: Checksum;
}

/** RFC 9293 section 3.1 */
export function tcp(fields: TcpFields = {}, payload: Uint8Array = NOTHING): Message {
  const options = fields.options ?? NOTHING;
  const header = new Uint8Array(20 + options.length);
  const view = new DataView(header.buffer);
  set16(header, 0, fields.sourcePort ?? 40000);
  set16(header, 2, fields.destinationPort ?? 80);
  view.setUint32(4, fields.sequence ?? 1);
  view.setUint32(8, fields.acknowledgment ?? 1);
  header[12] = (header.length >> 2) << 4;
  header[13] = tcpFlagBits(fields.flags ?? 'A');
  set16(header, 14, fields.window ?? 65535);
  set16(header, 18, fields.urgent ?? 0);
  header.set(options, 20);
  return checksummed(6, concat(header, payload), 16, true, fields.checksum);
}

function tcpFlagBits(letters: string): number {
  return [...letters].reduce((bits, letter) => bits | (1 << TCP_FLAGS.indexOf(letter)), 0);
}

/** In the order of TCP_FLAGS, the lowest bit first. */
export function tcpFlagLetters(bits: number): string {
  return [...TCP_FLAGS].filter((_, bit) => bits & (1 << bit)).join('');
}

/** The option block Linux sends on an established connection (RFC 7323): NOP, NOP, timestamps. */
export function tcpTimestamps(value: number, echo: number): Uint8Array {
  const options = new Uint8Array([1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
  const view = new DataView(options.buffer);
  view.setUint32(4, value);
  view.setUint32(8, echo);
  return options;
}

export interface UdpFields {
  sourcePort?: number;
  destinationPort?: number;
  length?: number;
  /** 0 = none */
  checksum?: Checksum;
}

/** RFC 768 */
export function udp(fields: UdpFields = {}, payload: Uint8Array = NOTHING): Message {
  const header = new Uint8Array(8);
  set16(header, 0, fields.sourcePort ?? 40000);
  set16(header, 2, fields.destinationPort ?? 53);
  set16(header, 4, fields.length ?? header.length + payload.length);
  return checksummed(17, concat(header, payload), 6, true, fields.checksum);
}

/** RFC 9260 section 3.1, with neither chunks nor CRC32c: enough to have ports. */
export function sctp(fields: { sourcePort: number; destinationPort: number }): Message {
  const header = new Uint8Array(12);
  set16(header, 0, fields.sourcePort);
  set16(header, 2, fields.destinationPort);
  return raw(132, header);
}

export interface IcmpFields {
  /** Echo request by default: 8, or 128 in icmpv6() */
  type?: number;
  code?: number;
  identifier?: number;
  sequence?: number;
  checksum?: Checksum;
}

/** RFC 792 */
export function icmp(fields: IcmpFields = {}, payload: Uint8Array = NOTHING): Message {
  return checksummed(1, icmpBytes(fields, 8, payload), 2, false, fields.checksum);
}

/** RFC 4443 */
export function icmpv6(fields: IcmpFields = {}, payload: Uint8Array = NOTHING): Message {
  return checksummed(58, icmpBytes(fields, 128, payload), 2, true, fields.checksum);
}

function icmpBytes(fields: IcmpFields, echo: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(8);
  header[0] = fields.type ?? echo;
  header[1] = fields.code ?? 0;
  set16(header, 4, fields.identifier ?? 0);
  set16(header, 6, fields.sequence ?? 0);
  return concat(header, payload);
}

export interface NeighbourFields {
  /** 135 solicitation, 136 advertisement */
  type: 135 | 136;
  target: string;
  /** Of an advertisement: router 0x80, solicited 0x40, override 0x20. */
  flags?: number;
  /** Source (135) or target (136) link-layer address option. */
  mac?: string;
}

/** RFC 4861 sections 4.3 and 4.4. Its IPv6 header needs hopLimit 255. */
export function neighbour(fields: NeighbourFields): Message {
  const option = fields.mac ? concat(new Uint8Array([fields.type - 134, 1]), macBytes(fields.mac)) : NOTHING;
  const header = new Uint8Array([fields.type, 0, 0, 0, fields.flags ?? 0, 0, 0, 0]);
  return checksummed(58, concat(header, ipBytes(fields.target), option), 2, true, undefined);
}

function checksummed(
  protocol: number,
  bytes: Uint8Array,
  offset: number,
  pseudo: boolean,
  checksum: Checksum | undefined,
): Message {
  if (typeof checksum === 'number') {
    set16(bytes, offset, checksum);
    return { protocol, bytes };
  }
  return { protocol, bytes, checksum: { offset, pseudo, partial: checksum === 'partial' } };
}
