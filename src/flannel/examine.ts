/**
 * From leases to the peers that are to be programmed, and to what is wrong with the others. Every member may publish
 * what it likes, so nothing is taken that could lead our traffic, or a third member's, to where it does not belong.
 * The same leases give the same peers in whatever order they come.
 *
 *   1. each on its own: can it be read, is it ours, does it lie in the network, is it of our kind
 *   2. one MAC, one public address (with its port): of several that claim it the one with the lowest key stays
 *   3. subnets: one that contains another is not programmed; of equal ones the lowest key stays
 *   4. a public address in somebody's subnet: its packets would go into the tunnel they are to come out of
 *
 * Each family is looked at on its own: what is wrong with a lease's IPv6 leaves its IPv4 as it is.
 */
import { type Candidate, candidateOf } from './candidate.ts';
import { fdbValue, sourceValue } from './desired.ts';
import type { Lease } from './lease.ts';
import { contains, formatIp, networkKey, overlaps, type Prefix, parseIp, parsePrefix } from './prefix.ts';

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

export interface Peer extends Candidate {
  /** UDP port, where it is not the network's. */
  port?: number;
  /** What the FDB is to hold of it, and from where it may send: as the tables are compared (desired.ts). */
  remote: string;
  source: string;
}

export type ProblemCode =
  /** Left out: */
  | 'backend-type'
  | 'incomplete'
  | 'malformed'
  | 'mac'
  | 'own-mac'
  | 'public-ip'
  | 'own-public-ip'
  | 'outside-network'
  | 'own-subnet'
  | 'own-address'
  | 'duplicate-mac'
  | 'duplicate-public-ip'
  | 'overlap'
  | 'public-ip-inside'
  /** Programmed all the same: */
  | 'vni'
  | 'port'
  | 'mtu'
  /** Of programming: */
  | 'foreign-route'
  | 'device'
  | 'refused';

export interface Problem {
  code: ProblemCode;
  /** 0 = of the lease as a whole. */
  family: 0 | 4 | 6;
  /** Leases concerned. */
  keys: string[];
  /** Those of them that are not programmed because of it. */
  skipped: string[];
  /** One line: what, why, remedy. */
  text: string;
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
  const macs = unique(
    alone,
    'duplicate-mac',
    (peer) => peer.mac,
    (peer) => `VtepMAC ${peer.mac}`,
    problems,
  );
  const where = (peer: Peer) =>
    peer.port === undefined ? peer.publicIp : `${peer.publicIp} port ${peer.port}`;
  const apart = unique(
    macs,
    'duplicate-public-ip',
    where,
    (peer) => `public address ${where(peer)}`,
    problems,
  );
  return reachable(disjoint(apart, problems), problems);
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

/** Of those that claim the same thing the one with the lowest key stays. */
function unique(
  peers: Peer[],
  code: ProblemCode,
  claim: (peer: Peer) => string,
  describe: (winner: Peer) => string,
  problems: Problem[],
): Peer[] {
  const first = new Map<string, Peer>();
  const shared = new Map<string, Peer[]>();
  for (const peer of peers) {
    const claimed = claim(peer);
    const other = first.get(claimed);
    if (other === undefined) first.set(claimed, peer);
    else shared.set(claimed, [...(shared.get(claimed) ?? [other]), peer]);
  }
  if (shared.size === 0) return peers;
  const lost = new Set<Peer>();
  for (const all of shared.values()) {
    const [winner, ...losers] = all.sort((one, other) => (one.lease.key < other.lease.key ? -1 : 1));
    for (const peer of losers) lost.add(peer);
    problems.push(conflict(code, winner!, losers, `${describe(winner!)} is claimed by`));
  }
  return peers.filter((peer) => !lost.has(peer));
}

/** By length of prefix, and there by network, who has it. */
type Owners = Map<number, Map<string, Peer>>;

/** Leaves out subnets that contain others; the kernel would send to the smaller one what is the larger one's too. */
function disjoint(peers: Peer[], problems: Problem[]): Peer[] {
  const subnetOf = (peer: Peer) => peer.subnet;
  const different = unique(peers, 'overlap', subnetOf, subnetOf, problems);
  const owners = ownersOf(different);
  if (owners.size < 2) return different;
  const inside = new Map<Peer, Peer[]>();
  for (const peer of different) {
    for (const [length, networks] of owners) {
      if (length >= peer.prefix.length) continue;
      const outer = networks.get(networkKey(peer.prefix.bytes, length));
      if (outer !== undefined) inside.set(outer, [...(inside.get(outer) ?? []), peer]);
    }
  }
  for (const [outer, inner] of inside) {
    inner.sort((one, other) => (one.lease.key < other.lease.key ? -1 : 1));
    const names = inner
      .slice(0, NAMED_MAX)
      .map(({ lease, subnet }) => `${subnet} of ${lease.key}`)
      .join(', ');
    problems.push({
      ...{ code: 'overlap', family: outer.version, skipped: [outer.lease.key] },
      keys: [outer.lease.key, ...inner.slice(0, NAMED_MAX).map(({ lease }) => lease.key)],
      text: `lease ${outer.lease.key}: ${outer.subnet} contains ${names}: left out`,
    });
  }
  return different.filter((peer) => !inside.has(peer));
}

/** Members of a conflict that are named; there may be thousands. */
const NAMED_MAX = 8;

function ownersOf(peers: readonly Peer[]): Owners {
  const owners: Owners = new Map();
  for (const peer of peers) {
    const { length } = peer.prefix;
    let networks = owners.get(length);
    if (networks === undefined) {
      networks = new Map();
      owners.set(length, networks);
    }
    networks.set(peer.network, peer);
  }
  return owners;
}

function reachable(peers: Peer[], problems: Problem[]): Peer[] {
  const owners = [...ownersOf(peers)];
  return peers.filter(({ lease, version, publicIp, publicBytes }) => {
    for (const [length, networks] of owners) {
      const owner = networks.get(networkKey(publicBytes, length));
      if (owner === undefined) continue;
      const text = `public address ${publicIp} lies in ${owner.subnet} of ${owner.lease.key}`;
      problems.push(skip('public-ip-inside', version, lease, `${text}: see --iface on that member`));
      return false;
    }
    return true;
  });
}

function skip(code: ProblemCode, family: 0 | 4 | 6, { key }: Lease, text: string): Problem {
  return { code, family, keys: [key], skipped: [key], text: `lease ${key}: ${text}: left out` };
}

function conflict(code: ProblemCode, winner: Peer, losers: readonly Peer[], what: string): Problem {
  const skipped = losers.map(({ lease }) => lease.key);
  const keys = [winner.lease.key, ...skipped];
  const more = keys.length > NAMED_MAX ? ` and ${keys.length - NAMED_MAX} more` : '';
  const named = keys.slice(0, NAMED_MAX).join(', ');
  const text = `${what} ${named}${more}: ${winner.lease.key} has it, the others are left out`;
  return { code, family: winner.version, keys, skipped, text };
}
