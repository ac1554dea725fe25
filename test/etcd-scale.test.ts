/** Thousands of leases in a real etcd: all at once, in pages, in a storm. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { EtcdClient } from '../src/flannel/etcd-client.ts';
import { missingForEtcd, TestEtcd } from './support/etcd.ts';
import { fillEtcd, manyKey, manyValue } from './support/etcd-many.ts';
import { begin, Members, SUBNETS } from './support/etcd-world.ts';

const missing = missingForEtcd();
const skip = missing !== null && !process.env.CI ? missing : false;
const MANY = 5000;
const TIMES = { dialMs: 2000, staggerMs: 300, callMs: 10_000, pingMs: 10_000, pingTimeoutMs: 5000 };

describe('thousands of leases', { skip }, () => {
  let etcd: TestEtcd;
  let client: EtcdClient;
  let members: Members;
  before(async () => {
    etcd = await TestEtcd.start();
    await begin(etcd, { Network: '10.0.0.0/8', Backend: { Type: 'vxlan' } });
    client = new EtcdClient({ endpoints: [etcd.endpoint], times: TIMES });
    await fillEtcd(client, MANY);
  });
  after(async () => {
    client?.close();
    await etcd?.close();
  });
  afterEach(() => members?.end());

  it('are listed in one go', async () => {
    members = new Members(etcd);
    const from = performance.now();
    const heard = members.follow(members.source({ times: { callMs: 10_000 } }));
    await heard.until('the snapshot', () => heard.snapshots === 1);
    assert.equal(heard.members.size, MANY);
    assert.ok(performance.now() - from < 8000, `${performance.now() - from} ms`);
  });

  it('are the same in pages', async () => {
    const all = await client.list(SUBNETS);
    const small = new EtcdClient({ endpoints: [etcd.endpoint], times: TIMES, pageKeys: 333 });
    assert.deepEqual((await small.list(SUBNETS)).kvs, all.kvs);
    const exact = new EtcdClient({ endpoints: [etcd.endpoint], times: TIMES, pageKeys: MANY });
    assert.deepEqual((await exact.list(SUBNETS)).kvs, all.kvs);
    small.close();
    exact.close();
  });

  it('change in a storm, and are told in batches', async () => {
    members = new Members(etcd);
    const source = members.source({ times: TIMES });
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1 && source.state().connected);
    const { kvs } = await client.list(SUBNETS);
    const changed = kvs.slice(0, 1000);
    await Promise.all(changed.map((kv) => client.put(kv.key, manyValue(60_000), undefined, kv)));
    const isNew = (n: number) => heard.members.get(changed[n]!.key)?.publicIp === '198.18.234.96';
    await heard.until('all of them', () => changed.every((_, n) => isNew(n)));
    assert.ok(heard.changes < 500, `${heard.changes} batches for 1000 changes`);
    assert.equal(heard.snapshots, 1);
    assert.ok(heard.members.has(manyKey(MANY - 1)));
  });
});
