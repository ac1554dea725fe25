/**
 * Members come, change and go while etcd stops, compacts, loses its data or is cut off, in an order that a seed
 * chooses: once it is quiet, what was told is what is stored, and our own lease is there.
 */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { EtcdClient } from '../src/flannel/etcd-client.ts';
import type { Lease } from '../src/flannel/lease.ts';
import { isSkipped, parseLease } from '../src/flannel/lease-value.ts';
import { Cable, missingForEtcd, TestEtcd } from './support/etcd.ts';
import { begin, CONFIG, flannelValue, Members, member, NETWORK, SUBNETS } from './support/etcd-world.ts';
import { until } from './support/own-namespace.ts';

const missing = missingForEtcd();
const skip = missing !== null && !process.env.CI ? missing : false;
const SEEDS = (process.env.VXLANE_SEEDS ?? `1,2,${Date.now() % 1_000_000}`).split(',').map(Number);
const STEPS = 60;
const TIMES = { dialMs: 1000, staggerMs: 100, callMs: 2000, pingMs: 5000, pingTimeoutMs: 1000 };

/** mulberry32 */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) % below;
  };
}

describe('whatever happens to etcd', { skip }, () => {
  let etcd: TestEtcd;
  after(() => etcd?.close());

  for (const seed of SEEDS)
    it(`ends with what is stored (seed ${seed})`, async () => {
      etcd ??= await TestEtcd.start();
      await begin(etcd);
      const roll = dice(seed);
      const cable = await Cable.to(etcd.port);
      const members = new Members(etcd);
      const source = members.source({ endpoints: [cable.endpoint], random: () => roll(1000) / 1000 });
      const client = new EtcdClient({ endpoints: [etcd.endpoint], times: TIMES });
      const anyKey = () => `${SUBNETS}/10.244.${1 + roll(20)}.0-24`;
      const set = async (key: string, value: string) => {
        const { kv } = await client.get(key);
        await client.put(key, value, 0n, kv ?? { absent: true });
      };
      const remove = async (key: string) => {
        const { kv } = await client.get(key);
        if (kv !== undefined) await client.delete(key, kv);
      };
      let isJoined = true;
      const steps = (ownKey: () => string): [number, () => Promise<unknown>][] => [
        [10, () => set(anyKey(), flannelValue(1 + roll(200)))],
        [5, () => remove(anyKey())],
        [2, () => set(anyKey(), ['{', '[]', '{"BackendType":"vxlan"}'][roll(3)]!)],
        [1, () => remove(ownKey())],
        [1, async () => etcd.ctl('compact', String((await client.get('x')).revision))],
        [
          2,
          async () => {
            await (isJoined ? cable.cut() : cable.join());
            isJoined = !isJoined;
          },
        ],
        [1, () => etcd.stop().then(() => etcd.start())],
        [3, () => new Promise((resolve) => setTimeout(resolve, roll(60)))],
        [
          roll(2),
          async () => {
            await etcd.stop();
            etcd.wipe();
            await etcd.start();
            await etcd.ctl('put', CONFIG, JSON.stringify(NETWORK));
          },
        ],
      ];
      try {
        const self = member(250);
        const heard = members.follow(source);
        let ownKey = (await source.acquire(self, {}, AbortSignal.timeout(20_000))).key;
        const bag = steps(() => ownKey).flatMap(([weight, step]) =>
          Array.from({ length: weight }, () => step),
        );
        for (let n = 0; n < STEPS; n++) {
          try {
            await bag[roll(bag.length)]!();
          } catch (error) {
            // Our own way to the store breaks with it, now and then.
            if (!/etcd|compacted/.test((error as Error).message)) throw error;
          }
          ownKey = heard.owns.at(-1)?.key ?? ownKey;
        }
        if (!isJoined) await cable.join();
        const byKey = (one: { key: string }, other: { key: string }) => (one.key < other.key ? -1 : 1);
        const deadline = Date.now() + 20_000;
        for (;;) {
          const { kvs } = await client.list(SUBNETS);
          const leases = kvs.map((kv) => parseLease(kv.key, kv.value)).filter((one) => !isSkipped(one));
          const others = leases.filter((lease) => (lease as Lease).publicIp !== self.publicIp).sort(byKey);
          const told = [...heard.members.values()].sort(byKey);
          const published = kvs.filter((kv) => kv.value === flannelValue(250));
          const isOne = leases.length - others.length === 1 && published.length === 1;
          if (isOne && JSON.stringify(told) === JSON.stringify(others)) break;
          const report = { own: published, told, others, state: source.state() };
          assert.ok(
            Date.now() < deadline,
            JSON.stringify(report, (_, one) => (typeof one === 'bigint' ? `${one}` : one)),
          );
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await until('connected', () => source.state().connected && source.state().error === undefined, 10_000);
      } finally {
        await members.end();
        client.close();
        await cable.cut();
      }
    });
});
