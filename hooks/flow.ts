/** Addresses, protocol and ports of a packet, for hooks in AssemblyScript: RFC 791, RFC 8200. */
// biome-ignore lint/style/useImportType: the language has no imports of types
import { Packet } from './sdk';

const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;
const FRAGMENT_HEADER_BYTES: usize = 8;
/** Where the ports end, in TCP, UDP, DCCP, SCTP and UDP-Lite alike. */
const PORTS_BYTES: usize = 4;
const TCP: u32 = 6;
const UDP: u32 = 17;
const DCCP: u32 = 33;
const SCTP: u32 = 132;
const UDP_LITE: u32 = 136;
/** Extension headers of IPv6. */
const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const FRAGMENT: u32 = 44;
const AUTHENTICATION: u32 = 51;
const DESTINATION: u32 = 60;

/** What `Flow.read` found in the packet that it was given last. There is one, and nothing is allocated. */
// biome-ignore lint/complexity/noStaticOnlyClass: one of each, under one name
export class Flow {
  /** 4 or 6; 0: not IP, or its headers are not whole or say what can't be. Nothing else counts then. */
  static family: u32 = 0;
  /** Transport protocol, behind the extension headers of IPv6. */
  static protocol: u32 = 0;
  /** Where the addresses stand in the packet: 4 or 16 bytes each, in network order. */
  static source: usize = 0;
  static destination: usize = 0;
  /** Where the transport header begins; 0: a later fragment, which has none. */
  static transport: usize = 0;
  /** It is of a protocol that has ports, and they are here. */
  static hasPorts: bool = false;
  static sourcePort: u32 = 0;
  static destinationPort: u32 = 0;

  /** @returns whether it is IP whose headers, ports included, are whole */
  static read(packet: Packet): bool {
    const offset = <usize>packet.ipOffset;
    const at = <usize>packet.start + offset;
    const end = packet.end;
    Flow.family = 0;
    if ((offset === 0 && !packet.isBare) || at >= end) return false;
    const version = load<u8>(at) >> 4;
    if (version === 4) return readIpv4(at, end);
    return version === 6 && readIpv6(at, end);
  }
}

function readIpv4(at: usize, end: usize): bool {
  if (at + IPV4_HEADER_BYTES > end) return false;
  const headerBytes = (<usize>(load<u8>(at) & 15)) << 2;
  const totalBytes = <usize>bswap<u16>(load<u16>(at, 2));
  if (headerBytes < IPV4_HEADER_BYTES || headerBytes > totalBytes || at + totalBytes > end) return false;
  Flow.source = at + 12;
  Flow.destination = at + 16;
  const isLater = (bswap<u16>(load<u16>(at, 6)) & 0x1fff) !== 0;
  return readTransport(4, load<u8>(at, 9), isLater, at + headerBytes, at + totalBytes);
}

function readIpv6(at: usize, frameEnd: usize): bool {
  let next = at + IPV6_HEADER_BYTES;
  if (next > frameEnd) return false;
  const end = next + bswap<u16>(load<u16>(at, 4));
  if (end > frameEnd) return false;
  Flow.source = at + 8;
  Flow.destination = at + 24;
  let protocol = <u32>load<u8>(at, 6);
  let isLater = false;
  while (!isLater && isExtension(protocol)) {
    if (next + FRAGMENT_HEADER_BYTES > end) return false;
    const length = <usize>load<u8>(next, 1);
    let bytes = (length + 1) << 3;
    if (protocol === AUTHENTICATION) bytes = (length + 2) << 2;
    else if (protocol === FRAGMENT) {
      bytes = FRAGMENT_HEADER_BYTES;
      isLater = (bswap<u16>(load<u16>(next, 2)) & 0xfff8) !== 0;
    }
    protocol = load<u8>(next);
    next += bytes;
    if (next > end) return false;
  }
  return readTransport(6, protocol, isLater, next, end);
}

function readTransport(family: u32, protocol: u32, isLater: bool, at: usize, end: usize): bool {
  Flow.protocol = protocol;
  Flow.transport = isLater ? 0 : at;
  const hasPorts = !isLater && isPorted(protocol);
  Flow.hasPorts = hasPorts;
  if (hasPorts) {
    if (at + PORTS_BYTES > end) return false;
    Flow.sourcePort = bswap<u16>(load<u16>(at));
    Flow.destinationPort = bswap<u16>(load<u16>(at, 2));
  }
  Flow.family = family;
  return true;
}

function isExtension(protocol: u32): bool {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT ||
    protocol === AUTHENTICATION ||
    protocol === DESTINATION
  );
}

function isPorted(protocol: u32): bool {
  return (
    protocol === TCP || protocol === UDP || protocol === SCTP || protocol === DCCP || protocol === UDP_LITE
  );
}
