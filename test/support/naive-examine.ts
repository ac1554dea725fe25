/**
 * Which leases may be peers of one family, said as plainly as it can be: every one is compared with every other, in
 * numbers. The rules are those of src/flannel/examine.ts.
 */
import type { Overlay, Self } from '../../src/flannel/examine.ts';
import type { Lease } from '../../src/flannel/lease.ts';

interface Range {
  first: bigint;
  last: bigint;
}

interface One {
  key: string;
  ip: bigint;
  port: number;
  mac: string;
  range: Range;
}

function number(address: string): bigint | undefined {
  if (!address.includes(':')) {
    const parts = address.split('.');
    if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256))
      return undefined;
    return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  }
  // Only what tests write: "a:b::c".
  const [head, tail] = address.split('::').map((half) => half.split(':').filter(Boolean)) as [
    string[],
    string[],
  ];
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

function range(text: string, bits: number): Range | undefined {
  const [address, length] = text.split('/') as [string, string];
  const first = number(address);
  if (first === undefined) return undefined;
  const size = 1n << BigInt(bits - Number(length));
  return first % size === 0n ? { first, last: first + size - 1n } : undefined;
}

const meet = (one: Range, other: Range) => one.first <= other.last && other.first <= one.last;
const has = (outer: Range, number: bigint) => outer.first <= number && number <= outer.last;

export function naiveExamine(leases: readonly Lease[], overlay: Overlay, self: Self): string[] {
  const version = overlay.family;
  const bits = version === 4 ? 32 : 128;
  const isOf = (text: string) => text.includes(':') === (version === 6);
  const ranges = (texts: readonly string[]) => texts.filter(isOf).map((text) => range(text, bits)!);
  const networks = ranges(self.networks);
  const subnets = ranges(self.subnets);
  const ips = self.publicIps.filter(isOf).map((text) => number(text)!);
  let left: One[] = [];
  for (const lease of leases) {
    const [subnet, publicIp, backend] =
      version === 4
        ? [lease.subnet, lease.publicIp, lease.backend]
        : [lease.subnetV6, lease.publicIpV6, lease.backendV6];
    if (lease.backendType !== 'vxlan' || !subnet || !publicIp || !backend) continue;
    const own = range(subnet, bits);
    const ip = number(publicIp);
    const mac = backend.mac;
    const first = Number.parseInt(mac.slice(0, 2), 16);
    if (own === undefined || ip === undefined || ip === 0n || first % 2 === 1 || /^[0:]+$/.test(mac))
      continue;
    if (version === 4 && (ip >> 24n === 127n || ip >> 28n === 14n)) continue;
    const port = backend.port ?? overlay.port;
    if (self.macs.includes(mac) || (ips.includes(ip) && port === overlay.port)) continue;
    if (!networks.some((network) => has(network, own.first) && has(network, own.last))) continue;
    if (subnets.some((one) => meet(one, own)) || ips.some((one) => has(own, one))) continue;
    if (subnets.some((one) => has(one, ip))) continue;
    left.push({ key: lease.key, ip, port, mac, range: own });
  }
  const keep = (clash: (one: One, other: One) => boolean) => {
    const all = left;
    left = all.filter((one) => !all.some((other) => other !== one && clash(one, other)));
  };
  keep((one, other) => one.mac === other.mac && other.key < one.key);
  keep((one, other) => one.ip === other.ip && one.port === other.port && other.key < one.key);
  const equal = (one: One, other: One) =>
    one.range.first === other.range.first && one.range.last === other.range.last;
  keep((one, other) => equal(one, other) && other.key < one.key);
  keep(
    (one, other) =>
      !equal(one, other) && has(one.range, other.range.first) && has(one.range, other.range.last),
  );
  const subnetsLeft = left.map((one) => one.range);
  left = left.filter((one) => !subnetsLeft.some((subnet) => has(subnet, one.ip)));
  return left.map(({ key }) => key).sort();
}
