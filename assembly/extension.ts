/*
 * What a datagram says beyond its VNI, on devices that look at it: is its sender known (ours), the next protocol of GPE,
 * the VNI's VLAN, remote checksum offload, group policy.   [vxlan_parse_gpe_proto, vxlan_remcsum, vxlan_parse_gbp_hdr]
 */
import {
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_GBP,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_KNOWN_SENDERS,
  DEVICE_FLAG_REMCSUM_RX,
  DROP_GPE_HEADER,
  DROP_GPE_PROTOCOL,
  DROP_POLICY,
  DROP_SHORT_REMCSUM,
  DROP_UNKNOWN_SENDER,
  DROP_UNMAPPED_VNI,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  GPE_PROTOCOL_IPV6,
  GPE_PROTOCOL_MPLS,
  VXLAN_FLAG_RCO,
  VXLAN_GPE_OAM,
  VXLAN_GPE_PROTOCOL,
  VXLAN_GPE_VERSION,
  VXLAN_HEADER_BYTES,
  VXLAN_RCO_START,
  VXLAN_RCO_UDP,
} from './layout';
import * as policy from './policy';
import * as senders from './sender';
import * as vlan from './vlan';
import * as vni from './vni';
import * as checksum from './wire/checksum';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';
import * as vxlan from './wire/vxlan';

/** Flags of devices that look at more than the VNI. */
export const FLAGS: u32 =
  DEVICE_FLAG_GPE |
  DEVICE_FLAG_GBP |
  DEVICE_FLAG_REMCSUM_RX |
  DEVICE_FLAG_EXTERNAL |
  DEVICE_FLAG_KNOWN_SENDERS;

/** Returns 0 or the verdict to drop the datagram with. */
export function read(worker: usize, place: u32, flags: u32, sender: usize, at: usize, bytes: i32): i32 {
  const device = vni.deviceOf(place);
  if ((flags & DEVICE_FLAG_KNOWN_SENDERS) !== 0 && !senders.isKnown(device, sender))
    return DROP_UNKNOWN_SENDER;
  const word = vxlan.word(at);
  if ((flags & DEVICE_FLAG_GPE) !== 0) return readProtocol(at, word);
  if ((flags & DEVICE_FLAG_EXTERNAL) !== 0 && vlan.isCutOff(device, vni.domainOf(place)))
    return DROP_UNMAPPED_VNI;
  if ((flags & DEVICE_FLAG_REMCSUM_RX) !== 0 && (word & VXLAN_FLAG_RCO) !== 0) {
    if (!completeChecksum(at + VXLAN_HEADER_BYTES, bytes, vxlan.tail(at))) return DROP_SHORT_REMCSUM;
  }
  if ((flags & DEVICE_FLAG_GBP) !== 0 && !policy.admits(worker, device, word)) return DROP_POLICY;
  return 0;
}

/** Remote checksum offload: the sum that the sender left open, complemented where it belongs. */
function completeChecksum(frame: usize, bytes: i32, tail: u32): boolean {
  const start = <i32>((tail & VXLAN_RCO_START) << 1);
  const field = start + ((tail & VXLAN_RCO_UDP) !== 0 ? udp.CHECKSUM_OFFSET : tcp.CHECKSUM_OFFSET);
  if (field + 2 > bytes) return false;
  const sum = ~checksum.sum(frame + start, bytes - start) & 0xffff;
  store<u16>(frame + field, sum === 0 ? 0xffff : <u16>sum);
  return true;
}

/** GPE: what the next protocol is stands where an EtherType would. Returns 0 or the verdict to drop with. */
function readProtocol(at: usize, word: u32): i32 {
  if ((word & VXLAN_GPE_PROTOCOL) === 0 || (word & (VXLAN_GPE_VERSION | VXLAN_GPE_OAM)) !== 0)
    return DROP_GPE_HEADER;
  const protocol = (word & 0xff) as i32;
  if (protocol === 0 || protocol > GPE_PROTOCOL_MPLS) return DROP_GPE_HEADER;
  if (protocol > GPE_PROTOCOL_IPV6) return DROP_GPE_PROTOCOL;
  // The VXLAN header has been read: its last bytes are free.
  const type = protocol === GPE_PROTOCOL_IPV6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  store<u16>(at, bswap<u16>(type as u16), VXLAN_HEADER_BYTES - 2);
  return 0;
}
