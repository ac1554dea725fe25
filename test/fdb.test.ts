/**
 * The FDB: the engine's half (look up, collect, learn) and the host's (the kernel's commands),
 * alone, against a naive reference, at its limits, and with two threads at once.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import {
  AF_INET,
  AF_INET6,
  DEVICE_AGEING_OFFSET,
  DEVICE_BYTES,
  DEVICE_DOWN,
  DEVICE_FAMILY_OFFSET,
  DEVICE_FDB_COUNT_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_UP,
  DEVICE_VNI_OFFSET,
  DEVICES_BASE,
  FANOUT_MAX,
  FDB_BUCKET_BYTES,
  FDB_BUCKET_COUNT,
  FDB_BUCKETS_BASE,
  FDB_BUCKETS_BYTES,
  FDB_CAPACITY,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_FDB_LOCK_OFFSET,
  HEADER_REMOTE_FREE_OFFSET,
  HEADER_REMOTE_FRESH_OFFSET,
  REMOTE_ADDRESS_OFFSET,
  REMOTE_BYTES,
  REMOTE_COUNT,
  REMOTE_NEXT_OFFSET,
  REMOTE_VNI_DEFAULT,
  REMOTES_BASE,
} from '../assembly/layout.ts';
import { compileEngine } from '../src/dataplane/engine.ts';
import { Fdb } from '../src/dataplane/fdb.ts';
import { entryRecord, firstRemote, readRemotes, writeRemote } from '../src/dataplane/fdb-record.ts';
import { formatMac, type Mac, parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';
import type { FdbRequest } from '../src/types.ts';
import { BUILDS, loadEngine, type TestEngine } from './support/engine.ts';
import { FdbReference, type ReferenceDevice } from './support/fdb-reference.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';
const GROUP = '01:00:5e:00:00:01';
const ZERO = '00:00:00:00:00:00';

/** assembly/fdb.ts: LEARN_*, by their numbers. */
const VERDICTS = ['known', 'new', 'moved', 'refused', 'full', 'later'];

const VX0: ReferenceDevice = { name: 'vx0', vni: 5, port: 8472, limit: 0, ageing: 300 };
const VX1: ReferenceDevice = { name: 'vx1', vni: 6, port: 4789, limit: 4, ageing: 3 };
const NAMES = ['', 'vx0', 'vx1', 'vx6'];

for (const build of BUILDS) {
  describe(`fdb, ${build}`, () => {
    let engine: TestEngine;
    let fdb: Fdb;
    let now = 1000;

    before(async () => {
      engine = await loadEngine(build);
      setDevice(1, VX0, AF_INET);
      setDevice(2, VX1, AF_INET);
      setDevice(3, { ...VX0, name: 'vx6', vni: 7 }, AF_INET6);
      fdb = new Fdb({
        view: engine.view,
        exports: engine.exports,
        deviceIndex: (name) => Math.max(0, NAMES.indexOf(name)),
        deviceName: (index) => NAMES[index]!,
        ifindex: (name) => (/^v\d$/.test(name) ? Number(name[1]) : 0),
        ifname: (index) => `v${index}`,
        now: () => now,
      });
    });

    beforeEach(() => {
      for (const device of [1, 2, 3]) fdb.flushDevice(device);
      now = 1000;
    });

    function setDevice(index: number, { vni, port, limit, ageing }: ReferenceDevice, family: number): void {
      const record = DEVICES_BASE + index * DEVICE_BYTES;
      engine.view.setUint32(record + DEVICE_STATE_OFFSET, DEVICE_UP, true);
      engine.view.setUint32(record + DEVICE_VNI_OFFSET, vni, true);
      engine.view.setUint8(record + DEVICE_FAMILY_OFFSET, family);
      engine.view.setUint16(record + DEVICE_PORT_OFFSET, port, true);
      engine.view.setUint32(record + DEVICE_FDB_LIMIT_OFFSET, limit, true);
      engine.view.setUint32(record + DEVICE_AGEING_OFFSET, ageing, true);
    }

    // Two bytes behind the MAC, as in a frame, which must not count.
    function macAt({ low, high }: Mac): number {
      engine.view.setUint32(engine.scratch, low, true);
      engine.view.setUint32(engine.scratch + 4, (0xbeef0000 | high) >>> 0, true);
      return engine.scratch;
    }

    function learn(dev: string, mac: string, sender: string, ifindex = 0): string {
      const { family, bytes } = parseAddress(sender)!;
      const at = engine.scratch + 64;
      engine.bytes.fill(0xee, at, at + 28);
      engine.view.setUint16(at, family, true);
      engine.bytes.set(family === AF_INET ? bytes.subarray(0, 4) : bytes, at + (family === AF_INET ? 4 : 8));
      const verdict = engine.exports.fdbLearn(NAMES.indexOf(dev), macAt(parseMac(mac)!), at, ifindex, now);
      return VERDICTS[verdict]!;
    }

    /** Addresses of the remotes, as encap would send to them. */
    function lookup(dev: string, mac: string, max = 64): string[] {
      const device = NAMES.indexOf(dev);
      const at = macAt(parseMac(mac)!);
      const entry = engine.exports.fdbFind(device, at);
      if (entry < 0) return [];
      const into = engine.scratch + 4096;
      const count = engine.exports.fdbCollect(entry, device, at, into, max);
      return Array.from({ length: count }, (_, position) => {
        const address = into + position * REMOTE_BYTES + REMOTE_ADDRESS_OFFSET;
        return [...engine.bytes.subarray(address, address + 4)].join('.');
      });
    }

    function touch(dev: string, mac: string): void {
      const entry = engine.exports.fdbFind(NAMES.indexOf(dev), macAt(parseMac(mac)!));
      if (entry >= 0) engine.exports.fdbTouch(entry, now);
    }

    function apply(op: FdbRequest['op'], mac: string, dst?: string, more: Partial<FdbRequest> = {}): void {
      fdb.apply({ op, dev: 'vx0', mac, ...(dst !== undefined && { dst }), ...more });
    }

    function refusal(code: string, words: RegExp): (error: unknown) => boolean {
      return (error) => {
        const { code: actual, message } = error as { code?: string; message: string };
        assert.equal(actual, code);
        assert.match(message, words);
        assert.ok(!message.includes('\n'));
        return true;
      };
    }

    const lines = (dev?: string) =>
      fdb
        .show(dev)
        .map(({ mac, dst, port, vni, viaIf, flags, state }) =>
          [mac, dst, port && `port ${port}`, vni && `vni ${vni}`, viaIf && `via ${viaIf}`, ...flags, state]
            .filter(Boolean)
            .join(' '),
        );

    describe('commands', () => {
      test('add creates once, with the defaults of the kernel', () => {
        apply('add', A, '192.0.2.2');
        assert.deepEqual(fdb.show('vx0'), [
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
          assert.throws(() => apply('add', A, dst), refusal('EXISTS', /02:00:00:00:00:01.*File exists/));
        }
        assert.deepEqual(lookup('vx0', A), ['192.0.2.2']);
        assert.deepEqual(lookup('vx1', A), [], 'every device has a table of its own');
      });

      test('port, vni and via are printed when they are not the device’s', () => {
        apply('add', A, '192.0.2.2', { port: 5000, vni: 77, via: 'v3', state: 'dynamic', sticky: true });
        apply('add', B, '192.0.2.2', {
          port: 8472,
          vni: 5,
          router: true,
          extern_learn: true,
          state: 'static',
        });
        assert.deepEqual(lines('vx0'), [
          `${B} 192.0.2.2 self router extern_learn static`,
          `${A} 192.0.2.2 port 5000 vni 77 via v3 self sticky`,
        ]);
        assert.deepEqual(Object.keys(fdb.get('vx0', A)), [
          ...['mac', 'ifname', 'dst', 'port', 'vni', 'viaIf', 'used', 'updated', 'flags', 'state'],
        ]);
      });

      test('append adds remotes to group MACs, in order and once', () => {
        for (const mac of [ZERO, GROUP, 'ff:ff:ff:ff:ff:ff']) {
          apply('append', mac, '192.0.2.2');
          apply('append', mac, '192.0.2.3');
          apply('append', mac, '192.0.2.2');
          apply('append', mac, '192.0.2.2', { port: 1 });
          assert.deepEqual(lookup('vx0', mac), ['192.0.2.2', '192.0.2.3', '192.0.2.2']);
          assert.deepEqual(lookup('vx0', mac, 2), ['192.0.2.2', '192.0.2.3']);
        }
      });

      test('append to a unicast MAC changes its state only', () => {
        apply('add', A, '192.0.2.2');
        apply('append', A, '192.0.2.3', { state: 'dynamic' });
        assert.deepEqual(lines(), [`${A} 192.0.2.2 self`]);
        apply('append', B, '192.0.2.4');
        assert.deepEqual(lookup('vx0', B), ['192.0.2.4']);
      });

      test('state and flags belong to the entry: one append turns all remotes dynamic', () => {
        apply('append', ZERO, '192.0.2.2');
        apply('append', ZERO, '192.0.2.3', { state: 'dynamic' });
        assert.deepEqual(lines(), [`${ZERO} 192.0.2.2 self`, `${ZERO} 192.0.2.3 self`]);
        now += 300;
        assert.equal(fdb.age(1).removed, 1);
      });

      test('replace creates or overwrites a unicast remote in full, and refuses groups', () => {
        apply('replace', A, '192.0.2.2', { port: 1, vni: 2, via: 'v3' });
        apply('replace', A, '192.0.2.3');
        assert.deepEqual(lines(), [`${A} 192.0.2.3 self permanent`]);
        assert.throws(
          () => apply('replace', GROUP, '192.0.2.2'),
          refusal('UNSUPPORTED', /Operation not supported/),
        );
        apply('append', GROUP, '192.0.2.2');
        assert.throws(
          () => apply('replace', GROUP, '192.0.2.3', { state: 'static' }),
          refusal('UNSUPPORTED', /Cannot replace non-unicast fdb entries\./),
        );
        assert.deepEqual(lines(), [`${GROUP} 192.0.2.2 self permanent`, `${A} 192.0.2.3 self permanent`]);
      });

      test('del takes the entry, or the remote that matches in full; no match is no error', () => {
        apply('append', ZERO, '192.0.2.2');
        apply('append', ZERO, '192.0.2.3', { via: 'v1' });
        apply('append', ZERO, '192.0.2.4');
        apply('del', ZERO, '192.0.2.3');
        apply('del', ZERO, '192.0.2.9');
        apply('del', ZERO, '2001:db8::1');
        assert.deepEqual(lookup('vx0', ZERO), ['192.0.2.2', '192.0.2.3', '192.0.2.4']);
        apply('del', ZERO, '192.0.2.2');
        assert.deepEqual(lookup('vx0', ZERO), ['192.0.2.3', '192.0.2.4'], 'the first one of the list goes');
        apply('del', ZERO, '192.0.2.3', { via: 'v1' });
        apply('del', ZERO, '192.0.2.4');
        assert.deepEqual(lines(), []);
        apply('append', ZERO, '192.0.2.2');
        apply('append', ZERO, '192.0.2.3');
        apply('del', ZERO);
        assert.throws(() => apply('del', ZERO), refusal('NOT_FOUND', /No such file or directory/));
      });

      test('get gives the first remote', () => {
        apply('append', ZERO, '192.0.2.2');
        apply('append', ZERO, '192.0.2.3');
        assert.equal(fdb.get('vx0', ZERO).dst, '192.0.2.2');
        assert.throws(() => fdb.get('vx0', A), refusal('NOT_FOUND', /Fdb entry not found/));
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
          assert.throws(() => fdb.apply({ op: 'add', dev: 'vx0', mac: A, ...request }), refusal(code, words));
        }
        assert.deepEqual(fdb.show(), []);
        assert.equal(engine.view.getUint32(HEADER_BASE + HEADER_FDB_LOCK_OFFSET, true), 0);
      });

      test('an IPv6 device takes IPv6 remotes', () => {
        fdb.apply({ op: 'add', dev: 'vx6', mac: A, dst: '2001:DB8:0::1' });
        assert.equal(fdb.get('vx6', A).dst, '2001:db8::1');
        fdb.apply({ op: 'add', dev: 'vx6', mac: B, dst: '::' });
        assert.equal(fdb.get('vx6', B).dst, '::');
        assert.throws(
          () => fdb.apply({ op: 'replace', dev: 'vx6', mac: A, dst: '192.0.2.1' }),
          refusal('UNSUPPORTED', /IPv6/),
        );
      });

      test('updated moves with a change, with "use", and not without', () => {
        apply('add', A, '192.0.2.2');
        const updated = () => fdb.get('vx0', A).updated;
        now += 2;
        apply('replace', A, '192.0.2.2');
        assert.equal(updated(), 2);
        apply('replace', A, '192.0.2.3');
        assert.equal(updated(), 0);
        now += 2;
        apply('replace', A, '192.0.2.3', { state: 'static' });
        assert.equal(updated(), 0);
        now += 2;
        apply('replace', A, '192.0.2.3', { state: 'static', use: true });
        assert.equal(updated(), 0);
        assert.equal(fdb.get('vx0', A).used, 6);
        touch('vx0', A);
        assert.equal(fdb.get('vx0', A).used, 0);
      });

      test('extern_learn does not take over what a command made, but what was learned', () => {
        apply('add', A, '192.0.2.2', { state: 'static' });
        apply('replace', A, '192.0.2.4', { state: 'dynamic', extern_learn: true });
        assert.deepEqual(lines(), [`${A} 192.0.2.4 self static`]);
        learn('vx0', B, '192.0.2.2');
        apply('replace', B, '192.0.2.2', { state: 'static', extern_learn: true });
        assert.equal(lines()[0], `${B} 192.0.2.2 self extern_learn static`);
      });

      test('maxaddress counts every entry', () => {
        for (let last = 1; last <= 4; last++) {
          fdb.apply({ op: 'add', dev: 'vx1', mac: `02:00:00:00:00:0${last}`, dst: '192.0.2.2' });
        }
        assert.throws(
          () => fdb.apply({ op: 'append', dev: 'vx1', mac: ZERO, dst: '192.0.2.2' }),
          refusal('NO_SPACE', /No space left on device.*maxaddress 4/),
        );
        assert.equal(learn('vx1', '02:00:00:00:00:05', '192.0.2.2'), 'full');
        fdb.apply({ op: 'replace', dev: 'vx1', mac: A, dst: '192.0.2.3' });
        fdb.apply({ op: 'del', dev: 'vx1', mac: A });
        assert.equal(learn('vx1', '02:00:00:00:00:05', '192.0.2.2'), 'new');
      });

      test('a MAC has at most as many remotes as a worker can fan out to', () => {
        for (let n = 0; n < FANOUT_MAX; n++) apply('append', ZERO, `10.0.${n >> 8}.${n & 255}`);
        assert.throws(
          () => apply('append', ZERO, '10.1.0.0', { state: 'static' }),
          refusal('NO_SPACE', /1024 remotes/),
        );
        assert.equal(lookup('vx0', ZERO, FANOUT_MAX).length, FANOUT_MAX);
        assert.equal(fdb.get('vx0', ZERO).state, 'permanent');
      });
    });

    describe('the default remote', () => {
      const moveTo = (from?: string, to?: string) => fdb.setDefaultRemote(1, from, to, 0);

      test('is an all-zeros entry that the device makes', () => {
        moveTo(undefined, '192.0.2.50');
        assert.deepEqual(lines(), [`${ZERO} 192.0.2.50 self permanent`]);
        const entry = engine.exports.fdbFindZero(1);
        assert.equal(engine.view.getUint16(entryRecord(entry) + 4, true), 0x82);
        assert.equal(engine.exports.fdbFindZero(2), -1);
      });

      test('moves by append and del, sets the entry’s state, and leaves what was appended by hand', () => {
        moveTo(undefined, '192.0.2.50');
        apply('append', ZERO, '192.0.2.51', { state: 'dynamic' });
        moveTo('192.0.2.50', '192.0.2.52');
        assert.deepEqual(lines(), [`${ZERO} 192.0.2.51 self permanent`, `${ZERO} 192.0.2.52 self permanent`]);
        moveTo('192.0.2.52', '192.0.2.51');
        assert.deepEqual(lookup('vx0', ZERO), ['192.0.2.51']);
        moveTo('192.0.2.51', undefined);
        assert.deepEqual(lines(), []);
        moveTo('192.0.2.51', '0.0.0.0');
        assert.deepEqual(lines(), []);
      });

      test('once flushed comes back with another remote only', () => {
        moveTo(undefined, '192.0.2.50');
        assert.equal(fdb.flush({ dev: 'vx0' }), 1);
        moveTo('192.0.2.50', '192.0.2.50');
        assert.deepEqual(lines(), []);
        moveTo('192.0.2.50', '192.0.2.51');
        assert.deepEqual(lookup('vx0', ZERO), ['192.0.2.51']);
      });

      test('of the wrong family is refused', () => {
        assert.throws(() => moveTo(undefined, '::1'), refusal('UNSUPPORTED', /Address family not supported/));
      });
    });

    describe('flush', () => {
      beforeEach(() => {
        fdb.setDefaultRemote(1, undefined, '192.0.2.50', 0);
        apply('append', ZERO, '192.0.2.51', { port: 1 });
        fdb.setDefaultRemote(1, '192.0.2.50', '192.0.2.52', 0);
        apply('add', A, '192.0.2.2', { vni: 9 });
        apply('add', B, '192.0.2.2', { state: 'static', router: true });
        learn('vx0', '02:00:00:00:00:03', '192.0.2.3');
        learn('vx1', '02:00:00:00:00:03', '192.0.2.3');
      });

      const left = (filter: object) => {
        fdb.flush({ dev: 'vx0', ...filter });
        assert.equal(fdb.show('vx1').length, 1, 'other devices keep theirs');
        return fdb.show('vx0').map(({ mac, dst }) => `${mac.slice(-1)} ${dst.slice(8)}`);
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

      test('counts the remotes that went', () => assert.equal(fdb.flush({ dev: 'vx0' }), 5));

      test('going down takes what is dynamic, but never the default remotes', () => {
        apply('append', ZERO, '192.0.2.53', { state: 'dynamic' });
        apply('add', GROUP, '192.0.2.2', { state: 'dynamic', extern_learn: true });
        fdb.flushDown(1);
        assert.deepEqual(
          fdb.show('vx0').map(({ mac }) => mac),
          [B, A, ZERO, ZERO, ZERO],
        );
      });
    });

    describe('learning', () => {
      test('a new MAC goes to its sender', () => {
        assert.equal(learn('vx0', A, '192.0.2.2'), 'new');
        assert.deepEqual(fdb.show(), [
          { mac: A, ifname: 'vx0', dst: '192.0.2.2', used: 0, updated: 0, flags: ['self'], state: '' },
        ]);
        assert.equal(readRemotes(engine.view, engine.exports.fdbNext(1, 0))[0]!.vni, REMOTE_VNI_DEFAULT);
        now += 5;
        assert.equal(learn('vx0', A, '192.0.2.2'), 'known');
        assert.deepEqual([fdb.get('vx0', A).updated, fdb.get('vx0', A).used], [0, 5]);
      });

      test('a MAC that moves takes the address along and nothing else', () => {
        apply('add', A, '192.0.2.2', {
          state: 'dynamic',
          extern_learn: true,
          port: 5000,
          vni: 77,
          via: 'v3',
        });
        assert.equal(learn('vx0', A, '192.0.2.9'), 'moved');
        assert.deepEqual(lines(), [`${A} 192.0.2.9 port 5000 vni 77 via v3 self extern_learn`]);
        assert.equal(
          learn('vx0', A, '192.0.2.9'),
          'known',
          'from elsewhere than "via" there is nothing to change',
        );
      });

      test('static and permanent entries stay, and count as updated', () => {
        for (const state of ['static', 'permanent'] as const) {
          apply('replace', A, '192.0.2.2', { state });
          now += 5;
          assert.equal(learn('vx0', A, '192.0.2.9'), 'refused');
          assert.equal(fdb.get('vx0', A).updated, 0);
          assert.equal(learn('vx0', A, '192.0.2.2'), 'known');
          assert.equal(learn('vx0', A, '192.0.2.2', 4), 'refused', 'through another interface');
        }
      });

      test('IPv6 senders, link-local ones with their interface', () => {
        assert.equal(learn('vx6', A, '2001:db8::1'), 'new');
        assert.equal(learn('vx6', A, '2001:db8::1'), 'known');
        assert.equal(learn('vx6', A, '2001:db8::2'), 'moved');
        assert.equal(learn('vx6', A, '2001:db9::2'), 'moved');
        assert.equal(learn('vx6', B, 'fe80::1', 2), 'new');
        assert.equal(learn('vx6', B, 'fe80::1', 2), 'known');
        assert.deepEqual(lines(), [`${B} fe80::1 via v2 self`, `${A} 2001:db9::2 self`]);
      });

      test('a device that is down learns nothing new', () => {
        const state = DEVICES_BASE + DEVICE_BYTES + DEVICE_STATE_OFFSET;
        engine.view.setUint32(state, DEVICE_DOWN, true);
        assert.equal(learn('vx0', A, '192.0.2.2'), 'later');
        engine.view.setUint32(state, DEVICE_UP, true);
        assert.equal(learn('vx0', A, '192.0.2.2'), 'new');
      });

      test('does not wait for a lock that stays taken, nor needs it for what is known', () => {
        learn('vx0', A, '192.0.2.2');
        engine.exports.fdbLock();
        assert.equal(learn('vx0', A, '192.0.2.2'), 'known');
        assert.equal(learn('vx0', A, '192.0.2.3'), 'later');
        assert.equal(learn('vx0', B, '192.0.2.3'), 'later');
        engine.exports.fdbUnlock();
        assert.equal(learn('vx0', B, '192.0.2.3'), 'new');
      });
    });

    describe('ageing', () => {
      test('takes what is dynamic after its time, use or no use', () => {
        learn('vx0', A, '192.0.2.2');
        apply('add', B, '192.0.2.2', { state: 'dynamic' });
        apply('add', '02:00:00:00:00:03', '192.0.2.2', { state: 'static' });
        apply('add', '02:00:00:00:00:04', '192.0.2.2');
        apply('add', '02:00:00:00:00:05', '192.0.2.2', { state: 'dynamic', extern_learn: true });
        now += 150;
        touch('vx0', A);
        learn('vx0', B, '192.0.2.2');
        now += 149;
        assert.deepEqual(fdb.age(1), { removed: 0, next: 1 });
        now += 1;
        assert.deepEqual(fdb.age(1), { removed: 1, next: 10 });
        now += 145;
        assert.deepEqual(fdb.age(1), { removed: 0, next: 5 });
        now += 1000;
        assert.deepEqual(fdb.age(1), { removed: 1, next: 10 });
        assert.deepEqual(
          fdb.show().map(({ mac }) => mac.slice(-1)),
          ['5', '4', '3'],
        );
      });

      test('an entry that a worker’s clock puts a second ahead is young', () => {
        now += 1;
        learn('vx1', A, '192.0.2.2');
        now -= 1;
        assert.deepEqual(fdb.age(2), { removed: 0, next: 4 });
        assert.equal(fdb.get('vx1', A).updated, 0);
      });
    });

    describe('the table', () => {
      const passed = () => {
        let sum = 0;
        for (let at = 0; at < FDB_BUCKETS_BYTES; at += FDB_BUCKET_BYTES) {
          sum += engine.view.getUint32(FDB_BUCKETS_BASE + at, true);
        }
        return sum;
      };

      /** Remotes of the pool that lie in the list of free ones, against all ever handed out. */
      const pool = () => {
        const fresh = engine.view.getUint32(HEADER_BASE + HEADER_REMOTE_FRESH_OFFSET, true);
        const free = new Set<number>();
        let link = engine.view.getUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, true);
        while (link !== 0 && !free.has(link)) {
          free.add(link);
          link = engine.view.getUint32(REMOTES_BASE + (link - 1) * REMOTE_BYTES + REMOTE_NEXT_OFFSET, true);
        }
        return { fresh, free: free.size };
      };

      /** Unicast MACs of one home bucket: a reservation that isn't published tells where a MAC would lie. */
      const neighbours = (count: number): string[] => {
        const found: string[] = [];
        let bucket = -1;
        engine.exports.fdbLock();
        for (let n = 0; found.length < count; n++) {
          const mac = { low: ((n << 8) | 2) >>> 0, high: n >>> 24 };
          const home = engine.exports.fdbInsert(1, mac.low, mac.high, 0) >> 3;
          if (bucket < 0) bucket = home;
          if (home === bucket) found.push(formatMac(mac));
        }
        engine.exports.fdbUnlock();
        return found;
      };

      const randomMac = (n: number): Mac => {
        const mixed = Math.imul(n, 0x9e3779b1);
        return { low: ((mixed & ~0xff) | 2) >>> 0, high: n & 0xffff };
      };

      test('takes FDB_CAPACITY entries, refuses one more, and gives all room back', () => {
        const { fdbInsert, fdbAddRemote, fdbPublish, fdbErase, fdbFind, fdbLock, fdbUnlock } = engine.exports;
        fdbLock();
        for (let n = 0; n < FDB_CAPACITY; n++) {
          const { low, high } = randomMac(n);
          const entry = fdbInsert(10 + (n % 200), low, high, now);
          assert.ok(entry >= 0, `entry ${n}`);
          fdbAddRemote(entry);
          fdbPublish(entry);
        }
        fdbUnlock();
        assert.equal(engine.view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true), FDB_CAPACITY);
        assert.ok(passed() > 0);
        assert.equal(learn('vx0', A, '192.0.2.2'), 'full');
        assert.throws(
          () => apply('add', A, '192.0.2.2'),
          refusal('NO_SPACE', /No space left on device.*91750 of 91750/),
        );
        for (let n = 0; n < FDB_CAPACITY; n++) {
          const at = macAt(randomMac(n));
          const entry = fdbFind(10 + (n % 200), at);
          assert.ok(entry >= 0, `entry ${n}`);
          assert.equal(fdbFind(9, at), -1);
          fdbLock();
          fdbErase(entry);
          fdbUnlock();
          assert.equal(fdbFind(10 + (n % 200), at), -1);
        }
        assert.equal(engine.view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true), 0);
        assert.equal(
          engine.view.getUint32(DEVICES_BASE + 10 * DEVICE_BYTES + DEVICE_FDB_COUNT_OFFSET, true),
          0,
        );
        assert.equal(passed(), 0);
      });

      test('refuses a remote when the pool is empty, and changes nothing', () => {
        const group = (n: number) => `03:00:00:00:00:${n.toString(16).padStart(2, '0')}`;
        engine.exports.fdbLock();
        const entry = engine.exports.fdbInsert(1, 3, 0, now);
        for (let n = 0; n <= REMOTE_COUNT - 1; n++)
          assert.ok(engine.exports.fdbAddRemote(entry) > 0 || n < 0);
        engine.exports.fdbPublish(entry);
        engine.exports.fdbUnlock();
        apply('append', group(1), '192.0.2.1');
        apply('append', group(1), '192.0.2.2');
        assert.throws(
          () => apply('append', group(1), '192.0.2.3', { state: 'static' }),
          refusal('NO_SPACE', /remove some first/),
        );
        assert.equal(fdb.get('vx0', group(1)).state, 'permanent');
        assert.deepEqual(lookup('vx0', group(1)), ['192.0.2.1', '192.0.2.2']);
        fdb.flushDevice(1);
        assert.deepEqual(pool(), { fresh: REMOTE_COUNT, free: REMOTE_COUNT });
      });

      test('does what the reference does, over random commands, senders and time', () => {
        const macs = [...neighbours(40), ZERO, GROUP, 'ff:ff:ff:ff:ff:ff'];
        const dev = fc.constantFrom('vx0', 'vx1');
        // Few MACs often, many sometimes: long lists as well as full buckets.
        const mac = fc.oneof(fc.constantFrom(...macs), fc.constantFrom(ZERO, GROUP, macs[0]!, macs[1]!));
        const dst = fc.constantFrom('192.0.2.1', '192.0.2.2', '192.0.2.3', '0.0.0.0');
        const sometimes = <Value>(value: fc.Arbitrary<Value>) =>
          fc.option(value, { nil: undefined, freq: 1 });
        const operation = fc.oneof(
          {
            weight: 60,
            arbitrary: fc.record({
              kind: fc.constant('apply' as const),
              op: fc.constantFrom('add' as const, 'append' as const, 'replace' as const, 'del' as const),
              dev,
              mac,
              dst,
              port: fc.constantFrom(undefined, undefined, 0, 8472, 5000),
              vni: fc.constantFrom(undefined, undefined, 5, 77),
              via: fc.constantFrom(undefined, undefined, undefined, 'v1'),
              state: fc.constantFrom(undefined, 'permanent' as const, 'static' as const, 'dynamic' as const),
              router: fc.boolean(),
              extern_learn: fc.constantFrom(false, false, true),
              use: fc.boolean(),
            }),
          },
          {
            weight: 60,
            arbitrary: fc.record({
              kind: fc.constant('learn' as const),
              dev,
              mac: fc.constantFrom(...macs),
              dst,
            }),
          },
          { weight: 10, arbitrary: fc.record({ kind: fc.constant('touch' as const), dev, mac }) },
          {
            weight: 10,
            arbitrary: fc.record({ kind: fc.constant('wait' as const), by: fc.nat({ max: 4 }) }),
          },
          { weight: 10, arbitrary: fc.record({ kind: fc.constant('age' as const), dev }) },
          { weight: 3, arbitrary: fc.record({ kind: fc.constant('down' as const), dev }) },
          {
            weight: 3,
            arbitrary: fc.record({
              kind: fc.constant('default' as const),
              dev: fc.constant('vx0'),
              from: sometimes(fc.constantFrom('192.0.2.1', '192.0.2.2')),
              to: sometimes(fc.constantFrom('192.0.2.1', '192.0.2.2')),
            }),
          },
          {
            weight: 5,
            arbitrary: fc.record({
              kind: fc.constant('flush' as const),
              dev,
              filter: fc.record(
                {
                  dst,
                  port: fc.constantFrom(8472, 5000),
                  vni: fc.constantFrom(5, 77),
                  permanent: fc.boolean(),
                  dynamic: fc.boolean(),
                  router: fc.boolean(),
                },
                { requiredKeys: ['dst'] },
              ),
            }),
          },
        );
        const run = (todo: () => void): string | undefined => {
          try {
            todo();
            return undefined;
          } catch (error) {
            return (error as { code: string }).code;
          }
        };
        let done = 0;
        fc.assert(
          fc.property(fc.array(operation, { minLength: 20, maxLength: 200, size: 'max' }), (operations) => {
            for (const device of [1, 2]) fdb.flushDevice(device);
            now = 1000;
            const model = new FdbReference([VX0, VX1]);
            model.now = now;
            for (const step of operations) {
              done++;
              if (step.kind === 'apply') {
                const { kind, ...words } = step;
                const request = Object.fromEntries(
                  Object.entries(words).filter(([, value]) => value !== undefined),
                ) as unknown as FdbRequest;
                assert.equal(
                  run(() => fdb.apply(request)),
                  model.apply(request),
                );
              } else if (step.kind === 'learn') {
                if (step.dst === '0.0.0.0') continue;
                assert.equal(learn(step.dev, step.mac, step.dst), model.learn(step.dev, step.mac, step.dst));
              } else if (step.kind === 'touch') {
                touch(step.dev, step.mac);
                model.touch(step.dev, step.mac);
              } else if (step.kind === 'wait') {
                now += step.by;
                model.now = now;
              } else if (step.kind === 'age') {
                assert.equal(fdb.age(NAMES.indexOf(step.dev)).removed, model.age(step.dev));
              } else if (step.kind === 'down') {
                fdb.flushDown(NAMES.indexOf(step.dev));
                model.down(step.dev);
              } else if (step.kind === 'default') {
                fdb.setDefaultRemote(NAMES.indexOf(step.dev), step.from, step.to, 0);
                model.setDefaultRemote(step.dev, step.from, step.to);
              } else {
                const filter = { dev: step.dev, ...step.filter };
                assert.equal(fdb.flush(filter), model.flush(filter));
              }
              if ('mac' in step) {
                assert.deepEqual(lookup(step.dev, step.mac), model.lookup(step.dev, step.mac));
              }
            }
            assert.deepEqual(fdb.show(), model.show());
            assert.deepEqual(fdb.show('vx1'), model.show('vx1'));
          }),
          { numRuns: 120 },
        );
        assert.ok(done > 5000, `${done} operations`);
        for (const device of [1, 2]) fdb.flushDevice(device);
        assert.equal(passed(), 0);
        const { fresh, free } = pool();
        assert.equal(free, fresh);
      });

      test('a reader on another thread sees old or new, never a mixture', { timeout: 60_000 }, async () => {
        // Remotes whose every field says the same byte, and which MAC it belongs to (byte % MACS).
        // One bucket, so that slots and pool are reused at once. Rows of 8 bytes: the MACs.
        const MACS = 12;
        const macs = neighbours(MACS).map((text) => parseMac(text)!);
        const rows = engine.scratch + 8192;
        macs.forEach(({ low, high }, row) => {
          engine.view.setUint32(rows + row * 8, low, true);
          engine.view.setUint32(rows + row * 8 + 4, high, true);
        });
        const stop = engine.scratch + 8064;
        engine.view.setUint32(stop, 0, true);
        const reader = new Worker(READER, {
          eval: true,
          workerData: {
            module: compileEngine(build),
            memory: engine.memory,
            rows,
            stop,
            macs: MACS,
            into: rows + 4096,
          },
        });
        const report = new Promise<{ looks: number; hits: number; torn: string }>((resolve, reject) => {
          reader.once('error', reject);
          reader.once('message', resolve);
        });
        await new Promise((resolve) => reader.once('online', resolve));

        const { exports, view } = engine;
        const random = (below: number) => Math.floor(Math.random() * below);
        const marked = (row: number) => {
          const byte = row + MACS * random(20);
          const address = { family: AF_INET6, bytes: new Uint8Array(16).fill(byte) };
          return { address, port: byte * 0x101, vni: byte, ifindex: byte };
        };
        const sender = engine.scratch + 128;
        const until = Date.now() + 1200;
        let writes = 0;
        while (Date.now() < until) {
          for (let burst = 0; burst < 200; burst++, writes++) {
            const row = random(MACS);
            // The last MACs are learned and move: their address alone changes.
            if (row >= MACS - 2) {
              const byte = row + MACS * random(20);
              view.setUint16(sender, AF_INET6, true);
              engine.bytes.fill(byte, sender + 8, sender + 24);
              exports.fdbLearn(1, rows + row * 8, sender, 0, now);
              if (random(8) > 0) continue;
            }
            exports.fdbLock();
            const entry = exports.fdbFind(1, rows + row * 8);
            if (entry < 0) {
              if (row < MACS - 2) {
                const made = exports.fdbInsert(1, macs[row]!.low, macs[row]!.high, now);
                const count = 1 + random(6);
                for (let n = 0; n < count; n++) writeRemote(view, exports.fdbAddRemote(made), marked(row));
                exports.fdbPublish(made);
              }
            } else if (row >= MACS - 2 || random(4) === 0) exports.fdbErase(entry);
            else {
              const count = readRemotes(view, entry).length;
              exports.fdbBeginChange(entry);
              const choice = random(3);
              if (choice === 0) writeRemote(view, firstRemote(entry), marked(row));
              else if (choice === 1 && count < 40)
                writeRemote(view, exports.fdbAddRemote(entry), marked(row));
              else if (count > 1) exports.fdbRemoveRemote(entry, random(count));
              exports.fdbEndChange(entry);
            }
            exports.fdbUnlock();
          }
        }
        Atomics.store(engine.i32, stop / 4, 1);
        const { looks, hits, torn } = await report;
        await reader.terminate();
        assert.equal(torn, '');
        assert.ok(
          looks > 1000 && hits > 100 && writes > 1000,
          `${looks} looks, ${hits} hits, ${writes} writes`,
        );
        fdb.flushDevice(1);
        assert.equal(passed(), 0);
        const { fresh, free } = pool();
        assert.equal(free, fresh);
        assert.equal(engine.exports.fdbNext(0, 0), -1);
        assert.ok(FDB_BUCKET_COUNT > 0);
      });
    });
  });
}

/** Looks up and collects until told to stop; reports the first remote that is not of one piece. */
const READER = `
const { parentPort, workerData } = require('node:worker_threads');
const { module, memory, rows, stop, macs, into } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const i32 = new Int32Array(memory.buffer);
const view = new DataView(memory.buffer);
let looks = 0, hits = 0, torn = '';
while (torn === '' && Atomics.load(i32, stop / 4) === 0) {
  for (let row = 0; row < macs; row++) {
    looks++;
    const at = rows + row * 8;
    const entry = exports.fdbFind(1, at);
    if (entry < 0) continue;
    const count = exports.fdbCollect(entry, 1, at, into, 64);
    if (count > 0) hits++;
    for (let remote = into; remote < into + count * 32; remote += 32) {
      const byte = view.getUint8(remote + 16);
      let whole = byte % macs === row;
      for (let n = 0; n < 16; n++) whole &&= view.getUint8(remote + 16 + n) === byte;
      if (row < macs - 2) {
        whole &&= view.getUint16(remote + 12, true) === byte * 0x101;
        whole &&= view.getUint32(remote + 8, true) === byte && view.getUint32(remote + 4, true) === byte;
      }
      if (!whole) torn = 'row ' + row + ', remote ' + (remote - into) / 32 + ' of ' + count + ': ' +
        Buffer.from(new Uint8Array(memory.buffer, remote, 32).slice()).toString('hex');
    }
  }
}
parentPort.postMessage({ looks, hits, torn });
`;
