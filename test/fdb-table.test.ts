/**
 * The FDB as a table: full, against a naive reference, and with two threads at once.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import {
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FDB_COUNT_OFFSET,
  DEVICES_BASE,
  FDB_BUCKETS_BASE,
  FDB_CAPACITY,
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_REMOTE_FREE_OFFSET,
  HEADER_REMOTE_FRESH_OFFSET,
  REMOTE_BYTES,
  REMOTE_COUNT,
  REMOTE_NEXT_OFFSET,
  REMOTES_BASE,
} from '../assembly/layout.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { firstRemote, readRemotes, writeRemote } from '../src/dataplane/fdb-record.ts';
import { formatMac, type Mac, parseMac } from '../src/dataplane/fdb-text.ts';
import type { FdbRequest } from '../src/types.ts';
import { BUILDS, loadEngine } from './support/engine.ts';
import { A, FdbFixture, GROUP, NAMES, refusal, VX0, VX1, ZERO } from './support/fdb-fixture.ts';
import { homeBucket, passedBuckets } from './support/fdb-home.ts';
import { FdbReference } from './support/fdb-reference.ts';

for (const build of BUILDS) {
  describe(`fdb table, ${build}`, () => {
    let fixture: FdbFixture;
    before(async () => {
      fixture = new FdbFixture(await loadEngine(build));
    });
    beforeEach(() => fixture.reset());

    describe('the table', () => {
      const passed = () => passedBuckets(fixture.engine.view);

      /** Remotes of the pool that lie in the list of free ones, against all ever handed out. */
      const pool = () => {
        const fresh = fixture.engine.view.getUint32(HEADER_BASE + HEADER_REMOTE_FRESH_OFFSET, true);
        const free = new Set<number>();
        let link = fixture.engine.view.getUint32(HEADER_BASE + HEADER_REMOTE_FREE_OFFSET, true);
        while (link !== 0 && !free.has(link)) {
          free.add(link);
          link = fixture.engine.view.getUint16(
            REMOTES_BASE + (link - 1) * REMOTE_BYTES + REMOTE_NEXT_OFFSET,
            true,
          );
        }
        return { fresh, free: free.size };
      };

      /** Unicast MACs of device 1 with one home bucket. */
      const neighbours = (count: number): string[] => {
        const found: string[] = [];
        const macOf = (n: number): Mac => ({ low: ((n << 8) | 2) >>> 0, high: n >>> 24 });
        const bucket = homeBucket(fixture.engine.view, 1, macOf(0));
        for (let n = 0; found.length < count; n++) {
          if (homeBucket(fixture.engine.view, 1, macOf(n)) === bucket) found.push(formatMac(macOf(n)));
        }
        return found;
      };

      const randomMac = (n: number): Mac => {
        const mixed = Math.imul(n, 0x9e3779b1);
        return { low: ((mixed & ~0xff) | 2) >>> 0, high: n & 0xffff };
      };

      test('takes 1,000,000 entries in 64 MiB, refuses one more, and gives all room back', () => {
        const { fdbInsert, fdbAddRemote, fdbPublish, fdbErase, fdbFind, fdbLock, fdbUnlock } =
          fixture.engine.exports;
        const { view } = fixture.engine;
        assert.equal(FDB_CAPACITY, 1_000_000);
        assert.ok(REMOTES_BASE - FDB_BUCKETS_BASE <= 64 * 2 ** 20);
        const domainOf = (n: number) => 10 + (n % 200);
        const refused: number[] = [];
        fdbLock();
        for (let n = 0; n < FDB_CAPACITY; n++) {
          const { low, high } = randomMac(n);
          const entry = fdbInsert(domainOf(n), low, high, fixture.now);
          if (entry < 0) refused.push(n);
          fdbAddRemote(entry);
          fdbPublish(entry);
        }
        fdbUnlock();
        assert.deepEqual(refused, []);
        assert.equal(view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true), FDB_CAPACITY);
        // Some found their bucket full, but few: most look-ups end where they begin.
        assert.ok(passed() > 0 && passed() < FDB_CAPACITY / 20, `${passed()} buckets passed`);
        assert.equal(fixture.learn('vx0', A, '192.0.2.2'), 'full');
        assert.throws(
          () => fixture.apply('add', A, '192.0.2.2'),
          refusal('NO_SPACE', new RegExp(`No space left on device.*${FDB_CAPACITY} of ${FDB_CAPACITY}`)),
        );
        const wrong: number[] = [];
        for (let n = 0; n < FDB_CAPACITY; n++) {
          const at = fixture.macAt(randomMac(n));
          const entry = fdbFind(domainOf(n), at);
          if (entry < 0 || fdbFind(9, at) !== -1) wrong.push(n);
          fdbLock();
          fdbErase(entry);
          fdbUnlock();
          if (fdbFind(domainOf(n), at) !== -1) wrong.push(n);
        }
        assert.deepEqual(wrong, []);
        assert.equal(view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true), 0);
        assert.equal(view.getUint32(DEVICES_BASE + 10 * DEVICE_BYTES + DEVICE_FDB_COUNT_OFFSET, true), 0);
        assert.equal(passed(), 0);
      });

      test('refuses a remote when the pool is empty, and changes nothing', () => {
        const group = (n: number) => `03:00:00:00:00:${n.toString(16).padStart(2, '0')}`;
        fixture.engine.exports.fdbLock();
        const entry = fixture.engine.exports.fdbInsert(1, 3, 0, fixture.now);
        for (let n = 0; n < REMOTE_COUNT; n++)
          assert.ok(fixture.engine.exports.fdbAddRemote(entry) > 0, `remote ${n}`);
        fixture.engine.exports.fdbPublish(entry);
        fixture.engine.exports.fdbUnlock();
        fixture.apply('append', group(1), '192.0.2.1');
        fixture.apply('append', group(1), '192.0.2.2');
        assert.throws(
          () => fixture.apply('append', group(1), '192.0.2.3', { state: 'static' }),
          refusal('NO_SPACE', /remove some first/),
        );
        assert.equal(fixture.fdb.get('vx0', group(1)).state, 'permanent');
        assert.deepEqual(fixture.lookup('vx0', group(1)), ['192.0.2.1', '192.0.2.2']);
        fixture.fdb.flushDevice(1);
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
            for (const device of [1, 2]) fixture.fdb.flushDevice(device);
            fixture.now = 1000;
            const model = new FdbReference([VX0, VX1]);
            model.now = fixture.now;
            for (const step of operations) {
              done++;
              if (step.kind === 'apply') {
                const { kind, ...words } = step;
                const request = Object.fromEntries(
                  Object.entries(words).filter(([, value]) => value !== undefined),
                ) as unknown as FdbRequest;
                assert.equal(
                  run(() => fixture.fdb.apply(request)),
                  model.apply(request),
                );
              } else if (step.kind === 'learn') {
                if (step.dst === '0.0.0.0') continue;
                assert.equal(
                  fixture.learn(step.dev, step.mac, step.dst),
                  model.learn(step.dev, step.mac, step.dst),
                );
              } else if (step.kind === 'touch') {
                fixture.touch(step.dev, step.mac);
                model.touch(step.dev, step.mac);
              } else if (step.kind === 'wait') {
                fixture.now += step.by;
                model.now = fixture.now;
              } else if (step.kind === 'age') {
                assert.equal(fixture.fdb.age(NAMES.indexOf(step.dev)).removed, model.age(step.dev));
              } else if (step.kind === 'down') {
                fixture.fdb.flushDown(NAMES.indexOf(step.dev));
                model.down(step.dev);
              } else if (step.kind === 'default') {
                fixture.fdb.setDefaultRemote(NAMES.indexOf(step.dev), step.from, step.to, 0);
                model.setDefaultRemote(step.dev, step.from, step.to);
              } else {
                const filter = { dev: step.dev, ...step.filter };
                assert.equal(fixture.fdb.flush(filter), model.flush(filter));
              }
              if ('mac' in step) {
                assert.deepEqual(fixture.lookup(step.dev, step.mac), model.lookup(step.dev, step.mac));
              }
            }
            assert.deepEqual(fixture.fdb.show(), model.show());
            assert.deepEqual(fixture.fdb.show('vx1'), model.show('vx1'));
          }),
          { numRuns: 120 },
        );
        assert.ok(done > 5000, `${done} operations`);
        for (const device of [1, 2]) fixture.fdb.flushDevice(device);
        assert.equal(passed(), 0);
        const { fresh, free } = pool();
        assert.equal(free, fresh);
      });

      test('a reader on another thread sees old or new, never a mixture', {
        timeout: 60_000,
      }, async (context) => {
        // Remotes whose every field says the same byte, and which MAC it belongs to (byte % MACS).
        // One bucket, so that slots and pool are reused at once. Rows of 8 bytes: the MACs.
        const MACS = 12;
        const macs = neighbours(MACS).map((text) => parseMac(text)!);
        const rows = fixture.engine.scratch + 8192;
        macs.forEach(({ low, high }, row) => {
          fixture.engine.view.setUint32(rows + row * 8, low, true);
          fixture.engine.view.setUint32(rows + row * 8 + 4, high, true);
        });
        const stop = fixture.engine.scratch + 8064;
        fixture.engine.view.setUint32(stop, 0, true);
        fixture.engine.view.setUint32(stop + 4, 0, true);
        const reader = new Worker(READER, {
          eval: true,
          workerData: {
            module: compileEngine(build),
            memory: fixture.engine.memory,
            rows,
            stop,
            macs: MACS,
            into: rows + 4096,
          },
        });
        context.after(() => reader.terminate());
        const report = new Promise<{ looks: number; hits: number; torn: string }>((resolve, reject) => {
          reader.once('error', reject);
          reader.once('message', resolve);
        });
        await new Promise((resolve) => reader.once('online', resolve));

        const { exports, view } = fixture.engine;
        const random = (below: number) => Math.floor(Math.random() * below);
        const marked = (row: number) => {
          const byte = row + MACS * random(20);
          const address = { family: AF_INET6, bytes: new Uint8Array(16).fill(byte) };
          return { address, port: byte * 0x101, vni: byte, ifindex: byte };
        };
        const sender = fixture.engine.scratch + 128;
        // Longer where others have the cores: until the reader has seen enough.
        const [until, latest] = [Date.now() + 1200, Date.now() + 20_000];
        const isSeen = () => view.getUint32(stop + 4, true) === 1;
        let writes = 0;
        while (Date.now() < until || (!isSeen() && Date.now() < latest)) {
          for (let burst = 0; burst < 200; burst++, writes++) {
            const row = random(MACS);
            // The last MACs are learned and move: their address alone changes.
            if (row >= MACS - 2) {
              const byte = row + MACS * random(20);
              view.setUint16(sender, AF_INET6, true);
              fixture.engine.bytes.fill(byte, sender + 8, sender + 24);
              exports.fdbLearn(1, rows + row * 8, sender, 0, fixture.now);
              if (random(8) > 0) continue;
            }
            exports.fdbLock();
            const entry = exports.fdbFind(1, rows + row * 8);
            if (entry < 0) {
              if (row < MACS - 2) {
                const made = exports.fdbInsert(1, macs[row]!.low, macs[row]!.high, fixture.now);
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
        Atomics.store(fixture.engine.i32, stop / 4, 1);
        const { looks, hits, torn } = await report;
        assert.equal(torn, '');
        assert.ok(
          looks > 1000 && hits > 100 && writes > 1000,
          `${looks} looks, ${hits} hits, ${writes} writes`,
        );
        fixture.fdb.flushDevice(1);
        assert.equal(passed(), 0);
        const { fresh, free } = pool();
        assert.equal(free, fresh);
        assert.equal(fixture.engine.exports.fdbNext(0, 0), -1);
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
    if (count > 0 && ++hits > 200 && looks > 2000) Atomics.store(i32, stop / 4 + 1, 1);
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
