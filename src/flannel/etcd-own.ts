/**
 * Our own lease: taken, renewed, kept as it should read, and taken again when it is lost.
 *
 * flannel renews by writing the key anew under a new lease, which every member hears as a change. Here the lease that
 * the key has is prolonged (LeaseKeepAlive): the key stays as it is, and nobody programs anything anew. A member that
 * runs flanneld sees no difference, since it heeds only writes and deletions.
 */
import { VtepError } from '../errors.ts';
import { Backoff, pause } from './backoff.ts';
import { EtcdClaim } from './etcd-claim.ts';
import type { KeyValue } from './etcd-messages.ts';
import type { EtcdStore } from './etcd-store.ts';
import type { Lease, MemberRecord, Subnets } from './lease.ts';
import { formatLeaseValue, isSkipped, parseLease } from './lease-value.ts';

export interface OwnTimes {
  /** What a new lease lasts. */
  leaseSeconds: number;
  /** How long before its end it is renewed. */
  renewMarginMs: number;
  retryMinMs: number;
  retryMaxMs: number;
}

/** What is known of our key. */
interface Held {
  key: string;
  subnets: Subnets;
  /** 0n: a reservation, which never runs out. */
  lease: bigint;
  /** As Date.now() counts. */
  renewAt?: number;
  expires?: number;
  modRevision: number;
  value: string;
}

export interface OwnListener {
  /** A key has become ours. */
  holds(key: string): void;
  /** ... and its subnets are others than before. */
  moved(lease: Lease): void;
}

export class OwnLease {
  readonly #store: EtcdStore;
  readonly #times: OwnTimes;
  readonly #claim: EtcdClaim;
  readonly #closed = new AbortController();
  readonly #backoff: Backoff;
  listener: OwnListener | undefined;
  #self: MemberRecord | undefined;
  #held: Held | undefined;
  /** The subnets that we had last. */
  #previous: Subnets = {};
  /** The value that was sent last: to hear of it is no news. */
  #sent: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #working = false;
  #notBefore = 0;
  /** How often somebody else has written our key since the last renewal. */
  #overwritten = 0;

  constructor(store: EtcdStore, times: OwnTimes, random: () => number) {
    this.#store = store;
    this.#times = times;
    this.#claim = new EtcdClaim(store, times.leaseSeconds, random);
    this.#backoff = new Backoff(times.retryMinMs, times.retryMaxMs);
  }

  /** The key that is ours at the moment, with the revision of its last change. */
  get held(): { readonly key: string; readonly modRevision: number } | undefined {
    const held = this.#held;
    return held && { key: held.key, modRevision: held.modRevision };
  }

  /** @throws VtepError, or the signal's reason */
  async acquire(self: MemberRecord, previous: Subnets, signal: AbortSignal): Promise<Lease> {
    this.#self = self;
    this.#previous = previous;
    const backoff = new Backoff(this.#times.retryMinMs, this.#times.retryMaxMs);
    this.#working = true;
    try {
      for (;;) {
        signal.throwIfAborted();
        try {
          await this.#take();
          return this.#lease();
        } catch (error) {
          if (error instanceof VtepError) throw error;
          this.#store.fails('own lease', error);
        }
        await pause(backoff.next(), signal);
      }
    } finally {
      this.#working = false;
      this.#plan();
    }
  }

  publish(self: MemberRecord): void {
    const before = this.#self;
    this.#self = self;
    // Nothing comes back to an address that is gone, and no error either.
    if (before?.publicIp !== self.publicIp || before?.publicIpV6 !== self.publicIpV6)
      this.#store.client.reconnect('our address has changed: connecting anew');
    this.#plan();
  }

  /**
   * What the store has under our key: undefined when it is gone.
   * @param revision of the store at which it became so; undefined: it is so now, whatever was before
   * @returns whether it is (still) ours
   */
  observe(kv: KeyValue | undefined, revision?: number): boolean {
    const held = this.#held;
    if (held === undefined) return false;
    if (revision !== undefined && revision < held.modRevision) return true;
    const record = kv && parseLease(kv.key, kv.value);
    if (kv === undefined || (!isSkipped(record!) && !this.#isOurs(record!))) {
      const what = kv === undefined ? 'is gone' : `belongs to another member now: ${kv.value}`;
      this.#store.log('warn', `etcd ${held.key}: our lease ${what}: taking a subnet again`);
      this.#lose();
      return false;
    }
    if (kv.value !== this.#wanted && kv.value !== held.value && kv.value !== this.#sent) {
      this.#store.health.count('overwritten');
      this.#store.log(
        'warn',
        `etcd ${held.key}: our record was overwritten: has another member our public IP? ${kv.value}`,
      );
      this.#notBefore = Date.now() + Math.min(1000 * 2 ** this.#overwritten++, 60_000);
    }
    held.modRevision = kv.modRevision;
    held.value = kv.value;
    if (held.lease !== kv.lease) this.#attach(held, kv.lease);
    this.#plan();
    return true;
  }

  /** Whether a key is the one that we are about to get. */
  claims(kv: KeyValue): boolean {
    if (kv.key !== this.#claim.candidate) return false;
    const record = parseLease(kv.key, kv.value);
    return !isSkipped(record) && this.#isOurs(record);
  }

  close(): void {
    this.#closed.abort();
    clearTimeout(this.#timer);
  }

  get #wanted(): string {
    return formatLeaseValue(this.#self!);
  }

  #lease(): Lease {
    const { key, subnets, expires } = this.#held!;
    return { key, ...subnets, ...this.#self!, ...(expires !== undefined && { expires }) };
  }

  #lose(): void {
    this.#held = undefined;
    this.#store.health.count('lost');
    this.#plan();
  }

  /** A lease of unknown age: it is renewed at once, which says how long it lasts. */
  #attach(held: Held, lease: bigint): void {
    held.lease = lease;
    delete held.expires;
    delete held.renewAt;
    if (lease !== 0n) held.renewAt = Date.now();
  }

  /** Sets the clock for whatever is to be done next. */
  #plan(): void {
    clearTimeout(this.#timer);
    if (this.#working || this.#self === undefined || this.#closed.signal.aborted) return;
    const idle = this.#held?.value === this.#wanted;
    if (idle && this.#held?.renewAt === undefined) return;
    const due = Math.max(idle ? this.#held!.renewAt! : 0, this.#notBefore);
    // A clock that is set, or a machine that slept: look again at least every minute.
    this.#timer = setTimeout(() => this.#tick(due), Math.min(Math.max(due - Date.now(), 0), 60_000));
  }

  async #tick(due: number): Promise<void> {
    if (Date.now() < due) return this.#plan();
    this.#working = true;
    try {
      await this.#work();
      this.#notBefore = 0;
      this.#backoff.reset();
      this.#store.works('own lease');
    } catch (error) {
      this.#notBefore = Date.now() + this.#backoff.next();
      if (!this.#closed.signal.aborted) this.#store.fails('own lease', error);
    } finally {
      this.#working = false;
      this.#plan();
    }
  }

  async #work(): Promise<void> {
    const held = this.#held;
    if (held === undefined) {
      const before = this.#previous;
      await this.#take();
      this.#store.health.count('reacquired');
      const lease = this.#lease();
      if (lease.subnet !== before.subnet || lease.subnetV6 !== before.subnetV6) this.listener?.moved(lease);
    } else if (held.value !== this.#wanted) await this.#write(held);
    else await this.#renew(held);
  }

  async #write(held: Held): Promise<void> {
    const value = this.#wanted;
    this.#sent = value;
    const revision = await this.#store.client.put(held.key, value, undefined, {
      modRevision: held.modRevision,
    });
    if (revision === undefined) return this.#look(held);
    this.#store.health.count('published');
    if (revision < held.modRevision) return;
    held.modRevision = revision;
    held.value = value;
  }

  async #renew(held: Held): Promise<void> {
    const seconds = await this.#store.client.keepAlive(held.lease);
    if (seconds <= 0) return this.#look(held);
    this.#store.health.count('renewals');
    this.#overwritten = 0;
    this.#lasts(held, seconds);
  }

  /** Our key is not as we thought. */
  async #look(held: Held): Promise<void> {
    const { modRevision } = held;
    const { kv } = await this.#store.client.get(held.key);
    if (this.#held === held && held.modRevision === modRevision) this.observe(kv);
  }

  #lasts(held: Held, seconds: number): void {
    const ms = seconds * 1000;
    held.expires = Date.now() + ms;
    held.renewAt = Date.now() + Math.max(ms - this.#times.renewMarginMs, ms / 3);
  }

  /** Takes a subnet, again and again while others are faster. @throws VtepError, NotReady, GrpcError */
  async #take(): Promise<void> {
    const config = await this.#store.config();
    while (this.#held === undefined) {
      this.#closed.signal.throwIfAborted();
      const self = this.#self!;
      const marks = [self.publicIp ?? self.publicIpV6, macOf(self)].filter((mark) => mark !== undefined);
      const wanted = { value: this.#wanted, previous: this.#previous, marks, isOurs: this.#isOurs };
      const claimed = await this.#claim.attempt(config, wanted);
      if (claimed === undefined) {
        this.#store.health.count('races');
        continue;
      }
      const { seconds, ...held } = claimed;
      this.#held = held;
      this.#sent = held.value;
      this.#previous = held.subnets;
      if (seconds !== undefined) this.#lasts(held, seconds);
      this.listener?.holds(held.key);
      // What happened to the key before it was known to be ours, was another's for whoever heard of it.
      await this.#look(this.#held);
    }
    this.#store.works('own lease');
  }

  /** Our public IP; or our MAC under the subnet that we had, when our public IP has changed meanwhile. */
  readonly #isOurs = (record: Lease): boolean => {
    const self = this.#self!;
    const sameIp = self.publicIp === undefined ? undefined : self.publicIp === record.publicIp;
    if (sameIp ?? (self.publicIpV6 !== undefined && self.publicIpV6 === record.publicIpV6)) return true;
    const mac = macOf(self);
    const wasOurs = record.subnet !== undefined && record.subnet === this.#previous.subnet;
    return wasOurs && mac !== undefined && mac === macOf(record);
  };
}

const macOf = (record: MemberRecord) => (record.backend ?? record.backendV6)?.mac;
