/**
 * Peers that each are right, and claim what another one has. The same peers give the same ones whatever order they come in:
 *
 *   1. one MAC, one public address (with its port): of several that claim it the one with the lowest key stays
 *   2. subnets: one that contains another is not programmed; of equal ones the lowest key stays
 *   3. a public address in somebody's subnet: its packets would go into the tunnel they are to come out of
 */
import type { Peer } from './candidate.ts';
import { networkKey } from './prefix.ts';
import { type Problem, type ProblemCode, skip } from './problem.ts';

/** @param peers of one family @param problems get what is wrong with those that are left out */
export function withoutConflicts(peers: Peer[], problems: Problem[]): Peer[] {
  const macs = unique(
    peers,
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

function conflict(code: ProblemCode, winner: Peer, losers: readonly Peer[], what: string): Problem {
  const skipped = losers.map(({ lease }) => lease.key);
  const keys = [winner.lease.key, ...skipped];
  const more = keys.length > NAMED_MAX ? ` and ${keys.length - NAMED_MAX} more` : '';
  const named = keys.slice(0, NAMED_MAX).join(', ');
  const text = `${what} ${named}${more}: ${winner.lease.key} has it, the others are left out`;
  return { code, family: winner.version, keys, skipped, text };
}
