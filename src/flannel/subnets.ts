/** Addresses and networks of both families as numbers, for allocation; prefix.ts has them as bytes, and their text. */
import { formatIp, type IpVersion, parseIp } from './prefix.ts';

export interface Address {
  family: IpVersion;
  value: bigint;
}

/** Bits below the prefix are zero. */
export interface Network extends Address {
  /** Length of the prefix, 0 to 32 or 128. */
  length: number;
}

export const bitsOf = (family: IpVersion) => (family === 4 ? 32 : 128);

/** Addresses of one family only where `family` is given; a zone ("%eth0") is no part of an address. */
export function parseAddress(text: string, family?: IpVersion): Address | undefined {
  const bytes = parseIp(text);
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer);
  const address: Address =
    bytes.length === 4
      ? { family: 4, value: BigInt(view.getUint32(0)) }
      : { family: 6, value: (view.getBigUint64(0) << 64n) | view.getBigUint64(8) };
  return family === undefined || family === address.family ? address : undefined;
}

export function formatAddress({ family, value }: Address): string {
  const view = new DataView(new ArrayBuffer(bitsOf(family) / 8));
  if (family === 4) view.setUint32(0, Number(value));
  else {
    view.setBigUint64(0, value >> 64n);
    view.setBigUint64(8, value);
  }
  return formatIp(new Uint8Array(view.buffer));
}

/** "10.244.1.0/24". With `host`, bits below the prefix may be set and are cleared, as Go's ParseCIDR does. */
export function parseNetwork(text: string, family?: IpVersion, host = false): Network | undefined {
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
