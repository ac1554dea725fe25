/** Addresses of this host as rtnetlink tells of them (linux/if_addr.h). */
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { addressOf, type Message, numberOf, readAttributes, viewOf } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
export const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_TEMPORARY = 0x01;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_PERMANENT = 0x80;

export interface Address {
  ifindex: number;
  family: Family;
  /** Our own one, of a point-to-point link, too. */
  address: string;
  /** Without lifetime: assigned by hand, not by DHCP or router advertisements. */
  permanent: boolean;
  /** IPv6: made for privacy (RFC 8981). IPv4: secondary, which is the same bit. */
  temporary: boolean;
  deprecated: boolean;
}

/** undefined when the message is of something else, or is cut short. */
export function readAddress(message: Message): Address | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWADDR && type !== RTM_DELADDR) || body.length < IFADDRMSG_BYTES) return undefined;
  const family = body[0] as Family;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const attributes = readAttributes(body, IFADDRMSG_BYTES);
  const address = addressOf(family, attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS));
  if (address === undefined) return undefined;
  const flags = numberOf(attributes.get(IFA_FLAGS)) ?? body[2]!;
  return {
    ifindex: viewOf(body).getUint32(4, true),
    family,
    address,
    permanent: (flags & IFA_F_PERMANENT) !== 0,
    temporary: (flags & IFA_F_TEMPORARY) !== 0,
    deprecated: (flags & IFA_F_DEPRECATED) !== 0,
  };
}

/** All addresses of both families in this network namespace, in the kernel's order. */
export function dumpAddresses(socket: NetlinkSocket): Address[] {
  const messages = socket.dump(RTM_GETADDR, new Uint8Array(IFADDRMSG_BYTES));
  return messages.map(readAddress).filter((address) => address !== undefined);
}
