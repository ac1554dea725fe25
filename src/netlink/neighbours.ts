/** Neighbours: IP address -> MAC, per interface, as rtnetlink tells of them (linux/neighbour.h). */
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { addressOf, type Message, macOf, readAttributes, viewOf } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;

export interface Neighbour {
  ifindex: number;
  family: Family;
  address: string;
  /** `aa:bb:cc:dd:ee:ff`; "" while it is not known. */
  lladdr: string;
  /** NUD_* bits */
  state: number;
  /** NTF_* bits */
  flags: number;
}

export interface NeighbourEvent {
  removed: boolean;
  neighbour: Neighbour;
}

/** undefined when the message is of something else (also of a bridge's FDB), or is cut short. */
export function readNeighbour(message: Message): NeighbourEvent | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWNEIGH && type !== RTM_DELNEIGH) || body.length < NDMSG_BYTES) return undefined;
  const family = body[0] as Family;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const view = viewOf(body);
  const attributes = readAttributes(body, NDMSG_BYTES);
  const address = addressOf(family, attributes.get(NDA_DST));
  if (address === undefined) return undefined;
  const neighbour: Neighbour = {
    ifindex: view.getInt32(4, true),
    family,
    address,
    lladdr: macOf(attributes.get(NDA_LLADDR)) ?? '',
    state: view.getUint16(8, true),
    flags: view.getUint8(10),
  };
  return { removed: type === RTM_DELNEIGH, neighbour };
}

/** All neighbours of both families in this network namespace. */
export function dumpNeighbours(socket: NetlinkSocket): Neighbour[] {
  const found: Neighbour[] = [];
  for (const message of socket.dump(RTM_GETNEIGH, new Uint8Array(NDMSG_BYTES))) {
    const event = readNeighbour(message);
    if (event?.removed === false) found.push(event.neighbour);
  }
  return found;
}
