/** (device, IP address) -> MAC: the host writes, the engine looks up, and never sees half of a change. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import {
  AF_INET,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NEIGHBOUR_VERSION_OFFSET,
  NEIGHBOUR_SLOT_COUNT,
  NEIGHBOURS_BASE,
  NEIGHBOURS_BYTES,
} from '../assembly/layout.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { type Address, formatMac, type Mac, parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';
import { Neighbours } from '../src/dataplane/neighbours.ts';
import { BUILDS, loadEngine, type TestEngine } from './support/engine.ts';

const NONE = 0;
const KNOWN = 1;
const CONNECTED = 2;
const A = parseMac('02:00:00:00:00:0a')!;
const B = parseMac('fe:ff:ff:ff:ff:fb')!;

const address = (text: string): Address => parseAddress(text)!;
/** 10.x.y.z for even numbers, fd00::n for odd ones. */
const numbered = (n: number) =>
  address(n % 2 === 0 ? `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` : `fd00::${n.toString(16)}`);
const macNumbered = (n: number): Mac => ({ low: n >>> 0, high: n & 0xffff });

for (const build of BUILDS) {
  describe(`neighbour, ${build}`, () => {
    let engine: TestEngine;
    let neighbours: Neighbours;
    before(async () => {
      engine = await loadEngine(build);
      neighbours = new Neighbours(engine.memory);
    });

    /** The address lies where it ends with the memory, 4 bytes or 16: reading more would trap. */
    function find(device: number, { family, bytes }: Address): [state: number, mac: string] {
      const length = family === AF_INET ? 4 : 16;
      const at = engine.bytes.length - length;
      engine.bytes.set(bytes.subarray(0, length), at);
      const state = engine.exports.neighbourFind(device, family, at, engine.scratch);
      const mac = {
        low: engine.view.getUint32(engine.scratch, true),
        high: engine.view.getUint16(engine.scratch + 4, true),
      };
      assert.equal(engine.view.getUint16(engine.scratch + 6, true), 0);
      return [state, formatMac(mac)];
    }

    const isBlank = () =>
      engine.bytes.slice(NEIGHBOURS_BASE, NEIGHBOURS_BASE + NEIGHBOURS_BYTES).every((byte) => byte === 0);

    test('finds a neighbour of its device, family and address only', () => {
      neighbours.set(1, address('10.0.0.1'), A, true);
      neighbours.set(255, address('10.0.0.1'), B, false);
      neighbours.set(1, address('a00:1::'), B, true);
      assert.deepEqual(find(1, address('10.0.0.1')), [CONNECTED, formatMac(A)]);
      assert.deepEqual(find(255, address('10.0.0.1')), [KNOWN, formatMac(B)]);
      assert.deepEqual(find(1, address('a00:1::')), [CONNECTED, formatMac(B)]);
      assert.equal(find(2, address('10.0.0.1'))[0], NONE);
      assert.equal(find(1, address('10.0.0.2'))[0], NONE);
      assert.equal(find(1, address('::'))[0], NONE);
      assert.equal(neighbours.remove(1, address('::')), false);
      assert.equal(neighbours.remove(1, address('a00:1::')), true);
      assert.equal(neighbours.remove(1, address('a00:1::')), false);
      assert.equal(find(1, address('a00:1::'))[0], NONE);
      neighbours.clear(255);
      assert.equal(find(255, address('10.0.0.1'))[0], NONE);
      assert.deepEqual(find(1, address('10.0.0.1')), [CONNECTED, formatMac(A)]);
      neighbours.clear(1);
      assert.ok(isBlank());
    });

    test('changes MAC and state in place', () => {
      neighbours.set(3, address('fd00::1'), A, false);
      neighbours.set(3, address('fd00::1'), B, true);
      assert.deepEqual(find(3, address('fd00::1')), [CONNECTED, formatMac(B)]);
      neighbours.set(3, address('fd00::1'), B, false);
      assert.deepEqual(find(3, address('fd00::1')), [KNOWN, formatMac(B)]);
      assert.equal(neighbours.remove(3, address('fd00::1')), true);
      assert.ok(isBlank());
    });

    test('refuses devices out of range', () => {
      for (const device of [0, -1, 256, 0xffff, 1.5]) {
        assert.throws(() => neighbours.set(device, address('10.0.0.1'), A, true), { code: 'USAGE' });
        assert.throws(() => neighbours.remove(device, address('10.0.0.1')), { code: 'USAGE' });
        assert.throws(() => neighbours.clear(device), { code: 'USAGE' });
      }
    });

    test('takes all but one of its slots, then refuses, then takes again', () => {
      const most = NEIGHBOUR_SLOT_COUNT - 1;
      for (let n = 0; n < most; n++) neighbours.set((n % 255) + 1, numbered(n), macNumbered(n), true);
      assert.throws(() => neighbours.set(1, numbered(most), A, true), { code: 'NO_SPACE' });
      neighbours.set(1, numbered(0), A, false);
      assert.deepEqual(find(1, numbered(0)), [KNOWN, formatMac(A)]);
      for (let n = 1; n < most; n++) {
        assert.deepEqual(find((n % 255) + 1, numbered(n)), [CONNECTED, formatMac(macNumbered(n))]);
      }
      assert.equal(find(1, numbered(most))[0], NONE);
      assert.equal(neighbours.remove(2, numbered(1)), true);
      neighbours.set(1, numbered(most), B, true);
      assert.deepEqual(find(1, numbered(most)), [CONNECTED, formatMac(B)]);
      for (let device = 1; device < 256; device++) neighbours.clear(device);
      assert.ok(isBlank());
    });

    test('spreads addresses of one subnet, whatever the seed', () => {
      for (const seed of [0, 1, 0xdeadbeef]) {
        engine.view.setUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, seed, true);
        for (let n = 0; n < 2048; n++) neighbours.set(1, numbered(n), A, true);
        let run = 0;
        let longest = 0;
        for (let slot = 0; slot < NEIGHBOUR_SLOT_COUNT; slot++) {
          const isTaken = engine.view.getUint16(NEIGHBOURS_BASE + slot * 32, true) !== 0;
          run = isTaken ? run + 1 : 0;
          longest = Math.max(longest, run);
        }
        assert.ok(longest < 40, `a run of ${longest} slots in a table that is a quarter full`);
        neighbours.clear(1);
      }
    });

    test('behaves like a Map under random use, and leaves no marks behind', () => {
      const operation = fc.record({
        kind: fc.constantFrom('set', 'set', 'remove', 'clear'),
        device: fc.integer({ min: 1, max: 3 }),
        n: fc.integer({ min: 0, max: 30 }),
        mac: fc.integer({ min: 0, max: 0xffffffff }),
        connected: fc.boolean(),
      });
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 150 }), (operations) => {
          const model = new Map<string, [number, string]>();
          for (const { kind, device, n, mac, connected } of operations) {
            if (kind === 'clear') {
              neighbours.clear(device);
              for (const key of model.keys()) if (key.startsWith(`${device} `)) model.delete(key);
            } else if (kind === 'remove') {
              assert.equal(neighbours.remove(device, numbered(n)), model.delete(`${device} ${n}`));
            } else {
              neighbours.set(device, numbered(n), macNumbered(mac), connected);
              model.set(`${device} ${n}`, [connected ? CONNECTED : KNOWN, formatMac(macNumbered(mac))]);
            }
          }
          for (let device = 1; device <= 3; device++) {
            for (let n = 0; n <= 30; n++) {
              const expected = model.get(`${device} ${n}`) ?? [NONE, formatMac(macNumbered(0))];
              assert.deepEqual(find(device, numbered(n)), expected);
            }
            neighbours.clear(device);
          }
        }),
        { numRuns: 100 },
      );
      assert.ok(isBlank(), 'slots that are gone pile up');
    });

    test('a look-up in the middle of a change gives up in the end and finds nothing', () => {
      neighbours.set(1, address('10.0.0.1'), A, true);
      const version = HEADER_BASE + HEADER_NEIGHBOUR_VERSION_OFFSET;
      const even = engine.view.getUint32(version, true);
      assert.equal(even % 2, 0);
      engine.view.setUint32(version, even + 1, true);
      assert.equal(find(1, address('10.0.0.1'))[0], NONE);
      engine.view.setUint32(version, even, true);
      assert.equal(find(1, address('10.0.0.1'))[0], CONNECTED);
      neighbours.clear(1);
    });

    test('a reader in another thread sees each neighbour as it was or as it is', async (context) => {
      const rows = engine.scratch + 4096;
      const stop = engine.scratch + 64;
      engine.view.setUint32(stop, 0, true);
      engine.view.setUint32(stop + 4, 0, true);
      for (let row = 0; row < ROWS; row++) {
        const { family, bytes } = address(`fd00::${row + 1}`);
        engine.view.setUint32(rows + row * 32, family, true);
        engine.bytes.set(bytes, rows + row * 32 + 16);
      }
      const workerData = { module: compileEngine(build), memory: engine.memory, rows, stop, count: ROWS };
      const reader = new Worker(READER, { eval: true, workerData });
      context.after(() => reader.terminate());
      const report = new Promise<{ hits: number; misses: number; torn: string }>((resolve, reject) => {
        reader.once('error', reject);
        reader.once('message', resolve);
      });
      await new Promise((resolve) => reader.once('online', resolve));
      // Longer where others have the cores: until the reader has seen enough of either.
      const [until, latest] = [Date.now() + 600, Date.now() + 20_000];
      const isSeen = () => engine.view.getUint32(stop + 4, true) === 1;
      let writes = 0;
      while (Date.now() < until || (!isSeen() && Date.now() < latest)) {
        for (let burst = 0; burst < 500; burst++, writes++) {
          const row = Math.floor(Math.random() * ROWS);
          const value = row + ROWS * Math.floor(Math.random() * 10);
          const neighbour = address(`fd00::${row + 1}`);
          if (Math.random() < 0.3) neighbours.remove(1, neighbour);
          // All bytes of the MAC say which value it is, and its parity is the state.
          else neighbours.set(1, neighbour, { low: value * 0x1010101, high: value * 0x101 }, value % 2 === 1);
        }
      }
      engine.view.setUint32(stop, 1, true);
      const { hits, misses, torn } = await report;
      assert.equal(torn, '');
      assert.ok(writes > 1000 && hits > 1000 && misses > 100, `${writes} writes, ${hits} hits, ${misses}`);
      neighbours.clear(1);
    });
  });
}

/** Odd, so that one row has values of either parity. */
const ROWS = 7;

/** Looks up until told to stop; reports the first neighbour that is not of one piece. */
const READER = `
const { parentPort, workerData } = require('node:worker_threads');
const { module, memory, rows, stop, count } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const i32 = new Int32Array(memory.buffer);
const view = new DataView(memory.buffer);
let hits = 0, misses = 0, torn = '';
while (torn === '' && Atomics.load(i32, stop / 4) === 0) {
  for (let row = 0; row < count; row++) {
    const into = stop + 64;
    const state = exports.neighbourFind(1, view.getUint32(rows + row * 32, true), rows + row * 32 + 16, into);
    if (state === 0) { misses++; continue; }
    hits++;
    const value = view.getUint8(into);
    let whole = value % count === row && state === 1 + value % 2;
    for (let n = 0; n < 6; n++) whole &&= view.getUint8(into + n) === value;
    if (hits > 2000 && misses > 200) Atomics.store(i32, stop / 4 + 1, 1);
    if (!whole) torn = 'row ' + row + ', state ' + state + ': ' + view.getBigUint64(into, true).toString(16);
  }
}
parentPort.postMessage({ hits, misses, torn });
`;
