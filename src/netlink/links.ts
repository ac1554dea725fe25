/** Links: network interfaces as rtnetlink tells of them (linux/if_link.h). */
import { type Message, macOf, numberOf, readAttributes, textOf, viewOf } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFINFO_BYTES = 16;
const IFF_UP = 0x1;
const IFF_NOARP = 0x80;
/** Said of a new interface: nothing is known of before. */
const CHANGED_ALL = 0xffffffff;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_NEW_NETNSID = 45;
const IFLA_INFO_SLAVE_KIND = 4;
/** Masters whose ports answer what is too big with ICMP. */
const BRIDGES = ['bridge', 'openvswitch'];

export interface Link {
  ifindex: number;
  name: string;
  /** Administratively (IFF_UP). */
  up: boolean;
  noarp: boolean;
  /** Bytes. */
  mtu: number;
  /** `aa:bb:cc:dd:ee:ff`; "" for an interface without a MAC, such as a TUN. */
  address: string;
  /** ifindex of the bridge, VRF or the like that it belongs to; 0 = none. */
  master: number;
  /** It is a port of a bridge (or of Open vSwitch). */
  bridgePort: boolean;
}

export type LinkEvent =
  /** `wentDown`: it was up until then, whatever it is by now. */
  | { removed: false; link: Link; wentDown: boolean }
  /** `moved`: to another network namespace. */
  | { removed: true; ifindex: number; moved: boolean };

/** undefined when the message is of something else, or is cut short. */
export function readLink(message: Message): LinkEvent | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body.length < IFINFO_BYTES) return undefined;
  // Another family than AF_UNSPEC: the bridge tells of its ports. A "removed" one only left the bridge.
  if (body[0] !== 0) return undefined;
  const view = viewOf(body);
  const ifindex = view.getInt32(4, true);
  const flags = view.getUint32(8, true);
  const changed = view.getUint32(12, true);
  const attributes = readAttributes(body, IFINFO_BYTES);
  if (type === RTM_DELLINK) return { removed: true, ifindex, moved: attributes.has(IFLA_NEW_NETNSID) };
  const name = textOf(attributes.get(IFLA_IFNAME));
  const mtu = numberOf(attributes.get(IFLA_MTU));
  if (name === undefined || mtu === undefined) return undefined;
  const master = textOf(readAttributes(attributes.get(IFLA_LINKINFO)).get(IFLA_INFO_SLAVE_KIND));
  const link = {
    ifindex,
    name,
    up: (flags & IFF_UP) !== 0,
    noarp: (flags & IFF_NOARP) !== 0,
    mtu,
    address: macOf(attributes.get(IFLA_ADDRESS)) ?? '',
    master: numberOf(attributes.get(IFLA_MASTER)) ?? 0,
    bridgePort: master !== undefined && BRIDGES.includes(master),
  };
  const wentDown = !link.up && (changed & IFF_UP) !== 0 && changed !== CHANGED_ALL;
  return { removed: false, link, wentDown };
}

/** One link as it is now; undefined when there is none of that index. @throws VtepError SYSTEM */
export function getLink(socket: NetlinkSocket, ifindex: number): Link | undefined {
  const body = new Uint8Array(IFINFO_BYTES);
  viewOf(body).setInt32(4, ifindex, true);
  const [message] = socket.request(RTM_GETLINK, body);
  const event = message === undefined ? undefined : readLink(message);
  return event?.removed === false ? event.link : undefined;
}

/** All links of this network namespace. */
export function dumpLinks(socket: NetlinkSocket): Link[] {
  const found: Link[] = [];
  for (const message of socket.dump(RTM_GETLINK, new Uint8Array(IFINFO_BYTES))) {
    const event = readLink(message);
    if (event?.removed === false) found.push(event.link);
  }
  return found;
}
