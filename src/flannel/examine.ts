/**
 * From leases to the peers that are to be programmed, and to what is wrong with the others. Every member may publish
 * what it likes, so nothing is taken that could lead our traffic, or a third member's, to where it does not belong.
 * The same leases give the same peers in whatever order they come.
 *
 *   1. each on its own: can it be read, is it ours, does it lie in the network, is it of our kind
 *   2. among each other: conflicts.ts
 *
 * Each family is looked at on its own: what is wrong with a lease's IPv6 leaves its IPv4 as it is.
 */
import { candidateOf, type Peer } from './candidate.ts';
import { withoutConflicts } from './conflicts.ts';
import { fdbValue, sourceValue } from './desired.ts';
import type { Lease } from './lease.ts';
import { contains, formatIp, overlaps, type Prefix, parseIp, parsePrefix } from './prefix.ts';
import { type Problem, type ProblemCode, skip } from './problem.ts';

/** Our device of one family. */
export interface Overlay {
  family: 4 | 6;
  /** Name of the interface, "flannel.1". */
  device: string;
  /** As it was made; the interface of that name is looked up anew each time. */
  ifindex?: number;
  vni: number;
  /** UDP port of the network. */
  port: number;
  /** Bytes, of the device. */
  mtu: number;
}

/** Who we are: what no lease of another member may claim. Both families in one list. */
export interface Self {
  /** "10.244.1.0/24" */
  subnets: readonly string[];
  publicIps: readonly string[];
  /** `aa:bb:cc:dd:ee:ff` */
  macs: readonly string[];
  /** What the whole network spans: "10.244.0.0/16". A family without one has no bounds. */
  networks: readonly string[];
}

export interface Examined {
  peers: Peer[];
  problems: Problem[];
}

export function examine(leases: Iterable<Lease>, overlays: readonly Overlay[], self: Self): Examined {
  const problems: Problem[] = [];
  const fit: Lease[] = [];
  for (const lease of leases) {
    if (lease.backendType.toLowerCase() === 'vxlan') fit.push(lease);
    else problems.push(skip('backend-type', 0, lease, `BackendType "${lease.backendType}" is not vxlan`));
  }
  const peers: Peer[] = [];
  for (const overlay of overlays) peers.push(...peersOf(fit, overlay, self, problems));
  const byKey = (one: Problem, other: Problem) => (one.keys[0]! < other.keys[0]! ? -1 : 1);
  return { peers, problems: problems.sort(byKey) };
}

function peersOf(leases: readonly Lease[], overlay: Overlay, self: Self, problems: Problem[]): Peer[] {
  const alone: Peer[] = [];
  for (const lease of leases) {
    const { peer, problems: found } = lookOnce(lease, overlay, self);
    if (peer !== undefined) alone.push(peer);
    if (found.length > 0) problems.push(...found);
  }
  return withoutConflicts(alone, problems);
}

/** A lease on its own. */
interface Look {
  overlay: Overlay;
  self: Self;
  peer?: Peer;
  problems: Problem[];
}

/** Leases seldom change, and neither do we. */
const looks = new WeakMap<Lease, Partial<Record<4 | 6, Look>>>();

function lookOnce(lease: Lease, overlay: Overlay, self: Self): Look {
  let known = looks.get(lease);
  if (known === undefined) {
    known = {};
    looks.set(lease, known);
  }
  const before = known[overlay.family];
  if (before?.overlay === overlay && before.self === self) return before;
  const problems: Problem[] = [];
  const peer = look(lease, overlay, boundsOf(self, overlay.family), problems);
  const found = { overlay, self, problems, ...(peer && { peer }) };
  known[overlay.family] = found;
  return found;
}

interface Bounds {
  networks: Prefix[];
  subnets: Prefix[];
  addresses: Uint8Array[];
  publicIps: ReadonlySet<string>;
  macs: ReadonlySet<string>;
}

const bounds = new WeakMap<Self, Partial<Record<4 | 6, Bounds>>>();

function boundsOf(self: Self, version: 4 | 6): Bounds {
  const known = bounds.get(self) ?? {};
  bounds.set(self, known);
  const prefixes = (texts: readonly string[]) =>
    texts.flatMap((text) => parsePrefix(text) ?? []).filter((prefix) => prefix.version === version);
  const addresses = self.publicIps.flatMap((text) => parseIp(text) ?? []);
  known[version] ??= {
    networks: prefixes(self.networks),
    subnets: prefixes(self.subnets),
    addresses,
    publicIps: new Set(addresses.map(formatIp)),
    macs: new Set(self.macs.map((mac) => mac.toLowerCase())),
  };
  return known[version];
}

/** What can be said of a lease without the others. */
function look(lease: Lease, overlay: Overlay, own: Bounds, problems: Problem[]): Peer | undefined {
  const { family } = overlay;
  const found = candidateOf(lease, family);
  if (found === undefined) return undefined;
  const left = (code: ProblemCode, text: string) => {
    problems.push(skip(code, family, lease, text));
    return undefined;
  };
  if ('code' in found) return left(found.code, found.text);
  const { subnet, prefix, publicIp, publicBytes, mac, backend } = found;
  if (own.macs.has(mac)) return left('own-mac', `VtepMAC ${mac} is our own`);
  if (own.publicIps.has(publicIp) && (backend.port ?? overlay.port) === overlay.port) {
    return left('own-public-ip', `public address ${publicIp} is our own: is it an earlier lease of ours?`);
  }
  if (own.networks.length > 0 && !own.networks.some((network) => isInside(network, prefix))) {
    return left('outside-network', `${subnet} is not in the network`);
  }
  if (own.subnets.some((one) => overlaps(one, prefix))) {
    return left('own-subnet', `${subnet} overlaps with our own subnet`);
  }
  if (own.addresses.some((address) => contains(prefix, address))) {
    return left('own-address', `${subnet} has our own public address in it`);
  }
  if (own.subnets.some((one) => contains(one, publicBytes))) {
    return left(
      'public-ip-inside',
      `public address ${publicIp} lies in our own subnet: see --iface on that member`,
    );
  }
  const warn = (code: ProblemCode, text: string) =>
    problems.push({ code, family, keys: [lease.key], skipped: [], text: `lease ${lease.key}: ${text}` });
  if (backend.vni !== overlay.vni) {
    warn('vni', `VNI ${backend.vni} is not ours, ${overlay.vni}: neither side takes the other's packets`);
  }
  if (backend.mtu !== undefined && backend.mtu !== overlay.mtu) {
    warn('mtu', `MTU ${backend.mtu} is not ours, ${overlay.mtu}: large packets of one side may be lost`);
  }
  const port = backend.port === overlay.port ? undefined : backend.port;
  if (port !== undefined) {
    warn('port', `receives on port ${port}, not ${overlay.port}: we send there, flanneld does not`);
  }
  const remote = fdbValue({ dst: publicIp, port });
  const source = sourceValue(publicIp, [subnet]);
  return { ...found, remote, source, ...(port !== undefined && { port }) };
}

function isInside(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && contains(outer, inner.bytes);
}
