/**
 * Leases from etcd, in flannel's keys: `<prefix>/config` and `<prefix>/subnets/10.244.1.0-24`.
 *
 * etcd is spoken to in its own gRPC over node:http2. The usual client library takes 39 MB and 400 ms to do what is
 * needed here, more than all the rest of a node; etcd's JSON gateway may be turned off, and knows no users by
 * certificate.
 */
import { VtepError } from '../errors.ts';
import type { Logger } from '../vtep/options.ts';
import { Backoff, pause } from './backoff.ts';
import { type ClientTimes, EtcdClient, type TlsFiles } from './etcd-client.ts';
import { Follower, type FollowTimes } from './etcd-follow.ts';
import { OwnLease } from './etcd-own.ts';
import { EtcdStore } from './etcd-store.ts';
import type {
  Lease,
  LeaseListener,
  LeaseSource,
  MemberRecord,
  NetConfig,
  SourceState,
  Subnets,
} from './lease.ts';
import { SourceHealth } from './source-health.ts';

const ETCD_ENDPOINTS: readonly string[] = ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'];
const ETCD_PREFIX = '/coreos.com/network';
/** Limits of --subnet-lease-renew-margin are 1 and 1439. */
const RENEW_MARGIN_MINUTES = 60;

export type EtcdTimes = ClientTimes & FollowTimes & { leaseSeconds: number };

const TIMES: EtcdTimes = {
  leaseSeconds: 24 * 3600,
  dialMs: 2000,
  staggerMs: 300,
  callMs: 5000,
  pingMs: 10_000,
  pingTimeoutMs: 5000,
  batchMs: 2,
  retryMinMs: 100,
  retryMaxMs: 5000,
};

export interface EtcdSourceOptions {
  /** ETCD_ENDPOINTS unless given. Without a scheme: https where `tls` is given, else http. */
  endpoints?: readonly string[];
  /** ETCD_PREFIX unless given. */
  prefix?: string;
  /** Any of them alone or together. */
  tls?: TlsFiles;
  username?: string;
  password?: string;
  /** How long before its end our lease is renewed; RENEW_MARGIN_MINUTES unless given. */
  renewMarginMinutes?: number;
  logger?: Logger;
  /** For tests. */
  times?: Partial<EtcdTimes>;
  random?: () => number;
}

/** @throws VtepError USAGE for an endpoint that is none, or a file that can't be read */
export function createEtcdSource(options: EtcdSourceOptions = {}): LeaseSource {
  return new EtcdSource(options);
}

class EtcdSource implements LeaseSource {
  readonly #store: EtcdStore;
  readonly #own: OwnLease;
  readonly #times: EtcdTimes;
  readonly #closed = new AbortController();
  readonly #followers = new Map<Follower, LeaseListener>();
  #vni = 1;

  constructor(options: EtcdSourceOptions) {
    const { endpoints = ETCD_ENDPOINTS, prefix = ETCD_PREFIX, logger = () => {}, tls, username } = options;
    const { renewMarginMinutes = RENEW_MARGIN_MINUTES, password, random = Math.random } = options;
    if (prefix === '' || /\s/.test(prefix))
      throw new VtepError('USAGE', `etcd: prefix ${JSON.stringify(prefix)}: write it as ${ETCD_PREFIX}`);
    this.#times = { ...TIMES, ...options.times };
    const client = new EtcdClient({
      endpoints,
      times: this.#times,
      ...(tls && { tls }),
      ...(username !== undefined && username !== '' && { username }),
      ...(password !== undefined && { password }),
    });
    const health = new SourceHealth('etcd', client.where, logger);
    this.#store = new EtcdStore(client, health, logger, prefix);
    const ownTimes = { ...this.#times, renewMarginMs: renewMarginMinutes * 60_000 };
    this.#own = new OwnLease(this.#store, ownTimes, random);
    this.#own.listener = {
      holds: (key) => {
        for (const follower of this.#followers.keys()) follower.forget(key);
      },
      moved: (lease) => {
        for (const listener of this.#followers.values()) listener.own(lease);
      },
    };
  }

  async config(signal: AbortSignal): Promise<NetConfig> {
    const backoff = new Backoff(this.#times.retryMinMs, this.#times.retryMaxMs);
    for (;;) {
      signal.throwIfAborted();
      try {
        const config = await this.#store.config();
        this.#vni = config.backend.vni;
        this.#store.works('configuration');
        return config;
      } catch (error) {
        this.#store.fails('configuration', error);
        if (error instanceof VtepError) throw error;
      }
      await pause(backoff.next(), signal);
    }
  }

  /** etcd knows a member by its public IP only; MAC and subnets are the node's own to remember. */
  async stored(): Promise<Partial<MemberRecord & Subnets>> {
    return {};
  }

  acquire(self: MemberRecord, previous: Subnets, signal: AbortSignal): Promise<Lease> {
    return this.#own.acquire(self, previous, signal);
  }

  publish(self: MemberRecord): void {
    this.#own.publish(self);
  }

  async follow(listener: LeaseListener, signal: AbortSignal): Promise<void> {
    const follower = new Follower(this.#store, this.#own, listener, this.#times, () => this.#vni);
    this.#followers.set(follower, listener);
    try {
      await follower.run(AbortSignal.any([signal, this.#closed.signal]));
    } finally {
      this.#followers.delete(follower);
    }
  }

  state(): SourceState {
    return this.#store.health.state();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#own.close();
    this.#store.client.close();
  }
}
