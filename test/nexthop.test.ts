/**
 * Nexthop groups: which member a flow takes, what entries with a group accept and refuse, and how they follow it.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { AF_INET, AF_INET6, FANOUT_MAX, REMOTE_BYTES, REMOTE_WEIGHT_OFFSET } from '../assembly/layout.ts';
import { readRemotes } from '../src/dataplane/fdb-record.ts';
import { joinNexthops, type NexthopInfo } from '../src/dataplane/nexthops.ts';
import { BUILDS, loadEngine } from './support/engine.ts';
import { A, B, FdbFixture, GROUP, refusal, ZERO } from './support/fdb-fixture.ts';

/** As the kernel divides the range of a 31-bit hash (DIV_ROUND_CLOSEST), written with big numbers. */
function naiveChoose(weights: readonly number[], hash: number): number {
  const total = BigInt(weights.reduce((sum, weight) => sum + weight, 0));
  let sum = 0n;
  for (const [position, weight] of weights.entries()) {
    sum += BigInt(weight);
    const upper = ((sum << 31n) + total / 2n) / total - 1n;
    if (BigInt(hash >>> 1) <= upper) return position;
  }
  return -1;
}

const group = (id: number, ...members: [gateway: string, weight: number][]): NexthopInfo => ({
  id,
  fdb: true,
  members: members.map(([gateway, weight], at) => ({
    id: 100 + at,
    weight,
    family: gateway.includes(':') ? AF_INET6 : AF_INET,
    gateway,
  })),
});

for (const build of BUILDS) {
  describe(`nexthop, ${build}`, () => {
    let fixture: FdbFixture;
    before(async () => {
      fixture = new FdbFixture(await loadEngine(build));
    });
    beforeEach(() => {
      fixture.reset();
      fixture.fdb.setNexthops([
        { id: 1, fdb: true },
        { id: 2, fdb: false },
        group(10, ['192.0.2.1', 1], ['192.0.2.2', 3]),
        group(11, ['192.0.2.3', 1]),
        group(20, ['2001:db8::1', 1]),
        { ...group(30, ['192.0.2.4', 1]), fdb: false },
      ]);
    });

    const choose = (weights: readonly number[], hash: number) => {
      const { exports, bytes, scratch } = fixture.engine;
      bytes.fill(0xee, scratch, scratch + weights.length * REMOTE_BYTES);
      for (const [at, weight] of weights.entries())
        bytes[scratch + at * REMOTE_BYTES + REMOTE_WEIGHT_OFFSET] = weight - 1;
      return exports.nexthopChoose(scratch, weights.length, hash);
    };
    const withGroup = (mac: string, nhid: number, op: 'add' | 'append' | 'replace' = 'add', dev = 'vx0') =>
      fixture.fdb.apply({ op, dev, mac, nhid });
    const weightsOf = (mac: string) => {
      const entry = fixture.engine.exports.fdbFind(
        1,
        fixture.macAt({
          low: Number.parseInt(mac.slice(0, 2), 16),
          high: Number.parseInt(mac.slice(-2), 16) << 8,
        }),
      );
      return readRemotes(fixture.engine.view, entry).map(({ weight }) => weight);
    };

    test('a flow takes the member that the kernel’s arithmetic gives it', () => {
      const weights = fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 1, maxLength: 40 });
      const hash = fc.oneof(
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.constantFrom(0, 1, 2, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff),
      );
      fc.assert(
        fc.property(weights, hash, (given, number) => {
          assert.equal(choose(given, number), naiveChoose(given, number));
        }),
        { numRuns: 3000 },
      );
    });

    test('bounds lie where weights put them, and every hash finds a member', () => {
      // 1 : 3 puts the bound at a quarter of the hashes.
      assert.equal(choose([1, 3], 0x3fffffff), 0);
      assert.equal(choose([1, 3], 0x40000000), 1);
      assert.equal(choose([1, 3], 0xffffffff), 1);
      assert.equal(choose([256], 0xffffffff), 0);
      assert.equal(choose([], 5), -1);
      const most = Array.from({ length: 100 }, () => 256);
      assert.equal(choose(most, 0xffffffff), 99);
      const share = [0, 0];
      for (let hash = 0; hash < 4000; hash++) share[choose([1, 3], Math.imul(hash, 0x9e3779b1) >>> 0)]!++;
      assert.ok(Math.abs(share[0]! - 1000) < 50, `${share}`);
    });

    test('an entry with a group shows it and has its members as remotes', () => {
      withGroup(A, 10);
      const { updated, used, ...shown } = fixture.fdb.get('vx0', A);
      assert.deepEqual(shown, { mac: A, ifname: 'vx0', nhid: 10, flags: ['self'], state: 'permanent' });
      assert.equal(fixture.fdb.show('vx0').length, 1, 'one line, however many members');
      assert.deepEqual(fixture.lookup('vx0', A), ['192.0.2.1', '192.0.2.2']);
      assert.deepEqual(weightsOf(A), [1, 3]);
      const { exports } = fixture.engine;
      const entry = exports.fdbFind(1, fixture.macAt({ low: 2, high: 0x0100 }));
      assert.ok(exports.fdbIsNexthop(entry));
      fixture.apply('add', B, '192.0.2.1');
      assert.ok(!exports.fdbIsNexthop(exports.fdbFind(1, fixture.macAt({ low: 2, high: 0x0200 }))));
    });

    test('what the kernel refuses, in its words; then nothing has changed', () => {
      fixture.apply('add', B, '192.0.2.9');
      withGroup(A, 10);
      fixture.events.length = 0;
      const C = '02:00:00:00:00:03';
      const cases: [() => void, string, RegExp][] = [
        [() => withGroup(C, 99), 'NOT_FOUND', /: Nexthop id does not exist\.;/],
        [() => withGroup(C, 2), 'USAGE', /: Nexthop is not a fdb nexthop\.;/],
        [() => withGroup(C, 30), 'USAGE', /: Nexthop is not a fdb nexthop\.;/],
        [() => withGroup(C, 1), 'USAGE', /: Nexthop is not a multipath group\.;/],
        [() => withGroup(C, 20), 'UNSUPPORTED', /: Nexthop group family not supported\.;.*IPv4/],
        [() => withGroup(C, 10, 'add', 'vx6'), 'UNSUPPORTED', /Nexthop group family not supported\.;.*IPv6/],
        [() => withGroup(A, 11), 'EXISTS', /File exists/],
        [() => withGroup(A, 99), 'EXISTS', /File exists/],
        [() => withGroup(A, 11, 'append'), 'UNSUPPORTED', /: Cannot append to a nexthop fdb\.;/],
        [() => withGroup(A, 99, 'replace'), 'NOT_FOUND', /Nexthop id does not exist\./],
        [() => withGroup(GROUP, 10, 'replace'), 'UNSUPPORTED', /Operation not supported/],
        ...(['append', 'replace'] as const).map((op): [() => void, string, RegExp] => [
          () => withGroup(B, 10, op),
          'UNSUPPORTED',
          /: Cannot replace an existing non nexthop fdb with a nexthop\.;/,
        ]),
        ...[{ dst: '192.0.2.1' }, { port: 5 }, { vni: 0 }, { via: 'v1' }].map(
          (more): [() => void, string, RegExp] => [
            () => fixture.fdb.apply({ op: 'add', dev: 'vx0', mac: C, nhid: 10, ...more }),
            'USAGE',
            /: DST, VNI, ifindex and port are mutually exclusive with NH_ID\.;/,
          ],
        ),
      ];
      for (const [run, code, words] of cases) assert.throws(run, refusal(code, words));
      assert.deepEqual(fixture.lines(), [`${A} self permanent`, `${B} 192.0.2.9 self permanent`]);
      assert.deepEqual(fixture.events, []);
      assert.equal(fixture.fdb.get('vx0', A).nhid, 10);
    });

    test('replace changes the group, state and flags, never to a remote', () => {
      withGroup(A, 10);
      fixture.events.length = 0;
      withGroup(A, 10, 'replace');
      assert.equal(fixture.events.length, 0, 'the same group again is no change');
      withGroup(A, 11, 'replace');
      assert.deepEqual([fixture.fdb.get('vx0', A).nhid, fixture.lookup('vx0', A)], [11, ['192.0.2.3']]);
      fixture.apply('replace', A, '192.0.2.7');
      assert.deepEqual([fixture.fdb.get('vx0', A).nhid, fixture.lookup('vx0', A)], [11, ['192.0.2.3']]);
      assert.equal(fixture.events.length, 1);
      fixture.apply('replace', A, '192.0.2.7', { state: 'static' });
      fixture.apply('append', A, '192.0.2.7', { state: 'dynamic' });
      assert.deepEqual(
        fixture.events.map(({ entry }) => [entry.nhid, entry.dst, entry.state]),
        [
          [11, undefined, 'permanent'],
          [11, undefined, 'static'],
          [11, undefined, ''],
        ],
      );
    });

    test('a group MAC with a nexthop group takes no remote; del of one does nothing, of the entry all', () => {
      withGroup(GROUP, 10, 'append');
      fixture.apply('append', GROUP, '192.0.2.9');
      assert.deepEqual(fixture.lookup('vx0', GROUP), ['192.0.2.1', '192.0.2.2']);
      assert.throws(
        () => withGroup(GROUP, 10, 'replace'),
        refusal('UNSUPPORTED', /Cannot replace non-unicast fdb entries\./),
      );
      fixture.apply('del', GROUP, '192.0.2.1');
      assert.equal(fixture.lookup('vx0', GROUP).length, 2);
      fixture.events.length = 0;
      fixture.fdb.apply({ op: 'del', dev: 'vx0', mac: GROUP, nhid: 99 });
      assert.deepEqual(fixture.lookup('vx0', GROUP), []);
      assert.deepEqual(
        fixture.events.map(({ deleted, entry }) => [deleted, entry.nhid]),
        [[true, 10]],
      );
    });

    test('entries follow their group, and go with it, untold', () => {
      withGroup(A, 10);
      withGroup(B, 11);
      withGroup(ZERO, 10, 'append');
      fixture.apply('add', '02:00:00:00:00:09', '192.0.2.1');
      fixture.events.length = 0;
      const many = Array.from({ length: FANOUT_MAX + 5 }, (_, n): [string, number] => [
        `10.0.${n >> 8}.${n & 255}`,
        1,
      ]);
      fixture.fdb.setNexthops([group(10, ...many), group(11, ['192.0.2.3', 7])]);
      assert.equal(
        fixture.lookup('vx0', A, FANOUT_MAX).length,
        FANOUT_MAX,
        'as many as a worker can look at',
      );
      assert.deepEqual(weightsOf(B), [7]);
      fixture.fdb.setNexthops([group(10, ['192.0.2.8', 2], ['192.0.2.9', 65536])]);
      assert.deepEqual(fixture.lookup('vx0', A), ['192.0.2.8', '192.0.2.9']);
      assert.deepEqual(weightsOf(A), [1, 256], 'weights that one byte can’t hold are made smaller');
      assert.deepEqual(fixture.lookup('vx0', B), [], 'its group has gone');
      assert.equal(fixture.fdb.show('vx0').length, 3);
      fixture.fdb.setNexthops([{ id: 10, fdb: true }]);
      assert.deepEqual(fixture.lines(), ['02:00:00:00:00:09 192.0.2.1 self permanent']);
      assert.deepEqual(fixture.events, []);
    });

    test('a frame from a MAC that has a group is refused, whoever sent it', () => {
      fixture.fdb.apply({ op: 'add', dev: 'vx0', mac: A, nhid: 10, state: 'dynamic' });
      fixture.now += 5;
      for (const sender of ['192.0.2.1', '192.0.2.2', '192.0.2.77'])
        assert.equal(fixture.learn('vx0', A, sender), 'refused');
      assert.equal(fixture.fdb.get('vx0', A).updated, 0, 'it counts as heard of');
      assert.deepEqual(fixture.lookup('vx0', A), ['192.0.2.1', '192.0.2.2']);
      fixture.now += 300;
      assert.equal(fixture.fdb.age(1).removed, 1);
      assert.equal(fixture.learn('vx0', A, '192.0.2.77'), 'new');
      assert.equal(fixture.fdb.get('vx0', A).nhid, undefined, 'whatever entry had its place before');
    });

    test('a full table is a full table before a group is looked at', () => {
      for (const last of [1, 2, 3, 4])
        fixture.fdb.apply({ op: 'add', dev: 'vx1', mac: `02:00:00:00:00:0${last}`, nhid: 10 });
      const fifth = '02:00:00:00:00:05';
      assert.throws(() => withGroup(fifth, 99, 'add', 'vx1'), refusal('NO_SPACE', /No space left on device/));
      fixture.fdb.apply({ op: 'del', dev: 'vx1', mac: '02:00:00:00:00:04' });
      assert.throws(
        () => withGroup(fifth, 99, 'add', 'vx1'),
        refusal('NOT_FOUND', /Nexthop id does not exist/),
      );
      withGroup(fifth, 10, 'add', 'vx1');
    });

    test('rtnetlink’s nexthops and groups make what the FDB is told', () => {
      const nexthops = [
        { id: 1, fdb: true, family: AF_INET, gateway: '192.0.2.1' },
        { id: 2, fdb: true, family: AF_INET6, gateway: '2001:db8::1' },
        { id: 3, fdb: false, family: undefined, gateway: undefined },
      ];
      const members = [1, 3, 9, 2].map((id) => ({ id, weight: id }));
      assert.deepEqual(joinNexthops(nexthops, [{ id: 10, fdb: true, members }]), [
        { id: 1, fdb: true },
        { id: 2, fdb: true },
        { id: 3, fdb: false },
        {
          id: 10,
          fdb: true,
          members: [
            { id: 1, weight: 1, family: AF_INET, gateway: '192.0.2.1' },
            { id: 2, weight: 2, family: AF_INET6, gateway: '2001:db8::1' },
          ],
        },
      ]);
    });
  });
}
