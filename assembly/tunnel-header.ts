/* What stands in front of a super-frame that leaves whole, as the underlay TAP takes it. */
import { groupOf } from './envelope';
import {
  AF_INET,
  ENCAP_LABEL_OFFSET,
  ENCAP_OUTER_ID_OFFSET,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  HEADER_BASE,
  HEADER_UNDERLAY_MAC_OFFSET,
  IP_PROTOCOL_UDP,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  PATH_HOPS_OFFSET,
  PATH_SOURCE_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_FAMILY_OFFSET,
  SOURCE_DF_OFFSET,
  SOURCE_NO_CHECKSUM_OFFSET,
  SOURCE_NUMBERS_OFFSET,
  SOURCE_PORT_COUNT,
  UDP_HEADER_BYTES,
  VIRTIO_FLAGS_OFFSET,
  VIRTIO_GSO_TUNNEL_IPV4,
  VIRTIO_GSO_TUNNEL_IPV6,
  VIRTIO_HEADER_BYTES,
  VIRTIO_INNER_L3_OFFSET,
  VIRTIO_NEEDS_CHECKSUM,
  VIRTIO_OUTER_L4_OFFSET,
  VIRTIO_TUNNEL_CHECKSUM,
  VIRTIO_TUNNEL_HEADER_BYTES,
  VXLAN_HEADER_BYTES,
} from './layout';
import * as checksum from './wire/checksum';
import * as virtio from './wire/virtio';
import * as vxlan from './wire/vxlan';

const IPV4_DF: u32 = 0x40;

/** The TTL or hop limit on the wire: the device's or the frame's, else the path's. */
export function hopsOf(marks: u32, known: usize): u32 {
  return marks >>> 8 !== 0 ? marks >>> 8 : <u32>load<u8>(known, PATH_HOPS_OFFSET);
}

/** The port that the source's socket is bound to, 0 = it is not open. */
export function portOf(group: usize, source: u32): u32 {
  return load<u16>(group + (source % SOURCE_PORT_COUNT) * 2, SOURCE_NUMBERS_OFFSET);
}

/** The block in front of the inner frame. Returns its bytes. */
export function emit(
  block: usize,
  state: usize,
  known: usize,
  source: u32,
  remote: usize,
  port: u32,
  marks: u32,
  vni: u32,
  word: u32,
  header: usize,
  headers: i32,
  length: i32,
  l3: i32,
  segments: i32,
): i32 {
  const group = groupOf(source);
  const ipv4 = load<u8>(remote, REMOTE_FAMILY_OFFSET) === AF_INET;
  const summed = load<u8>(group, SOURCE_NO_CHECKSUM_OFFSET) === 0;
  const ipBytes = ipv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const outerL4 = ETHERNET_HEADER_BYTES + ipBytes;
  const inner = outerL4 + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES;
  const udpBytes = UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + length;

  virtio.emit(
    block,
    virtio.gsoType(header) | (ipv4 ? VIRTIO_GSO_TUNNEL_IPV4 : VIRTIO_GSO_TUNNEL_IPV6),
    inner + headers,
    virtio.gsoSize(header),
    inner + virtio.checksumStart(header),
    virtio.checksumField(header),
  );
  if (summed) store<u8>(block, VIRTIO_NEEDS_CHECKSUM | VIRTIO_TUNNEL_CHECKSUM, VIRTIO_FLAGS_OFFSET);
  store<u64>(block, 0, VIRTIO_HEADER_BYTES);
  store<u16>(block, 0, VIRTIO_HEADER_BYTES + 8);
  store<u16>(block, <u16>outerL4, VIRTIO_OUTER_L4_OFFSET);
  store<u16>(block, <u16>(inner + l3), VIRTIO_INNER_L3_OFFSET);

  const ethernet = block + VIRTIO_TUNNEL_HEADER_BYTES;
  const mac = load<u64>(HEADER_BASE, HEADER_UNDERLAY_MAC_OFFSET);
  store<u64>(ethernet, mac | (mac << 48));
  store<u32>(ethernet, <u32>(mac >>> 16), 8);
  store<u16>(
    ethernet,
    bswap<u16>((ipv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6) as u16),
    ETHERNET_HEADER_BYTES - 2,
  );

  const ip = ethernet + ETHERNET_HEADER_BYTES;
  const hops = hopsOf(marks, known) + 1;
  let seed: u32;
  if (ipv4) {
    const df: u32 = load<u8>(group, SOURCE_DF_OFFSET) !== 0 ? IPV4_DF : 0;
    const id = load<u32>(state, ENCAP_OUTER_ID_OFFSET);
    // Each segment has one of its own.
    store<u32>(state, id + segments, ENCAP_OUTER_ID_OFFSET);
    store<u16>(ip, <u16>(0x45 | ((marks & 0xff) << 8)));
    store<u16>(ip, bswap<u16>(<u16>(ipBytes + udpBytes)), 2);
    store<u16>(ip, bswap<u16>(<u16>id), 4);
    store<u16>(ip, <u16>df, 6);
    store<u32>(ip, hops | (IP_PROTOCOL_UDP << 8), 8);
    store<u32>(ip, load<u32>(known, PATH_SOURCE_OFFSET), 12);
    store<u32>(ip, load<u32>(remote, REMOTE_ADDRESS_OFFSET), 16);
    store<u16>(ip, <u16>checksum.ipv4Header(ip, IPV4_HEADER_BYTES), 10);
    seed = checksum.pseudoIpv4(ip, IP_PROTOCOL_UDP, udpBytes);
  } else {
    const label = load<u32>(state, ENCAP_LABEL_OFFSET);
    store<u32>(ip, bswap<u32>(0x60000000 | ((marks & 0xff) << 20) | label));
    store<u16>(ip, bswap<u16>(<u16>udpBytes), 4);
    store<u16>(ip, <u16>(IP_PROTOCOL_UDP | (hops << 8)), 6);
    store<u64>(ip, load<u64>(known, PATH_SOURCE_OFFSET), 8);
    store<u64>(ip, load<u64>(known, PATH_SOURCE_OFFSET + 8), 16);
    store<u64>(ip, load<u64>(remote, REMOTE_ADDRESS_OFFSET), 24);
    store<u64>(ip, load<u64>(remote, REMOTE_ADDRESS_OFFSET + 8), 32);
    seed = checksum.pseudoIpv6(ip, IP_PROTOCOL_UDP, udpBytes);
  }
  const udp = ip + ipBytes;
  store<u16>(udp, bswap<u16>(<u16>portOf(group, source)));
  store<u16>(udp, bswap<u16>(<u16>port), 2);
  store<u16>(udp, bswap<u16>(<u16>udpBytes), 4);
  // The sum of the pseudo header, for whoever completes it.
  store<u16>(udp, summed ? <u16>seed : 0, 6);
  vxlan.emit(udp + UDP_HEADER_BYTES, word, vni, 0);
  return VIRTIO_TUNNEL_HEADER_BYTES + inner;
}
