/**
 * The words of the MDB, as `bridge mdb` has them: groups and routing protocols, to and from numbers.
 * Nothing here touches memory.
 */
import { AF_INET } from '../../assembly/layout.ts';
import { type Address, formatAddress, isAny } from './fdb-text.ts';

/** What an entry is found by. */
export interface MdbGroup {
  /** VNI whose frames it is about. */
  readonly vni: number;
  /** All zeros: every group without an entry of its own. */
  readonly group: Address;
  /** Absent: any. */
  readonly source?: Address;
}

export function keyOf({ vni, group, source }: MdbGroup): string {
  return `${vni} ${formatAddress(group)} ${source ? formatAddress(source) : '*'}`;
}

/** (*, G): any source, a group of its own. */
export function isStarG({ group, source }: MdbGroup): boolean {
  return source === undefined && !isAny(group);
}

export function isMulticast({ family, bytes }: Address): boolean {
  return family === AF_INET ? (bytes[0]! & 0xf0) === 0xe0 : bytes[0] === 0xff;
}

/** 224.0.0.0/24 */
export function isLocalMulticast({ family, bytes }: Address): boolean {
  return family === AF_INET && bytes[0] === 224 && bytes[1] === 0 && bytes[2] === 0;
}

/** linux/rtnetlink.h: who made an entry. Numbers below it belong to the kernel itself. */
export const PROTOCOL_STATIC = 4;

/** /etc/iproute2/rt_protos */
const PROTOCOLS: Readonly<Record<string, number>> = {
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: PROTOCOL_STATIC,
  gated: 8,
  ra: 9,
  mrt: 10,
  zebra: 11,
  bird: 12,
  dnrouted: 13,
  xorp: 14,
  ntk: 15,
  dhcp: 16,
  keepalived: 18,
  babel: 42,
  ovn: 84,
  openr: 99,
  bgp: 186,
  isis: 187,
  ospf: 188,
  rip: 189,
  eigrp: 192,
};

/** @returns undefined unless it is a name or a number from 0 to 255 */
export function parseProtocol(text: string): number | undefined {
  if (Object.hasOwn(PROTOCOLS, text)) return PROTOCOLS[text];
  const number = /^(0x[0-9a-f]{1,2}|\d{1,3})$/i.test(text) ? Number(text) : 256;
  return number <= 255 ? number : undefined;
}

export function formatProtocol(protocol: number): string {
  return Object.keys(PROTOCOLS).find((name) => PROTOCOLS[name] === protocol) ?? String(protocol);
}
