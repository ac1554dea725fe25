/*
 * What recvmmsg leaves: messages, each with its sender, its control messages and a buffer, which holds one datagram or
 * a UDP_GRO bundle of them.
 */
import {
  AF_INET,
  CMSGHDR_BYTES,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  GPE_PROTOCOL_IPV4,
  GPE_PROTOCOL_IPV6,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IPV6_PKTINFO,
  LISTENER_BYTES,
  LISTENER_RECEIVE_OFFSET,
  LISTENERS_BASE,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
  RECEIPT_BYTES,
  RECEIPT_CONTROL_BYTES,
  RECEIPT_CONTROL_OFFSET,
  RECEIPT_IOVEC_OFFSET,
  RECEIPT_NAME_OFFSET,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_COUNT,
  RECEIVE_GPE,
  RECEIVE_STRIDE_BYTES,
  RECEIVES_OFFSET,
  SOCKADDR_IN6_BYTES,
  SOL_IPV6,
  VXLAN_HEADER_BYTES,
} from './layout';
import { absolute } from './message';
import * as ethernet from './wire/ethernet';
import * as ip4 from './wire/ipv4';
import * as ip6 from './wire/ipv6';
import * as vxlan from './wire/vxlan';

const SOCKADDR_IN6_SCOPE_OFFSET = 24;
/** struct in6_pktinfo */
const IN6_PKTINFO_IFINDEX_OFFSET = 16;

/** Lays out every mmsghdr for recvmmsg, once. */
export function prepare(worker: usize): void {
  for (let index = 0; index < RECEIVE_COUNT; ++index) {
    const header = worker + RECEIVES_OFFSET + index * MMSGHDR_BYTES;
    const receipt = worker + RECEIPTS_OFFSET + index * RECEIPT_BYTES;
    const iovec = receipt + RECEIPT_IOVEC_OFFSET;
    store<u64>(iovec, absolute(bufferOf(worker, index)));
    store<u64>(iovec, RECEIVE_BUFFER_BYTES, 8);
    store<u64>(header, absolute(receipt + RECEIPT_NAME_OFFSET), MMSGHDR_NAME_OFFSET);
    store<u64>(header, absolute(iovec), MMSGHDR_IOVEC_OFFSET);
    store<u64>(header, 1, MMSGHDR_IOVEC_COUNT_OFFSET);
    store<u64>(header, absolute(receipt + RECEIPT_CONTROL_OFFSET), MMSGHDR_CONTROL_OFFSET);
    rearm(header);
  }
}

export function bufferOf(worker: usize, message: i32): usize {
  return worker + RECEIVE_BUFFERS_OFFSET + message * RECEIVE_STRIDE_BYTES;
}

/** The kernel writes these three; it wants to find them as they were. */
export function rearm(header: usize): void {
  store<u64>(header, SOCKADDR_IN6_BYTES, MMSGHDR_NAME_LENGTH_OFFSET);
  store<u64>(header, RECEIPT_CONTROL_BYTES, MMSGHDR_CONTROL_LENGTH_OFFSET);
  store<u64>(header, 0, MMSGHDR_FLAGS_OFFSET);
}

/**
 * The value of a control message, or of its field at `offset`, of 1 or 4 `bytes`, or `absent`. Lengths are looked at
 * before they are believed.
 */
export function controlOf(
  control: usize,
  end: usize,
  level: i32,
  type: i32,
  absent: i32,
  bytes: i32,
  offset: i32 = 0,
): i32 {
  let at = control;
  while (at + CMSGHDR_BYTES <= end) {
    const length = load<u64>(at);
    if (length < <u64>CMSGHDR_BYTES || length > <u64>(end - at)) return absent;
    if (load<i32>(at, 8) === level && load<i32>(at, 12) === type) {
      if (length < <u64>(CMSGHDR_BYTES + offset + bytes)) return absent;
      const value = at + <usize>offset;
      return bytes === 1 ? load<u8>(value, CMSGHDR_BYTES) : load<i32>(value, CMSGHDR_BYTES);
    }
    at += (<usize>length + 7) & ~7;
  }
  return absent;
}

/** Where a datagram over IPv6 came in: the sockets of devices with link-local addresses are told. 0 = not known. */
export function arrivalOf(worker: usize, receipt: usize): u32 {
  const message = (receipt - worker - RECEIPTS_OFFSET) / RECEIPT_BYTES;
  const header = worker + RECEIVES_OFFSET + message * MMSGHDR_BYTES;
  const control = receipt + RECEIPT_CONTROL_OFFSET;
  const end = control + <usize>min(load<u64>(header, MMSGHDR_CONTROL_LENGTH_OFFSET), RECEIPT_CONTROL_BYTES);
  const told = controlOf(control, end, SOL_IPV6, IPV6_PKTINFO, 0, 4, IN6_PKTINFO_IFINDEX_OFFSET);
  return told !== 0 ? told : scopeOf(receipt);
}

/** Where the datagram came in, which the kernel tells of a link-local sender only; else 0. */
export function scopeOf(sender: usize): u32 {
  return load<u16>(sender) === AF_INET ? 0 : load<u32>(sender, SOCKADDR_IN6_SCOPE_OFFSET);
}

/**
 * A kernel peer on a virtual link sends a super-frame as one datagram. For UDP inside, the socket then
 * reports the inner segment size as if it were a bundle's: but the inner packet says that it is one.
 */
export function isSuperFrame(listener: u32, datagram: usize, length: i32): boolean {
  const inner = datagram + VXLAN_HEADER_BYTES;
  const bytes = length - VXLAN_HEADER_BYTES;
  const receive = load<u32>(LISTENERS_BASE + listener * LISTENER_BYTES, LISTENER_RECEIVE_OFFSET);
  if ((receive & RECEIVE_GPE) !== 0) {
    const protocol = vxlan.word(datagram) & 0xff;
    if (protocol === GPE_PROTOCOL_IPV4) return isWhole(ETHERTYPE_IPV4, inner, bytes);
    return protocol === GPE_PROTOCOL_IPV6 && isWhole(ETHERTYPE_IPV6, inner, bytes);
  }
  if (bytes < ETHERNET_HEADER_BYTES) return false;
  const l3 = ethernet.networkOffset(inner, bytes);
  return isWhole(ethernet.etherTypeBefore(inner, l3), inner + l3, bytes - l3);
}

/** Does an IP packet say that it is as long as this? */
function isWhole(type: u32, ip: usize, bytes: i32): boolean {
  if (bytes < IPV4_HEADER_BYTES) return false;
  if (type === ETHERTYPE_IPV4) return ip4.totalLength(ip) === bytes;
  return type === ETHERTYPE_IPV6 && ip6.payloadLength(ip) === bytes - IPV6_HEADER_BYTES;
}
