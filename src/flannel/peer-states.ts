/** What a reconciler tells of its peers and of itself. */
import { candidateOf } from './candidate.ts';
import type { Examined, Overlay } from './examine.ts';
import type { Family } from './family.ts';
import type { Lease } from './lease.ts';
import type { Problem } from './problem.ts';

/** A lease of another member, in one family. */
export interface PeerState {
  key: string;
  family: 4 | 6;
  lease: Lease;
  device: string;
  subnet?: string;
  publicIp?: string;
  mac?: string;
  /** Where it is not the network's. */
  port?: number;
  /** How packets to it go now; absent while they don't. */
  way?: 'tunnel' | 'direct';
  programmed: boolean;
  /** Why it isn't. */
  error?: string;
}

export interface PassReport {
  /** As Date.now() counts. */
  at: number;
  milliseconds: number;
  written: number;
  removed: number;
  failed: number;
}

export interface ReconcilerReport {
  /** A pass has gone over a snapshot. */
  synced: boolean;
  leases: number;
  /** Both families together. */
  peers: { wanted: number; programmed: number; direct: number };
  problems: number;
  /** What there is of ours. */
  entries: { neighbours: number; fdb: number; sources: number; routes: number };
  /** Passes by kind, entries, and entries that were not as they had been left. */
  counters: Record<'full' | 'delta' | 'written' | 'removed' | 'failed' | 'repaired', number>;
  full?: PassReport;
  delta?: PassReport;
  /** Why the last pass could not be made at all. */
  error?: string;
}

/** Every lease that has a subnet of a family that we have a device for, by key. */
export function peerStates(
  leases: Iterable<Lease>,
  overlays: readonly Overlay[],
  { peers, problems }: Examined,
  families: ReadonlyMap<4 | 6, Family>,
): PeerState[] {
  const skipped = new Map<string, Problem>();
  for (const problem of problems)
    for (const key of problem.skipped) skipped.set(`${problem.family} ${key}`, problem);
  const accepted = new Map(peers.map((peer) => [`${peer.version} ${peer.lease.key}`, peer]));
  const states: PeerState[] = [];
  for (const lease of leases) {
    for (const { family, device } of overlays) {
      if (candidateOf(lease, family) === undefined) continue;
      const base = { key: lease.key, family, lease, device };
      const peer = accepted.get(`${family} ${lease.key}`);
      if (peer === undefined || peer.lease !== lease) {
        const problem = skipped.get(`${family} ${lease.key}`) ?? skipped.get(`0 ${lease.key}`);
        states.push({ ...base, programmed: false, ...(problem && { error: problem.text }) });
        continue;
      }
      const { subnet, publicIp, mac, port } = peer;
      const state = families.get(family);
      const way = state?.wayOf(peer);
      const error = state?.errorOf(peer);
      const programmed = way !== undefined && error === undefined;
      states.push({
        ...base,
        ...{ subnet, publicIp, mac, programmed },
        ...(port !== undefined && { port }),
        ...(way !== undefined && { way }),
        ...(error !== undefined && { error }),
      });
    }
  }
  return states.sort((one, other) =>
    one.key < other.key ? -1 : one.key > other.key ? 1 : one.family - other.family,
  );
}
