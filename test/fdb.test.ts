/**
 * The FDB's commands, one case of the kernel's table after the other.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { FANOUT_MAX, FDB_STATE_OFFSET, HEADER_BASE, HEADER_FDB_LOCK_OFFSET } from '../assembly/layout.ts';
import { entryRecord } from '../src/dataplane/fdb-record.ts';
import type { FdbRequest } from '../src/types.ts';
import { BUILDS, loadEngine } from './support/engine.ts';
import { A, B, FdbFixture, GROUP, refusal, ZERO } from './support/fdb-fixture.ts';

for (const build of BUILDS) {
  describe(`fdb, ${build}`, () => {
    let fixture: FdbFixture;
    before(async () => {
      fixture = new FdbFixture(await loadEngine(build));
    });
    beforeEach(() => fixture.reset());

    describe('commands', () => {
      test('add creates once, with the defaults of the kernel', () => {
        fixture.apply('add', A, '192.0.2.2');
        assert.deepEqual(fixture.fdb.show('vx0'), [
          {
            mac: A,
            ifname: 'vx0',
            dst: '192.0.2.2',
            used: 0,
            updated: 0,
            flags: ['self'],
            state: 'permanent',
          },
        ]);
        for (const dst of ['192.0.2.2', '192.0.2.3']) {
          assert.throws(
            () => fixture.apply('add', A, dst),
            refusal('EXISTS', /02:00:00:00:00:01.*File exists/),
          );
        }
        assert.deepEqual(fixture.lookup('vx0', A), ['192.0.2.2']);
        assert.deepEqual(fixture.lookup('vx1', A), [], 'every device has a table of its own');
      });

      test('port, vni and via are printed when they are not the device’s', () => {
        fixture.apply('add', A, '192.0.2.2', {
          port: 5000,
          vni: 77,
          via: 'v3',
          state: 'dynamic',
          sticky: true,
        });
        fixture.apply('add', B, '192.0.2.2', {
          port: 8472,
          vni: 5,
          router: true,
          extern_learn: true,
          state: 'static',
        });
        assert.deepEqual(fixture.lines('vx0'), [
          `${B} 192.0.2.2 self router extern_learn static`,
          `${A} 192.0.2.2 port 5000 vni 77 via v3 self sticky`,
        ]);
        assert.deepEqual(Object.keys(fixture.fdb.get('vx0', A)), [
          ...['mac', 'ifname', 'dst', 'port', 'vni', 'viaIf', 'used', 'updated', 'flags', 'state'],
        ]);
      });

      test('append adds remotes to group MACs, in order and once', () => {
        for (const mac of [ZERO, GROUP, 'ff:ff:ff:ff:ff:ff']) {
          fixture.apply('append', mac, '192.0.2.2');
          fixture.apply('append', mac, '192.0.2.3');
          fixture.apply('append', mac, '192.0.2.2');
          fixture.apply('append', mac, '192.0.2.2', { port: 1 });
          assert.deepEqual(fixture.lookup('vx0', mac), ['192.0.2.2', '192.0.2.3', '192.0.2.2']);
          assert.deepEqual(fixture.lookup('vx0', mac, 2), ['192.0.2.2', '192.0.2.3']);
        }
      });

      test('append to a unicast MAC changes its state only', () => {
        fixture.apply('add', A, '192.0.2.2');
        fixture.apply('append', A, '192.0.2.3', { state: 'dynamic' });
        assert.deepEqual(fixture.lines(), [`${A} 192.0.2.2 self`]);
        fixture.apply('append', B, '192.0.2.4');
        assert.deepEqual(fixture.lookup('vx0', B), ['192.0.2.4']);
      });

      test('state and flags belong to the entry: one append turns all remotes dynamic', () => {
        fixture.apply('append', ZERO, '192.0.2.2');
        fixture.apply('append', ZERO, '192.0.2.3', { state: 'dynamic' });
        assert.deepEqual(fixture.lines(), [`${ZERO} 192.0.2.2 self`, `${ZERO} 192.0.2.3 self`]);
        fixture.now += 300;
        assert.equal(fixture.fdb.age(1).removed, 1);
      });

      test('replace creates or overwrites a unicast remote in full, and refuses groups', () => {
        fixture.apply('replace', A, '192.0.2.2', { port: 1, vni: 2, via: 'v3' });
        fixture.apply('replace', A, '192.0.2.3');
        assert.deepEqual(fixture.lines(), [`${A} 192.0.2.3 self permanent`]);
        assert.throws(
          () => fixture.apply('replace', GROUP, '192.0.2.2'),
          refusal('UNSUPPORTED', /Operation not supported/),
        );
        fixture.apply('append', GROUP, '192.0.2.2');
        assert.throws(
          () => fixture.apply('replace', GROUP, '192.0.2.3', { state: 'static' }),
          refusal('UNSUPPORTED', /Cannot replace non-unicast fdb entries\./),
        );
        assert.deepEqual(fixture.lines(), [
          `${GROUP} 192.0.2.2 self permanent`,
          `${A} 192.0.2.3 self permanent`,
        ]);
      });

      test('del takes the entry, or the remote that matches in full; no match is no error', () => {
        fixture.apply('append', ZERO, '192.0.2.2');
        fixture.apply('append', ZERO, '192.0.2.3', { via: 'v1' });
        fixture.apply('append', ZERO, '192.0.2.4');
        fixture.apply('del', ZERO, '192.0.2.3');
        fixture.apply('del', ZERO, '192.0.2.9');
        fixture.apply('del', ZERO, '2001:db8::1');
        assert.deepEqual(fixture.lookup('vx0', ZERO), ['192.0.2.2', '192.0.2.3', '192.0.2.4']);
        fixture.apply('del', ZERO, '192.0.2.2');
        assert.deepEqual(
          fixture.lookup('vx0', ZERO),
          ['192.0.2.3', '192.0.2.4'],
          'the first one of the list goes',
        );
        fixture.apply('del', ZERO, '192.0.2.3', { via: 'v1' });
        fixture.apply('del', ZERO, '192.0.2.4');
        assert.deepEqual(fixture.lines(), []);
        fixture.apply('append', ZERO, '192.0.2.2');
        fixture.apply('append', ZERO, '192.0.2.3');
        fixture.apply('del', ZERO);
        assert.throws(() => fixture.apply('del', ZERO), refusal('NOT_FOUND', /No such file or directory/));
      });

      test('get gives the first remote', () => {
        fixture.apply('append', ZERO, '192.0.2.2');
        fixture.apply('append', ZERO, '192.0.2.3');
        assert.equal(fixture.fdb.get('vx0', ZERO).dst, '192.0.2.2');
        assert.throws(() => fixture.fdb.get('vx0', A), refusal('NOT_FOUND', /Fdb entry not found/));
      });

      test('what cannot be right is refused and names the remedy', () => {
        const bad: [Partial<FdbRequest>, string, RegExp][] = [
          [{}, 'USAGE', /Invalid argument.*dst/],
          [{ dst: '192.0.2' }, 'USAGE', /"192\.0\.2" is not an IP address/],
          [{ dst: 'fe80::1%eth0' }, 'USAGE', /is not an IP address/],
          [{ dst: '2001:db8::1' }, 'UNSUPPORTED', /Address family not supported by protocol.*IPv4/],
          [{ dst: '192.0.2.2', mac: '02:00:00:00:00:0x' }, 'USAGE', /is not a MAC/],
          [{ dst: '192.0.2.2', port: 65536 }, 'USAGE', /port 65536/],
          [{ dst: '192.0.2.2', vni: 16777216 }, 'USAGE', /vni 16777216/],
          [{ dst: '192.0.2.2', via: 'nope' }, 'NOT_FOUND', /Cannot find device "nope"/],
          [{ dst: '192.0.2.2', dev: 'nope' }, 'NOT_FOUND', /Cannot find device "nope"/],
          [{ dst: '192.0.2.2', state: 'stale' as 'static' }, 'USAGE', /no state "stale"/],
        ];
        for (const [request, code, words] of bad) {
          assert.throws(
            () => fixture.fdb.apply({ op: 'add', dev: 'vx0', mac: A, ...request }),
            refusal(code, words),
          );
        }
        assert.deepEqual(fixture.fdb.show(), []);
        assert.equal(fixture.engine.view.getUint32(HEADER_BASE + HEADER_FDB_LOCK_OFFSET, true), 0);
      });

      test('an IPv6 device takes IPv6 remotes', () => {
        fixture.fdb.apply({ op: 'add', dev: 'vx6', mac: A, dst: '2001:DB8:0::1' });
        assert.equal(fixture.fdb.get('vx6', A).dst, '2001:db8::1');
        fixture.fdb.apply({ op: 'add', dev: 'vx6', mac: B, dst: '::' });
        assert.equal(fixture.fdb.get('vx6', B).dst, '::');
        assert.throws(
          () => fixture.fdb.apply({ op: 'replace', dev: 'vx6', mac: A, dst: '192.0.2.1' }),
          refusal('UNSUPPORTED', /IPv6/),
        );
      });

      test('updated moves with a change, with "use", and not without', () => {
        fixture.apply('add', A, '192.0.2.2');
        const updated = () => fixture.fdb.get('vx0', A).updated;
        fixture.now += 2;
        fixture.apply('replace', A, '192.0.2.2');
        assert.equal(updated(), 2);
        fixture.apply('replace', A, '192.0.2.3');
        assert.equal(updated(), 0);
        fixture.now += 2;
        fixture.apply('replace', A, '192.0.2.3', { state: 'static' });
        assert.equal(updated(), 0);
        fixture.now += 2;
        fixture.apply('replace', A, '192.0.2.3', { state: 'static', use: true });
        assert.equal(updated(), 0);
        assert.equal(fixture.fdb.get('vx0', A).used, 6);
        fixture.touch('vx0', A);
        assert.equal(fixture.fdb.get('vx0', A).used, 0);
      });

      test('extern_learn does not take over what a command made, but what was learned', () => {
        fixture.apply('add', A, '192.0.2.2', { state: 'static' });
        fixture.apply('replace', A, '192.0.2.4', { state: 'dynamic', extern_learn: true });
        assert.deepEqual(fixture.lines(), [`${A} 192.0.2.4 self static`]);
        fixture.learn('vx0', B, '192.0.2.2');
        fixture.apply('replace', B, '192.0.2.2', { state: 'static', extern_learn: true });
        assert.equal(fixture.lines()[0], `${B} 192.0.2.2 self extern_learn static`);
      });

      test('maxaddress counts every entry', () => {
        for (let last = 1; last <= 4; last++) {
          fixture.fdb.apply({ op: 'add', dev: 'vx1', mac: `02:00:00:00:00:0${last}`, dst: '192.0.2.2' });
        }
        assert.throws(
          () => fixture.fdb.apply({ op: 'append', dev: 'vx1', mac: ZERO, dst: '192.0.2.2' }),
          refusal('NO_SPACE', /No space left on device.*maxaddress 4/),
        );
        assert.equal(fixture.learn('vx1', '02:00:00:00:00:05', '192.0.2.2'), 'full');
        fixture.fdb.apply({ op: 'replace', dev: 'vx1', mac: A, dst: '192.0.2.3' });
        fixture.fdb.apply({ op: 'del', dev: 'vx1', mac: A });
        assert.equal(fixture.learn('vx1', '02:00:00:00:00:05', '192.0.2.2'), 'new');
      });

      test('a MAC has at most as many remotes as a worker can fan out to', () => {
        for (let n = 0; n < FANOUT_MAX; n++) fixture.apply('append', ZERO, `10.0.${n >> 8}.${n & 255}`);
        assert.throws(
          () => fixture.apply('append', ZERO, '10.1.0.0', { state: 'static' }),
          refusal('NO_SPACE', /1024 remotes/),
        );
        assert.equal(fixture.lookup('vx0', ZERO, FANOUT_MAX).length, FANOUT_MAX);
        assert.equal(fixture.fdb.get('vx0', ZERO).state, 'permanent');
      });
    });

    describe('the default remote', () => {
      const moveTo = (from?: string, to?: string) => fixture.fdb.setDefaultRemote(1, from, to, 0);

      test('is an all-zeros entry that the device makes', () => {
        moveTo(undefined, '192.0.2.50');
        assert.deepEqual(fixture.lines(), [`${ZERO} 192.0.2.50 self permanent`]);
        const entry = fixture.engine.exports.fdbFindZero(1);
        assert.equal(fixture.engine.view.getUint16(entryRecord(entry) + FDB_STATE_OFFSET, true), 0x82);
        assert.equal(fixture.engine.exports.fdbFindZero(2), -1);
      });

      test('moves by append and del, sets the entry’s state, and leaves what was appended by hand', () => {
        moveTo(undefined, '192.0.2.50');
        fixture.apply('append', ZERO, '192.0.2.51', { state: 'dynamic' });
        moveTo('192.0.2.50', '192.0.2.52');
        assert.deepEqual(fixture.lines(), [
          `${ZERO} 192.0.2.51 self permanent`,
          `${ZERO} 192.0.2.52 self permanent`,
        ]);
        moveTo('192.0.2.52', '192.0.2.51');
        assert.deepEqual(fixture.lookup('vx0', ZERO), ['192.0.2.51']);
        moveTo('192.0.2.51', undefined);
        assert.deepEqual(fixture.lines(), []);
        moveTo('192.0.2.51', '0.0.0.0');
        assert.deepEqual(fixture.lines(), []);
      });

      test('once flushed comes back with another remote only', () => {
        moveTo(undefined, '192.0.2.50');
        assert.equal(fixture.fdb.flush({ dev: 'vx0' }), 1);
        moveTo('192.0.2.50', '192.0.2.50');
        assert.deepEqual(fixture.lines(), []);
        moveTo('192.0.2.50', '192.0.2.51');
        assert.deepEqual(fixture.lookup('vx0', ZERO), ['192.0.2.51']);
      });

      test('of the wrong family is refused', () => {
        assert.throws(() => moveTo(undefined, '::1'), refusal('UNSUPPORTED', /Address family not supported/));
      });
    });

    describe('flush', () => {
      beforeEach(() => {
        fixture.fdb.setDefaultRemote(1, undefined, '192.0.2.50', 0);
        fixture.apply('append', ZERO, '192.0.2.51', { port: 1 });
        fixture.fdb.setDefaultRemote(1, '192.0.2.50', '192.0.2.52', 0);
        fixture.apply('add', A, '192.0.2.2', { vni: 9 });
        fixture.apply('add', B, '192.0.2.2', { state: 'static', router: true });
        fixture.learn('vx0', '02:00:00:00:00:03', '192.0.2.3');
        fixture.learn('vx1', '02:00:00:00:00:03', '192.0.2.3');
      });

      const left = (filter: object) => {
        fixture.fdb.flush({ dev: 'vx0', ...filter });
        assert.equal(fixture.fdb.show('vx1').length, 1, 'other devices keep theirs');
        return fixture.fdb.show('vx0').map(({ mac, dst = '' }) => `${mac.slice(-1)} ${dst.slice(8)}`);
      };
      const all = ['3 3', '2 2', '1 2', '0 51', '0 52'];

      const cases: [object, string[]][] = [
        [{}, []],
        [{ permanent: true }, ['3 3', '2 2']],
        [{ permanent: false }, ['1 2', '0 51', '0 52']],
        [{ static: true }, ['3 3', '1 2', '0 51', '0 52']],
        [{ static: false }, ['2 2', '1 2']],
        [{ dynamic: true }, ['2 2', '1 2', '0 51', '0 52']],
        [{ dynamic: false }, ['3 3', '0 51', '0 52']],
        [{ router: true }, ['3 3', '1 2', '0 51', '0 52']],
        [{ router: false }, ['2 2']],
        [{ extern_learn: true }, all],
        [{ dst: '192.0.2.2' }, ['3 3', '0 51', '0 52']],
        [{ dst: '192.0.2.51' }, ['3 3', '2 2', '1 2', '0 52']],
        [{ port: 8472 }, ['0 51']],
        [{ port: 1 }, ['3 3', '2 2', '1 2', '0 52']],
        [{ vni: 5 }, ['1 2']],
        [{ vni: 9, dst: '192.0.2.2' }, ['3 3', '2 2', '0 51', '0 52']],
        [{ static: true, dst: '192.0.2.3' }, all],
      ];
      for (const [filter, keeps] of cases) {
        test(JSON.stringify(filter), () => assert.deepEqual(left(filter), keeps));
      }

      test('counts the remotes that went', () => assert.equal(fixture.fdb.flush({ dev: 'vx0' }), 5));

      test('going down takes what is dynamic, but never the default remotes', () => {
        fixture.apply('append', ZERO, '192.0.2.53', { state: 'dynamic' });
        fixture.apply('add', GROUP, '192.0.2.2', { state: 'dynamic', extern_learn: true });
        fixture.fdb.flushDown(1);
        assert.deepEqual(
          fixture.fdb.show('vx0').map(({ mac }) => mac),
          [B, A, ZERO, ZERO, ZERO],
        );
      });
    });
  });
}
