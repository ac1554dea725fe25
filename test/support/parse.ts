/**
 * A frame taken apart for asserts, and its checksums verified from the first byte to the last. Headers
 * must be whole: tests that cut frames look at bytes instead.
 */
import ipaddr from 'ipaddr.js';
import { tcpFlagLetters } from './messages.ts';
import { internetSum, pseudoIpv4, pseudoIpv6 } from './reference.ts';

export interface ParsedFrame {
  ethernet: { destination: string; source: string; type: number };
  /** Outermost first; `type` is the tag's own ethertype. */
  vlans: { type: number; id: number; priority: number; dropEligible: boolean }[];
  arp?: { operation: number; senderMac: string; senderIp: string; targetMac: string; targetIp: string };
  ipv4?: {
    source: string;
    destination: string;
    headerBytes: number;
    tos: number;
    totalLength: number;
    identification: number;
    dontFragment: boolean;
    moreFragments: boolean;
    fragmentOffset: number;
    ttl: number;
    protocol: number;
    checksum: number;
    options: Uint8Array;
  };
  ipv6?: {
    source: string;
    destination: string;
    trafficClass: number;
    flowLabel: number;
    payloadLength: number;
    nextHeader: number;
    hopLimit: number;
    /** Types of the extension headers in their order. */
    extensions: number[];
    fragment?: { offset: number; more: boolean; identification: number };
  };
  tcp?: {
    sourcePort: number;
    destinationPort: number;
    sequence: number;
    acknowledgment: number;
    flags: string;
    window: number;
    checksum: number;
    urgent: number;
    options: Uint8Array;
  };
  udp?: { sourcePort: number; destinationPort: number; length: number; checksum: number };
  /** ICMP and ICMPv6 */
  icmp?: { type: number; code: number; checksum: number; identifier: number; sequence: number };
  /** Offset of the network header, of the transport header, and of the first byte behind the packet. */
  network: number;
  transport: number;
  end: number;
  /** Upper-layer protocol behind all IPv6 extensions; -1 when not IP. */
  protocol: number;
  /** What follows the last header that was understood, without the frame's padding. */
  payload: Uint8Array;
}

export function parseFrame(frame: Uint8Array): ParsedFrame {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const parsed: ParsedFrame = {
    ethernet: { destination: macText(frame, 0), source: macText(frame, 6), type: view.getUint16(12) },
    vlans: [],
    network: 14,
    transport: 14,
    end: frame.length,
    protocol: -1,
    payload: frame.subarray(14),
  };
  let type = parsed.ethernet.type;
  while (type === 0x8100 || type === 0x88a8) {
    const tag = view.getUint16(parsed.network);
    const dropEligible = (tag & 0x1000) !== 0;
    parsed.vlans.push({ type, id: tag & 0xfff, priority: tag >> 13, dropEligible });
    type = view.getUint16(parsed.network + 2);
    parsed.network += 4;
  }
  parsed.transport = parsed.network;
  if (type === 0x0806) parseArp(parsed, frame, view);
  if (type === 0x0800) parseIpv4(parsed, frame, view);
  if (type === 0x86dd) parseIpv6(parsed, frame, view);
  const offset = parsed.ipv4?.fragmentOffset ?? parsed.ipv6?.fragment?.offset ?? 0;
  const bytes = offset === 0 ? parseTransport(parsed, frame, view) : 0;
  parsed.payload = frame.subarray(parsed.transport + bytes, parsed.end);
  return parsed;
}

function parseArp(parsed: ParsedFrame, frame: Uint8Array, view: DataView): void {
  const at = parsed.network;
  parsed.arp = {
    operation: view.getUint16(at + 6),
    senderMac: macText(frame, at + 8),
    senderIp: ipText(frame, at + 14, 4),
    targetMac: macText(frame, at + 18),
    targetIp: ipText(frame, at + 24, 4),
  };
  parsed.transport = at + 28;
}

function parseIpv4(parsed: ParsedFrame, frame: Uint8Array, view: DataView): void {
  const at = parsed.network;
  const headerBytes = (frame[at]! & 15) * 4;
  const fragment = view.getUint16(at + 6);
  parsed.ipv4 = {
    source: ipText(frame, at + 12, 4),
    destination: ipText(frame, at + 16, 4),
    headerBytes,
    tos: frame[at + 1]!,
    totalLength: view.getUint16(at + 2),
    identification: view.getUint16(at + 4),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    ttl: frame[at + 8]!,
    protocol: frame[at + 9]!,
    checksum: view.getUint16(at + 10),
    options: frame.subarray(at + 20, at + headerBytes),
  };
  parsed.protocol = parsed.ipv4.protocol;
  parsed.transport = at + headerBytes;
  parsed.end = Math.min(frame.length, at + parsed.ipv4.totalLength);
}

function parseIpv6(parsed: ParsedFrame, frame: Uint8Array, view: DataView): void {
  const at = parsed.network;
  parsed.ipv6 = {
    source: ipText(frame, at + 8, 16),
    destination: ipText(frame, at + 24, 16),
    trafficClass: (view.getUint16(at) >> 4) & 0xff,
    flowLabel: view.getUint32(at) & 0xfffff,
    payloadLength: view.getUint16(at + 4),
    nextHeader: frame[at + 6]!,
    hopLimit: frame[at + 7]!,
    extensions: [],
  };
  parsed.protocol = parsed.ipv6.nextHeader;
  parsed.transport = at + 40;
  parsed.end = Math.min(frame.length, at + 40 + parsed.ipv6.payloadLength);
  while ([0, 43, 44, 60].includes(parsed.protocol)) {
    const header = parsed.transport;
    const whole = parsed.protocol === 44;
    parsed.ipv6.extensions.push(parsed.protocol);
    if (whole) {
      const fragment = view.getUint16(header + 2);
      const identification = view.getUint32(header + 4);
      parsed.ipv6.fragment = { offset: fragment & 0xfff8, more: (fragment & 1) !== 0, identification };
    }
    parsed.protocol = frame[header]!;
    parsed.transport += whole ? 8 : (frame[header + 1]! + 1) * 8;
    // A later fragment goes on in the middle of whatever its header names.
    if (whole && parsed.ipv6.fragment!.offset > 0) return;
  }
}

/** @returns the bytes of the transport header, 0 when it isn't one of those understood */
function parseTransport(parsed: ParsedFrame, frame: Uint8Array, view: DataView): number {
  const at = parsed.transport;
  if (parsed.protocol === 6) {
    const headerBytes = (frame[at + 12]! >> 4) * 4;
    parsed.tcp = {
      sourcePort: view.getUint16(at),
      destinationPort: view.getUint16(at + 2),
      sequence: view.getUint32(at + 4),
      acknowledgment: view.getUint32(at + 8),
      flags: tcpFlagLetters(frame[at + 13]!),
      window: view.getUint16(at + 14),
      checksum: view.getUint16(at + 16),
      urgent: view.getUint16(at + 18),
      options: frame.subarray(at + 20, at + headerBytes),
    };
    return headerBytes;
  }
  if (parsed.protocol === 17) {
    parsed.udp = {
      sourcePort: view.getUint16(at),
      destinationPort: view.getUint16(at + 2),
      length: view.getUint16(at + 4),
      checksum: view.getUint16(at + 6),
    };
    return 8;
  }
  if (parsed.protocol === 1 || parsed.protocol === 58) {
    parsed.icmp = {
      type: frame[at]!,
      code: frame[at + 1]!,
      checksum: view.getUint16(at + 2),
      identifier: view.getUint16(at + 4),
      sequence: view.getUint16(at + 6),
    };
    return 8;
  }
  return 0;
}

/** Absent: the frame has no such checksum, or it is a fragment and the rest is missing. */
export interface Verification {
  ipv4?: boolean;
  l4?: boolean;
}

export function verifyFrame(frame: Uint8Array): Verification {
  const parsed = parseFrame(frame);
  const { ipv4, ipv6, tcp, udp, icmp, network, transport, end, protocol } = parsed;
  const verification: Verification = {};
  if (ipv4) verification.ipv4 = internetSum(frame.subarray(network, network + ipv4.headerBytes)) === 0xffff;
  const fragment = ipv4 ? ipv4.moreFragments || ipv4.fragmentOffset > 0 : ipv6?.fragment !== undefined;
  if (fragment || !(tcp || udp || icmp)) return verification;
  // RFC 768: zero is "no checksum", which RFC 8200 section 8.1 forbids.
  if (ipv4 && udp?.checksum === 0) return verification;
  if (ipv6 && udp?.checksum === 0) return { ...verification, l4: false };
  const pseudo = ipv6 ? pseudoIpv6 : pseudoIpv4;
  const start = ipv4 && icmp ? 0 : pseudo(frame.subarray(network), protocol, end - transport);
  verification.l4 = internetSum(frame.subarray(transport, end), start) === 0xffff;
  return verification;
}

export function macText(frame: Uint8Array, at: number): string {
  return Array.from(frame.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function ipText(frame: Uint8Array, at: number, bytes: number): string {
  return ipaddr.fromByteArray(Array.from(frame.subarray(at, at + bytes))).toString();
}
