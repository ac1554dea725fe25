/** Nexthops and their groups, as rtnetlink tells of them (linux/nexthop.h). */
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { addressOf, type Message, numberOf, readAttributes, viewOf } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

export const RTM_NEWNEXTHOP = 104;
const RTM_DELNEXTHOP = 105;
const RTM_GETNEXTHOP = 106;
const NHMSG_BYTES = 8;
const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_GATEWAY = 6;
const NHA_FDB = 11;
/** struct nexthop_grp: u32 id, u8 weight less 1, u8 its high byte, two reserved bytes. */
const MEMBER_BYTES = 8;

export interface Nexthop {
  id: number;
  /** Made with the word `fdb`: for VXLAN devices. */
  fdb: boolean;
  /** undefined where the kernel names none, as for a blackhole. */
  family: Family | undefined;
  /** undefined for one that has none. */
  gateway: string | undefined;
}

export interface NexthopGroup {
  id: number;
  fdb: boolean;
  /** In the kernel's order; weights from 1 on. */
  members: { id: number; weight: number }[];
}

export type NexthopEvent =
  | { removed: false; nexthop: Nexthop }
  | { removed: false; group: NexthopGroup }
  | { removed: true; id: number };

/** undefined when the message is of something else, or is cut short. */
export function readNexthop(message: Message): NexthopEvent | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWNEXTHOP && type !== RTM_DELNEXTHOP) || body.length < NHMSG_BYTES) return undefined;
  const attributes = readAttributes(body, NHMSG_BYTES);
  const id = numberOf(attributes.get(NHA_ID));
  if (id === undefined) return undefined;
  if (type === RTM_DELNEXTHOP) return { removed: true, id };
  const fdb = attributes.has(NHA_FDB);
  const group = attributes.get(NHA_GROUP);
  if (group !== undefined) return { removed: false, group: { id, fdb, members: membersOf(group) } };
  const family = body[0] === AF_INET || body[0] === AF_INET6 ? body[0] : undefined;
  const gateway = family === undefined ? undefined : addressOf(family, attributes.get(NHA_GATEWAY));
  return { removed: false, nexthop: { id, fdb, family, gateway } };
}

/** All of this network namespace; none where the kernel has no nexthop objects (before Linux 5.3). */
export function dumpNexthops(socket: NetlinkSocket): { nexthops: Nexthop[]; groups: NexthopGroup[] } {
  const nexthops: Nexthop[] = [];
  const groups: NexthopGroup[] = [];
  for (const message of socket.dump(RTM_GETNEXTHOP, new Uint8Array(NHMSG_BYTES))) {
    const event = readNexthop(message);
    if (event === undefined || event.removed) continue;
    if ('group' in event) groups.push(event.group);
    else nexthops.push(event.nexthop);
  }
  return { nexthops, groups };
}

function membersOf(group: Uint8Array): NexthopGroup['members'] {
  const view = viewOf(group);
  const members: NexthopGroup['members'] = [];
  for (let at = 0; at + MEMBER_BYTES <= group.length; at += MEMBER_BYTES) {
    const weight = (view.getUint8(at + 4) | (view.getUint8(at + 5) << 8)) + 1;
    members.push({ id: view.getUint32(at, true), weight });
  }
  return members;
}
