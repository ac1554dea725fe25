/** Neighbours: IP address -> MAC, per interface, as rtnetlink tells of them (linux/neighbour.h). */
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import {
  addressOf,
  type Message,
  macOf,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  readAttributes,
  viewOf,
  writeMessage,
} from './message.ts';
import type { NetlinkSocket } from './socket.ts';

const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_IFINDEX = 8;

/** Never asked for nor aged: a command made it. */
export const NUD_PERMANENT = 0x80;

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

/** A permanent neighbour, made or changed. @param mac six bytes */
export function putNeighbour(
  family: Family,
  ifindex: number,
  address: Uint8Array,
  mac: Uint8Array,
): Uint8Array {
  const flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
  return writeMessage(RTM_NEWNEIGH, flags, 0, header(family, ifindex, NUD_PERMANENT), [
    [NDA_DST, address],
    [NDA_LLADDR, mac],
  ]);
}

export function removeNeighbour(family: Family, ifindex: number, address: Uint8Array): Uint8Array {
  const flags = NLM_F_REQUEST | NLM_F_ACK;
  return writeMessage(RTM_DELNEIGH, flags, 0, header(family, ifindex, 0), [[NDA_DST, address]]);
}

function header(family: Family, ifindex: number, state: number): Uint8Array {
  const body = new Uint8Array(NDMSG_BYTES);
  const view = viewOf(body);
  view.setUint8(0, family);
  view.setInt32(4, ifindex, true);
  view.setUint16(8, state, true);
  return body;
}

/** All neighbours of both families in this network namespace, or those of one interface. */
export function dumpNeighbours(socket: NetlinkSocket, ifindex = 0): Neighbour[] {
  const body = new Uint8Array(NDMSG_BYTES + (ifindex === 0 ? 0 : 8));
  if (ifindex !== 0) {
    const view = viewOf(body);
    view.setUint16(NDMSG_BYTES, 8, true);
    view.setUint16(NDMSG_BYTES + 2, NDA_IFINDEX, true);
    view.setInt32(NDMSG_BYTES + 4, ifindex, true);
  }
  const found: Neighbour[] = [];
  for (const message of socket.dump(RTM_GETNEIGH, body)) {
    const event = readNeighbour(message);
    if (event?.removed !== false) continue;
    if (ifindex === 0 || event.neighbour.ifindex === ifindex) found.push(event.neighbour);
  }
  return found;
}
