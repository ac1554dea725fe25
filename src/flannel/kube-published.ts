/**
 * What stands on our own Node object: what it holds of us from before, what we write there, and the lease that it
 * makes.
 */
import { VtepError } from '../errors.ts';
import {
  type AnnotationNames,
  type FamilyNames,
  inside,
  type KubeNode,
  readBackend,
  readHost,
  subnetsOf,
} from './kube-annotations.ts';
import { describe } from './kube-status.ts';
import type { BackendData, Lease, MemberRecord, NetConfig, Stored, Subnets } from './lease.ts';
import { formatBackendData } from './lease-value.ts';
import type { IpVersion } from './prefix.ts';

/** What the administrator wants of us, and what we were. Values that can't be read are left out. */
export function readStored(node: KubeNode, names: AnnotationNames, config: NetConfig): Stored {
  const annotations = node.metadata.annotations ?? {};
  const address = (family: IpVersion, name: string) =>
    readable(() => readHost(annotations[name] ?? '', family, name));
  const backend = (name: string) =>
    readable(() => readBackend(annotations[name] ?? '', name, config.backend.vni));
  // An overwritten address is one that others use and this node doesn't have.
  const own = (one: FamilyNames) =>
    overwriteOf(annotations, one) === undefined ? address(one.family, one.publicIp) : undefined;
  return defined({
    backendType: annotations[names.type],
    publicIp: own(names.v4),
    publicIpV6: own(names.v6),
    backend: backend(names.v4.backend),
    backendV6: backend(names.v6.backend),
    wantedPublicIp: address(4, names.v4.wanted),
    wantedPublicIpV6: address(6, names.v6.wanted),
    ...readable(() => subnetsOf(node)),
  });
}

/** What the administrator wants to be published in the place of our address. */
function overwriteOf(annotations: Record<string, string>, { family, overwrite }: FamilyNames) {
  const text = annotations[overwrite];
  return text ? readable(() => readHost(text, family, overwrite)) : undefined;
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Defined<T>;
}

/**
 * The annotations that are to stand on our node and don't, as a merge patch has them (null: taken off); undefined
 * when all is as it should be.
 */
export function annotationPatch(
  node: KubeNode,
  self: MemberRecord,
  names: AnnotationNames,
): Record<string, string | null> | undefined {
  const now = node.metadata.annotations ?? {};
  const wanted: Record<string, string | null> = { [names.managed]: 'true', [names.type]: self.backendType };
  const family = (name: FamilyNames, ip?: string, backend?: BackendData) => {
    const whole = ip !== undefined && backend !== undefined;
    wanted[name.publicIp] = whole ? (overwriteOf(now, name) ?? ip) : null;
    wanted[name.backend] = whole ? formatBackendData(backend) : null;
  };
  family(names.v4, self.publicIp, self.backend);
  family(names.v6, self.publicIpV6, self.backendV6);
  const patch = Object.entries(wanted).filter(([name, value]) => (now[name] ?? null) !== value);
  return patch.length > 0 ? Object.fromEntries(patch) : undefined;
}

/** The condition to the byte as flannel's users and tools know it. */
export function networkAvailable() {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return {
    type: 'NetworkUnavailable',
    status: 'False',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
    reason: 'FlannelIsUp',
    message: 'Flannel is running on this node',
  };
}

/** Of a record the families that have a subnet. */
export function wholeOf(self: MemberRecord, subnets: Subnets): MemberRecord {
  const { backendType, publicIp, backend, publicIpV6, backendV6 } = self;
  return {
    backendType,
    ...(subnets.subnet !== undefined && publicIp !== undefined && backend && { publicIp, backend }),
    ...(subnets.subnetV6 !== undefined && publicIpV6 !== undefined && backendV6 && { publicIpV6, backendV6 }),
  };
}

/** Our lease; undefined while there is no podCIDR. @throws VtepError USAGE */
export function leaseOf(node: KubeNode, self: MemberRecord, config: NetConfig): Lease | undefined {
  const { name } = node.metadata;
  try {
    const found = subnetsOf(node);
    if (found.subnet === undefined && found.subnetV6 === undefined) return undefined;
    const subnets: Subnets = {};
    if (config.enableIpv4 && found.subnet) subnets.subnet = inside(found.subnet, 'IPv4', config.network);
    if (config.enableIpv6 && found.subnetV6)
      subnets.subnetV6 = inside(found.subnetV6, 'IPv6', config.ipv6Network);
    const whole = wholeOf(self, subnets);
    if (!whole.backend) delete subnets.subnet;
    if (!whole.backendV6) delete subnets.subnetV6;
    if (!whole.backend && !whole.backendV6) {
      throw new Error(
        `podCIDRs ${Object.values(found).join(', ')} are of no family that is enabled and that this node has an address of`,
      );
    }
    return { key: name, ...whole, ...subnets };
  } catch (error) {
    throw new VtepError(
      'USAGE',
      `kubernetes: node ${name}: ${describe(error as Error)}: Network and IPv6Network of net-conf.json must be kube-controller-manager’s --cluster-cidr`,
    );
  }
}
