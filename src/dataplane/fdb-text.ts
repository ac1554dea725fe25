/**
 * The words of the FDB, as `bridge fdb` has them: MACs, addresses, states and flags, to and from
 * the numbers in memory. Nothing here touches memory.
 */
import ipaddr from 'ipaddr.js';
import {
  AF_INET,
  AF_INET6,
  NTF_EXT_LEARNED,
  NTF_MASTER,
  NTF_ROUTER,
  NTF_SELF,
  NTF_STICKY,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_REACHABLE,
  NUD_STALE,
} from '../../assembly/layout.ts';
import type { FdbStateWord } from '../types.ts';

/** A MAC as two numbers: `low` has the first four bytes, `high` the other two, the first byte lowest. */
export interface Mac {
  readonly low: number;
  readonly high: number;
}

export interface Address {
  readonly family: number;
  /** 16 bytes: an IPv4 address in the first four, the rest zero. */
  readonly bytes: Uint8Array;
}

export const ZERO_MAC: Mac = { low: 0, high: 0 };

/** @returns undefined unless it is `aa:bb:cc:dd:ee:ff` */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const [a, b, c, d, e, f] = text.split(':').map((byte) => Number.parseInt(byte, 16)) as number[];
  return { low: (a! | (b! << 8) | (c! << 16) | (d! << 24)) >>> 0, high: e! | (f! << 8) };
}

export function formatMac({ low, high }: Mac): string {
  return [low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8]
    .map((byte) => (byte & 0xff).toString(16).padStart(2, '0'))
    .join(':');
}

/** The MAC of the default remotes. */
export function isZero({ low, high }: Mac): boolean {
  return low === 0 && high === 0;
}

/** Multicast, broadcast or all zeros: what may have several remotes. */
export function isGroup(mac: Mac): boolean {
  return (mac.low & 1) === 1 || isZero(mac);
}

/** @returns undefined unless it is an IPv4 address of four decimal parts, or an IPv6 address without a zone */
export function parseAddress(text: string): Address | undefined {
  const bytes = new Uint8Array(16);
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) {
    bytes.set(ipaddr.IPv4.parse(text).toByteArray());
    return { family: AF_INET, bytes };
  }
  if (!ipaddr.IPv6.isValid(text) || text.includes('%')) return undefined;
  bytes.set(ipaddr.IPv6.parse(text).toByteArray());
  return { family: AF_INET6, bytes };
}

export function formatAddress({ family, bytes }: Address): string {
  if (family === AF_INET) return bytes.subarray(0, 4).join('.');
  const address = new ipaddr.IPv6([...bytes]);
  return address.isIPv4MappedAddress()
    ? `::ffff:${address.toIPv4Address().toString()}`
    : address.toRFC5952String();
}

/** 0.0.0.0 and ::, which stand for "no remote". */
export function isAny({ bytes }: Address): boolean {
  return bytes.every((byte) => byte === 0);
}

export function sameAddress(one: Address, other: Address): boolean {
  return one.family === other.family && one.bytes.every((byte, at) => byte === other.bytes[at]);
}

/** What `bridge fdb` sends to the kernel for its state words. */
export const STATE_BITS: Readonly<Record<FdbStateWord, number>> = {
  permanent: NUD_PERMANENT | NUD_NOARP,
  static: NUD_NOARP | NUD_REACHABLE,
  dynamic: NUD_REACHABLE,
};

export function formatState(state: number): string {
  if ((state & NUD_PERMANENT) !== 0) return 'permanent';
  if ((state & NUD_NOARP) !== 0) return 'static';
  if ((state & NUD_STALE) !== 0) return 'stale';
  if ((state & NUD_REACHABLE) !== 0) return '';
  return `0x${state.toString(16)}`;
}

/** In the order of their printing. */
const FLAG_WORDS: readonly (readonly [number, string])[] = [
  [NTF_SELF, 'self'],
  [NTF_ROUTER, 'router'],
  [NTF_EXT_LEARNED, 'extern_learn'],
  [NTF_MASTER, 'master'],
  [NTF_STICKY, 'sticky'],
];

export function formatFlags(flags: number): string[] {
  return FLAG_WORDS.filter(([bit]) => (flags & bit) !== 0).map(([, word]) => word);
}
