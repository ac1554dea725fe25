/** What happens to etcd and to the way there: it stops, comes back, forgets, loses everything, falls silent. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Cable, freePort, missingForEtcd, TestEtcd } from './support/etcd.ts';
import {
  begin,
  CONFIG,
  flannelValue,
  Members,
  member,
  NETWORK,
  SUBNETS,
  stored,
} from './support/etcd-world.ts';
import { until } from './support/own-namespace.ts';

const missing = missingForEtcd();
const skip = missing !== null && !process.env.CI ? missing : false;
const soon = () => AbortSignal.timeout(20_000);

describe('an etcd that comes and goes', { skip }, () => {
  let etcd: TestEtcd;
  let cable: Cable;
  let members: Members;
  before(async () => {
    etcd = await TestEtcd.start();
  });
  after(() => etcd?.close());
  afterEach(async () => {
    await members?.end();
    await cable?.cut();
  });
  /** Sources of `members` go through a cable. */
  const start = async () => {
    await begin(etcd);
    cable = await Cable.to(etcd.port);
    members = new Members(etcd);
    return () => members.source({ endpoints: [cable.endpoint] });
  };
  /** The store with nothing in it, as when its disk was lost. */
  const renewed = async () => {
    await etcd.stop();
    etcd.wipe();
    await etcd.start();
  };
  const put = (n: number, by = n) => etcd.ctl('put', `${SUBNETS}/10.244.${n}.0-24`, flannelValue(by));

  it('keeps what was known while etcd is stopped, and goes on where it was', async () => {
    const source = (await start())();
    await put(1);
    const lease = await source.acquire(member(100), {}, soon());
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.members.size === 1 && source.state().connected);
    const since = source.state().since;
    await etcd.stop();
    await until('not connected', () => !source.state().connected, 10_000);
    assert.match(source.state().error!, /^etcd http:\/\/127\.0\.0\.1:\d+: .+: is /);
    assert.ok(source.state().since >= since && source.state().synced);
    assert.deepEqual(heard.subnets, ['10.244.1.0/24']);
    const lines = members.lines.length;
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.ok(
      members.lines.length - lines <= 2,
      `a line once, not at each attempt: ${members.lines.slice(lines)}`,
    );
    await etcd.start();
    await put(2);
    await heard.until('the change', () => heard.members.size === 2);
    assert.ok(source.state().connected);
    assert.equal(source.state().error, undefined);
    assert.equal(heard.snapshots, 1, 'the watch went on from its revision');
    assert.ok((await stored(etcd)).has(lease.key));
  });

  it('hears afterwards what happened while it was away', async () => {
    const source = (await start())();
    await put(1);
    await put(2);
    await source.acquire(member(100), {}, soon());
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.members.size === 2 && source.state().connected);
    await cable.cut();
    await put(3);
    await put(2, 22);
    await etcd.ctl('del', `${SUBNETS}/10.244.1.0-24`);
    await cable.join();
    await heard.until('all of it', () => heard.subnets.join() === '10.244.2.0/24,10.244.3.0/24');
    assert.equal(heard.members.get(`${SUBNETS}/10.244.2.0-24`)!.publicIp, '192.0.2.22');
    assert.equal(heard.snapshots, 1);
    assert.equal(heard.changes, 1, 'in one batch');
  });

  it('lists anew when what it missed was compacted away', async () => {
    const source = (await start())();
    await put(1);
    await put(2);
    await source.acquire(member(100), {}, soon());
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.members.size === 2 && source.state().connected);
    await cable.cut();
    await put(3);
    await etcd.ctl('del', `${SUBNETS}/10.244.1.0-24`);
    await etcd.ctl('compact', String(await etcd.revision()));
    await cable.join();
    await heard.until('a new snapshot', () => heard.snapshots === 2);
    assert.deepEqual(heard.subnets, ['10.244.2.0/24', '10.244.3.0/24']);
    assert.equal(source.state().counters.compactions, 1);
    assert.equal(source.state().counters.resyncs, 1);
    await put(4);
    await heard.until('the watch', () => heard.members.size === 3);
    assert.equal(heard.snapshots, 2);
  });

  it('is not troubled by a compaction while it listens', async () => {
    const source = (await start())();
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1 && source.state().connected);
    for (let n = 1; n < 5; n++) {
      await put(n);
      await etcd.ctl('compact', String(await etcd.revision()));
    }
    await heard.until('all', () => heard.members.size === 4);
    assert.equal(heard.snapshots, 1);
  });

  it('takes its lease again when it ran out meanwhile: the same subnet', async () => {
    const source = (await start())();
    const heard = members.follow(source);
    const lease = await source.acquire(member(100), {}, soon());
    await cable.cut();
    await etcd.ctl('del', lease.key);
    await cable.join();
    await until('taken again', () => source.state().counters.reacquired === 1, 10_000);
    assert.equal((await stored(etcd)).get(lease.key)!.value, flannelValue(100));
    assert.deepEqual(heard.owns, []);
  });

  it('takes another subnet when its own was given away meanwhile, and says so', async () => {
    const source = (await start())();
    const heard = members.follow(source);
    const lease = await source.acquire(member(100), {}, soon());
    await cable.cut();
    await etcd.ctl('put', lease.key, flannelValue(7));
    await cable.join();
    await until('another one', () => heard.owns.length === 1, 10_000);
    assert.notEqual(heard.owns[0]!.subnet, lease.subnet);
    await heard.until('the new owner', () => heard.members.get(lease.key)?.publicIp === '192.0.2.7');
  });

  it('publishes later what it could not publish at once', async () => {
    const source = (await start())();
    const lease = await source.acquire(member(100), {}, soon());
    await cable.cut();
    source.publish({ ...member(100), publicIp: '192.0.2.101' });
    await until('told', () => source.state().error !== undefined, 10_000);
    await cable.join();
    await until('published', () => source.state().counters.published === 1, 10_000);
    assert.match((await stored(etcd)).get(lease.key)!.value, /192\.0\.2\.101/);
  });

  it('waits for an etcd that is not there yet', async () => {
    const port = await freePort();
    await begin(etcd);
    members = new Members(etcd);
    cable = await Cable.to(etcd.port);
    await cable.cut();
    const source = members.source({ endpoints: [`http://127.0.0.1:${port}`, cable.endpoint] });
    const config = source.config(soon());
    await until('told', () => source.state().error !== undefined, 10_000);
    assert.match(
      source.state().error!,
      new RegExp(`:${port}: connect ECONNREFUSED.+; etcd http://127.0.0.1:${cable.port}: `),
    );
    assert.match(
      source.state().where,
      new RegExp(`^http://127.0.0.1:${port}, http://127.0.0.1:${cable.port}$`),
    );
    await cable.join();
    assert.equal((await config).network, '10.244.0.0/16');
    await assert.rejects(
      members.source({ endpoints: [`http://127.0.0.1:${port}`] }).config(AbortSignal.timeout(100)),
      { name: 'TimeoutError' },
    );
  });

  it('goes to another endpoint when one is dead, silent, or dies', async () => {
    const other = await Cable.to(etcd.port);
    await start();
    // Accepts connections and says nothing.
    const silent = await silentPort();
    const endpoints = [silent.endpoint, cable.endpoint, other.endpoint];
    let source = members.source({ endpoints });
    const took = async () => {
      const from = performance.now();
      await source.config(soon());
      return performance.now() - from;
    };
    // A busy machine holds some of them up.
    let tries = 1;
    for (; (await took()) >= 900 && tries < 10; tries++) source = members.source({ endpoints });
    assert.ok(tries < 10, 'the silent one costs a head start, not its time limit');
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1 && source.state().connected);
    await cable.cut();
    await put(1);
    await heard.until('the change by the other way', () => heard.members.size === 1);
    silent.close();
    await other.cut();
  });

  it('notices an etcd that falls silent, and its return', async () => {
    const source = (await start())();
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1 && source.state().connected);
    etcd.signal('SIGSTOP');
    try {
      await until('not connected', () => !source.state().connected, 10_000);
      assert.match(source.state().error!, /within \d+ ms: is etcd running/);
    } finally {
      etcd.signal('SIGCONT');
    }
    await put(1);
    await heard.until('the change', () => heard.members.size === 1);
  });

  it('keeps the members when the store comes back empty, until there is a network again', async () => {
    const source = (await start())();
    await put(1);
    await put(2);
    const lease = await source.acquire(member(100), {}, soon());
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.members.size === 2 && source.state().connected);
    await renewed();
    await until('told', () => /configuration and leases are gone/.test(source.state().error ?? ''), 10_000);
    assert.equal(heard.members.size, 2);
    await put(2);
    await etcd.ctl('put', CONFIG, JSON.stringify(NETWORK));
    await heard.until('those that are back', () => heard.subnets.join() === '10.244.2.0/24');
    await until('our own', () => source.state().counters.reacquired === 1, 10_000);
    assert.equal((await stored(etcd)).get(lease.key)!.value, flannelValue(100));
    await put(3);
    await heard.until('the watch', () => heard.members.size === 2);
  });

  it('is not deceived by a new store that has counted past the old one', async () => {
    const source = (await start())();
    await put(1);
    await source.acquire(member(100), {}, soon());
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.members.size === 1 && source.state().connected);
    const revision = await etcd.revision();
    await cable.cut();
    await renewed();
    await etcd.ctl('put', CONFIG, JSON.stringify(NETWORK));
    await put(5);
    while ((await etcd.revision()) < revision + 5) await etcd.ctl('put', 'other', 'x');
    await cable.join();
    await heard.until('the new members', () => heard.subnets.join() === '10.244.5.0/24');
  });

  it('is not deceived by its own record in a new store, at the revision that it had in the old one', async () => {
    await renewed();
    const source = (await start())();
    await put(1);
    const { key } = await source.acquire(member(100), {}, soon());
    const revision = await etcd.revision();
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.members.size === 1 && source.state().connected);
    await cable.cut();
    await renewed();
    await etcd.ctl('put', CONFIG, JSON.stringify(NETWORK));
    while ((await etcd.revision()) < revision - 1) await etcd.ctl('put', 'other', 'x');
    await etcd.ctl('put', key, flannelValue(100));
    assert.equal(await etcd.revision(), revision);
    await put(5);
    await cable.join();
    await heard.until('the new members', () => heard.subnets.join() === '10.244.5.0/24');
  });
});

async function silentPort() {
  const { createServer } = await import('node:net');
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { endpoint: `http://127.0.0.1:${port}`, close: () => server.close() };
}
