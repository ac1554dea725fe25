/* ARP for IPv4 over Ethernet (RFC 826). `arp` is where the ARP message begins. */
import { ETHERTYPE_IPV4 } from '../layout';

export const ARP_BYTES = 28;

const HARDWARE_ETHERNET = 1;
/** IEEE 802 networks: taken for Ethernet, as Linux does. */
const HARDWARE_IEEE802 = 6;
const OPERATION_REQUEST = 1;
const OPERATION_REPLY = 2;
const MAC_BYTES = 6;
const IPV4_BYTES = 4;
const MAC_MASK: u64 = 0xffffffffffff;

const HARDWARE_OFFSET = 0;
const PROTOCOL_OFFSET = 2;
const HARDWARE_BYTES_OFFSET = 4;
const PROTOCOL_BYTES_OFFSET = 5;
const OPERATION_OFFSET = 6;
const SENDER_MAC_OFFSET = 8;
const SENDER_IP_OFFSET = 14;
const TARGET_MAC_OFFSET = 18;
const TARGET_IP_OFFSET = 24;

/** Is it about IPv4 over Ethernet? */
export function isIpv4(arp: usize): bool {
  const hardware = bswap<u16>(load<u16>(arp, HARDWARE_OFFSET));
  return (
    (hardware === HARDWARE_ETHERNET || hardware === HARDWARE_IEEE802) &&
    bswap<u16>(load<u16>(arp, PROTOCOL_OFFSET)) === ETHERTYPE_IPV4 &&
    load<u8>(arp, HARDWARE_BYTES_OFFSET) === MAC_BYTES &&
    load<u8>(arp, PROTOCOL_BYTES_OFFSET) === IPV4_BYTES
  );
}

/** Whether it asks for the MAC of an IPv4 address. */
export function isRequest(arp: usize): bool {
  return isIpv4(arp) && bswap<u16>(load<u16>(arp, OPERATION_OFFSET)) === OPERATION_REQUEST;
}

/** The four bytes of the sender's address, first byte lowest. */
export function senderIp(arp: usize): u32 {
  return load<u32>(arp, SENDER_IP_OFFSET);
}

/** First byte lowest. */
export function senderMac(arp: usize): u64 {
  return load<u64>(arp, SENDER_MAC_OFFSET) & MAC_MASK;
}

/** Where the four bytes of the target's address are. */
export function targetIp(arp: usize): usize {
  return arp + TARGET_IP_OFFSET;
}

/** Writes at `arp` the reply that `mac` is the MAC of what `request` asks for. */
export function emitReply(arp: usize, request: usize, mac: u64): void {
  const requester = senderMac(request);
  store<u16>(arp, bswap<u16>(HARDWARE_ETHERNET as u16), HARDWARE_OFFSET);
  store<u16>(arp, bswap<u16>(ETHERTYPE_IPV4 as u16), PROTOCOL_OFFSET);
  store<u8>(arp, MAC_BYTES, HARDWARE_BYTES_OFFSET);
  store<u8>(arp, IPV4_BYTES, PROTOCOL_BYTES_OFFSET);
  store<u16>(arp, bswap<u16>(OPERATION_REPLY as u16), OPERATION_OFFSET);
  // A MAC is stored with two bytes too many; the address behind it comes after it.
  store<u64>(arp, mac, SENDER_MAC_OFFSET);
  store<u32>(arp, load<u32>(request, TARGET_IP_OFFSET), SENDER_IP_OFFSET);
  store<u64>(arp, requester, TARGET_MAC_OFFSET);
  store<u32>(arp, load<u32>(request, SENDER_IP_OFFSET), TARGET_IP_OFFSET);
}
