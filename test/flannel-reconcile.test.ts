/**
 * The reconciler on a real VTEP, with `ip -j` as the judge: whatever leases, other programs and restarts do, what is
 * programmed ends up as the leases have it, and what is somebody else's is left alone.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { createVtep } from '../src/create-vtep.ts';
import type { Lease } from '../src/flannel/lease.ts';
import { Reconciler, type ReconcilerOptions, ROUTE_PROTOCOL } from '../src/flannel/reconcile.ts';
import type { Vtep } from '../src/types.ts';
import {
  dualLeaseOf,
  leaseOf,
  makeDevice,
  makeUnderlay,
  OVERLAYS,
  SELF,
  type Tables,
  tablesFor,
  tablesOf,
} from './support/flannel-world.ts';
import { Bed, missingForNamespaces, missingForTap, type Namespace } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

/** After an announcement; it takes 50 ms and a pass. */
const SOON_MS = 10_000;
const CALM_MS = 1500;
const EMPTY: Tables = { routes: [], neighbours: [], fdb: [], sources: [] };
const missing = missingForNamespaces() ?? missingForTap();
const V4 = [OVERLAYS[0]!];
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

describe('the reconciler', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  const log: string[] = [];
  const open: Reconciler[] = [];
  let here: Namespace;
  let vtep: Vtep;

  before(async () => {
    here = bed.namespace('reconcile');
    enter(here);
    makeUnderlay(here);
    vtep = await createVtep();
    await makeDevice(here, vtep, 4);
    await makeDevice(here, vtep, 6);
  });
  after(async () => {
    await vtep?.close();
    await bed.close();
  });
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close({ remove: true });
    assert.deepEqual(tablesOf(here, vtep), EMPTY, 'what a test leaves behind is removed');
    log.length = 0;
  });

  const start = (options: Partial<ReconcilerOptions> = {}): Reconciler => {
    const made = new Reconciler({
      ...{ vtep, overlays: OVERLAYS, self: SELF, directRouting: false },
      log: (level, message) => log.push(`${level}: ${message}`),
      ...options,
    });
    open.push(made);
    return made;
  };
  const same = (leases: Iterable<Lease>, families: readonly (4 | 6)[] = [4, 6], direct = false) =>
    assert.deepEqual(tablesOf(here, vtep), tablesFor(leases, families, direct));
  const soon = (what: string, leases: Iterable<Lease>, families: readonly (4 | 6)[] = [4, 6]) => {
    const wanted = JSON.stringify(tablesFor(leases, families));
    return until(what, () => JSON.stringify(tablesOf(here, vtep)) === wanted, SOON_MS);
  };

  it('programs both families, and only what has changed after that', async () => {
    const reconciler = start();
    await reconciler.change([leaseOf(1)], []);
    assert.deepEqual(tablesOf(here, vtep), EMPTY, 'nothing before the first snapshot');
    const leases = range(1, 50).map((n) => dualLeaseOf(n));
    await reconciler.snapshot(leases);
    same(leases);
    const { counters, peers, synced } = reconciler.report();
    assert.deepEqual([synced, peers], [true, { wanted: 100, programmed: 100, direct: 0 }]);
    assert.equal(counters.written, 400);
    await reconciler.snapshot(leases.map((lease) => ({ ...lease })));
    await reconciler.reconcile();
    assert.equal(reconciler.report().counters.written, 400, 'the same again is nothing to write');
    const [changed, added] = [dualLeaseOf(7, { publicIp: '172.31.7.7' }), dualLeaseOf(60)];
    await Promise.all([
      reconciler.change([changed], ['member 9']),
      reconciler.change([added], ['member 10']),
    ]);
    const now = [...leases.filter((_, at) => ![6, 8, 9].includes(at)), changed, added];
    same(now);
    const after = reconciler.report().counters;
    // An FDB entry and a source of the one, four entries of each family of the other; two leases less.
    assert.deepEqual([after.written, after.removed, after.failed], [400 + 2 + 8, 16, 0]);
    assert.ok(
      reconciler.peers().every(({ programmed, way, error }) => programmed && way === 'tunnel' && !error),
    );
  });

  it('a peer’s MAC, subnet and port change, and nothing of before is left', async () => {
    const reconciler = start({ overlays: V4 });
    const other = { vni: 1, mac: '02:99:00:00:00:01' };
    for (const lease of [
      leaseOf(1),
      leaseOf(1, { backend: other }),
      leaseOf(1, { backend: { ...other, port: 4789 } }),
      leaseOf(1, { subnet: '10.0.1.0/25' }),
      leaseOf(1, { subnet: '10.0.200.0/24', publicIp: '172.31.1.1' }),
    ]) {
      await reconciler.snapshot([lease, leaseOf(2)]);
      same([lease, leaseOf(2)], [4]);
    }
    assert.equal(reconciler.peers()[0]!.programmed, true);
    // The subnet's next owner.
    const heir = leaseOf(3, { key: 'heir', subnet: '10.0.200.0/24' });
    await reconciler.change([heir], ['member 1']);
    same([heir, leaseOf(2)], [4]);
  });

  it('a new MAC is in the FDB before the kernel uses it, and the old one after', async () => {
    const reconciler = start({ overlays: V4 });
    await reconciler.snapshot([leaseOf(1)]);
    const seen: string[] = [];
    const neighbour = () => here.ipJson('neigh', 'show', '10.0.1.0', 'dev', 'flannel.1')[0].lladdr;
    const stop = vtep.subscribe((event) => {
      if (event.event === 'fdb')
        seen.push(`${event.deleted ? 'del' : 'add'} ${event.entry.mac} while ${neighbour()}`);
    });
    const mac = '02:99:00:00:00:01';
    await reconciler.change([leaseOf(1, { backend: { vni: 1, mac } })], []);
    stop();
    const old = leaseOf(1).backend!.mac;
    assert.deepEqual(seen, [`add ${mac} while ${old}`, `del ${old} while ${mac}`]);
    assert.equal(here.ipJson('route', 'show', 'proto', `${ROUTE_PROTOCOL}`).length, 1);
  });

  it('what an earlier life left behind is swept, whatever it is', async () => {
    here.ip(
      `route add 10.0.99.0/24 via 10.0.99.0 dev flannel.1 onlink proto ${ROUTE_PROTOCOL}`,
      `route add 10.0.98.0/24 via 172.16.0.98 proto ${ROUTE_PROTOCOL}`,
      `route add 10.0.2.0/24 via 172.16.0.2 proto ${ROUTE_PROTOCOL}`,
      `route add 10.0.2.0/24 via 172.16.0.3 metric 9 proto ${ROUTE_PROTOCOL}`,
      `route add blackhole 10.0.97.0/24 proto ${ROUTE_PROTOCOL}`,
      `route add fd00:244:99::/64 via fd00:244:99:: dev flannel-v6.1 onlink proto ${ROUTE_PROTOCOL}`,
      'neigh add 10.0.99.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent',
      'neigh add 10.0.1.0 lladdr 02:00:00:00:00:98 dev flannel.1 nud permanent',
    );
    vtep.fdb({ op: 'add', dev: 'flannel.1', mac: '02:00:00:00:00:99', dst: '172.16.0.99' });
    vtep.fdb({ op: 'add', dev: 'flannel.1', mac: leaseOf(1).backend!.mac, dst: '172.16.0.99', vni: 9 });
    vtep.peer({ op: 'set', dev: 'flannel.1', mac: '02:00:00:00:00:99', src: '172.16.0.99' });
    const reconciler = start();
    await reconciler.snapshot([dualLeaseOf(1), dualLeaseOf(2)]);
    same([dualLeaseOf(1), dualLeaseOf(2)]);
  });

  it('what is not ours is left alone, and said where it is in the way', async () => {
    const foreign = [
      '10.0.1.0/24 via 172.16.0.77 proto static',
      `192.168.9.0/24 via 172.16.0.77 proto ${ROUTE_PROTOCOL}`,
      '10.0.3.0/25 via 172.16.0.77 proto static',
      'fd00:244:2:1::/64 via fd00:1::77 metric 5 proto static',
    ];
    // One by one: `ip -batch` (6.1) takes the protocol of the line before for that of the next.
    for (const one of foreign) here.ip(`route add ${one}`);
    const before = () =>
      ['-4', '-6'].flatMap((family) =>
        (here.ipJson(family, 'route', 'show') as { dst: string; gateway?: string }[])
          .filter(({ gateway }) => gateway === '172.16.0.77' || gateway === 'fd00:1::77')
          .map(({ dst }) => dst),
      );
    const there = before();
    assert.equal(there.length, foreign.length);
    const reconciler = start();
    const leases = range(1, 3).map((n) => dualLeaseOf(n));
    await reconciler.snapshot(leases);
    assert.deepEqual(before(), there);
    const problems = reconciler.problems();
    assert.deepEqual(
      problems.map(({ code, keys, family }) => [code, keys[0], family]),
      [
        ['foreign-route', 'member 1', 4],
        ['foreign-route', 'member 2', 6],
      ],
    );
    assert.match(
      problems[0]!.text,
      /^route 10\.0\.1\.0\/24: File exists: .* via 172\.16\.0\.77 dev u0 \(protocol 4\)/,
    );
    const unwell = reconciler.peers().filter(({ programmed }) => !programmed);
    assert.deepEqual(
      unwell.map(({ key, family, error }) => [key, family, error]),
      [
        ['member 1', 4, problems[0]!.text],
        ['member 2', 6, problems[1]!.text],
      ],
    );
    here.ip(
      `route del 192.168.9.0/24 proto ${ROUTE_PROTOCOL}`,
      'route del 10.0.3.0/25',
      'route del 10.0.1.0/24',
    );
    here.ip('route del fd00:244:2:1::/64 metric 5');
    await soon('both are programmed once the others have gone', leases);
    assert.deepEqual(reconciler.problems(), []);
    // One that comes later, and before ours.
    here.ip('route add fd00:244:3:1::/64 via fd00:1::77 metric 5 proto static');
    await until('it is told of', () => reconciler.problems()[0]?.code === 'foreign-route', SOON_MS);
    here.ip('route del fd00:244:3:1::/64 metric 5');
    await until('it is over', () => reconciler.problems().length === 0, SOON_MS);
  });

  it('what others delete or bend comes back soon, and our own writing is no reason to look again', async () => {
    const reconciler = start();
    const leases = range(1, 20).map((n) => dualLeaseOf(n));
    await reconciler.snapshot(leases);
    const passes = () => reconciler.report().counters.full;
    /** The kernel has news of a new device of its own for a while: addresses that turn out to be nobody else's. */
    const calm = async () => {
      for (let before = -1; before !== passes(); ) {
        before = passes();
        await new Promise((done) => setTimeout(done, CALM_MS));
      }
    };
    await until('it listens', () => passes() > 1, SOON_MS);
    await calm();
    const before = passes();
    for (const n of range(21, 30)) await reconciler.change([dualLeaseOf(n)], [`member ${n - 20}`]);
    const now = range(11, 30).map((n) => dualLeaseOf(n));
    await new Promise((done) => setTimeout(done, 300));
    assert.equal(passes(), before, 'no echo');
    for (const [what, break_] of [
      ['a route', () => here.ip('route del 10.0.15.0/24')],
      ['a neighbour', () => here.ip('neigh del 10.0.15.0 dev flannel.1')],
      ['a bent neighbour', () => here.ip('neigh replace 10.0.16.0 lladdr 02:00:00:00:00:01 dev flannel.1')],
      ['an FDB entry', () => vtep.fdb({ op: 'del', dev: 'flannel.1', mac: dualLeaseOf(17).backend!.mac })],
      [
        'a bent FDB entry',
        () =>
          vtep.fdb({ op: 'replace', dev: 'flannel.1', mac: dualLeaseOf(17).backend!.mac, dst: '172.16.9.9' }),
      ],
      [
        'our address, and with it all routes',
        () => here.ip('addr flush dev flannel.1', 'addr add 10.0.0.0/32 dev flannel.1'),
      ],
      ['the device down', () => here.ip('link set flannel.1 down', 'link set flannel.1 up')],
      ['an IPv6 route', () => here.ip('route del fd00:244:f:1::/64')],
    ] as const) {
      break_();
      await soon(what, now);
    }
    assert.ok(reconciler.report().counters.repaired >= 7);
    assert.ok(log.some((line) => line.startsWith('info: repaired: ')));
    // Of what nobody tells us the interval takes care.
    vtep.peer({ op: 'del', dev: 'flannel.1', mac: dualLeaseOf(17).backend!.mac });
    await reconciler.reconcile();
    same(now);
  });

  it('the device goes and comes again', async () => {
    const reconciler = start();
    const leases = range(1, 10).map((n) => dualLeaseOf(n));
    await reconciler.snapshot(leases);
    await vtep.deleteDevice('flannel.1');
    await until('it is told of', () => reconciler.problems()[0]?.code === 'device', SOON_MS);
    assert.match(reconciler.peers()[0]!.error!, /Cannot find device "flannel\.1"/);
    const { routes } = tablesOf(here, vtep);
    assert.deepEqual(routes, tablesFor(leases, [6]).routes, 'the other family goes on');
    await makeDevice(here, vtep, 4);
    await reconciler.setOverlays(OVERLAYS.map((one) => ({ ...one })));
    same(leases);
    assert.deepEqual(reconciler.problems(), []);
  });

  it('a family that is given up, and who we are, change what is there', async () => {
    const reconciler = start();
    const leases = range(1, 4).map((n) => dualLeaseOf(n));
    await reconciler.snapshot(leases);
    await reconciler.setOverlays(V4);
    same(leases, [4]);
    await reconciler.setSelf({ ...SELF, subnets: ['10.0.2.0/24'], publicIps: ['172.16.0.3'] });
    same([leases[0]!, leases[3]!], [4]);
    assert.deepEqual(
      reconciler
        .peers()
        .filter(({ programmed }) => !programmed)
        .map(({ key }) => key),
      ['member 2', 'member 3'],
    );
    await reconciler.setSelf(SELF);
    await reconciler.setOverlays(OVERLAYS);
    same(leases);
  });

  it('peers on our link are routed directly, and through the tunnel when they no longer are', async () => {
    const reconciler = start({ directRouting: true });
    const near = dualLeaseOf(1);
    const far = dualLeaseOf(2, { publicIp: '198.51.100.2', publicIpV6: 'fd00:9::2' });
    await reconciler.snapshot([near, far]);
    const mixed = (direct: Lease[], tunnelled: Lease[]) => {
      const [one, other] = [tablesFor(direct, [4, 6], true), tablesFor(tunnelled, [4, 6])];
      const join = (key: keyof Tables) => [...one[key], ...other[key]].sort();
      return {
        routes: join('routes'),
        neighbours: join('neighbours'),
        fdb: join('fdb'),
        sources: join('sources'),
      };
    };
    assert.deepEqual(tablesOf(here, vtep), mixed([near], [far]));
    assert.deepEqual(
      reconciler.peers().map(({ way }) => way),
      ['direct', 'direct', 'tunnel', 'tunnel'],
    );
    const now = (direct: Lease[], tunnelled: Lease[]) => {
      const wanted = JSON.stringify(mixed(direct, tunnelled));
      return () => JSON.stringify(tablesOf(here, vtep)) === wanted;
    };
    here.ip('route add 172.16.0.0/24 via 172.31.0.9', 'route add fd00:1::2/128 via fd00:1::99');
    await until('a gateway has come between', now([], [near, far]), SOON_MS);
    here.ip('route del 172.16.0.0/24', 'route del fd00:1::2/128');
    await until('it has gone', now([near], [far]), SOON_MS);
    here.ip('link set u0 down', 'link set u0 up', 'addr add fd00:1::1/64 dev u0 nodad');
    await until('the underlay’s interface was down', now([near], [far]), SOON_MS);
    here.ip('link del u0');
    // vxlane's devices go with their underlay, as the kernel's.
    await until('the devices have gone', () => vtep.devices().length === 0, SOON_MS);
    makeUnderlay(here);
    await makeDevice(here, vtep, 4);
    await makeDevice(here, vtep, 6);
    await reconciler.setOverlays(OVERLAYS.map((one) => ({ ...one })));
    assert.deepEqual(tablesOf(here, vtep), mixed([near], [far]));
    await reconciler.change([], ['member 1']);
    assert.deepEqual(tablesOf(here, vtep), mixed([], [far]));
  });

  it('stays when it is closed without removing, and is taken over by the next', async () => {
    const leases = range(1, 10).map((n) => dualLeaseOf(n));
    const first = start();
    await first.snapshot(leases);
    await first.close({ remove: false });
    same(leases);
    await first.snapshot([]);
    same(leases);
    const second = start();
    await second.snapshot(leases.slice(2));
    same(leases.slice(2));
    assert.deepEqual([second.report().counters.written, second.report().counters.removed], [0, 16]);
  });

  it('more than a thousand routes take more than one metric, which nobody notices', async () => {
    const reconciler = start({ overlays: V4 });
    const leases = range(1, 2500).map((n) => leaseOf(n));
    await reconciler.snapshot(leases);
    same(leases, [4]);
    const metrics = new Map<number, number>();
    for (const { metric = 0 } of here.ipJson('route', 'show', 'proto', `${ROUTE_PROTOCOL}`)) {
      metrics.set(metric, (metrics.get(metric) ?? 0) + 1);
    }
    assert.deepEqual([...metrics].sort(), [
      [0, 1024],
      [1, 1024],
      [2, 452],
    ]);
    here.ip('route add 10.10.40.0/24 via 172.16.0.77 proto static');
    await reconciler.change([leaseOf(2600)], ['member 2305']);
    assert.equal(reconciler.problems()[0]?.code, 'foreign-route', 'also where the metrics differ');
    here.ip('route del 10.10.40.0/24 proto static');
    const now = [...leases.filter(({ key }) => key !== 'member 2305'), leaseOf(2600)];
    await soon('it has gone', now, [4]);
  });

  it('converges whatever happens in whatever order', async () => {
    let reconciler = start();
    const held = new Map<string, Lease>();
    await reconciler.snapshot([]);
    const quietly = (line: string) => {
      try {
        here.ip(line);
      } catch {
        // There was nothing to delete.
      }
    };
    const draw = (n: number, kind: number): Lease => {
      const { backend, backendV6, ...lease } = dualLeaseOf(n);
      const [mac, ip] = [kind & 1, (kind >> 1) & 1];
      return {
        ...lease,
        publicIp: `172.${16 + ip}.0.${n}`,
        backend: { ...backend!, mac: backend!.mac.replace('02:04:00', `02:04:0${mac}`) },
        ...(kind & 4 ? { backendV6: { ...backendV6!, port: 4789 } } : { backendV6: backendV6! }),
      };
    };
    const n = fc.integer({ min: 1, max: 12 });
    const step = fc.oneof(
      fc.record({ put: fc.array(fc.tuple(n, fc.nat(7)), { minLength: 1, maxLength: 5 }) }),
      fc.record({ drop: fc.array(n, { minLength: 1, maxLength: 4 }) }),
      fc.record({ snapshot: fc.array(fc.tuple(n, fc.nat(7)), { maxLength: 10 }) }),
      fc.record({ delRoute: n }),
      fc.record({ delNeighbour: n }),
      fc.record({ delFdb: n }),
      fc.record({ stray: n }),
      fc.constant({ restart: true }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
        for (const one of steps) {
          if ('put' in one) {
            const leases = one.put.map(([at, kind]) => draw(at, kind));
            for (const lease of leases) held.set(lease.key, lease);
            void reconciler.change(leases, []);
          } else if ('drop' in one) {
            const keys = one.drop.map((at) => `member ${at}`);
            for (const key of keys) held.delete(key);
            void reconciler.change([], keys);
          } else if ('snapshot' in one) {
            held.clear();
            for (const [at, kind] of one.snapshot) held.set(`member ${at}`, draw(at, kind));
            void reconciler.snapshot([...held.values()]);
          } else if ('delRoute' in one) quietly(`route del 10.0.${one.delRoute}.0/24`);
          else if ('delNeighbour' in one) quietly(`neigh del 10.0.${one.delNeighbour}.0 dev flannel.1`);
          else if ('delFdb' in one) {
            const { mac } = vtep.fdbShow('flannel.1')[one.delFdb] ?? {};
            if (mac !== undefined) vtep.fdb({ op: 'del', dev: 'flannel.1', mac });
          } else if ('stray' in one) {
            quietly(`route replace 10.0.${one.stray}.0/24 via 172.16.0.${one.stray} proto ${ROUTE_PROTOCOL}`);
            vtep.fdb({
              op: 'replace',
              dev: 'flannel.1',
              mac: `02:77:00:00:00:0${one.stray % 9}`,
              dst: '172.16.9.9',
            });
          } else {
            await reconciler.close({ remove: false });
            open.splice(0);
            reconciler = start();
            void reconciler.snapshot([...held.values()]);
          }
        }
        await reconciler.reconcile();
        same(held.values());
        assert.ok(reconciler.peers().every(({ programmed }) => programmed));
      }),
      { numRuns: 40 },
    );
    // The same without a word from us: announcements and the passes after them are enough.
    quietly('route flush proto 118');
    await soon('all', held.values());
  });
});
