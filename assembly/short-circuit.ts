/*
 * Route short-circuit (`rsc`): a frame for a router whose next hop this host knows goes straight there.
 *                                                                                        [route_shortcircuit]
 * The frame gets the MACs that it would have behind the router. All else stays as it is, TTL and all; the kernel
 * driver leaves them alone too. A neighbour counts whatever its state.
 */
import * as counter from './count';
import {
  AF_INET,
  AF_INET6,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  ROUTE_SHORT_CIRCUITS,
} from './layout';
import * as neighbour from './neighbour';
import * as ethernet from './wire/ethernet';

const IPV4_DESTINATION_OFFSET = 16;
const IPV6_DESTINATION_OFFSET = 24;
const MAC_SHIFT = 16;

/**
 * For frames whose destination MAC has an FDB entry with NTF_ROUTER, on a device with DEVICE_FLAG_RSC.
 * @param frame at least 14 bytes
 * @returns whether the MACs were rewritten: the destination is to be looked up again
 */
export function shortCircuit(worker: usize, device: u32, domain: u32, frame: usize, length: i32): bool {
  const router = ethernet.destination(frame);
  if (ethernet.isGroup(router)) return false;
  const type = ethernet.etherType(frame);
  const rest = length - ETHERNET_HEADER_BYTES;
  const ip = frame + ETHERNET_HEADER_BYTES;
  let family: u32 = AF_INET;
  let address = ip + IPV4_DESTINATION_OFFSET;
  if (type === ETHERTYPE_IPV6) {
    family = AF_INET6;
    address = ip + IPV6_DESTINATION_OFFSET;
    if (rest < IPV6_HEADER_BYTES) return false;
  } else if (type !== ETHERTYPE_IPV4 || rest < IPV4_HEADER_BYTES) return false;
  const found = neighbour.find(device, family, address);
  if (found === 0) {
    neighbour.missed(worker, device, domain, family, address);
    return false;
  }
  const mac = neighbour.macOf(found);
  if (mac === router) return false;
  // Destination, then source: the router's MAC, as if it had sent the frame.
  store<u64>(frame, mac | (router << 48));
  store<u32>(frame, (router >>> MAC_SHIFT) as u32, 8);
  counter.one(worker, device, ROUTE_SHORT_CIRCUITS);
  return true;
}
