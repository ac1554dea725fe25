/*
 * What stands on the envelope of a message: the address it goes to (struct sockaddr_in or sockaddr_in6) and the
 * control messages that set TOS, TTL and the way out (struct cmsghdr, 8-byte aligned), as sendmmsg reads them.
 */
import {
  AF_INET,
  CMSGHDR_BYTES,
  ENVELOPE_BYTES,
  ENVELOPES_OFFSET,
  IP_PKTINFO,
  IP_TOS,
  IP_TTL,
  IPV6_HOPLIMIT,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  REMOTE_IFINDEX_OFFSET,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOURCE_GROUP_BYTES,
  SOURCE_LOCAL_OFFSET,
  SOURCE_PEER_BYTES,
  SOURCE_PEERS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCES_BASE,
} from './layout';

/** Of the control message with the segment size, which stands last. */
export const UDP_SEGMENT_CONTROL_BYTES = 24;

export function envelopeOf(worker: usize, message: u32): usize {
  return worker + ENVELOPES_OFFSET + message * ENVELOPE_BYTES;
}

/** The record of the group that a source belongs to. */
export function groupOf(source: u32): usize {
  return SOURCES_BASE + (source / SOURCE_PORT_COUNT) * SOURCE_GROUP_BYTES;
}

/** Is the message addressed to this remote and port? */
export function isNamed(name: usize, remote: usize, port: u32): boolean {
  const address = remote + REMOTE_ADDRESS_OFFSET;
  if (load<u16>(name, 2) !== bswap<u16>(<u16>port)) return false;
  if (load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET) return load<u32>(name, 4) === load<u32>(address);
  return load<u64>(name, 8) === load<u64>(address) && load<u64>(name, 16) === load<u64>(address, 8);
}

/** Is the socket of the source connected to what the envelope names? Then the kernel need not look for the route. */
export function isPeer(source: u32, name: usize): boolean {
  const peer = groupOf(source) + SOURCE_PEERS_OFFSET + (source % SOURCE_PORT_COUNT) * SOURCE_PEER_BYTES;
  if (atomic.load<u32>(peer) !== load<u32>(name) || load<u32>(peer, 4) !== load<u32>(name, 4)) return false;
  if (load<u16>(name) === AF_INET) return true;
  return (
    load<u64>(peer, 8) === load<u64>(name, 8) &&
    load<u64>(peer, 16) === load<u64>(name, 16) &&
    load<u32>(peer, 24) === load<u32>(name, 24)
  );
}

/** struct sockaddr_in or sockaddr_in6, with the flow label. Link-local addresses get their scope from the ifindex. */
export function writeName(name: usize, remote: usize, port: u32, label: u32, ipv4: boolean): u64 {
  const address = remote + REMOTE_ADDRESS_OFFSET;
  store<u16>(name, load<u8>(remote, REMOTE_FAMILY_OFFSET));
  store<u16>(name, bswap<u16>(<u16>port), 2);
  if (ipv4) {
    store<u32>(name, load<u32>(address), 4);
    store<u64>(name, 0, 8);
    return SOCKADDR_IN_BYTES;
  }
  store<u32>(name, bswap<u32>(label), 4);
  store<u64>(name, load<u64>(address), 8);
  store<u64>(name, load<u64>(address, 8), 16);
  store<u32>(name, load<u32>(remote, REMOTE_IFINDEX_OFFSET), 24);
  return SOCKADDR_IN6_BYTES;
}

/** TOS, TTL and way out, each only when it differs from the socket's own. Returns the bytes used. */
export function writeControl(control: usize, source: u32, ifindex: u32, marks: u32, ipv4: boolean): u32 {
  const tos = marks & 0xff;
  const ttl = marks >>> 8;
  let used: u32 = 0;
  if (tos !== 0) {
    writeControlHeader(control, 4, ipv4 ? SOL_IP : SOL_IPV6, ipv4 ? IP_TOS : IPV6_TCLASS);
    store<u64>(control, tos, CMSGHDR_BYTES);
    used += 24;
  }
  if (ttl !== 0) {
    writeControlHeader(control + used, 4, ipv4 ? SOL_IP : SOL_IPV6, ipv4 ? IP_TTL : IPV6_HOPLIMIT);
    store<u64>(control + used, ttl, CMSGHDR_BYTES);
    used += 24;
  }
  if (ifindex === 0) return used;
  const info = control + used + CMSGHDR_BYTES;
  const local = groupOf(source) + SOURCE_LOCAL_OFFSET;
  if (ipv4) {
    writeControlHeader(control + used, 12, SOL_IP, IP_PKTINFO);
    store<u32>(info, ifindex);
    store<u32>(info, load<u32>(local), 4);
    store<u64>(info, 0, 8);
    return used + 32;
  }
  writeControlHeader(control + used, 20, SOL_IPV6, IPV6_PKTINFO);
  store<u64>(info, load<u64>(local));
  store<u64>(info, load<u64>(local, 8), 8);
  store<u64>(info, ifindex, 16);
  return used + 40;
}

export function writeControlHeader(control: usize, dataBytes: u64, level: i32, type: i32): void {
  store<u64>(control, CMSGHDR_BYTES + dataBytes);
  store<i32>(control, level, 8);
  store<i32>(control, type, 12);
}
