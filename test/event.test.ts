/** What workers tell the host: in order, whole, and counted when there is no room. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  AF_INET,
  AF_INET6,
  EVENT_COUNT,
  EVENTS_OFFSET,
  EVENTS_TAKEN_OFFSET,
  EVENTS_WRITTEN_OFFSET,
} from '../assembly/layout.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { drainEvents, lostEvents, type WorkerEvent } from '../src/dataplane/events.ts';
import { formatAddress, formatMac } from '../src/dataplane/fdb-text.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { createMemoryNetwork, createMemoryPort, createVtep } from '../src/index.ts';
import { BUILDS, loadEngine, type TestEngine } from './support/engine.ts';
import { ipBytes, macBytes } from './support/frames.ts';
import { until } from './support/own-namespace.ts';

const WORKER = 1;
const MAC = '02:11:22:33:44:55';

/** An event as text, for comparing. */
function textOf(event: WorkerEvent): string {
  const { kind, domain } = event;
  if (kind === 'l3-miss') return `${kind} ${domain} ${formatAddress(event.address)}`;
  if (kind === 'l2-miss') return `${kind} ${domain} ${formatMac(event.mac)}`;
  return `${kind} ${domain} ${formatMac(event.mac)} ${formatAddress(event.remote)} ${event.ifindex}`;
}

for (const build of BUILDS) {
  describe(`event, ${build}`, () => {
    let engine: TestEngine;
    const worker = workerBase(WORKER);
    before(async () => {
      engine = await loadEngine(build);
    });

    function place(at: number, bytes: Uint8Array): number {
      // What stands behind must not get into the record.
      engine.bytes.fill(0xee, at, at + 32);
      engine.bytes.set(bytes, at);
      return at;
    }

    const mac = () => place(engine.scratch, macBytes(MAC));
    const address = (text: string) => place(engine.scratch + 64, ipBytes(text));
    function sender(text: string): number {
      const bytes = ipBytes(text);
      const at = place(engine.scratch + 128, new Uint8Array(0));
      engine.view.setUint16(at, bytes.length === 4 ? AF_INET : AF_INET6, true);
      engine.bytes.set(bytes, at + (bytes.length === 4 ? 4 : 8));
      return at;
    }

    function drain(index = WORKER): string[] {
      const seen: string[] = [];
      const count = drainEvents(engine, index, (event) => seen.push(textOf(event)));
      assert.equal(count, seen.length);
      return seen;
    }

    test('hands out each kind as it was told, in order, to whoever asks for that worker', () => {
      const { exports } = engine;
      exports.eventLearned(worker, 3, mac(), sender('192.0.2.1'), 0);
      exports.eventMoved(worker, 8190, mac(), sender('fe80::1'), 7);
      exports.eventL2Miss(worker, 4, mac());
      exports.eventL3Miss(worker, 5, AF_INET, address('10.0.0.1'));
      exports.eventL3Miss(worker, 5, AF_INET6, address('fd00::1'));
      assert.deepEqual(drain(0), []);
      assert.deepEqual(drain(), [
        `learned 3 ${MAC} 192.0.2.1 0`,
        `moved 8190 ${MAC} fe80::1 7`,
        `l2-miss 4 ${MAC}`,
        'l3-miss 5 10.0.0.1',
        'l3-miss 5 fd00::1',
      ]);
      assert.deepEqual(drain(), []);
    });

    test('an IPv4 address has zeros behind it', () => {
      engine.exports.eventL3Miss(worker, 5, AF_INET, address('10.0.0.1'));
      drainEvents(engine, WORKER, (event) => {
        assert.ok(event.kind === 'l3-miss');
        assert.deepEqual([...event.address.bytes], [10, 0, 0, 1, ...new Array(12).fill(0)]);
      });
    });

    test('counts what does not fit, keeps the oldest, and goes on when there is room', () => {
      const lost = lostEvents(engine, WORKER);
      const tell = (n: number) => engine.exports.eventL2Miss(worker, n, mac());
      for (let n = 1; n <= EVENT_COUNT + 5; n++) tell(n);
      assert.equal(lostEvents(engine, WORKER) - lost, 5);
      const seen = drain();
      assert.equal(seen.length, EVENT_COUNT);
      assert.equal(seen[0], `l2-miss 1 ${MAC}`);
      assert.equal(seen.at(-1), `l2-miss ${EVENT_COUNT} ${MAC}`);
      tell(9);
      assert.deepEqual(drain(), [`l2-miss 9 ${MAC}`]);
      assert.equal(lostEvents(engine, WORKER) - lost, 5);
    });

    test('the cursors may wrap around', () => {
      for (const offset of [EVENTS_WRITTEN_OFFSET, EVENTS_TAKEN_OFFSET]) {
        engine.view.setUint32(worker + EVENTS_OFFSET + offset, 0xfffffffe, true);
      }
      for (let n = 1; n <= 5; n++) engine.exports.eventL2Miss(worker, n, mac());
      assert.deepEqual(
        drain(),
        [1, 2, 3, 4, 5].map((n) => `l2-miss ${n} ${MAC}`),
      );
      assert.equal(engine.view.getUint32(worker + EVENTS_OFFSET + EVENTS_TAKEN_OFFSET, true), 3);
    });

    test('events written while others are taken arrive whole, in order, or are counted', async (context) => {
      const at = engine.scratch + 192;
      const lost = lostEvents(engine, WORKER);
      const workerData = { module: compileEngine(build), memory: engine.memory, worker, at, count: WRITES };
      const writer = new Worker(WRITER, { eval: true, workerData });
      context.after(() => writer.terminate());
      let isDone = false;
      writer.once('message', () => {
        isDone = true;
      });
      let taken = 0;
      let last = 0;
      for (;;) {
        const wasDone = isDone;
        const drained = drainEvents(engine, WORKER, (event) => {
          assert.ok(event.kind === 'learned');
          const n = event.ifindex;
          assert.ok(n > last, 'in order');
          last = n;
          assert.equal(event.domain, n & 0x1fff);
          assert.deepEqual(event.mac, { low: n, high: n & 0xffff });
          const { buffer, byteOffset } = event.remote.bytes;
          const words = Array.from({ length: 4 }, (_, i) =>
            new DataView(buffer, byteOffset).getUint32(4 * i, true),
          );
          assert.deepEqual(words, [n, n, n, n]);
        });
        taken += drained;
        if (wasDone && drained === 0) break;
        await new Promise((done) => setImmediate(done));
      }
      assert.equal(taken + lostEvents(engine, WORKER) - lost, WRITES);
      assert.ok(taken > EVENT_COUNT, `${taken} of ${WRITES} taken`);
    });
  });
}

const WRITES = 100_000;

/** Tells of as many events as it was told to, each of which has its number in every field. */
const WRITER = `
const { parentPort, workerData } = require('node:worker_threads');
const { module, memory, worker, at, count } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const view = new DataView(memory.buffer);
const AF_INET6 = 10;
view.setUint16(at, AF_INET6, true);
for (let n = 1; n <= count; n++) {
  view.setUint32(at + 32, n, true);
  view.setUint16(at + 36, n & 0xffff, true);
  for (let word = 8; word < 24; word += 4) view.setUint32(at + word, n, true);
  exports.eventLearned(worker, n & 0x1fff, at + 32, at, n);
  if (n % 1000 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
parentPort.postMessage('done');
`;

test('what is lost is told to subscribers and shown by status', async (context) => {
  const network = createMemoryNetwork();
  const vtep = await createVtep({ underlay: network.host('192.0.2.1') });
  context.after(() => vtep.close());
  const [mine, its] = createMemoryPort({ queue: 3 * EVENT_COUNT });
  await vtep.addDevice({ name: 'a', id: 42, l2miss: true, port: its });
  assert.equal(vtep.status().lostEvents, undefined);
  let misses = 0;
  let lost = 0;
  vtep.subscribe((event) => {
    if (event.event === 'miss') misses += 1;
    if (event.event === 'lost') lost += event.lost;
  });
  const frames = Array.from({ length: 3 * EVENT_COUNT }, (_, number) =>
    Uint8Array.of(2, 0, 0, 0, number >> 8, number & 255, 2, 0, 0, 0, 0, 8, 0x88, 0xb5, ...new Uint8Array(46)),
  );
  mine.write(frames);
  await until('all are accounted for', () => misses + lost === frames.length, 10_000);
  assert.ok(misses >= EVENT_COUNT && lost > 0, `${misses} told, ${lost} lost`);
  assert.equal(vtep.status().lostEvents, lost);
});
