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

const MAC_BYTES = 6;
const MAC_CHARACTERS = 17;
const IPV4_BYTES = 4;

export const ZERO_MAC: Mac = { low: 0, high: 0 };

/** @returns undefined unless it is `aa:bb:cc:dd:ee:ff` */
export function parseMac(text: string): Mac | undefined {
  if (text.length !== MAC_CHARACTERS) return undefined;
  // Without a pattern or parts: a table of a million entries is filled from texts.
  let low = 0;
  let high = 0;
  for (let byte = 0; byte < MAC_BYTES; byte++) {
    const at = byte * 3;
    const value = hexDigit(text.charCodeAt(at)) * 16 + hexDigit(text.charCodeAt(at + 1));
    if (Number.isNaN(value) || (byte > 0 && text[at - 1] !== ':')) return undefined;
    if (byte < 4) low |= value << (byte * 8);
    else high |= value << ((byte - 4) * 8);
  }
  return { low: low >>> 0, high };
}

/** NaN when it is none. */
function hexDigit(code: number): number {
  const decimal = code - 48;
  if (decimal >= 0 && decimal <= 9) return decimal;
  // Letters of both cases differ in one bit.
  const letter = (code | 32) - 97;
  return letter >= 0 && letter <= 5 ? letter + 10 : Number.NaN;
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
  if (parseIpv4(text, bytes)) return { family: AF_INET, bytes };
  if (!ipaddr.IPv6.isValid(text) || text.includes('%')) return undefined;
  return { family: AF_INET6, bytes: Uint8Array.from(ipaddr.IPv6.parse(text).toByteArray()) };
}

/** Four decimal numbers without leading zeros. False: it is something else, and `bytes` may have been written to. */
function parseIpv4(text: string, bytes: Uint8Array): boolean {
  let part = 0;
  let value = -1;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit >= 0 && digit <= 9) {
      if (value === 0) return false;
      value = value < 0 ? digit : value * 10 + digit;
      if (value > 255) return false;
    } else {
      if (text[at] !== '.' || value < 0 || part === IPV4_BYTES - 1) return false;
      bytes[part++] = value;
      value = -1;
    }
  }
  bytes[part] = value;
  return part === IPV4_BYTES - 1 && value >= 0;
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
