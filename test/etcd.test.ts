/** Leases in a real etcd: what is taken, published, renewed and heard while nothing is in the way. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { VtepError } from '../src/errors.ts';
import { EtcdClient } from '../src/flannel/etcd-client.ts';
import { missingForEtcd, TestEtcd } from './support/etcd.ts';
import {
  begin,
  CONFIG,
  countLeases,
  flannelValue,
  Members,
  member,
  SUBNETS,
  stored,
} from './support/etcd-world.ts';
import { until } from './support/own-namespace.ts';

const missing = missingForEtcd();
const skip = missing !== null && !process.env.CI ? missing : false;
const soon = () => AbortSignal.timeout(15_000);

describe('leases in etcd', { skip }, () => {
  let etcd: TestEtcd;
  let members: Members;
  before(async () => {
    etcd = await TestEtcd.start();
  });
  after(() => etcd?.close());
  afterEach(() => members?.end());
  const start = async (config?: object) => {
    await begin(etcd, config);
    members = new Members(etcd);
    return members.source();
  };

  it('reads the configuration, and waits for it', async () => {
    const source = await start();
    assert.equal((await source.config(soon())).network, '10.244.0.0/16');
    await etcd.ctl('del', CONFIG);
    const config = source.config(soon());
    await until('told', () => source.state().error !== undefined, 10_000);
    assert.match(source.state().error!, /no configuration at \/coreos.com\/network\/config: etcdctl put/);
    assert.ok(source.state().connected);
    await etcd.ctl('put', CONFIG, '{"nEtWoRk":"10.1.0.0/16","backend":{"type":"VXLAN","vni":7}}');
    assert.deepEqual((await config).backend.vni, 7);
    assert.equal(source.state().error, undefined);
  });

  it('refuses a configuration that can not be right, or has no IPv4', async () => {
    const source = await start({ Network: '10.1.0.0/16' });
    await assert.rejects(source.config(soon()), { code: 'USAGE', message: /config: Backend is missing/ });
    await begin(etcd, {
      EnableIPv4: false,
      EnableIPv6: true,
      IPv6Network: 'fd00::/48',
      Backend: { Type: 'vxlan' },
    });
    await assert.rejects(source.config(soon()), { code: 'USAGE', message: /EnableIPv4 is false/ });
  });

  it('takes a subnet, with the bytes of flannel and a lease of the time asked for', async () => {
    const source = await start();
    const lease = await source.acquire(member(1), {}, soon());
    assert.match(lease.key, /^\/coreos.com\/network\/subnets\/10\.244\.(\d+)\.0-24$/);
    const [[key, entry]] = [...(await stored(etcd))] as [[string, { value: string; lease: string }]];
    assert.equal(key, lease.key);
    assert.equal(entry.value, flannelValue(1));
    const id = BigInt(entry.lease).toString(16);
    assert.match(await etcd.ctl('lease', 'timetolive', id), /granted with TTL\(60s\), remaining\((60|59)s\)/);
    assert.ok(Math.abs(lease.expires! - Date.now() - 60_000) < 10_000);
    assert.deepEqual(await source.stored(soon()), {});
  });

  it('takes 24 hours and keeps an hour of margin unless told otherwise', async () => {
    await begin(etcd);
    members = new Members(etcd);
    const source = members.source({ times: { leaseSeconds: 86_400 } });
    const { expires } = await source.acquire(member(1), {}, soon());
    assert.ok(Math.abs(expires! - Date.now() - 86_400_000) < 10_000);
  });

  it('takes both families in one key', async () => {
    const source = await start({
      Network: '10.244.0.0/16',
      EnableIPv6: true,
      IPv6Network: 'fd00:10:244::/48',
      Backend: { Type: 'vxlan' },
    });
    const backend = member(1).backend!;
    const self = {
      ...member(1),
      publicIpV6: '2001:db8::1',
      backendV6: { ...backend, mac: '02:00:00:00:06:01' },
    };
    const lease = await source.acquire(
      self,
      { subnet: '10.244.7.0/24', subnetV6: 'fd00:10:244:7::/64' },
      soon(),
    );
    assert.equal(lease.key, `${SUBNETS}/10.244.7.0-24&fd00:10:244:7::-64`);
    assert.equal(
      (await stored(etcd)).get(lease.key)!.value,
      '{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"vxlan",' +
        '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:06:01"}}',
    );
    const heard = members.follow(members.source());
    await heard.until('the member', () => heard.members.size === 1);
    const { expires: _, ...published } = lease;
    assert.deepEqual(heard.members.get(lease.key), published);
  });

  it('takes the subnet from before, and without disturbing anybody', async () => {
    const source = await start();
    const heard = members.follow(members.source());
    const first = await source.acquire(member(1), { subnet: '10.244.9.0/24' }, soon());
    assert.equal(first.subnet, '10.244.9.0/24');
    await heard.until('the member', () => heard.members.size === 1);
    const revision = await etcd.revision();
    // A restart: by the public IP, whatever is remembered.
    const again = members.source();
    const second = await again.acquire(member(1), {}, soon());
    assert.equal(second.key, first.key);
    assert.equal(await etcd.revision(), revision, 'nothing was written');
    // With another MAC: the same subnet, and others hear of it.
    const other = { ...member(1), backend: { vni: 1, mac: '02:00:00:00:00:99' } };
    await members.source().acquire(other, {}, soon());
    await heard.until(
      'the new MAC',
      () => heard.members.get(first.key)?.backend?.mac === '02:00:00:00:00:99',
    );
    // With another address and the same MAC, where the subnet is remembered.
    const moved = await members.source().acquire({ ...other, publicIp: '192.0.2.77' }, first, soon());
    assert.equal(moved.key, first.key);
    await heard.until('the new address', () => heard.members.get(first.key)?.publicIp === '192.0.2.77');
    assert.equal((await stored(etcd)).size, 1);
  });

  it('gives up a subnet that no longer fits, and takes one that does', async () => {
    const source = await start();
    await etcd.ctl('put', `${SUBNETS}/10.9.1.0-24`, flannelValue(1), '--lease', await granted(600));
    const lease = await source.acquire(member(1), { subnet: '10.9.1.0/24' }, soon());
    assert.match(lease.subnet!, /^10\.244\./);
    assert.deepEqual([...(await stored(etcd)).keys()], [lease.key]);
  });

  it('leaves a reservation one, and takes it', async () => {
    const source = await start();
    const key = `${SUBNETS}/10.244.33.0-24`;
    await etcd.ctl('put', key, '{"PublicIP":"192.0.2.1"}');
    const lease = await source.acquire(member(1), {}, soon());
    assert.equal(lease.key, key);
    assert.equal(lease.expires, undefined);
    assert.deepEqual((await stored(etcd)).get(key), { value: flannelValue(1), lease: '0' });
    // Somebody else's stays as it is, and is not given to others.
    await etcd.ctl('put', `${SUBNETS}/10.244.1.0-24`, '{"PublicIP":"192.0.2.200"}');
    const other = await members
      .source({ random: () => 0 })
      .acquire(member(2), { subnet: '10.244.1.0/24' }, soon());
    assert.equal(other.subnet, '10.244.2.0/24');
    assert.equal((await stored(etcd)).get(`${SUBNETS}/10.244.1.0-24`)!.lease, '0');
  });

  it('tries again when somebody was faster', async () => {
    await start();
    const before = await countLeases(etcd);
    // All want the first free subnet, at the same time.
    const sources = Array.from({ length: 12 }, () => members.source({ random: () => 0 }));
    const leases = await Promise.all(sources.map((one, n) => one.acquire(member(n + 1), {}, soon())));
    assert.equal(new Set(leases.map((lease) => lease.subnet)).size, 12);
    const races = sources.reduce((sum, one) => sum + (one.state().counters.races ?? 0), 0);
    assert.ok(races > 0, 'nobody lost a race');
    assert.equal((await stored(etcd)).size, 12);
    assert.equal(await countLeases(etcd), before + 12, 'losers leave no lease behind');
  });

  it('gives no IPv6 subnet to two, though their keys differ', async () => {
    await start({
      Network: '10.244.0.0/16',
      EnableIPv6: true,
      IPv6Network: 'fd00::/48',
      Backend: { Type: 'vxlan' },
    });
    const v6 = (n: number) => ({ publicIpV6: `2001:db8::${n}`, backendV6: member(n).backend! });
    // The same draw for IPv6 and another one for IPv4.
    const draws = (n: number) => {
      let count = 0;
      return () => (count++ % 2 === 0 ? n / 10 : 0);
    };
    const leases = await Promise.all(
      [1, 2, 3, 4].map((n) =>
        members.source({ random: draws(n) }).acquire({ ...member(n), ...v6(n) }, {}, soon()),
      ),
    );
    assert.equal(new Set(leases.map((lease) => lease.subnetV6)).size, 4);
    assert.equal(new Set(leases.map((lease) => lease.subnet)).size, 4);
  });

  it('says when every subnet is taken', async () => {
    const source = await start({ Network: '10.244.0.0/22', SubnetLen: 24, Backend: { Type: 'vxlan' } });
    for (const n of [1, 2, 3]) await etcd.ctl('put', `${SUBNETS}/10.244.${n}.0-24`, flannelValue(n + 10));
    await assert.rejects(source.acquire(member(1), {}, soon()), (error: VtepError) => {
      assert.equal(error.code, 'NO_SPACE');
      return /all subnets of 10\.244\.0\.0\/22 are taken/.test(error.message);
    });
  });

  it('renews the lease it has, so that nobody hears of it', async () => {
    await begin(etcd);
    members = new Members(etcd);
    const source = members.source({ times: { leaseSeconds: 2 }, renewMarginMinutes: 1.5 / 60 });
    const heard = members.follow(members.source());
    const lease = await source.acquire(member(1), {}, soon());
    await heard.until('the member', () => heard.members.size === 1);
    const revision = await etcd.revision();
    await until('three renewals', () => source.state().counters.renewals! >= 3, 10_000);
    assert.equal(await etcd.revision(), revision);
    assert.ok((await stored(etcd)).has(lease.key));
    assert.equal(heard.changes, 1);
  });

  it('notices at the renewal that its lease is gone, also when it follows nothing', async () => {
    await begin(etcd);
    members = new Members(etcd);
    const source = members.source({ times: { leaseSeconds: 2 }, renewMarginMinutes: 1.5 / 60 });
    const lease = await source.acquire(member(1), {}, soon());
    await etcd.ctl('lease', 'revoke', BigInt((await stored(etcd)).get(lease.key)!.lease).toString(16));
    await until('taken again', () => source.state().counters.reacquired === 1, 10_000);
    assert.equal((await stored(etcd)).get(lease.key)!.value, flannelValue(1));
  });

  it('publishes what has changed of us under the same key and lease', async () => {
    const source = await start();
    const heard = members.follow(members.source());
    const lease = await source.acquire(member(1), {}, soon());
    const before = (await stored(etcd)).get(lease.key)!;
    source.publish({ ...member(1), publicIp: '192.0.2.111' });
    await heard.until('the address', () => heard.members.get(lease.key)?.publicIp === '192.0.2.111');
    assert.equal((await stored(etcd)).get(lease.key)!.lease, before.lease);
    assert.equal(source.state().counters.published, 1);
  });

  it('takes its lease again when it was deleted, overwritten or revoked', async () => {
    const source = await start();
    const heard = members.follow(source);
    const peers = members.follow(members.source());
    const lease = await source.acquire(member(1), {}, soon());
    await peers.until('the member', () => peers.members.size === 1);
    await etcd.ctl('del', lease.key);
    await until('taken again', () => source.state().counters.reacquired === 1, 10_000);
    assert.equal((await stored(etcd)).get(lease.key)!.value, flannelValue(1));

    await etcd.ctl('lease', 'revoke', BigInt((await stored(etcd)).get(lease.key)!.lease).toString(16));
    await until('taken again', () => source.state().counters.reacquired === 2, 10_000);

    await etcd.ctl('put', lease.key, 'nonsense');
    await peers.until('left out', () => peers.members.size === 0);
    await peers.until('there again', () => peers.members.size === 1);
    assert.equal((await stored(etcd)).get(lease.key)!.value, flannelValue(1));
    assert.deepEqual(heard.owns, [], 'the subnet is the same');
    assert.equal(heard.members.size, 0, 'our own lease is no member');
  });

  it('takes a subnet again that somebody deletes at the same moment', async () => {
    const source = await start();
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1 && source.state().connected);
    const client = new EtcdClient({
      endpoints: [etcd.endpoint],
      times: { dialMs: 1000, staggerMs: 100, callMs: 5000, pingMs: 5000, pingTimeoutMs: 5000 },
    });
    const stop = new AbortController();
    let deleted = 0;
    const watching = client.watch(
      SUBNETS,
      (await etcd.revision()) + 1,
      ({ events }) => {
        const made = events.find((event) => !event.deleted)?.kv;
        if (made === undefined || deleted === 3) return;
        deleted++;
        void client.delete(made.key, made);
      },
      stop.signal,
    );
    try {
      await source.acquire(member(1), {}, soon());
      await until('deleted three times', () => deleted === 3, 10_000);
      const deadline = Date.now() + 5000;
      while ((await stored(etcd)).size === 0) assert.ok(Date.now() < deadline, 'nothing is stored');
    } finally {
      stop.abort();
      await watching;
      client.close();
    }
  });

  it('moves to another subnet when its own has gone to somebody else', async () => {
    const source = await start();
    const heard = members.follow(source);
    const lease = await source.acquire(member(1), {}, soon());
    await etcd.ctl('put', lease.key, flannelValue(2));
    await until('moved', () => heard.owns.length === 1, 10_000);
    assert.notEqual(heard.owns[0]!.key, lease.key);
    assert.equal(heard.owns[0]!.publicIp, '192.0.2.1');
    await heard.until('the new owner', () => heard.members.get(lease.key)?.publicIp === '192.0.2.2');
    assert.equal(heard.members.size, 1);
  });

  it('turns into a reservation when the administrator makes it one', async () => {
    const source = await start();
    members.follow(source);
    const lease = await source.acquire(member(1), {}, soon());
    await etcd.ctl('put', lease.key, flannelValue(1));
    source.publish({ ...member(1), publicIp: '192.0.2.9' });
    await until('published', () => source.state().counters.published === 1, 10_000);
    assert.equal((await stored(etcd)).get(lease.key)!.lease, '0');
  });

  it('tells the others: first all, then what changes, in batches', async () => {
    const source = await start();
    await etcd.ctl('put', `${SUBNETS}/10.244.1.0-24`, flannelValue(1));
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1);
    assert.deepEqual(heard.subnets, ['10.244.1.0/24']);
    assert.ok(source.state().synced);
    await heard.until('the watch', () => source.state().connected);
    await etcd.ctl('put', `${SUBNETS}/10.244.2.0-24`, flannelValue(2));
    await heard.until('an addition', () => heard.members.size === 2);
    await etcd.ctl('put', `${SUBNETS}/10.244.2.0-24`, flannelValue(3));
    await heard.until(
      'a change',
      () => heard.members.get(`${SUBNETS}/10.244.2.0-24`)?.publicIp === '192.0.2.3',
    );
    await etcd.ctl('del', `${SUBNETS}/10.244.1.0-24`);
    await heard.until('a deletion', () => heard.members.size === 1);
    const changes = heard.changes;
    // As flanneld renews: the same value again. Nobody has to do anything for it.
    await etcd.ctl('put', `${SUBNETS}/10.244.2.0-24`, flannelValue(3));
    await etcd.ctl('put', `${SUBNETS}/10.244.4.0-24`, flannelValue(4));
    await heard.until('the next', () => heard.members.size === 2);
    assert.equal(heard.changes, changes + 1);
    assert.equal(heard.snapshots, 1);
  });

  it('tells of a change within milliseconds', async () => {
    const source = await start();
    const heard = members.follow(source);
    const times = { dialMs: 1000, staggerMs: 100, callMs: 1000, pingMs: 5000, pingTimeoutMs: 1000 };
    const client = new EtcdClient({ endpoints: [etcd.endpoint], times });
    await heard.until('the snapshot', () => heard.snapshots === 1);
    /** Milliseconds from the write to the listener, the median of 20. */
    const median = async (by: number) => {
      const taken: number[] = [];
      for (let n = 1; n <= 20; n++) {
        const key = `${SUBNETS}/10.244.${n}.0-24`;
        const from = performance.now();
        const changes = heard.changes;
        await client.put(key, flannelValue(n + by), 0n, (await client.get(key)).kv ?? { absent: true });
        await heard.until('the change', () => heard.changes > changes);
        taken.push(heard.changedAt - from);
      }
      return taken.sort((one, other) => one - other)[10]!;
    };
    try {
      // Others may have the cores, or the disk, for a while.
      const medians: number[] = [];
      do {
        assert.ok(medians.length < 5, `medians of ${medians.join(', ')} ms`);
        medians.push(await median(20 * medians.length));
      } while (medians.at(-1)! >= 50);
    } finally {
      client.close();
    }
  });

  it('leaves out what it can not read, counts it and shows it', async () => {
    const source = await start();
    await etcd.ctl(
      'put',
      `${SUBNETS}/10.244.1.0-24`,
      '{"PublicIP":"192.0.2.1","BackendType":"vxlan","BackendData":{"VtepMAC":"xx"}}',
    );
    await etcd.ctl('put', `${SUBNETS}/not-a-subnet`, flannelValue(9));
    await etcd.ctl('put', `${SUBNETS}/10.244.2.0-24`, flannelValue(2));
    const heard = members.follow(source);
    await heard.until('the snapshot', () => heard.snapshots === 1);
    assert.deepEqual(heard.subnets, ['10.244.2.0/24']);
    assert.deepEqual(
      source.state().skipped.map((one) => [one.key, one.reason]),
      [
        [
          `${SUBNETS}/10.244.1.0-24`,
          'BackendData.VtepMAC "xx": the MAC of one VTEP, six octets, is expected',
        ],
        [`${SUBNETS}/not-a-subnet`, 'the key does not end in a subnet such as 10.244.1.0-24'],
      ],
    );
    await etcd.ctl('put', `${SUBNETS}/10.244.2.0-24`, '[]');
    await heard.until('left out', () => heard.members.size === 0);
    assert.equal(source.state().counters.malformed, 3);
    await etcd.ctl('put', `${SUBNETS}/10.244.1.0-24`, flannelValue(1));
    await etcd.ctl('del', `${SUBNETS}/not-a-subnet`);
    await heard.until('readable', () => heard.members.size === 1 && source.state().skipped.length === 1);
  });

  it('keeps two networks in one etcd apart, and heeds a slash too many', async () => {
    await start();
    const blue = members.source({ prefix: '/blue/' });
    await etcd.ctl(
      'put',
      '/blue/config',
      JSON.stringify({ Network: '10.9.0.0/16', Backend: { Type: 'vxlan', VNI: 9 } }),
    );
    const red = members.source();
    const [one, other] = [
      await blue.acquire(member(1), {}, soon()),
      await red.acquire(member(1), {}, soon()),
    ];
    assert.match(one.key, /^\/blue\/subnets\/10\.9\./);
    assert.match(other.key, /^\/coreos.com\/network\/subnets\/10\.244\./);
    const heard = members.follow(members.source({ prefix: '/blue' }));
    await heard.until('one member', () => heard.members.size === 1);
    await etcd.ctl('del', '--prefix', '/blue/');
  });

  async function granted(seconds: number): Promise<string> {
    return /lease ([0-9a-f]+) granted/.exec(await etcd.ctl('lease', 'grant', String(seconds)))![1]!;
  }
});
