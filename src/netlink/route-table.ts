/**
 * Routes of the main table as rtnetlink tells of them and takes them (linux/rtnetlink.h): what a routing daemon needs
 * to keep its own apart from everybody else's.
 */
import { AF_INET, AF_INET6, addressBytes, type Family } from '../io/family.ts';
import {
  ATTRIBUTE_HEADER_BYTES,
  addressOf,
  type Message,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  numberOf,
  readAttributes,
  viewOf,
  writeMessage,
} from './message.ts';
import {
  RT_TABLE_MAIN,
  RTA_DST,
  RTA_GATEWAY,
  RTA_OIF,
  RTA_PRIORITY,
  RTA_TABLE,
  RTA_VIA,
  RTM_DELROUTE,
  RTM_F_CLONED,
  RTM_F_FIB_MATCH,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTMSG_BYTES,
  RTN_UNICAST,
} from './route-numbers.ts';
import type { NetlinkSocket } from './socket.ts';

const RT_SCOPE_UNIVERSE = 0;
/** Of a request to remove: any. */
const RT_SCOPE_NOWHERE = 255;
const RTNH_F_ONLINK = 4;

export interface TableRoute {
  family: Family;
  /** Network address, 4 or 16 bytes. */
  destination: Uint8Array;
  prefixLength: number;
  /** Text, "inet6" for one of the other family; undefined for one without a gateway, or with several ways. */
  gateway: string | undefined;
  /** 0 where it names none, or several. */
  ifindex: number;
  /** Who made it: RTPROT_*, /etc/iproute2/rt_protos. */
  protocol: number;
  /** Metric. */
  priority: number;
  /** RTN_*: 1 = unicast. */
  type: number;
  onlink: boolean;
}

export interface RouteEvent {
  removed: boolean;
  route: TableRoute;
}

/** What a route to be made is like: unicast. */
export interface NewRoute {
  family: Family;
  destination: Uint8Array;
  prefixLength: number;
  gateway: Uint8Array;
  ifindex: number;
  protocol: number;
  /** Metric; 0 = the kernel's choice: none for IPv4, 1024 for IPv6. */
  priority: number;
  /** The gateway is taken for a neighbour on that link whatever the addresses say. */
  onlink: boolean;
}

/** undefined when the message is of something else, or of another table than the main one, or is cut short. */
export function readTableRoute(message: Message): RouteEvent | undefined {
  const found = readRoute(message);
  return found === undefined || found.isCopy || found.table !== RT_TABLE_MAIN ? undefined : found;
}

function readRoute(message: Message): (RouteEvent & { table: number; isCopy: boolean }) | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWROUTE && type !== RTM_DELROUTE) || body.length < RTMSG_BYTES) return undefined;
  const family = body[0] as Family;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const flags = viewOf(body).getUint32(8, true);
  const attributes = readAttributes(body, RTMSG_BYTES);
  const destination = attributes.get(RTA_DST) ?? new Uint8Array(addressBytes(family));
  if (destination.length !== addressBytes(family) || body[1]! > destination.length * 8) return undefined;
  const route: TableRoute = {
    family,
    destination,
    prefixLength: body[1]!,
    gateway:
      addressOf(family, attributes.get(RTA_GATEWAY)) ?? (attributes.has(RTA_VIA) ? 'inet6' : undefined),
    ifindex: numberOf(attributes.get(RTA_OIF)) ?? 0,
    protocol: body[5]!,
    priority: numberOf(attributes.get(RTA_PRIORITY)) ?? 0,
    type: body[7]!,
    onlink: (flags & RTNH_F_ONLINK) !== 0,
  };
  const table = numberOf(attributes.get(RTA_TABLE)) ?? body[4]!;
  return { removed: type === RTM_DELROUTE, route, table, isCopy: (flags & RTM_F_CLONED) !== 0 };
}

/**
 * Makes a route. Without `replace` the kernel refuses it with EEXIST when there is one to that network with that metric,
 * whoever made it; with `replace` it takes the place of that one, whoever made it.
 */
export function putRoute(route: NewRoute, replace: boolean): Uint8Array {
  const flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL);
  const body = header(route, RT_SCOPE_UNIVERSE, RTN_UNICAST);
  viewOf(body).setUint32(8, route.onlink ? RTNH_F_ONLINK : 0, true);
  return writeMessage(RTM_NEWROUTE, flags, 0, body, [
    [RTA_DST, route.destination],
    [RTA_GATEWAY, route.gateway],
    [RTA_OIF, u32(route.ifindex)],
    ...(route.priority === 0 ? [] : ([[RTA_PRIORITY, u32(route.priority)]] as const)),
  ]);
}

/** Removes that route and no other: of its network, protocol, metric, kind and way. @param gateway of the route, as bytes */
export function removeRoute(route: TableRoute, gateway: Uint8Array | undefined): Uint8Array {
  const attributes: [number, Uint8Array][] = [[RTA_DST, route.destination]];
  if (gateway !== undefined) attributes.push([RTA_GATEWAY, gateway]);
  if (route.ifindex !== 0) attributes.push([RTA_OIF, u32(route.ifindex)]);
  if (route.priority !== 0) attributes.push([RTA_PRIORITY, u32(route.priority)]);
  const body = header(route, RT_SCOPE_NOWHERE, route.type);
  return writeMessage(RTM_DELROUTE, NLM_F_REQUEST | NLM_F_ACK, 0, body, attributes);
}

/** Routes of the main table that a protocol has made. */
export function dumpRoutes(socket: NetlinkSocket, family: Family, protocol: number): TableRoute[] {
  const body = header({ family, prefixLength: 0, protocol }, RT_SCOPE_UNIVERSE, 0);
  const found: TableRoute[] = [];
  for (const message of socket.dump(RTM_GETROUTE, body)) {
    const event = readTableRoute(message);
    // A kernel that does not filter sends all it has.
    if (event?.removed === false && event.route.protocol === protocol) found.push(event.route);
  }
  return found;
}

/** The route that is used to exactly that network; undefined when there is none. */
export function findRoute(
  socket: NetlinkSocket,
  family: Family,
  destination: Uint8Array,
  prefixLength: number,
): TableRoute | undefined {
  const found = lookUp(socket, family, destination, RTM_F_FIB_MATCH);
  return found?.prefixLength === prefixLength ? found : undefined;
}

/** The interface on whose link an address is: that the way to it leads out of without a gateway. 0 = on none. */
export function linkOf(socket: NetlinkSocket, family: Family, address: Uint8Array): number {
  const found = lookUp(socket, family, address, 0);
  return found?.type === RTN_UNICAST && found.gateway === undefined ? found.ifindex : 0;
}

function lookUp(
  socket: NetlinkSocket,
  family: Family,
  address: Uint8Array,
  flags: number,
): TableRoute | undefined {
  const body = new Uint8Array(RTMSG_BYTES + ATTRIBUTE_HEADER_BYTES + address.length);
  const view = viewOf(body);
  view.setUint8(0, family);
  view.setUint8(1, address.length * 8);
  view.setUint32(8, flags, true);
  view.setUint16(RTMSG_BYTES, ATTRIBUTE_HEADER_BYTES + address.length, true);
  view.setUint16(RTMSG_BYTES + 2, RTA_DST, true);
  body.set(address, RTMSG_BYTES + ATTRIBUTE_HEADER_BYTES);
  const [message] = socket.request(RTM_GETROUTE, body);
  const found = message === undefined ? undefined : readRoute(message);
  return found?.removed === false ? found.route : undefined;
}

function header(
  { family, prefixLength, protocol }: Pick<TableRoute, 'family' | 'prefixLength' | 'protocol'>,
  scope: number,
  type: number,
): Uint8Array {
  return Uint8Array.of(family, prefixLength, 0, 0, RT_TABLE_MAIN, protocol, scope, type, 0, 0, 0, 0);
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}
