/** Keeps what a source of leases tells, and waits for it. */
import type { Lease, LeaseListener } from '../../src/flannel/lease.ts';
import { until } from './own-namespace.ts';

const WAIT_MS = 15_000;

export class Heard implements LeaseListener {
  readonly members = new Map<string, Lease>();
  readonly owns: Lease[] = [];
  snapshots = 0;
  changes = 0;
  /** When the last change was told, as performance.now() counts. */
  changedAt = 0;

  snapshot(leases: readonly Lease[]): void {
    this.snapshots++;
    this.members.clear();
    for (const lease of leases) this.members.set(lease.key, lease);
  }

  change(changed: readonly Lease[], removed: readonly string[]): void {
    this.changes++;
    this.changedAt = performance.now();
    for (const key of removed) this.members.delete(key);
    for (const lease of changed) this.members.set(lease.key, lease);
  }

  own(lease: Lease): void {
    this.owns.push(lease);
  }

  get subnets(): string[] {
    return [...this.members.values()].map((lease) => lease.subnet!).sort();
  }

  async until(what: string, condition: () => boolean, milliseconds = WAIT_MS): Promise<number> {
    return until(`${what}; known: ${this.subnets.slice(0, 5)}`, condition, milliseconds);
  }
}
