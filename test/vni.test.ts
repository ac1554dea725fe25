/** (listener, VNI) -> device: the host writes, the engine looks up. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { VNI_SLOT_BYTES, VNI_SLOT_COUNT, VNIS_BASE } from '../assembly/layout.ts';
import { Vni } from '../src/dataplane/vni.ts';
import { BUILDS, loadEngine, type TestEngine } from './support/engine.ts';

for (const build of BUILDS) {
  describe(`vni, ${build}`, () => {
    let engine: TestEngine;
    let vni: Vni;
    before(async () => {
      engine = await loadEngine(build);
      vni = new Vni(engine.memory);
    });

    test('finds the device of a VNI on its listener only', () => {
      vni.add(0, 0, 1);
      vni.add(0, 0xffffff, 2);
      vni.add(255, 0xffffff, 255);
      assert.equal(engine.exports.vniLookup(0, 0), 1);
      assert.equal(engine.exports.vniLookup(0, 0xffffff), 2);
      assert.equal(engine.exports.vniLookup(255, 0xffffff), 255);
      assert.equal(engine.exports.vniLookup(1, 0), 0);
      assert.equal(engine.exports.vniLookup(0, 1), 0);
      for (const [listener, id] of [
        [0, 0],
        [0, 0xffffff],
        [255, 0xffffff],
      ] as const) {
        assert.equal(vni.remove(listener, id), true);
        assert.equal(engine.exports.vniLookup(listener, id), 0);
      }
    });

    test('refuses a VNI that is taken and numbers out of range', () => {
      vni.add(3, 42, 7);
      assert.throws(() => vni.add(3, 42, 8), { code: 'EXISTS' });
      assert.throws(() => vni.add(3, 0x1000000, 8), { code: 'USAGE' });
      assert.throws(() => vni.add(256, 1, 8), { code: 'USAGE' });
      assert.throws(() => vni.add(3, 1, 0), { code: 'USAGE' });
      assert.equal(vni.remove(3, 43), false);
      assert.equal(vni.remove(3, 42), true);
    });

    test('takes all but one of its slots, then refuses, then takes again', () => {
      const most = VNI_SLOT_COUNT - 1;
      for (let id = 0; id < most; id++) vni.add(1, (id * 7919) % 2 ** 24, (id % 255) + 1);
      assert.throws(() => vni.add(1, 5, 1), { code: 'NO_SPACE' });
      for (let id = 0; id < most; id++) {
        assert.equal(engine.exports.vniLookup(1, (id * 7919) % 2 ** 24), (id % 255) + 1);
      }
      assert.equal(engine.exports.vniLookup(1, 5), 0);
      vni.remove(1, 7919);
      vni.add(1, 5, 9);
      assert.equal(engine.exports.vniLookup(1, 5), 9);
      vni.remove(1, 5);
      for (let id = 0; id < most; id++) vni.remove(1, (id * 7919) % 2 ** 24);
      assert.equal(engine.exports.vniLookup(1, 0), 0);
    });

    test('behaves like a Map under random use, and leaves no marks behind', () => {
      const operation = fc.record({
        add: fc.boolean(),
        listener: fc.integer({ min: 0, max: 3 }),
        vni: fc.integer({ min: 0, max: 40 }),
        device: fc.integer({ min: 1, max: 255 }),
      });
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
          const model = new Map<string, number>();
          for (const { add, listener, vni: id, device } of operations) {
            const key = `${listener} ${id}`;
            if (!add) assert.equal(vni.remove(listener, id), model.delete(key));
            else if (model.has(key)) assert.throws(() => vni.add(listener, id, device), { code: 'EXISTS' });
            else {
              vni.add(listener, id, device);
              model.set(key, device);
            }
            assert.equal(engine.exports.vniLookup(listener, id), model.get(key) ?? 0);
          }
          for (let listener = 0; listener < 4; listener++) {
            for (let id = 0; id <= 40; id++) {
              assert.equal(engine.exports.vniLookup(listener, id), model.get(`${listener} ${id}`) ?? 0);
              vni.remove(listener, id);
            }
          }
        }),
        { numRuns: 100 },
      );
      const slots = engine.bytes.slice(VNIS_BASE, VNIS_BASE + VNI_SLOT_COUNT * VNI_SLOT_BYTES);
      assert.ok(
        slots.every((byte) => byte === 0),
        'slots that are gone pile up',
      );
    });
  });
}
