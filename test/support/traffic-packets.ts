/**
 * Reading what was captured: the outer packet of a tunnel taken apart, every checksum verified, and the fields
 * that may differ between two correct VTEPs blanked so that the rest can be compared byte for byte.
 */
import { hexdump, pseudoHeader, sum } from './traffic-frames.ts';

/** A VXLAN packet, from the outer Ethernet header on. */
export interface TunnelPacket {
  bytes: Uint8Array;
  version: 4 | 6;
  ttl: number;
  tos: number;
  dontFragment: boolean;
  source: string;
  destination: string;
  sourcePort: number;
  port: number;
  /** First four bytes of the VXLAN header. */
  flags: number;
  vni: number;
  reserved: number;
  inner: Uint8Array;
}

const u16 = (b: Uint8Array, at: number) => ((b[at] ?? 0) << 8) | (b[at + 1] ?? 0);
const address = (b: Uint8Array) =>
  b.length === 4 ? b.join('.') : Array.from({ length: 8 }, (_, i) => u16(b, i * 2).toString(16)).join(':');

/** Where the network header starts and which type it has, tags skipped. */
export function network(frame: Uint8Array): { at: number; type: number; tags: number } {
  let at = 12;
  let tags = 0;
  while (u16(frame, at) === 0x8100 || u16(frame, at) === 0x88a8) {
    at += 4;
    tags++;
  }
  return { at: at + 2, type: u16(frame, at), tags };
}

/** Takes the outer headers apart; undefined when it is not UDP over IPv4 or IPv6, or a later fragment. */
export function tunnelPacket(bytes: Uint8Array): TunnelPacket | undefined {
  const { at, type } = network(bytes);
  const version = type === 0x0800 ? 4 : type === 0x86dd ? 6 : 0;
  if (version === 0) return undefined;
  const protocol = bytes[version === 4 ? at + 9 : at + 6];
  const udp = at + (version === 4 ? ((bytes[at] ?? 0) & 15) * 4 : 40);
  const fragment = version === 4 ? u16(bytes, at + 6) : 0;
  if (protocol !== 17 || fragment & 0x1fff || bytes.length < udp + 16) return undefined;
  const [from, width] = version === 4 ? [at + 12, 4] : [at + 8, 16];
  return {
    bytes,
    version,
    ttl: bytes[version === 4 ? at + 8 : at + 7] ?? 0,
    tos: version === 4 ? (bytes[at + 1] ?? 0) : (u16(bytes, at) >> 4) & 255,
    dontFragment: (fragment & 0x4000) !== 0,
    source: address(bytes.subarray(from, from + width)),
    destination: address(bytes.subarray(from + width, from + 2 * width)),
    sourcePort: u16(bytes, udp),
    port: u16(bytes, udp + 2),
    flags: u16(bytes, udp + 8) * 0x10000 + u16(bytes, udp + 10),
    vni: (u16(bytes, udp + 12) << 8) | (bytes[udp + 14] ?? 0),
    reserved: bytes[udp + 15] ?? 0,
    inner: bytes.subarray(udp + 16),
  };
}

/**
 * What is wrong with the checksums and lengths of a frame's IP packet: one line a fault, none for a good frame.
 * Frames that are not IP, and transports of fragments, have nothing to check.
 */
export function faults(frame: Uint8Array): string[] {
  const { at, type } = network(frame);
  if (type === 0x0800) return ipv4Faults(frame.subarray(at));
  if (type === 0x86dd) return ipv6Faults(frame.subarray(at));
  return [];
}

function ipv4Faults(packet: Uint8Array): string[] {
  const found: string[] = [];
  const header = ((packet[0] ?? 0) & 15) * 4;
  const total = u16(packet, 2);
  if (sum(packet.subarray(0, header)) !== 0xffff) found.push('IPv4 header checksum');
  if (total > packet.length) return [...found, `IPv4 total length ${total} of ${packet.length} bytes`];
  if (u16(packet, 6) & 0x3fff) return found;
  const segment = packet.subarray(header, total);
  const [from, to] = [packet.subarray(12, 16), packet.subarray(16, 20)];
  return [...found, ...transportFaults(segment, packet[9] ?? 0, from, to)];
}

function ipv6Faults(packet: Uint8Array): string[] {
  const length = u16(packet, 4);
  if (40 + length > packet.length) return [`IPv6 payload length ${length} of ${packet.length - 40} bytes`];
  const [from, to] = [packet.subarray(8, 24), packet.subarray(24, 40)];
  return transportFaults(packet.subarray(40, 40 + length), packet[6] ?? 0, from, to);
}

function transportFaults(segment: Uint8Array, protocol: number, from: Uint8Array, to: Uint8Array): string[] {
  const names: Record<number, string> = { 1: 'ICMP', 6: 'TCP', 17: 'UDP', 58: 'ICMPv6' };
  const name = names[protocol];
  if (name === undefined) return [];
  if (protocol === 17 && u16(segment, 6) === 0) return from.length === 16 ? ['UDP checksum is zero'] : [];
  if (protocol === 17 && u16(segment, 4) !== segment.length)
    return [`UDP length ${u16(segment, 4)} of ${segment.length} bytes`];
  const pseudo = protocol === 1 ? [] : pseudoHeader(from, to, protocol, segment.length);
  return sum(pseudo, segment) === 0xffff ? [] : [`${name} checksum`];
}

/** A copy without the fields that the kernel randomises or that follow from them: IP id, source port, checksums. */
export function comparable(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const { at, type } = network(copy);
  const blank = (from: number, length: number) => copy.fill(0, from, from + length);
  if (type !== 0x0800 && type !== 0x86dd) return copy;
  const v4 = type === 0x0800;
  if (v4) {
    blank(at + 4, 2);
    blank(at + 10, 2);
    if (u16(copy, at + 6) & 0x1fff) return copy;
  }
  const next = v4 ? at + 9 : at + 6;
  const udp = at + (v4 ? ((copy[at] ?? 0) & 15) * 4 : 40);
  if (copy[next] === 17) {
    blank(udp, 2);
    // A checksum differs with the source port; that there is none must not differ.
    if (u16(copy, udp + 6) !== 0) copy.fill(0xff, udp + 6, udp + 8);
  }
  return copy;
}

/** Null when equal; else where they part, with both dumps. */
export function difference(left: Uint8Array, right: Uint8Array, names: [string, string]): string | null {
  let at = 0;
  while (at < left.length && at < right.length && left[at] === right[at]) at++;
  if (at === left.length && at === right.length) return null;
  const show = (name: string, bytes: Uint8Array) => `${name} (${bytes.length} bytes)\n${hexdump(bytes)}`;
  return `first difference at byte ${at}\n${show(names[0], left)}\n${show(names[1], right)}`;
}
