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
import type { Lease } from './lease.ts';
import { contains, networkKey, overlaps, type Prefix, parseIp, parsePrefix } from './prefix.ts';

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
  fit.sort((one, other) => (one.key < other.key ? -1 : 1));
  const peers = overlays.flatMap((overlay) => {
    const alone = fit.flatMap((lease) => look(lease, overlay, boundsOf(self, overlay.family), problems));
    const macs = unique(
      alone,
      'duplicate-mac',
      ({ mac }) => mac,
      (peer) => `VtepMAC ${peer.mac}`,
      problems,
    );
    const where = ({ publicIp, port }: Peer) => (port === undefined ? publicIp : `${publicIp} port ${port}`);
    const apart = unique(
      macs,
      'duplicate-public-ip',
      where,
      (peer) => `public address ${where(peer)}`,
      problems,
    );
    return reachable(disjoint(apart, problems), problems);
  });
  return { peers, problems };
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
    publicIps: new Set(addresses.map((bytes) => bytes.join('.'))),
    macs: new Set(self.macs.map((mac) => mac.toLowerCase())),
  };
  return known[version];
}

/** What can be said of a lease without the others. */
function look(lease: Lease, overlay: Overlay, own: Bounds, problems: Problem[]): Peer[] {
  const { family } = overlay;
  const found = candidateOf(lease, family);
  if (found === undefined) return [];
  const left = (code: ProblemCode, text: string) => {
    problems.push(skip(code, family, lease, text));
    return [];
  };
  if ('code' in found) return left(found.code, found.text);
  const { subnet, prefix, publicIp, publicBytes, mac, backend } = found;
  if (own.macs.has(mac)) return left('own-mac', `VtepMAC ${mac} is our own`);
  if (own.publicIps.has(publicBytes.join('.')) && backend.port === undefined) {
    return left('own-public-ip', `public address ${publicIp} is our own: is it an earlier lease of ours?`);
  }
  if (own.networks.length > 0 && !own.networks.some((network) => isInside(network, prefix))) {
    return left('outside-network', `${subnet} is not in the network`);
  }
  const ours = own.subnets.find((one) => overlaps(one, prefix));
  if (ours !== undefined) return left('own-subnet', `${subnet} overlaps with our own subnet`);
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
  if (backend.port === undefined || backend.port === overlay.port) return [found];
  warn('port', `receives on port ${backend.port}, not ${overlay.port}: we send there, flanneld does not`);
  return [{ ...found, port: backend.port }];
}

function isInside(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && contains(outer, inner.bytes);
}

/** Of those that claim the same thing the first stays: they come by key. */
function unique(
  peers: Peer[],
  code: ProblemCode,
  claim: (peer: Peer) => string,
  describe: (winner: Peer) => string,
  problems: Problem[],
): Peer[] {
  const first = new Map<string, Peer>();
  const losers = new Map<string, Peer[]>();
  const left = peers.filter((peer) => {
    const claimed = claim(peer);
    if (!first.has(claimed)) {
      first.set(claimed, peer);
      return true;
    }
    losers.set(claimed, [...(losers.get(claimed) ?? []), peer]);
    return false;
  });
  for (const [claimed, others] of losers) {
    problems.push(
      conflict(code, first.get(claimed)!, others, `${describe(first.get(claimed)!)} is claimed by`),
    );
  }
  return left;
}

/** By length of prefix, and there by network, who has it. */
type Owners = Map<number, Map<string, Peer>>;

/** Leaves out subnets that contain others; the kernel would send to the smaller one what is the larger one's too. */
function disjoint(peers: Peer[], problems: Problem[]): Peer[] {
  const equal = ({ prefix }: Peer) => `${prefix.length} ${networkKey(prefix.bytes, prefix.length)}`;
  const different = unique(peers, 'overlap', equal, (peer) => peer.subnet, problems);
  const owners = ownersOf(different);
  if (owners.size < 2) return different;
  const inside = new Map<Peer, Peer[]>();
  for (const peer of different) {
    for (const [length, networks] of owners) {
      if (length >= peer.prefix.length) continue;
      const outer = networks.get(networkKey(peer.prefix.bytes, length));
      if (outer !== undefined) inside.set(outer, [...(inside.get(outer) ?? []), peer].slice(0, NAMED_MAX));
    }
  }
  for (const [outer, inner] of inside) {
    const names = inner.map(({ lease, subnet }) => `${subnet} of ${lease.key}`).join(', ');
    problems.push({
      ...{ code: 'overlap', family: outer.version, skipped: [outer.lease.key] },
      keys: [outer.lease.key, ...inner.map(({ lease }) => lease.key)],
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
    const { bytes, length } = peer.prefix;
    const networks = owners.get(length) ?? new Map<string, Peer>();
    owners.set(length, networks.set(networkKey(bytes, length), peer));
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
