/**
 * What the FDB learns from received frames, and how it forgets.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import {
  DEVICE_BYTES,
  DEVICE_DOWN,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICES_BASE,
  REMOTE_VNI_DEFAULT,
} from '../assembly/layout.ts';
import { readRemotes } from '../src/dataplane/fdb-record.ts';
import { BUILDS, loadEngine } from './support/engine.ts';
import { A, B, FdbFixture } from './support/fdb-fixture.ts';

for (const build of BUILDS) {
  describe(`fdb learning, ${build}`, () => {
    let fixture: FdbFixture;
    before(async () => {
      fixture = new FdbFixture(await loadEngine(build));
    });
    beforeEach(() => fixture.reset());

    describe('learning', () => {
      test('a new MAC goes to its sender', () => {
        assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'new');
        assert.deepEqual(fixture.fdb.show(), [
          { mac: A, ifname: 'vx0', dst: '192.0.2.2', used: 0, updated: 0, flags: ['self'], state: '' },
        ]);
        assert.equal(
          readRemotes(fixture.engine.view, fixture.engine.exports.fdbNext(1, 0))[0]!.vni,
          REMOTE_VNI_DEFAULT,
        );
        fixture.now += 5;
        assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'known');
        assert.deepEqual([fixture.fdb.get('vx0', A).updated, fixture.fdb.get('vx0', A).used], [0, 5]);
      });

      test('a MAC that moves takes the address along and nothing else', () => {
        fixture.apply('add', A, '192.0.2.2', {
          state: 'dynamic',
          extern_learn: true,
          port: 5000,
          vni: 77,
          via: 'v3',
        });
        assert.equal(fixture.learn('vx0', A, '192.0.2.9'), 'moved');
        assert.deepEqual(fixture.lines(), [`${A} 192.0.2.9 port 5000 vni 77 via v3 self extern_learn`]);
        assert.equal(
          fixture.learn('vx0', A, '192.0.2.9'),
          'known',
          'from elsewhere than "via" there is nothing to change',
        );
      });

      test('static and permanent entries stay, and count as updated', () => {
        for (const state of ['static', 'permanent'] as const) {
          fixture.apply('replace', A, '192.0.2.2', { state });
          fixture.now += 5;
          assert.equal(fixture.learn('vx0', A, '192.0.2.9'), 'refused');
          assert.equal(fixture.fdb.get('vx0', A).updated, 0);
          assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'known');
          assert.equal(fixture.learn('vx0', A, '192.0.2.2', 4), 'refused', 'through another interface');
        }
      });

      test('IPv6 senders, link-local ones with their interface', () => {
        assert.equal(fixture.learn('vx6', A, '2001:db8::1'), 'new');
        assert.equal(fixture.learn('vx6', A, '2001:db8::1'), 'known');
        assert.equal(fixture.learn('vx6', A, '2001:db8::2'), 'moved');
        assert.equal(fixture.learn('vx6', A, '2001:db9::2'), 'moved');
        assert.equal(fixture.learn('vx6', B, 'fe80::1', 2), 'new');
        assert.equal(fixture.learn('vx6', B, 'fe80::1', 2), 'known');
        assert.deepEqual(fixture.lines(), [`${B} fe80::1 via v2 self`, `${A} 2001:db9::2 self`]);
      });

      test('a device that is down learns nothing new', () => {
        const state = DEVICES_BASE + DEVICE_BYTES + DEVICE_STATE_OFFSET;
        fixture.engine.view.setUint32(state, DEVICE_DOWN, true);
        assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'down');
        fixture.engine.view.setUint32(state, DEVICE_UP, true);
        assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'new');
      });

      test('does not wait for a lock that stays taken, nor needs it for what is known', () => {
        fixture.learn('vx0', A, '192.0.2.2');
        fixture.engine.exports.fdbLock();
        assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'known');
        assert.equal(fixture.learn('vx0', A, '192.0.2.3'), 'later');
        assert.equal(fixture.learn('vx0', B, '192.0.2.3'), 'later');
        fixture.engine.exports.fdbUnlock();
        assert.equal(fixture.learn('vx0', B, '192.0.2.3'), 'new');
      });
    });

    describe('ageing', () => {
      test('takes what is dynamic after its time, use or no use', () => {
        fixture.learn('vx0', A, '192.0.2.2');
        fixture.apply('add', B, '192.0.2.2', { state: 'dynamic' });
        fixture.apply('add', '02:00:00:00:00:03', '192.0.2.2', { state: 'static' });
        fixture.apply('add', '02:00:00:00:00:04', '192.0.2.2');
        fixture.apply('add', '02:00:00:00:00:05', '192.0.2.2', { state: 'dynamic', extern_learn: true });
        fixture.now += 150;
        fixture.touch('vx0', A);
        fixture.learn('vx0', B, '192.0.2.2');
        fixture.now += 149;
        assert.deepEqual(fixture.fdb.age(1), { removed: 0, next: 1 });
        fixture.now += 1;
        assert.deepEqual(fixture.fdb.age(1), { removed: 1, next: 10 });
        fixture.now += 145;
        assert.deepEqual(fixture.fdb.age(1), { removed: 0, next: 5 });
        fixture.now += 1000;
        assert.deepEqual(fixture.fdb.age(1), { removed: 1, next: 10 });
        assert.deepEqual(
          fixture.fdb.show().map(({ mac }) => mac.slice(-1)),
          ['5', '4', '3'],
        );
      });

      test('an entry that a worker’s clock puts a second ahead is young', () => {
        fixture.now += 1;
        fixture.learn('vx1', A, '192.0.2.2');
        fixture.now -= 1;
        assert.deepEqual(fixture.fdb.age(2), { removed: 0, next: 4 });
        assert.equal(fixture.fdb.get('vx1', A).updated, 0);
      });
    });
  });
}
