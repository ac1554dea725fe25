/** The other members: first all of them, then what changes, from revision to revision, through whatever happens to etcd. */
import { Backoff, pause } from './backoff.ts';
import type { KeyValue, WatchResponse } from './etcd-messages.ts';
import type { OwnLease } from './etcd-own.ts';
import { type EtcdStore, NotReady } from './etcd-store.ts';
import { GrpcError, UNAVAILABLE } from './grpc.ts';
import type { Lease, LeaseListener } from './lease.ts';
import { isSkipped, parseLease } from './lease-value.ts';

export interface FollowTimes {
  /** How long changes are gathered before they are told. */
  batchMs: number;
  retryMinMs: number;
  retryMaxMs: number;
}

export class Follower {
  readonly #store: EtcdStore;
  readonly #own: OwnLease;
  readonly #listener: LeaseListener;
  readonly #times: FollowTimes;
  readonly #vni: () => number;
  /** What the listener has been told. */
  #members = new Map<string, Lease>();
  /** Changes that are to be told; undefined: gone. */
  readonly #pending = new Map<string, Lease | undefined>();
  #timer: NodeJS.Timeout | undefined;
  /** Up to which revision everything is known; undefined: all has to be listed. */
  #revision: number | undefined;
  /** Our own key as the store had it that the revision is of. */
  #proof: KeyValue | undefined;
  #listed = false;

  /** @param vni what a record means that names no VNI */
  constructor(
    store: EtcdStore,
    own: OwnLease,
    listener: LeaseListener,
    times: FollowTimes,
    vni: () => number,
  ) {
    this.#store = store;
    this.#own = own;
    this.#listener = listener;
    this.#times = times;
    this.#vni = vni;
  }

  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#times.retryMinMs, this.#times.retryMaxMs);
    while (!signal.aborted) {
      try {
        if (!(await this.#isUnbroken())) await this.#list(signal);
        if (signal.aborted) break;
        await this.#watch(signal, () => backoff.reset());
      } catch (error) {
        if (signal.aborted) break;
        this.#store.fails('leases', error);
        this.#store.health.count('reconnects');
        await pause(backoff.next(), signal);
      }
    }
    clearTimeout(this.#timer);
  }

  /** A key that has become ours is no other member's. */
  forget(key: string): void {
    if (this.#members.has(key) || this.#pending.has(key)) this.#change(key, undefined);
  }

  /**
   * Whether the store is still the one that the revision is of. A store that began anew counts from 1 again, and may
   * have counted past our revision while we were away: only our own key, as it was seen there, proves that it is the
   * same. In a new store it may have been taken again already, even at the same revision, but under another lease.
   */
  async #isUnbroken(): Promise<boolean> {
    const proof = this.#proof;
    if (this.#revision === undefined || proof === undefined) return false;
    const { kv, revision } = await this.#store.client.get(proof.key);
    return revision >= this.#revision && kv?.modRevision === proof.modRevision && kv.lease === proof.lease;
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, health, subnetsPrefix, configKey } = this.#store;
    const before = this.#own.held;
    const { kvs, revision } = await client.list(subnetsPrefix);
    if (kvs.length === 0 && this.#members.size > 0 && (await client.get(configKey)).kv === undefined)
      throw new NotReady(
        `etcd: configuration and leases are gone, as from a store that was lost: ${this.#members.size} members are kept: put ${configKey} back`,
      );
    if (signal.aborted) return;
    const keys = new Map(kvs.map((kv) => [kv.key, kv]));
    const { held } = this.#own;
    // What was written while this was read isn't in it.
    const isCurrent = held?.key === before?.key && held?.modRevision === before?.modRevision;
    if (held !== undefined && isCurrent) this.#own.observe(keys.get(held.key));
    health.keepSkipped(keys);
    const members = kvs
      .filter((kv) => kv.key !== this.#own.held?.key && !this.#own.claims(kv))
      .map((kv) => this.#read(kv))
      .filter((lease) => lease !== undefined);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending.clear();
    this.#members = new Map(members.map((lease) => [lease.key, lease]));
    this.#revision = revision;
    this.#proof = held && keys.get(held.key);
    if (this.#listed) health.count('resyncs');
    this.#listed = true;
    health.synced = true;
    this.#listener.snapshot(members);
  }

  async #watch(signal: AbortSignal, established: () => void): Promise<void> {
    const { client, subnetsPrefix, health } = this.#store;
    const known = this.#revision!;
    const stop = new AbortController();
    let cancelReason: string | undefined;
    const take = (response: WatchResponse) => {
      if (response.canceled) {
        this.#revision = undefined;
        if (response.compactRevision !== 0) health.count('compactions');
        else cancelReason = response.cancelReason || 'the watch was cancelled';
      } else if (response.created) {
        if (response.revision < known) {
          // This store is younger than what we know of.
          this.#revision = undefined;
          stop.abort();
          return;
        }
        established();
        this.#store.works('leases');
      } else this.#take(response);
    };
    await client.watch(subnetsPrefix, known + 1, take, AbortSignal.any([signal, stop.signal]));
    if (cancelReason !== undefined) throw new GrpcError(PERMISSION_DENIED, `etcd: ${cancelReason}`);
    if (!signal.aborted && this.#revision !== undefined)
      throw new GrpcError(UNAVAILABLE, 'etcd: the watch has ended');
  }

  #take({ events, revision, fragment }: WatchResponse): void {
    for (const { deleted, kv } of events) {
      if (kv.key === this.#proof?.key) this.#proof = undefined;
      if (kv.key === this.#own.held?.key) {
        const isOurs = this.#own.observe(deleted ? undefined : kv, kv.modRevision);
        if (isOurs && !deleted) this.#proof = kv;
        if (isOurs || deleted) continue;
      } else if (!deleted && this.#own.claims(kv)) {
        this.#proof = kv;
        continue;
      }
      if (deleted) this.#store.health.unskip(kv.key);
      this.#change(kv.key, deleted ? undefined : this.#read(kv));
    }
    // A member that lags behind names a revision whose events it has not sent yet: only a message without events,
    // which is sent to say how far it is, may be taken at its word.
    const last = events.at(-1)?.kv.modRevision ?? revision;
    if (!fragment) this.#revision = Math.max(this.#revision ?? 0, last);
  }

  #read(kv: KeyValue): Lease | undefined {
    const lease = parseLease(kv.key, kv.value, this.#vni());
    if (isSkipped(lease)) {
      this.#store.health.skip(lease);
      return undefined;
    }
    this.#store.health.unskip(kv.key);
    return lease;
  }

  #change(key: string, lease: Lease | undefined): void {
    this.#pending.set(key, lease);
    this.#timer ??= setTimeout(() => this.#tell(), this.#times.batchMs);
  }

  /** Only what differs: a lease that flanneld renews is written anew as it was. */
  #tell(): void {
    this.#timer = undefined;
    const changed: Lease[] = [];
    const removed: string[] = [];
    for (const [key, lease] of this.#pending) {
      const before = this.#members.get(key);
      if (lease === undefined) {
        if (this.#members.delete(key)) removed.push(key);
      } else if (JSON.stringify(before) !== JSON.stringify(lease)) {
        this.#members.set(key, lease);
        changed.push(lease);
      }
    }
    this.#pending.clear();
    if (changed.length + removed.length > 0) this.#listener.change(changed, removed);
  }
}

const PERMISSION_DENIED = 7;
