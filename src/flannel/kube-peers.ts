/**
 * The other members, as their Node objects have them: of each no more is kept than its lease. Nodes change all the
 * time (kubelets report their state); only a change of the lease, of any of its attributes, is told.
 */
import { type AnnotationNames, type KubeNode, readNode } from './kube-annotations.ts';
import type { NodeListener } from './kube-nodes.ts';
import type { KubeStatus } from './kube-status.ts';
import type { Lease, LeaseListener, NetConfig, SkippedRecord } from './lease.ts';

export interface KubePeersParts {
  names: AnnotationNames;
  config: NetConfig;
  status: KubeStatus;
  listener: LeaseListener;
  /** Name of our own node, which isn't among the others. */
  self: string;
  /** Told of our own node, and that it is gone. */
  own(node: KubeNode | undefined): void;
  /** The first snapshot has been handed over. */
  ready(): void;
}

export class KubePeers implements NodeListener {
  readonly #parts: KubePeersParts;
  #leases = new Map<string, Lease>();
  #skipped = new Map<string, string>();
  /** Collects a list until it is whole; undefined while watching. */
  #list: { leases: Map<string, Lease>; skipped: Map<string, string>; own: boolean } | undefined;
  readonly #changed = new Map<string, Lease>();
  readonly #removed = new Set<string>();
  synced = false;

  constructor(parts: KubePeersParts) {
    this.#parts = parts;
  }

  get skipped(): SkippedRecord[] {
    return [...this.#skipped].map(([key, reason]) => ({ key, reason }));
  }

  /** Hands over all that is known. */
  snapshot(): void {
    this.#changed.clear();
    this.#removed.clear();
    this.#parts.listener.snapshot([...this.#leases.values()]);
  }

  listing(): void {
    this.#list = { leases: new Map(), skipped: new Map(), own: false };
  }

  listed(): void {
    const { leases, skipped, own } = this.#list!;
    this.#list = undefined;
    // An unchanged lease stays the object that it was.
    for (const [key, lease] of leases) {
      const before = this.#leases.get(key);
      if (before && isSame(before, lease)) leases.set(key, before);
    }
    this.#leases = leases;
    this.#skipped = skipped;
    if (this.synced) this.#parts.status.count('resyncs');
    if (!own) this.#parts.own(undefined);
    this.snapshot();
    if (!this.synced) this.#parts.ready();
    this.synced = true;
  }

  node(node: KubeNode): void {
    const { name } = node.metadata;
    if (name === this.#parts.self) {
      if (this.#list) this.#list.own = true;
      this.#parts.own(node);
      return;
    }
    const { lease, reason } = readNode(node, this.#parts.names, this.#parts.config);
    const skipped = this.#list?.skipped ?? this.#skipped;
    if (reason === undefined) skipped.delete(name);
    else {
      if (this.#skipped.get(name) !== reason) this.#parts.status.count('malformed');
      skipped.set(name, reason);
    }
    if (this.#list) {
      if (lease) this.#list.leases.set(name, lease);
    } else if (lease) this.#put(name, lease);
    else this.#drop(name);
  }

  removed(name: string): void {
    if (name === this.#parts.self) {
      this.#parts.own(undefined);
      return;
    }
    this.#skipped.delete(name);
    this.#drop(name);
  }

  settled(): void {
    if (this.#changed.size === 0 && this.#removed.size === 0) return;
    const [changed, removed] = [[...this.#changed.values()], [...this.#removed]];
    this.#changed.clear();
    this.#removed.clear();
    this.#parts.listener.change(changed, removed);
  }

  connected(): void {
    this.#parts.status.up();
  }

  lost(error: Error): void {
    this.#parts.status.down(error);
  }

  #put(name: string, lease: Lease): void {
    const before = this.#leases.get(name);
    if (before && isSame(before, lease)) return;
    this.#leases.set(name, lease);
    this.#changed.set(name, lease);
    this.#removed.delete(name);
  }

  #drop(name: string): void {
    if (!this.#leases.delete(name)) return;
    this.#changed.delete(name);
    this.#removed.add(name);
  }
}

/** Every attribute of both families: flannel's own filter misses a change of one alone. */
function isSame(one: Lease, other: Lease): boolean {
  return (
    one.backendType === other.backendType &&
    one.subnet === other.subnet &&
    one.subnetV6 === other.subnetV6 &&
    one.publicIp === other.publicIp &&
    one.publicIpV6 === other.publicIpV6 &&
    isSameBackend(one.backend, other.backend) &&
    isSameBackend(one.backendV6, other.backendV6)
  );
}

function isSameBackend(one: Lease['backend'], other: Lease['backend']): boolean {
  return one?.mac === other?.mac && one?.vni === other?.vni && one?.port === other?.port;
}
