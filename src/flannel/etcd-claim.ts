/**
 * One attempt to get a key of our own, as flannel goes about it: the one that has our public IP already, else the
 * subnet from before, else a free one. Every write is a compare-and-swap against what was listed.
 */
import { VtepError } from '../errors.ts';
import { chooseSubnets, fits } from './allocate.ts';
import type { KeyValue } from './etcd-messages.ts';
import type { EtcdStore } from './etcd-store.ts';
import type { Lease, NetConfig, Subnets } from './lease.ts';
import { isSkipped, parseLease, parseSubnetKey } from './lease-value.ts';
import { overlaps, parseNetwork } from './subnets.ts';

export interface Wanted {
  /** What is to stand under the key. */
  value: string;
  /** The subnets to have again if possible. */
  previous: Subnets;
  /** One of these stands in every record that could be ours: most need not be read. */
  marks: readonly string[];
  isOurs: (record: Lease) => boolean;
}

export interface Claimed {
  key: string;
  subnets: Subnets;
  /** 0n: a reservation, a key that never runs out. It stays one. */
  lease: bigint;
  modRevision: number;
  value: string;
  /** What the lease lasts from now on. */
  seconds?: number;
}

export class EtcdClaim {
  readonly #store: EtcdStore;
  readonly #leaseSeconds: number;
  readonly #random: () => number;
  /** The key that is being created. */
  candidate: string | undefined;

  constructor(store: EtcdStore, leaseSeconds: number, random: () => number) {
    this.#store = store;
    this.#leaseSeconds = leaseSeconds;
    this.#random = random;
  }

  /**
   * @returns undefined when somebody was faster
   * @throws VtepError NO_SPACE, GrpcError
   */
  async attempt(config: NetConfig, wanted: Wanted): Promise<Claimed | undefined> {
    const { kvs, revision } = await this.#store.client.list(this.#store.subnetsPrefix);
    const known = await this.#reuse(config, kvs, wanted);
    return known === 'none' ? this.#create(config, kvs, revision, wanted) : known;
  }

  /** The key that has our public IP, with its lease; what no longer fits the configuration is deleted. */
  async #reuse(config: NetConfig, kvs: KeyValue[], { value, previous, marks, isOurs }: Wanted) {
    const ours = kvs.filter((kv) => {
      if (!marks.some((mark) => kv.value.includes(mark))) return false;
      const record = parseLease(kv.key, kv.value);
      return !isSkipped(record) && isOurs(record);
    });
    const fitting = ours.filter((kv) => fits(config, parseSubnetKey(kv.key)!));
    const before = this.#store.keyOf(previous);
    const kv = fitting.find((one) => one.key === before) ?? fitting[0];
    for (const one of ours) {
      // A reservation is the administrator's: it stays.
      if (fitting.includes(one) || one.lease === 0n) continue;
      this.#store.log('warn', `etcd ${one.key}: our lease does not fit the configuration any more: deleted`);
      if (await this.#store.client.delete(one.key, one)) kvs.splice(kvs.indexOf(one), 1);
    }
    return kv === undefined ? ('none' as const) : this.#adopt(kv, value);
  }

  /** Its lease is prolonged, or replaced when it has just run out; it is written only when it reads otherwise. */
  async #adopt(kv: KeyValue, value: string): Promise<Claimed | undefined> {
    const { client } = this.#store;
    const { key, lease, modRevision } = kv;
    const claimed: Claimed = { key, subnets: parseSubnetKey(key)!, lease, modRevision, value };
    let renewed: bigint | undefined;
    if (lease !== 0n) {
      claimed.seconds = await client.keepAlive(lease);
      if (claimed.seconds <= 0) {
        const granted = await client.grant(this.#leaseSeconds);
        renewed = granted.id;
        claimed.lease = granted.id;
        claimed.seconds = granted.seconds;
      }
    }
    if (kv.value === value && renewed === undefined) return claimed;
    const revision = await client.put(key, value, renewed, kv);
    return revision === undefined ? undefined : { ...claimed, modRevision: revision };
  }

  async #create(config: NetConfig, kvs: readonly KeyValue[], listed: number, { value, previous }: Wanted) {
    const { client } = this.#store;
    const taken = kvs.map((kv) => parseSubnetKey(kv.key)).filter((one) => one !== undefined);
    const subnets = chooseSubnets(config, taken, previous, this.#random);
    if (subnets === undefined)
      throw new VtepError(
        'NO_SPACE',
        `etcd ${this.#store.subnetsPrefix}: all subnets of ${config.network} are taken: widen Network, or delete leases of members that are gone`,
      );
    const key = this.#store.keyOf(subnets);
    const { id, seconds } = await client.grant(this.#leaseSeconds);
    this.candidate = key;
    try {
      const modRevision = await client.put(key, value, id, { absent: true });
      if (modRevision !== undefined && (await this.#isFirst(subnets, listed, modRevision))) {
        return { key, subnets, lease: id, modRevision, value, seconds };
      }
    } finally {
      this.candidate = undefined;
    }
    await client.revoke(id);
    return undefined;
  }

  /**
   * A key is exclusive, but the subnets in it aren't: another key may have the same IPv6 subnet beside another IPv4
   * one. Of two that overlap, the older has it. Keys from before the listing were heeded in the choice.
   */
  async #isFirst(subnets: Subnets, listed: number, created: number): Promise<boolean> {
    const kvs = await this.#store.client.createdSince(this.#store.subnetsPrefix, listed + 1);
    const ours = networksOf(subnets);
    return kvs.every((kv) => {
      if (kv.createRevision >= created) return true;
      const others = networksOf(parseSubnetKey(kv.key) ?? {});
      return !others.some((other) => ours.some((one) => overlaps(one, other)));
    });
  }
}

function networksOf({ subnet, subnetV6 }: Subnets) {
  return [subnet, subnetV6]
    .filter((text) => text !== undefined)
    .map((text) => parseNetwork(text))
    .filter((network) => network !== undefined);
}
