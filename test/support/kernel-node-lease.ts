/** Leases of flannel in etcd: how they are written and read, and how flanneld comes to its own. */
import type { Gateway, KeyValue } from './kernel-node-etcd.ts';
import {
  allocate,
  type Cidr,
  cidrText,
  type Family,
  fits,
  type NetConfig,
  overlaps,
  parseCidr,
} from './kernel-node-subnets.ts';

export const FAMILIES = [4, 6] as const;

/** The value of a lease, keys in flanneld's order; those that are empty are left out, `PublicIPv6` never. */
export interface LeaseValue {
  PublicIP: string;
  PublicIPv6: string | null;
  BackendType?: string;
  BackendData?: { VNI: number; VtepMAC: string };
  BackendV6Data?: { VNI: number; VtepMAC: string };
}

export interface Member {
  subnets: Partial<Record<Family, Cidr>>;
  value: LeaseValue;
}

/** The last part of the key: "10.244.1.0-24", or "10.244.1.0-24&fd00:1::-64". */
export function subnetsOf(key: string): Member['subnets'] {
  const [v4, v6] = key.slice(key.lastIndexOf('/') + 1).split('&');
  const match = /^\d+\.\d+\.\d+\.\d+-\d+$/.test(v4 ?? '');
  if (!match) throw new Error(`${key}: not a subnet`);
  return { 4: parseCidr(v4!), ...(v6 === undefined ? {} : { 6: parseCidr(v6) }) };
}

/** The last part of a lease's key. */
export const nameOf = (subnets: Member['subnets']) =>
  FAMILIES.flatMap((family) => subnets[family] ?? [])
    .map((subnet) => cidrText(subnet, '-'))
    .join('&');

/** What a key says of a member; what can't be read is told and left out. */
export function memberOf({ key, value }: KeyValue): Member | undefined {
  try {
    return { subnets: subnetsOf(key), value: JSON.parse(value) };
  } catch (error) {
    console.error(`lease ${key}: ${(error as Error).message}`);
    return undefined;
  }
}

export const sameSubnet = (a: Member['subnets'], b: Member['subnets']) => nameOf(a) === nameOf(b);

export interface Acquisition {
  etcd: Gateway;
  /** Where the leases lie, without a slash at the end. */
  prefix: string;
  config: NetConfig;
  value: LeaseValue;
  /** Those of subnet.env. */
  previous: Member['subnets'];
  seconds: number;
}

/**
 * The lease with our public IP, when its subnet fits the configuration; else the previous subnet, if nobody has it;
 * else a free one. Returns its key.
 * @throws when another one takes the same at that moment
 */
export async function acquire(wish: Acquisition): Promise<{ member: Member; key: string }> {
  const { etcd, prefix, config, value, previous, seconds } = wish;
  const { kvs } = await etcd.list(prefix);
  const members = kvs.flatMap((kv) => memberOf(kv) ?? []);
  const families = FAMILIES.filter((family) => config.ranges[family]);
  const fitting = (subnets: Member['subnets']) =>
    families.every((family) => subnets[family] && fits(subnets[family], config.ranges[family]!));
  const mine = members.find((one) => one.value.PublicIP === value.PublicIP);
  if (mine && fitting(mine.subnets)) {
    const key = `${prefix}/${nameOf(mine.subnets)}`;
    await etcd.put(key, JSON.stringify(value), await etcd.grant(seconds));
    return { member: { subnets: mine.subnets, value }, key };
  }
  if (mine) await etcd.remove(`${prefix}/${nameOf(mine.subnets)}`);
  const others = members.filter((one) => one !== mine);
  const taken = (family: Family) => others.flatMap(({ subnets }) => subnets[family] ?? []);
  const isFree = families.every(
    (family) => previous[family] && !taken(family).some((other) => overlaps(other, previous[family]!)),
  );
  const subnets: Member['subnets'] = {};
  for (const family of families) {
    subnets[family] =
      isFree && fitting(previous) ? previous[family]! : allocate(config.ranges[family]!, taken(family));
  }
  const key = `${prefix}/${nameOf(subnets)}`;
  if (!(await etcd.create(key, JSON.stringify(value), await etcd.grant(seconds)))) {
    throw new Error(`${key} was taken by another`);
  }
  return { member: { subnets, value }, key };
}
