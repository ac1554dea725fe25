/**
 * The ICMP error that answers a frame too big for the tunnel, as RFC 792, RFC 1191 and RFC 4443 put it and Linux sends
 * it, built from fields. Nothing here shares code with assembly/too-big.ts.
 */
import ipaddr from 'ipaddr.js';
import { ethernet, ipv4, ipv6 } from './frames.ts';
import { icmp, icmpv6 } from './messages.ts';
import { ipText, macText } from './parse.ts';

const ICMP_ERRORS = [3, 4, 5, 11, 12];
/** The four errors and redirect. */
const ICMPV6_ERRORS = [1, 2, 3, 4, 137];

/** @param mtu what the sender is told. @returns undefined when the frame must not be answered */
export function tooBigNaively(frame: Uint8Array, mtu: number): Uint8Array | undefined {
  if (frame.length < 14) return undefined;
  const type = (frame[12]! << 8) | frame[13]!;
  const packet = frame.subarray(14);
  const macs = { source: macText(frame, 0), destination: macText(frame, 6) };
  if (type === 0x0800 && mtu >= 576 && packet.length >= 20 && mayAnswerIpv4(packet)) {
    const addresses = { source: ipText(packet, 16, 4), destination: ipText(packet, 12, 4) };
    const message = icmp({ type: 3, code: 4, sequence: mtu }, packet.subarray(0, 576 - 28));
    return ethernet(macs, ipv4({ ...addresses, dontFragment: true, ttl: packet[8]! }, message));
  }
  if (type === 0x86dd && mtu >= 1280 && packet.length >= 40 && mayAnswerIpv6(packet)) {
    const addresses = { source: ipText(packet, 24, 16), destination: ipText(packet, 8, 16) };
    const told = { identifier: mtu >>> 16, sequence: mtu & 0xffff };
    const message = icmpv6({ type: 2, ...told }, packet.subarray(0, 1280 - 48));
    return ethernet(macs, ipv6({ ...addresses, hopLimit: packet[7]! }, message));
  }
  return undefined;
}

function mayAnswerIpv4(packet: Uint8Array): boolean {
  if (packet[6] !== 0x40 || packet[7] !== 0) return false;
  const source = ipaddr.IPv4.parse(ipText(packet, 12, 4));
  const destination = ipaddr.IPv4.parse(ipText(packet, 16, 4));
  if (['multicast', 'broadcast'].includes(destination.range())) return false;
  if (['multicast', 'broadcast', 'loopback'].includes(source.range())) return false;
  if (source.toString() === '0.0.0.0') return false;
  const headerBytes = (packet[0]! & 15) * 4;
  // Where no header is, no ICMP is to be found.
  if (packet[9] !== 1 || headerBytes < 20) return true;
  return headerBytes >= packet.length || !ICMP_ERRORS.includes(packet[headerBytes]!);
}

function mayAnswerIpv6(packet: Uint8Array): boolean {
  const source = ipaddr.IPv6.parse(ipText(packet, 8, 16));
  if (['multicast', 'unspecified', 'loopback'].includes(source.range())) return false;
  const message = upperLayer(packet[6]!, packet.subarray(40));
  if (message === undefined) return false;
  if (message.protocol !== 58) return true;
  return message.bytes.length > 0 && !ICMPV6_ERRORS.includes(message.bytes[0]!);
}

/** What stands behind the extension headers, which begin `bytes`; undefined: not to be told. */
function upperLayer(
  protocol: number,
  bytes: Uint8Array,
): { protocol: number; bytes: Uint8Array } | undefined {
  if (![0, 43, 44, 51, 59, 60].includes(protocol)) return { protocol, bytes };
  if (protocol === 59 || bytes.length < 8) return undefined;
  const next = bytes[0]!;
  if (protocol === 44) {
    const fragmentOffset = ((bytes[2]! << 8) | bytes[3]!) >> 3;
    return fragmentOffset === 0 ? upperLayer(next, bytes.subarray(8)) : undefined;
  }
  // RFC 4302 section 2.2 counts in words of four bytes, less two.
  const length = protocol === 51 ? (bytes[1]! + 2) * 4 : (bytes[1]! + 1) * 8;
  return upperLayer(next, bytes.subarray(length));
}
