/**
 * What flannel's members say of themselves on their Node objects: names of the annotations, and a lease read from
 * their values. The subnet isn't among them: it is the node's podCIDR.
 */
import { VtepError } from '../errors.ts';
import type { BackendData, Lease, NetConfig, Subnets } from './lease.ts';
import { parseBackendData } from './lease-value.ts';
import type { IpVersion } from './prefix.ts';
import { contains, formatAddress, formatNetwork, parseAddress, parseNetwork } from './subnets.ts';

/** Addresses that nobody can send a frame to one peer by. */
const NO_HOSTS = ['0.0.0.0/32', '224.0.0.0/4', '255.255.255.255/32', '::/128', 'ff00::/8'].map(
  (text) => parseNetwork(text)!,
);

/** What is needed of a Node object. */
export interface KubeNode {
  metadata: { name: string; uid?: string; resourceVersion?: string; annotations?: Record<string, string> };
  spec?: { podCIDR?: string; podCIDRs?: string[] };
}

/** Names of the annotations of one family. */
export interface FamilyNames {
  family: IpVersion;
  backend: string;
  publicIp: string;
  /** Written by the administrator: what is published instead of the address (NAT). */
  overwrite: string;
  /** Written by the administrator: the address that the node is to use, as by `--public-ip`. */
  wanted: string;
}

export interface AnnotationNames {
  managed: string;
  type: string;
  v4: FamilyNames;
  v6: FamilyNames;
}

/**
 * Names under a prefix: it ends in `/`, or `-` is put after what stands behind its slash.
 * @throws VtepError USAGE
 */
export function annotationNames(prefix: string): AnnotationNames {
  let start = prefix.includes('/') ? prefix : `${prefix}/`;
  if (!start.endsWith('/') && !start.endsWith('-')) start += '-';
  if (!/^(?:[a-z0-9_-]+\.)+[a-z0-9_-]+\/(?:[a-z0-9_-]+-)?$/.test(start)) {
    throw new VtepError(
      'USAGE',
      `kube-annotation-prefix "${prefix}": a domain name, one slash at most, lower case: for example flannel.alpha.coreos.com`,
    );
  }
  return {
    managed: `${start}kube-subnet-manager`,
    type: `${start}backend-type`,
    v4: {
      family: 4,
      backend: `${start}backend-data`,
      publicIp: `${start}public-ip`,
      overwrite: `${start}public-ip-overwrite`,
      wanted: `${start}node-public-ip`,
    },
    v6: {
      family: 6,
      backend: `${start}backend-v6-data`,
      publicIp: `${start}public-ipv6`,
      overwrite: `${start}public-ipv6-overwrite`,
      wanted: `${start}node-public-ipv6`,
    },
  };
}

/** A Node object as far as it is needed; undefined for anything else. */
export function asNode(value: unknown): KubeNode | undefined {
  const node = value as KubeNode | null | undefined;
  return typeof node?.metadata?.name === 'string' ? node : undefined;
}

/** The podCIDRs of a node, one a family at most. @throws Error that says what is wrong with them */
export function subnetsOf(node: KubeNode): Subnets {
  const { podCIDR, podCIDRs } = node.spec ?? {};
  const all = podCIDRs?.length ? podCIDRs : podCIDR ? [podCIDR] : [];
  if (all.length > 2) throw new Error(`spec.podCIDRs has ${all.length} entries: two are the most`);
  const subnets: Subnets = {};
  for (const text of all) {
    const network = parseNetwork(text, undefined, true);
    if (network === undefined || network.length === 0)
      throw new Error(`podCIDR "${text}": a subnet like 10.244.1.0/24 is expected`);
    if (network.family === 4) subnets.subnet ??= formatNetwork(network);
    else subnets.subnetV6 ??= formatNetwork(network);
  }
  return subnets;
}

/** What a node says: a lease, or why it can't be one; both when one of two families is of no use; neither: no member. */
export interface NodeReading {
  lease?: Lease;
  reason?: string;
}

/** Reads a Node object. The family that is whole is taken, where flannel wants both. */
export function readNode(node: KubeNode, names: AnnotationNames, config: NetConfig): NodeReading {
  const annotations = node.metadata.annotations ?? {};
  if (annotations[names.managed] !== 'true') return {};
  const backendType = annotations[names.type]?.toLowerCase();
  if (!backendType) return { reason: `${names.type} is missing` };
  const lease: Lease = { key: node.metadata.name, backendType };
  const broken: string[] = [];
  const absent: string[] = [];
  const attempt = (family: FamilyNames, read: () => void) => {
    try {
      read();
    } catch (error) {
      const isMeant = annotations[family.publicIp] !== undefined || annotations[family.backend] !== undefined;
      (isMeant ? broken : absent).push((error as Error).message);
    }
  };
  if (config.enableIpv4) {
    attempt(names.v4, () => {
      const subnet = inside(subnetsOf(node).subnet, 'IPv4', config.network);
      Object.assign(lease, { subnet, ...readFamily(names.v4, annotations, backendType, config) });
    });
  }
  if (config.enableIpv6) {
    attempt(names.v6, () => {
      const subnetV6 = inside(subnetsOf(node).subnetV6, 'IPv6', config.ipv6Network);
      const { publicIp: publicIpV6, backend } = readFamily(names.v6, annotations, backendType, config);
      Object.assign(lease, { subnetV6, publicIpV6, ...(backend && { backendV6: backend }) });
    });
  }
  const whole = lease.subnet !== undefined || lease.subnetV6 !== undefined;
  const reasons = whole ? broken : [...broken, ...absent];
  return { ...(whole && { lease }), ...(reasons.length > 0 && { reason: [...new Set(reasons)].join('; ') }) };
}

/** @throws Error that names the annotation */
function readFamily(
  names: FamilyNames,
  annotations: Record<string, string>,
  backendType: string,
  config: NetConfig,
): { publicIp: string; backend?: BackendData } {
  const value = (name: string) => must(annotations[name], `${name} is missing`);
  const publicIp = readHost(value(names.publicIp), names.family, names.publicIp);
  if (backendType !== 'vxlan') return { publicIp };
  return { publicIp, backend: readBackend(value(names.backend), names.backend, config.backend.vni) };
}

/** @throws Error that names the annotation */
export function readBackend(text: string, name: string, vni: number): BackendData {
  const data = parseBackendData(parseJson(text), name, vni);
  if ('reason' in data) throw new Error(data.reason);
  return data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @throws Error that names the annotation, for what isn't the address of one host */
export function readHost(text: string, family: IpVersion, name: string): string {
  const address = parseAddress(text, family);
  if (address === undefined || NO_HOSTS.some((network) => contains(network, address))) {
    throw new Error(`${name} "${text}": the IPv${family} address of a host is expected`);
  }
  return formatAddress(address);
}

/** @throws Error for a subnet that isn't there or whose route would lead traffic of other networks astray */
export function inside(subnet: string | undefined, family: string, network: string | undefined): string {
  must(subnet, `spec.podCIDRs has no ${family} subnet`);
  const [outer, inner] = [network, subnet].map((text) => text && parseNetwork(text));
  if (!outer || !inner || !contains(outer, inner)) {
    throw new Error(`podCIDR ${subnet} is not inside the network ${network ?? '(none)'}`);
  }
  return subnet!;
}

function must<T>(value: T | undefined, missing: string): T {
  if (value === undefined) throw new Error(missing);
  return value;
}
