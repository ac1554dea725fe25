/*
 * What a copy looks like from outside, by its device and by what it carries: the socket it leaves from (source port by
 * flow hash, DF), TOS, TTL, flow label.                                  [udp_flow_src_port, vxlan_xmit_one]
 */
import * as ecn from './ecn';
import * as flow from './flow';
import {
  AF_INET,
  DEVICE_DF_OFFSET,
  DEVICE_FLAG_TOS_INHERIT,
  DEVICE_FLAG_TTL_INHERIT,
  DEVICE_SOURCE_DF_OFFSET,
  DEVICE_SOURCE_OFFSET,
  DEVICE_TOS_OFFSET,
  DEVICE_TTL_OFFSET,
  DF_INHERIT,
  DF_SET,
  ENCAP_FLOW_OFFSET,
  ENCAP_STATE_OFFSET,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  SOURCE_GROUP_BYTES,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCES_BASE,
} from './layout';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';

/** The socket that the inner flow leaves from: with or without DF, and one source port per flow, whose hash is noted. */
export function source(worker: usize, record: usize, frame: usize, length: i32, l3: i32): u32 {
  const group = groupOf(record, frame);
  const ports = load<u32>(SOURCES_BASE + group * SOURCE_GROUP_BYTES, SOURCE_PORTS_OFFSET);
  const hash = flow.hashAt(frame, length, l3, load<u32>(HEADER_BASE, HEADER_HASH_SEED_OFFSET));
  store<u32>(worker + ENCAP_STATE_OFFSET, hash, ENCAP_FLOW_OFFSET);
  return group * SOURCE_PORT_COUNT + flow.slot(hash, ports);
}

/** The sockets with or without DF. */
export function groupOf(record: usize, frame: usize): u32 {
  const df = load<u8>(record, DEVICE_DF_OFFSET);
  let set = df === DF_SET;
  if (df === DF_INHERIT) {
    const type = ethernet.etherType(frame);
    set =
      type === ETHERTYPE_IPV6 || (type === ETHERTYPE_IPV4 && ip4.dontFragment(frame + ETHERNET_HEADER_BYTES));
  }
  return load<u16>(record + (set ? DEVICE_SOURCE_DF_OFFSET : DEVICE_SOURCE_OFFSET));
}

/** Outer TOS | TTL << 8 (RFC 6040 for the ECN bits); 0 stands for the socket's own. */
export function marks(record: usize, flags: u32, remote: usize, frame: usize, l3: i32): u32 {
  const type = ethernet.etherTypeBefore(frame, l3);
  const ip = frame + l3;
  let tos: u32 = load<u8>(record, DEVICE_TOS_OFFSET);
  let ttl: u32 = load<u8>(record, DEVICE_TTL_OFFSET);
  let inner: u32 = 0;
  let innerTtl: u32 = 0;
  if (type === ETHERTYPE_IPV4) {
    inner = ip4.tos(ip);
    innerTtl = ip4.ttl(ip);
  } else if (type === ETHERTYPE_IPV6) {
    inner = ip6.trafficClass(ip);
    innerTtl = ip6.hopLimit(ip);
  }
  if ((flags & DEVICE_FLAG_TTL_INHERIT) !== 0) ttl = innerTtl;
  // Only a fixed TTL that was not given is 1 for a group: an inherited one is what it is.
  else if (ttl === 0 && isMulticast(remote)) ttl = 1;
  if ((flags & DEVICE_FLAG_TOS_INHERIT) !== 0) tos = inner;
  return (tos & 0xfc) | ecn.encapsulate(inner & 3) | (ttl << 8);
}

function isMulticast(remote: usize): boolean {
  const first = load<u8>(remote, REMOTE_ADDRESS_OFFSET);
  return load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET ? (first & 0xf0) === 0xe0 : first === 0xff;
}
