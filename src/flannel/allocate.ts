/**
 * Which subnet a member takes, as flannel chooses: the one from before where it is free and of the right size, else
 * one at random of the first 100 free ones, each family by itself. Random, so that members that start together
 * seldom want the same one.
 */
import type { NetConfig, Subnets } from './lease.ts';
import type { IpVersion } from './prefix.ts';
import {
  formatNetwork,
  lastOf,
  type Network,
  networkOf,
  overlaps,
  parseAddress,
  parseNetwork,
  sizeOf,
} from './subnets.ts';

const CANDIDATES = 100;

/** Whether a member of the network may have these subnets: both families that are enabled, of the right size, in range. */
export function fits(config: NetConfig, subnets: Subnets): boolean {
  return fitsFamily(config, subnets, 4) && fitsFamily(config, subnets, 6);
}

function fitsFamily(config: NetConfig, subnets: Subnets, family: IpVersion): boolean {
  const text = subnetOf(subnets, family);
  const range = rangeOf(config, family);
  if (range === undefined || text === undefined) return range === undefined && text === undefined;
  const subnet = parseNetwork(text, family);
  return (
    subnet !== undefined &&
    subnet.length === range.first.length &&
    subnet.value >= range.first.value &&
    subnet.value <= range.last
  );
}

/**
 * @param taken subnets of all members
 * @param previous the member's own from an earlier life; taken up only whole
 * @param random as Math.random
 * @returns undefined when a family has none left
 */
export function chooseSubnets(
  config: NetConfig,
  taken: readonly Subnets[],
  previous: Subnets,
  random: () => number = Math.random,
): Subnets | undefined {
  if (fits(config, previous) && isFree(taken, previous)) return previous;
  const subnet = config.enableIpv4 ? pick(config, taken, 4, random) : undefined;
  const subnetV6 = config.enableIpv6 ? pick(config, taken, 6, random) : undefined;
  if ((config.enableIpv4 && !subnet) || (config.enableIpv6 && !subnetV6)) return undefined;
  return { ...(subnet && { subnet }), ...(subnetV6 && { subnetV6 }) };
}

function isFree(taken: readonly Subnets[], wanted: Subnets): boolean {
  return ([4, 6] as const).every((family) => {
    const subnet = networkIn(wanted, family);
    return !subnet || networksOf(taken, family).every((other) => !overlaps(other, subnet));
  });
}

function pick(config: NetConfig, taken: readonly Subnets[], family: IpVersion, random: () => number) {
  const free = freeSubnets(config, taken, family);
  const chosen = free[Math.floor(random() * free.length)];
  return chosen && formatNetwork(chosen);
}

/** The first free subnets of the range, lowest first. */
export function freeSubnets(config: NetConfig, taken: readonly Subnets[], family: IpVersion): Network[] {
  const range = rangeOf(config, family);
  if (range === undefined) return [];
  const { first, last } = range;
  const step = sizeOf(first);
  const others = networksOf(taken, family).sort((one, other) => (one.value < other.value ? -1 : 1));
  const free: Network[] = [];
  let next = 0;
  // End of what is taken so far: subnets of several sizes may lie in each other.
  let end = -1n;
  let value = first.value;
  while (value <= last && free.length < CANDIDATES) {
    const candidate = { ...first, value };
    while (next < others.length && others[next]!.value <= lastOf(candidate)) {
      const other = lastOf(others[next++]!);
      if (other > end) end = other;
    }
    if (end < value) free.push(candidate);
    const used = end < value ? lastOf(candidate) : end;
    value += ((used - value) / step + 1n) * step;
  }
  return free;
}

function rangeOf(config: NetConfig, family: IpVersion): { first: Network; last: bigint } | undefined {
  const [enabled, min, max, length] =
    family === 4
      ? [config.enableIpv4, config.subnetMin, config.subnetMax, config.subnetLen]
      : [config.enableIpv6, config.ipv6SubnetMin, config.ipv6SubnetMax, config.ipv6SubnetLen];
  const first = enabled && min !== undefined ? parseAddress(min, family) : undefined;
  const last = max === undefined ? undefined : parseAddress(max, family);
  return first && last && { first: networkOf(first, length), last: last.value };
}

const subnetOf = (subnets: Subnets, family: IpVersion) => (family === 4 ? subnets.subnet : subnets.subnetV6);

function networkIn(subnets: Subnets, family: IpVersion): Network | undefined {
  const text = subnetOf(subnets, family);
  return text === undefined ? undefined : parseNetwork(text, family);
}

function networksOf(taken: readonly Subnets[], family: IpVersion): Network[] {
  return taken.map((one) => networkIn(one, family)).filter((one) => one !== undefined);
}
