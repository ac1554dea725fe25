/**
 * Frames built from their fields, bytes in the order of the wire. Plain and slow on purpose: a reader can check each line
 * against the RFC. Lengths and checksums are filled in unless a test asks for wrong ones.
 */

export const mac = (text: string) => Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));

/** Address bytes from text: 4 for IPv4, 16 for IPv6. */
export function ip(text: string): Uint8Array {
  if (!text.includes(':')) return Uint8Array.from(text.split('.'), Number);
  const [head = '', tail] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = groups(tail ?? '');
  const fill = tail === undefined ? 0 : 8 - left.length - right.length;
  const words = [...left, ...Array<string>(fill).fill('0'), ...right];
  return Uint8Array.from(words.flatMap((w) => [Number.parseInt(w, 16) >> 8, Number.parseInt(w, 16) & 255]));
}

export const u16 = (value: number) => [(value >> 8) & 255, value & 255];
export const u32 = (value: number) => [...u16(value >>> 16), ...u16(value)];

export function join(...parts: (Uint8Array | readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** RFC 1071 over the parts in turn; every part but the last must be of even length. */
export function sum(...parts: (Uint8Array | readonly number[])[]): number {
  let total = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) total += ((part[i] ?? 0) << 8) + (part[i + 1] ?? 0);
  while (total > 0xffff) total = Math.floor(total / 0x10000) + (total & 0xffff);
  return total;
}

export const checksum = (...parts: (Uint8Array | readonly number[])[]) => ~sum(...parts) & 0xffff;

/** A payload whose bytes tell their place, so that any shift or mix-up shows. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (seed * 31 + i * 7 + (i >> 8)) & 255;
  return bytes;
}

export interface EthernetFields {
  to: string;
  from: string;
  /** Tags, outermost first: TPID and TCI. */
  tags?: readonly (readonly [tpid: number, tci: number])[];
  type: number;
}

export function ethernet(fields: EthernetFields, payload: Uint8Array): Uint8Array {
  const tags = (fields.tags ?? []).flatMap(([tpid, tci]) => [...u16(tpid), ...u16(tci)]);
  return join(mac(fields.to), mac(fields.from), tags, u16(fields.type), payload);
}

export interface Ipv4Fields {
  from: string;
  to: string;
  protocol: number;
  tos?: number;
  ttl?: number;
  id?: number;
  /** The 16 bits of flags and fragment offset; 0x4000 is DF. */
  fragment?: number;
  /** Header options, a multiple of four bytes. */
  options?: Uint8Array;
  /** A lying total length. */
  totalLength?: number;
}

export function ipv4(fields: Ipv4Fields, payload: Uint8Array): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const bytes = 20 + options.length;
  const header = join(
    [0x40 | (bytes / 4), fields.tos ?? 0],
    u16(fields.totalLength ?? bytes + payload.length),
    u16(fields.id ?? 0x1234),
    u16(fields.fragment ?? 0),
    [fields.ttl ?? 64, fields.protocol, 0, 0],
    ip(fields.from),
    ip(fields.to),
    options,
  );
  header.set(u16(checksum(header)), 10);
  return join(header, payload);
}

export interface Ipv6Fields {
  from: string;
  to: string;
  next: number;
  tos?: number;
  label?: number;
  hopLimit?: number;
  payloadLength?: number;
}

export function ipv6(fields: Ipv6Fields, payload: Uint8Array): Uint8Array {
  const first = 0x60000000 + (fields.tos ?? 0) * 0x100000 + (fields.label ?? 0);
  return join(
    u32(first),
    u16(fields.payloadLength ?? payload.length),
    [fields.next, fields.hopLimit ?? 64],
    ip(fields.from),
    ip(fields.to),
    payload,
  );
}

/** The pseudo-header that transport checksums cover, for IPv4 and IPv6 alike. */
export function pseudoHeader(from: Uint8Array, to: Uint8Array, protocol: number, length: number): Uint8Array {
  return join(from, to, u32(length), [0, 0, 0, protocol]);
}

/** Fills in the checksum at `at` of a segment that travels from `from` to `to`. */
export function sealed(
  segment: Uint8Array,
  at: number,
  from: string,
  to: string,
  protocol: number,
): Uint8Array {
  const value = checksum(pseudoHeader(ip(from), ip(to), protocol, segment.length), segment);
  // A UDP checksum that comes out zero is sent as all ones: zero means "none".
  segment.set(u16(value === 0 && protocol === 17 ? 0xffff : value), at);
  return segment;
}

export interface PortFields {
  from: string;
  to: string;
  sourcePort: number;
  port: number;
}

export function udp(
  fields: PortFields & { noChecksum?: boolean; length?: number },
  payload: Uint8Array,
): Uint8Array {
  const length = u16(fields.length ?? 8 + payload.length);
  const segment = join(u16(fields.sourcePort), u16(fields.port), length, [0, 0], payload);
  return fields.noChecksum ? segment : sealed(segment, 6, fields.from, fields.to, 17);
}

export function tcp(
  fields: PortFields & {
    sequence?: number;
    acknowledge?: number;
    flags?: number;
    options?: readonly number[];
  },
  payload: Uint8Array,
): Uint8Array {
  const options = fields.options ?? [];
  const segment = join(
    u16(fields.sourcePort),
    u16(fields.port),
    u32(fields.sequence ?? 1),
    u32(fields.acknowledge ?? 1),
    [((20 + options.length) / 4) << 4, fields.flags ?? 0x10],
    u16(0x2000),
    [0, 0, 0, 0],
    options,
    payload,
  );
  return sealed(segment, 16, fields.from, fields.to, 6);
}

/** An ICMP echo request, or the ICMPv6 one when both addresses are IPv6. */
export function echo(
  from: string,
  to: string,
  id: number,
  sequence: number,
  payload: Uint8Array,
): Uint8Array {
  const v6 = from.includes(':');
  const message = join([v6 ? 128 : 8, 0, 0, 0], u16(id), u16(sequence), payload);
  if (v6) return sealed(message, 2, from, to, 58);
  message.set(u16(checksum(message)), 2);
  return message;
}

/** An ARP request: who has `to`? */
export function arp(senderMac: string, from: string, to: string): Uint8Array {
  return join(u16(1), u16(0x0800), [6, 4], u16(1), mac(senderMac), ip(from), new Uint8Array(6), ip(to));
}

/** A neighbour solicitation for `target`, with the sender's link-layer address. */
export function solicitation(senderMac: string, from: string, to: string, target: string): Uint8Array {
  const message = join([135, 0, 0, 0], u32(0), ip(target), [1, 1], mac(senderMac));
  return sealed(message, 2, from, to, 58);
}

/** VXLAN header in front of a frame; `flags` and `low` are its first word and its last byte. */
export function vxlan(vni: number, frame: Uint8Array, flags = 0x08000000, low = 0): Uint8Array {
  return join(u32(flags), u32(vni * 256 + low), frame);
}

/** A locally administered MAC that numbers a frame: as its source address it survives the tunnel. */
export const numberedMac = (n: number) =>
  `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;

/** The number in a frame's source address, or -1. */
export function numberOf(frame: Uint8Array): number {
  const prefix = [2, 0, 0, 0];
  if (frame.length < 14 || prefix.some((byte, i) => frame[6 + i] !== byte)) return -1;
  return ((frame[10] ?? 0) << 8) | (frame[11] ?? 0);
}

/** Hex in rows of sixteen, for the report of a difference. */
export function hexdump(bytes: Uint8Array): string {
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, '0'));
    rows.push(`${at.toString(16).padStart(4, '0')}  ${row.join(' ')}`);
  }
  return rows.join('\n');
}
