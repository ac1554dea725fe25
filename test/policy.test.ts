/** Group policy: which id is sent, which are refused, which are counted, against naive tables. */
import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  DEVICE_BYTES,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_GBP,
  DEVICE_FLAG_POLICIES,
  DEVICE_FLAGS_OFFSET,
  DEVICE_POLICY_OFFSET,
  DEVICES_BASE,
  POLICIES_BASE,
  POLICIES_BYTES,
  POLICY_SLOT_COUNT,
  REFUSED_TABLE_COUNT,
  SEEN_BYTES,
  SEEN_COUNT,
  SEEN_OFFSET,
} from '../assembly/layout.ts';
import { parseMac } from '../src/dataplane/fdb-text.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { policyBits } from '../src/dataplane/policies.ts';
import { PolicyIds } from '../src/dataplane/policy-ids.ts';
import type { Policy } from '../src/types.ts';
import { BUILDS, loadEngine, type TestEngine } from './support/engine.ts';
import { refusal } from './support/fdb-fixture.ts';
import { VniFixture } from './support/vni-fixture.ts';

const [VX1, VX5] = [1, 5];
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const MOST = POLICY_SLOT_COUNT - 1;

for (const build of BUILDS) {
  describe(`policy, ${build}`, () => {
    let engine: TestEngine;
    let at: VniFixture;
    before(async () => {
      engine = await loadEngine(build);
      at = new VniFixture(engine);
    });
    afterEach(() => {
      at.reset();
      const table = engine.bytes.subarray(POLICIES_BASE, POLICIES_BASE + POLICIES_BYTES);
      assert.ok(
        table.every((byte, offset) => offset % 16 >= 8 || byte === 0),
        'slots that are gone pile up',
      );
    });

    const recordOf = (index: number) => DEVICES_BASE + index * DEVICE_BYTES;
    const flagsOf = (index: number) => engine.view.getUint32(recordOf(index) + DEVICE_FLAGS_OFFSET, true);
    /** What encap would ask: two bytes of the frame's ethertype behind the MAC. */
    const sent = (index: number, domain: number, mac: string) => {
      const address = engine.scratch + 4096 * 1024 + 6;
      const { low, high } = parseMac(mac)!;
      engine.view.setUint32(address, low, true);
      engine.view.setUint32(address + 4, (0xbeef0000 | high) >>> 0, true);
      return engine.exports.policySent(index, domain, address) >>> 0;
    };

    test('the source’s, else the VNI’s, else the device’s', () => {
      at.vni('add', 'vx1', '10-11');
      const [ten, eleven] = [10, 11].map((vni) => at.vnis.domainOf(VX1, vni)) as [number, number];
      assert.equal(sent(VX1, ten, A), 0);
      at.policies.apply({ op: 'add', dev: 'vx1', id: 5 });
      assert.equal(flagsOf(VX1) & DEVICE_FLAG_POLICIES, 0, 'a device’s own needs no look');
      assert.equal(sent(VX1, ten, A), 0x80000005);
      at.policies.apply({ op: 'add', dev: 'vx1', id: 7, vni: 10, dontlearn: true });
      at.policies.apply({ op: 'add', dev: 'vx1', id: 9, mac: A.toUpperCase(), applied: true });
      assert.equal(sent(VX1, ten, A), 0x80080009);
      assert.equal(sent(VX1, ten, B), 0x80400007);
      assert.equal(sent(VX1, eleven, A), 0x80080009);
      assert.equal(sent(VX1, eleven, B), 0x80000005);
      assert.deepEqual(at.policies.show('vx1')[0]!.sent, [
        { id: 5 },
        { id: 7, dontlearn: true, vni: 10 },
        { id: 9, applied: true, mac: A },
      ]);
      // Id 0 is a plain header, for whom it is set.
      at.policies.apply({ op: 'add', dev: 'vx1', id: 0, mac: A });
      at.policies.apply({ op: 'add', dev: 'vx1', id: 0, vni: 10 });
      assert.equal(sent(VX1, ten, A), 0);
      assert.equal(sent(VX1, ten, B), 0);
      at.policies.apply({ op: 'del', dev: 'vx1', mac: A });
      at.policies.apply({ op: 'del', dev: 'vx1', vni: 10 });
      assert.equal(sent(VX1, ten, A), 0x80000005);
      assert.equal(flagsOf(VX1), DEVICE_FLAG_EXTERNAL | DEVICE_FLAG_GBP);
      at.policies.apply({ op: 'del', dev: 'vx1' });
      assert.equal(sent(VX1, ten, A), 0);
    });

    test('goes with its VNI', () => {
      at.vni('add', 'vx1', '10');
      const domain = at.vnis.domainOf(VX1, 10);
      at.addEntry('vx1', 10, A);
      at.policies.apply({ op: 'add', dev: 'vx1', id: 7, vni: 10 });
      at.vni('del', 'vx1', '10');
      assert.deepEqual(at.policies.show('vx1')[0]!.sent, []);
      assert.equal(sent(VX1, domain, A), 0);
      at.vni('add', 'vx1', '10');
      assert.equal(sent(VX1, at.vnis.domainOf(VX1, 10), A), 0);
    });

    test('stays when the rest of the record is written again', () => {
      at.policies.apply({ op: 'add', dev: 'vx5', id: 5 });
      at.policies.apply({ op: 'add', dev: 'vx5', id: 6, mac: A });
      engine.view.setUint32(recordOf(VX5) + DEVICE_POLICY_OFFSET, 0, true);
      engine.view.setUint32(recordOf(VX5) + DEVICE_FLAGS_OFFSET, DEVICE_FLAG_GBP, true);
      at.policies.refresh(VX5);
      assert.deepEqual([sent(VX5, VX5, A), sent(VX5, VX5, B)], [0x80000006, 0x80000005]);
      at.policies.setDevice(VX5, { id: 8 });
      assert.deepEqual([sent(VX5, VX5, A), sent(VX5, VX5, B)], [0x80000006, 0x80000008]);
    });

    test('any of many, as in a naive table', () => {
      const mac = fc
        .integer({ min: 0, max: 30 })
        .map((n) => `02:00:00:00:0${n % 2}:${(n + 16).toString(16)}`);
      const step = fc.record({
        add: fc.boolean(),
        dev: fc.constantFrom('vx1' as const, 'vx5' as const),
        mac: fc.option(mac, { nil: undefined }),
        id: fc.integer({ min: 0, max: 0xffff }),
        dontlearn: fc.boolean(),
        applied: fc.boolean(),
      });
      fc.assert(
        fc.property(
          fc.array(step, { maxLength: 120 }),
          fc.array(mac, { minLength: 8, maxLength: 8 }),
          (steps, macs) => {
            const model = new Map<string, Policy>();
            for (const { add, dev, id, dontlearn, applied, ...rest } of steps) {
              const key = `${dev} ${rest.mac}`;
              const of = { dev, ...(rest.mac !== undefined && { mac: rest.mac }) };
              if (add) {
                at.policies.apply({ op: 'add', ...of, id, dontlearn, applied });
                model.set(key, { id, dontlearn, applied });
              } else if (model.delete(key)) at.policies.apply({ op: 'del', ...of });
              else assert.throws(() => at.policies.apply({ op: 'del', ...of }), { code: 'NOT_FOUND' });
            }
            for (const one of macs) {
              for (const [dev, index] of [
                ['vx1', VX1],
                ['vx5', VX5],
              ] as const) {
                const policy = model.get(`${dev} ${one}`) ?? model.get(`${dev} undefined`);
                assert.equal(sent(index, index, one), policy ? policyBits(policy) : 0);
              }
            }
            at.reset();
          },
        ),
        { numRuns: build === 'release' ? 200 : 40 },
      );
    });

    test('all but one of its slots, then no more, then again', () => {
      const name = (n: number) =>
        `02:00:00:00:${(n >>> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
      for (let n = 0; n < MOST; n++) at.policies.apply({ op: 'add', dev: 'vx5', id: n, mac: name(n) });
      assert.throws(
        () => at.policies.apply({ op: 'add', dev: 'vx5', id: 1, mac: '02:ff:00:00:00:00' }),
        refusal('NO_SPACE', /No space left on device/),
      );
      for (let n = 1; n < MOST; n++) assert.equal(sent(VX5, VX5, name(n)), (0x80000000 | n) >>> 0);
      assert.equal(sent(VX5, VX5, '02:ff:00:00:00:00'), 0);
      at.policies.apply({ op: 'del', dev: 'vx5', mac: name(17) });
      assert.equal(sent(VX5, VX5, name(17)), 0);
      at.policies.apply({ op: 'add', dev: 'vx5', id: 1, mac: name(17) });
      assert.equal(sent(VX5, VX5, name(17)), 0x80000001);
      for (let n = 0; n < MOST; n++) at.policies.apply({ op: 'del', dev: 'vx5', mac: name(n) });
      at.policies.apply({ op: 'add', dev: 'vx5', id: 2, mac: '02:ff:00:00:00:00' });
      assert.equal(sent(VX5, VX5, '02:ff:00:00:00:00'), 0x80000002);
    });

    test('refuses ids, by device', () => {
      const range = fc
        .tuple(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 300 }))
        .map(([first, more]) => [first, Math.min(first + more, 0xffff)] as const);
      const step = fc.record({ refuse: fc.boolean(), id: fc.array(range, { minLength: 1, maxLength: 3 }) });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
          const model = new Set<number>();
          for (const { refuse, id } of steps) {
            at.policies.apply({ op: refuse ? 'refuse' : 'allow', dev: 'vx5', id });
            for (const [first, last] of id) {
              for (let one = first; one <= last; one++) refuse ? model.add(one) : model.delete(one);
            }
          }
          const found = new Set<number>();
          for (let id = 0; id <= 0xffff; id++) {
            if (engine.exports.policyRefused(VX5, id)) found.add(id);
          }
          assert.deepEqual(found, model);
          const shown = at.policies.show('vx5')[0]!.refused;
          assert.equal(
            shown.reduce((sum, [first, last]) => sum + last - first + 1, 0),
            model.size,
          );
          assert.equal((flagsOf(VX5) & DEVICE_FLAG_POLICIES) !== 0, model.size > 0);
          assert.ok(!engine.exports.policyRefused(VX1, steps[0]?.id[0]?.[0] ?? 0));
          at.reset();
        }),
        { numRuns: build === 'release' ? 20 : 3 },
      );
    });

    test('counts what arrives, in each worker, and forgets it with the device', () => {
      const { exports } = engine;
      for (let packets = 0; packets < 3; packets++) exports.policySeen(workerBase(0), VX5, 77);
      exports.policySeen(workerBase(1), VX5, 77);
      exports.policySeen(workerBase(1), VX5, 0);
      exports.policySeen(workerBase(1), VX1, 77);
      assert.deepEqual(at.policies.show('vx5')[0]!.received, [
        { id: 0, packets: 1 },
        { id: 77, packets: 4 },
      ]);
      at.policies.remove(VX5);
      assert.deepEqual(at.policies.show('vx5')[0]!.received, []);
      assert.deepEqual(at.policies.show('vx1')[0]!.received, [{ id: 77, packets: 1 }]);
    });

    test('counts as a naive table while there is room, and never writes beyond its own', () => {
      const base = workerBase(0) + SEEN_OFFSET;
      engine.bytes.fill(0xee, base - 8, base);
      engine.bytes.fill(0xee, base + SEEN_BYTES, base + SEEN_BYTES + 8);
      const model = new Map<number, number>();
      let seed = 12345;
      for (let packets = 0; packets < 3000; packets++) {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        const id = (seed >>> 16) % 150;
        engine.exports.policySeen(workerBase(0), VX5, id);
        model.set(id, (model.get(id) ?? 0) + 1);
      }
      const wanted = [...model]
        .sort(([one], [other]) => one - other)
        .map(([id, packets]) => ({ id, packets }));
      assert.deepEqual(at.policies.show('vx5')[0]!.received, wanted);
      for (let id = 0; id <= 0xffff; id++) engine.exports.policySeen(workerBase(0), VX5, id);
      assert.ok(at.policies.show('vx5')[0]!.received.length <= SEEN_COUNT);
      assert.ok(engine.bytes.subarray(base - 8, base).every((byte) => byte === 0xee));
      assert.ok(
        engine.bytes.subarray(base + SEEN_BYTES, base + SEEN_BYTES + 8).every((byte) => byte === 0xee),
      );
      engine.bytes.fill(0, base - 8, base);
      engine.bytes.fill(0, base + SEEN_BYTES, base + SEEN_BYTES + 8);
    });

    test('a count stays at its end', () => {
      engine.exports.policySeen(workerBase(0), VX5, 77);
      const base = workerBase(0) + SEEN_OFFSET;
      for (let slot = 0; slot < SEEN_COUNT; slot++) {
        if (engine.view.getUint32(base + slot * 8, true) !== 0)
          engine.view.setUint32(base + slot * 8 + 4, 0xfffffffe, true);
      }
      for (let packets = 0; packets < 3; packets++) engine.exports.policySeen(workerBase(0), VX5, 77);
      assert.deepEqual(at.policies.show('vx5')[0]!.received, [{ id: 77, packets: 0xffffffff }]);
    });

    test('refusals', () => {
      const refused = (code: string, words: RegExp, run: () => void) =>
        assert.throws(run, refusal(code, words));
      const { policies } = at;
      refused('UNSUPPORTED', /add the device with "gbp"/, () =>
        policies.apply({ op: 'add', dev: 'vx7', id: 1 }),
      );
      refused('NOT_FOUND', /Cannot find device "nope"/, () =>
        policies.apply({ op: 'add', dev: 'nope', id: 1 }),
      );
      refused('NOT_FOUND', /Cannot find device "nope"/, () => policies.show('nope'));
      refused('USAGE', /invalid id 65536/, () => policies.apply({ op: 'add', dev: 'vx5', id: 65536 }));
      refused('USAGE', /invalid id 5-3/, () => policies.apply({ op: 'refuse', dev: 'vx5', id: [[5, 3]] }));
      refused('USAGE', /not unicast/, () =>
        policies.apply({ op: 'add', dev: 'vx5', id: 1, mac: '01:00:00:00:00:00' }),
      );
      refused('USAGE', /not unicast/, () => policies.apply({ op: 'add', dev: 'vx5', id: 1, mac: 'x' }));
      refused('USAGE', /either "vni" or "mac"/, () =>
        policies.apply({ op: 'add', dev: 'vx1', id: 1, mac: A, vni: 1 }),
      );
      refused('NOT_FOUND', /VNI 10/, () => policies.apply({ op: 'add', dev: 'vx1', id: 1, vni: 10 }));
      refused('NOT_FOUND', /VNI 10/, () => policies.apply({ op: 'add', dev: 'vx5', id: 1, vni: 10 }));
      refused('NOT_FOUND', /No such file or directory/, () => policies.apply({ op: 'del', dev: 'vx5' }));
      assert.ok(policies.show().every((info) => info.sent.length === 0 && info.refused.length === 0));
      assert.deepEqual(
        policies.show().map(({ ifname }) => ifname),
        ['vx1', 'vx2', 'vx3', 'vx4', 'vx5', 'vx6'],
      );
      const ids = new PolicyIds(engine.view, 1);
      for (let device = 101; device <= 100 + REFUSED_TABLE_COUNT; device++) ids.refuse('', device, [[1, 1]]);
      refused('NO_SPACE', /No space left on device/, () => ids.refuse('', 99, [[1, 1]]));
      ids.allow(101, [[0, 0xffff]]);
      ids.refuse('', 99, [[1, 1]]);
      for (let device = 99; device <= 100 + REFUSED_TABLE_COUNT; device++) ids.remove(device);
    });
  });
}
