/**
 * What the kernel announces and what of it concerns a reconciler. What it has done itself is not among it: the thread
 * that listens leaves it out by the port of the socket, so that a reconciler's own writing never wakes it.
 */
import { AF_INET } from '../io/family.ts';
import { IFADDRMSG_BYTES, RTM_DELADDR, RTM_NEWADDR } from '../netlink/addresses.ts';
import { readLink } from '../netlink/links.ts';
import { type Message, viewOf } from '../netlink/message.ts';
import { NUD_PERMANENT, readNeighbour } from '../netlink/neighbours.ts';
import { RTN_UNICAST } from '../netlink/route-numbers.ts';
import { readTableRoute } from '../netlink/route-table.ts';
import {
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
  GROUP_LINK,
  GROUP_NEIGHBOUR,
} from '../netlink/socket.ts';
import { formatPrefix } from './prefix.ts';

export const WATCHED_GROUPS = [
  GROUP_LINK,
  GROUP_NEIGHBOUR,
  GROUP_IPV4_ADDRESS,
  GROUP_IPV4_ROUTE,
  GROUP_IPV6_ADDRESS,
  GROUP_IPV6_ROUTE,
];

/** What a reconciler holds, as far as announcements are compared with it. */
export interface Concerns {
  protocol: number;
  /** Where peers are on our links, everything about the underlay matters. */
  directRouting: boolean;
  /** Whether an interface is a device of ours, or is called as one is to be. */
  deviceAt(ifindex: number, name?: string): boolean;
  /** MAC that a neighbour of our device is to have. */
  neighbour(version: 4 | 6, address: string): string | undefined;
  /** A route to that network is wanted. */
  isWanted(version: 4 | 6, network: string): boolean;
}

export interface Verdict {
  /** What is known may be wrong now. */
  concerns: boolean;
  /** Networks of peers to which somebody else has changed a route. */
  contested: { version: 4 | 6; network: string }[];
}

export function judge(messages: readonly Message[], own: Concerns): Verdict {
  const verdict: Verdict = { concerns: false, contested: [] };
  for (const message of messages) {
    if (
      concernsLink(message, own) ||
      concernsNeighbour(message, own) ||
      concernsRoute(message, own, verdict)
    ) {
      verdict.concerns = true;
    }
  }
  return verdict;
}

/** Links, and addresses on them: the kernel removes IPv4 routes with them and says nothing of that. */
function concernsLink(message: Message, own: Concerns): boolean {
  const event = readLink(message);
  if (event !== undefined) {
    if (own.directRouting) return true;
    return event.removed ? own.deviceAt(event.ifindex) : own.deviceAt(event.link.ifindex, event.link.name);
  }
  const { type, body } = message;
  if ((type !== RTM_NEWADDR && type !== RTM_DELADDR) || body.length < IFADDRMSG_BYTES) return false;
  return own.directRouting || own.deviceAt(viewOf(body).getUint32(4, true));
}

function concernsNeighbour(message: Message, own: Concerns): boolean {
  const event = readNeighbour(message);
  if (event === undefined || !own.deviceAt(event.neighbour.ifindex)) return false;
  const { family, address, lladdr, state } = event.neighbour;
  const mac = own.neighbour(family === AF_INET ? 4 : 6, address);
  const isPermanent = !event.removed && (state & NUD_PERMANENT) !== 0;
  return mac === undefined ? isPermanent : !isPermanent || lladdr !== mac;
}

function concernsRoute(message: Message, own: Concerns, verdict: Verdict): boolean {
  const event = readTableRoute(message);
  if (event === undefined) return false;
  const { family, destination, prefixLength, protocol, type, ifindex } = event.route;
  const version = family === AF_INET ? 4 : 6;
  const network = formatPrefix({ bytes: destination, length: prefixLength });
  if (own.isWanted(version, network)) {
    if (protocol !== own.protocol) verdict.contested.push({ version, network });
    return true;
  }
  if (protocol === own.protocol && own.deviceAt(ifindex)) return true;
  return own.directRouting && type === RTN_UNICAST && protocol !== own.protocol && !own.deviceAt(ifindex);
}
