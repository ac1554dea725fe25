/*
 * What the VXLAN header of a frame says beside the VNI: flags, group policy, next protocol, remote checksum
 * offload. Composed once for all copies of a frame.
 */
import {
  DEVICE_BYTES,
  DEVICE_FLAG_GBP,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_LABEL_INHERIT,
  DEVICE_FLAG_REMCSUM_TX,
  DEVICE_LABEL_OFFSET,
  DEVICES_BASE,
  ENCAP_LABEL_OFFSET,
  ENCAP_STATE_OFFSET,
  ENCAP_TAIL_OFFSET,
  ENCAP_WORD_OFFSET,
  ETHERTYPE_IPV6,
  GPE_PROTOCOL_IPV4,
  GPE_PROTOCOL_IPV6,
  VIRTIO_GSO_NONE,
  VIRTIO_HEADER_BYTES,
  VXLAN_FLAG_RCO,
  VXLAN_FLAG_VNI,
  VXLAN_GPE_PROTOCOL,
  VXLAN_RCO_START,
  VXLAN_RCO_UDP,
} from './layout';
import * as policy from './policy';
import * as ethernet from './wire/ethernet';
import * as ip6 from './wire/ipv6';
import * as tcp from './wire/tcp';
import * as udp from './wire/udp';
import * as virtio from './wire/virtio';

/** Flags that make a header more than the I flag. */
const EXTENSIONS: u32 = DEVICE_FLAG_GBP | DEVICE_FLAG_GPE | DEVICE_FLAG_REMCSUM_TX;

/** A frame's turn has come: a plain header, no flow label. @param l3 where its network header begins */
export function begin(worker: usize, domain: u32, l3: i32): void {
  const state = worker + ENCAP_STATE_OFFSET;
  store<u64>(state, (<u64>domain) << 32, ENCAP_LABEL_OFFSET);
  store<u64>(state, <u64>VXLAN_FLAG_VNI | ((<u64>l3) << 48), ENCAP_WORD_OFFSET);
}

/** Composes what is more than plain, for the frame of `length` bytes behind its virtio header. */
export function compose(
  worker: usize,
  device: u32,
  domain: u32,
  flags: u32,
  virtioHeader: usize,
  length: i32,
  l3: i32,
): void {
  const state = worker + ENCAP_STATE_OFFSET;
  const label = labelOf(DEVICES_BASE + device * DEVICE_BYTES, flags, virtioHeader + VIRTIO_HEADER_BYTES, l3);
  if (label !== 0) store<u32>(state, label, ENCAP_LABEL_OFFSET);
  if ((flags & EXTENSIONS) !== 0) extend(state, device, domain, flags, virtioHeader, length);
}

/** The outer flow label: fixed, or the inner IPv6 packet's. */
function labelOf(record: usize, flags: u32, frame: usize, l3: i32): u32 {
  if ((flags & DEVICE_FLAG_LABEL_INHERIT) === 0) return load<u32>(record, DEVICE_LABEL_OFFSET);
  return ethernet.etherTypeBefore(frame, l3) === ETHERTYPE_IPV6 ? ip6.flowLabel(frame + l3) : 0;
}

/** Is the inner checksum left to the far end? Then it stays as the stack left it. */
export function leavesChecksum(worker: usize): boolean {
  return (load<u32>(worker + ENCAP_STATE_OFFSET, ENCAP_WORD_OFFSET) & VXLAN_FLAG_RCO) !== 0;
}

function extend(state: usize, device: u32, domain: u32, flags: u32, virtioHeader: usize, length: i32): void {
  const frame = virtioHeader + VIRTIO_HEADER_BYTES;
  let word: u32 = VXLAN_FLAG_VNI;
  if ((flags & DEVICE_FLAG_GBP) !== 0) word |= policy.sent(device, domain, frame + 6);
  if ((flags & DEVICE_FLAG_GPE) !== 0) {
    const ipv6 = ethernet.etherType(frame) === ETHERTYPE_IPV6;
    word |= VXLAN_GPE_PROTOCOL | (ipv6 ? GPE_PROTOCOL_IPV6 : GPE_PROTOCOL_IPV4);
  }
  if ((flags & DEVICE_FLAG_REMCSUM_TX) !== 0 && isRemote(virtioHeader, length)) {
    const isUdp = virtio.checksumField(virtioHeader) === udp.CHECKSUM_OFFSET;
    word |= VXLAN_FLAG_RCO;
    const start = <u32>virtio.checksumStart(virtioHeader) >>> 1;
    store<u8>(state, <u8>(start | (isUdp ? VXLAN_RCO_UDP : 0)), ENCAP_TAIL_OFFSET);
  }
  store<u32>(state, word, ENCAP_WORD_OFFSET);
}

/** A TCP or UDP checksum that the stack left open, at a place that the header can name. */
function isRemote(virtioHeader: usize, length: i32): boolean {
  if (!virtio.needsChecksum(virtioHeader) || virtio.gsoType(virtioHeader) !== VIRTIO_GSO_NONE) return false;
  const start = virtio.checksumStart(virtioHeader);
  const field = virtio.checksumField(virtioHeader);
  return (
    (start & 1) === 0 &&
    start >>> 1 <= VXLAN_RCO_START &&
    start + field + 2 <= length &&
    (field === tcp.CHECKSUM_OFFSET || field === udp.CHECKSUM_OFFSET)
  );
}
