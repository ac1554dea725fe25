/**
 * flannel's configuration and its subnets as flanneld computes with them, by plain BigInt arithmetic that shares
 * nothing with the code under test.
 */
export type Family = 4 | 6;

export interface Cidr {
  family: Family;
  /** The network's address. */
  base: bigint;
  length: number;
}

const BITS = { 4: 32, 6: 128 } as const;

function addressValue(text: string): { family: Family; value: bigint } {
  if (!text.includes(':')) {
    return { family: 4, value: text.split('.').reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n) };
  }
  const [head = '', tail] = text.split('::');
  const words = (part: string) => part.split(':').filter(Boolean);
  const [first, last] = [words(head), words(tail ?? '')];
  const zeros = Array<string>(tail === undefined ? 0 : 8 - first.length - last.length).fill('0');
  const all = [...first, ...zeros, ...last];
  return { family: 6, value: all.reduce((sum, word) => (sum << 16n) | BigInt(`0x${word}`), 0n) };
}

export function addressText(family: Family, value: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const words = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  // RFC 5952: the longest run of two zeros or more, the first of equals, becomes "::".
  const text = words.map((word) => word.toString(16)).join(':');
  const runs = [...text.matchAll(/\b0(?::0\b)+/g)].sort((a, b) => b[0].length - a[0].length);
  const run = runs[0];
  if (run === undefined) return text;
  const [before, after] = [text.slice(0, run.index), text.slice(run.index + run[0].length)];
  return `${before.replace(/:$/, '')}::${after.replace(/^:/, '')}`;
}

/** "10.244.1.0/24"; flannel's keys write "-" for "/". */
export function parseCidr(text: string): Cidr {
  const [address = '', length] = text.split(/[/-]/);
  const { family, value } = addressValue(address);
  const bits = BigInt(BITS[family] - Number(length));
  return { family, base: (value >> bits) << bits, length: Number(length) };
}

export const cidrText = ({ family, base, length }: Cidr, separator = '/') =>
  `${addressText(family, base)}${separator}${length}`;

export const baseText = ({ family, base }: Cidr) => addressText(family, base);

const size = ({ family, length }: Cidr) => 1n << BigInt(BITS[family] - length);
export const overlaps = (a: Cidr, b: Cidr) =>
  a.family === b.family && a.base < b.base + size(b) && b.base < a.base + size(a);
const within = (inner: Cidr, outer: Cidr) =>
  inner.base >= outer.base && inner.base + size(inner) <= outer.base + size(outer);

/** Where the members' subnets of one family lie. */
export interface Range {
  network: Cidr;
  subnetLength: number;
  first: bigint;
  last: bigint;
}

export interface NetConfig {
  ranges: Partial<Record<Family, Range>>;
  vni: number;
  port: number;
  mtu?: number;
  directRouting: boolean;
}

/** The keys are read as Go reads them: without regard to case. */
export function parseConfig(text: string): NetConfig {
  const fold = (value: unknown): Record<string, unknown> =>
    Object.fromEntries(Object.entries(value as object).map(([key, one]) => [key.toLowerCase(), one]));
  const config = fold(JSON.parse(text));
  const backend = fold(config.backend ?? {});
  if (`${backend.type ?? 'udp'}`.toLowerCase() !== 'vxlan') throw new Error(`backend ${backend.type}`);
  const ranges: NetConfig['ranges'] = {};
  if (config.enableipv4 !== false && config.network !== undefined) ranges[4] = rangeOf('', config);
  if (config.enableipv6 === true) ranges[6] = rangeOf('ipv6', config);
  return {
    ranges,
    vni: Number(backend.vni ?? 1),
    port: Number(backend.port || 8472),
    ...(backend.mtu ? { mtu: Number(backend.mtu) } : {}),
    directRouting: backend.directrouting === true,
  };
}

function rangeOf(prefix: '' | 'ipv6', config: Record<string, unknown>): Range {
  const network = parseCidr(`${config[`${prefix}network`]}`);
  const usual = network.family === 4 ? 24 : 64;
  const given = config[`${prefix}subnetlen`];
  const subnetLength =
    given === undefined ? (network.length <= usual - 2 ? usual : network.length + 2) : Number(given);
  const step = size({ ...network, length: subnetLength });
  const bound = (key: string, other: bigint) =>
    config[prefix + key] === undefined ? other : addressValue(`${config[prefix + key]}`).value;
  return {
    network,
    subnetLength,
    first: bound('subnetmin', network.base + step),
    last: bound('subnetmax', network.base + size(network) - step),
  };
}

export const fits = (subnet: Cidr, { network, subnetLength }: Range) =>
  subnet.length === subnetLength && within(subnet, network);

/** flanneld collects the first hundred subnets that are free and takes any of them. */
export function allocate(range: Range, taken: readonly Cidr[], random: () => number = Math.random): Cidr {
  const free: Cidr[] = [];
  const { family } = range.network;
  const step = size({ ...range.network, length: range.subnetLength });
  for (let base = range.first; base <= range.last && free.length < 100; base += step) {
    const subnet = { family, base, length: range.subnetLength };
    if (!taken.some((other) => overlaps(other, subnet))) free.push(subnet);
  }
  const chosen = free[Math.floor(random() * free.length)];
  if (chosen === undefined) throw new Error('out of subnets');
  return chosen;
}
