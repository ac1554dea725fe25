/** flannel's search for free subnets as flannel writes it: every candidate against every lease. */
import type { NetConfig, Subnets } from '../../src/flannel/lease.ts';
import type { IpVersion } from '../../src/flannel/prefix.ts';
import { formatNetwork, networkOf, overlaps, parseAddress, parseNetwork } from '../../src/flannel/subnets.ts';

export function naiveFree(config: NetConfig, taken: readonly Subnets[], family: IpVersion): string[] {
  const four = family === 4;
  const length = four ? config.subnetLen : config.ipv6SubnetLen;
  const first = parseAddress((four ? config.subnetMin : config.ipv6SubnetMin)!)!;
  const last = parseAddress((four ? config.subnetMax : config.ipv6SubnetMax)!)!;
  const step = 1n << BigInt((four ? 32 : 128) - length);
  const others = taken
    .map((one) => (four ? one.subnet : one.subnetV6))
    .filter((one) => one !== undefined)
    .map((one) => parseNetwork(one)!);
  const free: string[] = [];
  for (let value = first.value; value <= last.value && free.length < 100; value += step) {
    const candidate = networkOf({ family, value }, length);
    if (others.every((other) => !overlaps(candidate, other))) free.push(formatNetwork(candidate));
  }
  return free;
}
