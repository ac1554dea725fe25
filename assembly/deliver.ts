/* A frame that a device receives: counted, and merged with others or written as it is. */
import * as coalesce from './coalesce';
import * as counter from './count';
import * as inner from './inner';
import { ETHERNET_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './layout';
import * as vni from './vni';
import * as ethernet from './wire/ethernet';

/**
 * Takes one frame; room for its write has been asked for.
 *
 * @param place    device and domain, as vni.ts finds them
 * @param isPacket of a GPE device: no Ethernet header, and two bytes before the packet are free
 * @param gsoSize  segment size that the socket reported for a super-frame of UDP, else 0
 */
export function deliver(
  worker: usize,
  place: u32,
  frame: usize,
  bytes: i32,
  isPacket: boolean,
  gsoSize: i32,
): void {
  const head = isPacket ? 0 : ETHERNET_HEADER_BYTES;
  counter.received(worker, vni.deviceOf(place), vni.domainOf(place), bytes - head);
  const protocol = isPacket ? 0 : inner.finishedProtocol(frame, bytes);
  if (protocol !== 0) coalesce.addPlain(worker, place, frame, bytes, protocol);
  else addOther(worker, place, frame, bytes, isPacket, gsoSize);
}

function addOther(
  worker: usize,
  place: u32,
  frame: usize,
  bytes: i32,
  isPacket: boolean,
  gsoSize: i32,
): void {
  if (isPacket) nameVersion(frame);
  const l3 = isPacket ? 0 : ethernet.networkOffset(frame, bytes);
  coalesce.add(worker, place, frame, bytes, l3, gsoSize);
}

/** A TUN takes a packet for what its version says, whatever the header called it. */
export function nameVersion(packet: usize): void {
  const type = load<u8>(packet) >>> 4 === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  store<u16>(packet - 2, bswap<u16>(type as u16));
}
