/**
 * IP networks as bytes: what the examination of thousands of leases compares, fast and for both families alike; and their
 * text, as Go prints it (RFC 5952). subnets.ts has them as numbers.
 */
import ipaddr from 'ipaddr.js';

export type IpVersion = 4 | 6;

export interface Prefix {
  version: IpVersion;
  /** 4 or 16 bytes; none but the first `length` bits are set. */
  bytes: Uint8Array;
  length: number;
}

/** undefined unless it is an address of either family. Zones are none. */
export function parseIp(text: string): Uint8Array | undefined {
  const four = parseIpv4(text);
  if (four !== undefined || !text.includes(':')) return four;
  return ipaddr.IPv6.isValid(text) && !text.includes('%')
    ? Uint8Array.from(ipaddr.IPv6.parse(text).toByteArray())
    : undefined;
}

/** Four decimal numbers: other spellings (010.0.0.1, 10.1) mean different things to different programs. */
function parseIpv4(text: string): Uint8Array | undefined {
  const match = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text);
  if (match === null) return undefined;
  const numbers = [Number(match[1]), Number(match[2]), Number(match[3]), Number(match[4])];
  return numbers.every((number) => number <= 255) ? Uint8Array.from(numbers) : undefined;
}

export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  return ipaddr.fromByteArray([...bytes]).toString();
}

/** "10.244.1.0/24"; undefined unless it is a network: an address with bits set beyond the length is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const bytes = slash < 0 ? undefined : parseIp(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (bytes === undefined || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const length = Number(digits);
  if (length > bytes.length * 8 || !isNetwork(bytes, length)) return undefined;
  return { version: bytes.length === 4 ? 4 : 6, bytes, length };
}

export function formatPrefix({ bytes, length }: Pick<Prefix, 'bytes' | 'length'>): string {
  return `${formatIp(bytes)}/${length}`;
}

function isNetwork(bytes: Uint8Array, length: number): boolean {
  return bytes.every((byte, index) => (byte & (0xff >> Math.min(8, Math.max(0, length - index * 8)))) === 0);
}

/** Whether an address, or the network that begins with it, lies in a network. The other family's never does. */
export function contains(outer: Pick<Prefix, 'bytes' | 'length'>, bytes: Uint8Array): boolean {
  if (bytes.length !== outer.bytes.length) return false;
  const whole = outer.length >>> 3;
  for (let at = 0; at < whole; ++at) if (bytes[at] !== outer.bytes[at]) return false;
  const rest = outer.length & 7;
  return rest === 0 || (bytes[whole]! ^ outer.bytes[whole]!) >>> (8 - rest) === 0;
}

export function overlaps(one: Prefix, other: Prefix): boolean {
  return one.length <= other.length ? contains(one, other.bytes) : contains(other, one.bytes);
}

/** The first `length` bits of an address as a key of a Map: equal for the addresses of one network. */
export function networkKey(bytes: Uint8Array, length: number): string {
  const whole = length >>> 3;
  let key = '';
  for (let at = 0; at < whole; ++at) key += String.fromCharCode(bytes[at]!);
  const rest = length & 7;
  return rest === 0 ? key : key + String.fromCharCode(bytes[whole]! & (0xff00 >> rest));
}
