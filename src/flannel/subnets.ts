/** Addresses and networks of both families as numbers; text is ipaddr.js's (RFC 5952, as Go prints it). */
import ipaddr from 'ipaddr.js';

export type Family = 4 | 6;

export interface Address {
  family: Family;
  value: bigint;
}

/** Bits below the prefix are zero. */
export interface Network extends Address {
  /** Length of the prefix, 0 to 32 or 128. */
  length: number;
}

export const bitsOf = (family: Family) => (family === 4 ? 32 : 128);

/** Addresses of one family only where `family` is given; a zone ("%eth0") is no part of an address. */
export function parseAddress(text: string, family?: Family): Address | undefined {
  if (family !== 6 && ipaddr.IPv4.isValidFourPartDecimal(text))
    return { family: 4, value: BigInt(text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)) };
  if (family !== 4 && text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text))
    return { family: 6, value: toNumber(ipaddr.IPv6.parse(text).toByteArray()) };
  return undefined;
}

export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    const bits = Number(value);
    return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
  }
  const bytes = Array.from({ length: 16 }, (_, index) => Number((value >> BigInt(120 - 8 * index)) & 0xffn));
  return ipaddr.fromByteArray(bytes).toString();
}

/** "10.244.1.0/24". With `host`, bits below the prefix may be set and are cleared, as Go's ParseCIDR does. */
export function parseNetwork(text: string, family?: Family, host = false): Network | undefined {
  const [, base = '', digits = ''] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const address = parseAddress(base, family);
  const length = Number(digits);
  if (address === undefined || length > bitsOf(address.family)) return undefined;
  const network = networkOf(address, length);
  return host || network.value === address.value ? network : undefined;
}

export const formatNetwork = (network: Network) => `${formatAddress(network)}/${network.length}`;

/** The network of that length which an address lies in. */
export function networkOf({ family, value }: Address, length: number): Network {
  const below = BigInt(bitsOf(family) - length);
  return { family, value: (value >> below) << below, length };
}

/** How many addresses a network has. */
export const sizeOf = ({ family, length }: Network) => 1n << BigInt(bitsOf(family) - length);

/** The highest address of a network. */
export const lastOf = (network: Network) => network.value + sizeOf(network) - 1n;

/** Whether all of `inner`, an address or a network, lies in `outer`. */
export function contains(outer: Network, inner: Address | Network): boolean {
  const last = 'length' in inner ? lastOf(inner) : inner.value;
  return outer.family === inner.family && outer.value <= inner.value && last <= lastOf(outer);
}

export function overlaps(one: Network, other: Network): boolean {
  return one.family === other.family && one.value <= lastOf(other) && other.value <= lastOf(one);
}

function toNumber(bytes: readonly number[]): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
