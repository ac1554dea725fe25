/** Default routes of the main table, as rtnetlink tells of them: where a host's traffic goes that goes anywhere. */
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { type Message, numberOf, readAttributes, viewOf } from './message.ts';
import {
  RT_TABLE_MAIN,
  RTA_MULTIPATH,
  RTA_OIF,
  RTA_TABLE,
  RTM_DELROUTE,
  RTM_F_CLONED,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTMSG_BYTES,
  RTMSG_FLAGS_OFFSET,
  RTMSG_TABLE_OFFSET,
  RTMSG_TYPE_OFFSET,
  RTN_UNICAST,
} from './route-numbers.ts';
import type { NetlinkSocket } from './socket.ts';

const RTNEXTHOP_IFINDEX_OFFSET = 4;

export interface DefaultRoute {
  family: Family;
  /** ifindex that it leads out of; of several ways the first one's. */
  out: number;
}

/** A default route that came or went; undefined when the message is of something else, or is cut short. */
export function readDefaultRoute(message: Message): DefaultRoute | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWROUTE && type !== RTM_DELROUTE) || body.length < RTMSG_BYTES) return undefined;
  const family = body[0] as Family;
  // Byte 1 is the length of the destination's prefix.
  if ((family !== AF_INET && family !== AF_INET6) || body[1] !== 0) return undefined;
  const view = viewOf(body);
  if (
    body[RTMSG_TYPE_OFFSET] !== RTN_UNICAST ||
    (view.getUint32(RTMSG_FLAGS_OFFSET, true) & RTM_F_CLONED) !== 0
  ) {
    return undefined;
  }
  const attributes = readAttributes(body, RTMSG_BYTES);
  if ((numberOf(attributes.get(RTA_TABLE)) ?? body[RTMSG_TABLE_OFFSET]) !== RT_TABLE_MAIN) return undefined;
  const hops = attributes.get(RTA_MULTIPATH);
  const first = hops === undefined ? undefined : numberOf(hops.subarray(RTNEXTHOP_IFINDEX_OFFSET));
  const out = numberOf(attributes.get(RTA_OIF)) ?? first;
  return out === undefined || out === 0 ? undefined : { family, out };
}

/** Those of one family, the preferred one first. */
export function dumpDefaultRoutes(socket: NetlinkSocket, family: Family): DefaultRoute[] {
  const body = new Uint8Array(RTMSG_BYTES);
  body[0] = family;
  const messages = socket.dump(RTM_GETROUTE, body);
  return messages.map(readDefaultRoute).filter((route) => route !== undefined);
}
