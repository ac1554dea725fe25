/**
 * One dataplane for several threads: each carries packets through a queue of its own, on one memory, while the thread
 * that made it changes devices and entries. What comes out is what went in, and the counters are the sum of it all.
 * And carrying packets makes no garbage.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { WORKER_ROUNDS_OFFSET } from '../assembly/layout.ts';
import { attachDataplane, createDataplane, type SharedDataplane } from '../src/dataplane/index.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { OWN, PORT, refused } from './support/embedded.ts';

const BUILT = new URL('../dist/src/dataplane/index.js', import.meta.url).href;
const THREADS = 3;
const BATCHES = 1500;
const BATCH = 64;

/**
 * Sends frames that have their thread and number in them to all kinds of MACs, and takes datagrams from MACs of its own;
 * looks at every byte that comes back.
 */
const CARRIER = `
import { parentPort, workerData } from 'node:worker_threads';
const { built, shared, device, thread, batches, size, port } = workerData;
const { attachDataplane } = await import(built);
const queue = attachDataplane(shared);
const frames = queue.frames(size, 128);
const datagrams = queue.datagrams(size, 128);
const told = { queue: queue.number, sent: 0, taken: 0, wrong: 0, refused: 0 };
let number = 0;
const stamp = (bytes, at, mac, of) => {
  bytes.fill(0, at, at + 60);
  bytes[at] = 2; bytes[at + 4] = 1; bytes[at + 5] = mac;
  bytes[at + 6] = 2; bytes[at + 9] = thread; bytes[at + 10] = of & 15;
  bytes[at + 12] = 0x88; bytes[at + 13] = 0xb5;
  for (let i = 14; i < 60; i++) bytes[at + i] = (of + i * thread) & 255;
};
const isStamped = (bytes, at, of) => {
  if (bytes[at + 9] !== thread || bytes[at + 10] !== (of & 15)) return false;
  for (let i = 14; i < 60; i++) if (bytes[at + i] !== ((of + i * thread) & 255)) return false;
  return true;
};
for (let batch = 0; batch < batches; ++batch) {
  const first = number;
  for (const slot of frames.slots) {
    stamp(slot.bytes, 0, number % 32, number);
    slot.length = 60;
    slot.device = device;
    ++number;
  }
  const sent = queue.encap(frames);
  for (let of = first; sent.next(); ++of, ++told.sent) {
    const bytes = sent.bytes;
    if (bytes.length !== 68 || bytes[0] !== 8 || bytes[6] !== 42 || sent.port !== port) ++told.wrong;
    if (!isStamped(bytes, 8, of) || !/^10\\.0\\.0\\.(1|2)$/.test(sent.address)) ++told.wrong;
  }
  for (const [index, slot] of datagrams.slots.entries()) {
    slot.bytes.fill(0, 0, 8);
    slot.bytes[0] = 8;
    slot.bytes[6] = 42;
    stamp(slot.bytes, 8, 0xff, first + index);
    slot.length = 68;
    slot.sender = '192.0.2.' + thread;
  }
  const arrived = queue.decap(datagrams, port);
  for (let of = first; arrived.next(); ++of, ++told.taken) {
    if (arrived.length !== 60 || arrived.device !== device || !isStamped(arrived.bytes, 0, of)) ++told.wrong;
  }
}
queue.close();
parentPort.postMessage(told);
`;

describe('threads on one memory', () => {
  test('each carries its own, while entries and devices change', async (context) => {
    const plane = createDataplane({ queues: THREADS + 1 });
    const device = plane.addDevice({ name: 'a', vni: 42, address: OWN, port: PORT, remote: '10.0.0.1' });
    const workerData = {
      built: BUILT,
      shared: plane.share(),
      device,
      batches: BATCHES,
      size: BATCH,
      port: PORT,
    };
    const workers = Array.from(
      { length: THREADS },
      (_, thread) => new Worker(CARRIER, { eval: true, workerData: { ...workerData, thread: thread + 1 } }),
    );
    context.after(() => Promise.all(workers.map((worker) => worker.terminate())));
    const answers = Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]));
    let isDone = false;
    answers.finally(() => {
      isDone = true;
    });
    let learned = 0;
    plane.subscribe((event) => {
      if (event.event === 'fdb' && !event.deleted && event.entry.dst?.startsWith('192.')) ++learned;
    });
    let changes = 0;
    for (; !isDone; ++changes) {
      const mac = `02:00:00:00:01:${(changes % 32).toString(16).padStart(2, '0')}`;
      plane.fdb.apply({ op: 'replace', dev: 'a', mac, dst: `10.0.0.${1 + (changes & 1)}` });
      if (changes % 3 === 0) plane.fdb.apply({ op: 'del', dev: 'a', mac });
      plane.addDevice({ name: 'b', vni: 43, address: OWN, port: PORT, remote: '10.0.0.3' });
      assert.equal(plane.encap('b', new Uint8Array(60)).length, 1);
      plane.deleteDevice('b');
      plane.tick();
      await new Promise((done) => setImmediate(done));
    }
    const told = await answers;
    plane.poll();
    const all = THREADS * BATCHES * BATCH;
    assert.deepEqual(told.map(({ queue }) => queue).sort(), [1, 2, 3]);
    for (const { sent, taken, wrong } of told)
      assert.deepEqual({ sent, taken, wrong }, { sent: all / THREADS, taken: all / THREADS, wrong: 0 });
    // fdb_busy: a thread that held the table may have lost its core; the others went on, and learned from a later frame.
    const { encap_packets, decap_packets, fdb_learned, fdb_busy: _, ...others } = plane.counters('a');
    assert.deepEqual(
      { encap_packets, decap_packets, fdb_learned },
      { encap_packets: all, decap_packets: all, fdb_learned: 48 },
    );
    assert.deepEqual(Object.keys(others).sort(), ['decap_bytes', 'encap_bytes']);
    assert.equal(plane.fdb.show('a').filter(({ dst }) => dst?.startsWith('192.')).length, 48);
    assert.equal(learned, 48, 'each was told once');
    assert.ok(changes > 10, `${changes} changes`);
  });

  test('as many threads as there is room for; one that ended badly is reclaimed', () => {
    const plane = createDataplane({ queues: 3 });
    const device = plane.addDevice({ name: 'a', vni: 42, address: OWN, remote: '192.0.2.2' });
    const [one, other] = [attachDataplane(plane.share()), attachDataplane(plane.share())];
    assert.deepEqual([plane.queue.number, one.number, other.number], [0, 1, 2]);
    refused('NO_SPACE', () => attachDataplane(plane.share()));
    one.close();
    const again = attachDataplane(plane.share());
    assert.equal(again.number, 1);
    // In the middle of a batch, and then never heard of again.
    for (let remote = 0; remote < 600; ++remote)
      plane.fdb.apply({
        op: 'append',
        dev: 'a',
        mac: '00:00:00:00:00:00',
        dst: `10.0.${remote >> 7}.${remote & 127}`,
      });
    const batch = again.frames(2);
    for (const slot of batch.slots) {
      slot.write(new Uint8Array(60).fill(1));
      slot.device = device;
    }
    again.encap(batch);
    for (const wrong of [0, 3, -1, 0.5]) refused('USAGE', () => plane.reclaim(wrong));
    plane.reclaim(1);
    const heir = attachDataplane(plane.share());
    const frames = heir.frames(1);
    frames.slots[0]!.write(new Uint8Array(60).fill(2));
    frames.slots[0]!.device = device;
    const sent = heir.encap(frames);
    let count = 0;
    for (; sent.next(); ++count) assert.equal(sent.bytes[8], 2);
    assert.equal(count, 601);
    const nothing = { memory: new WebAssembly.Memory({ initial: 1 }) };
    for (const wrong of [undefined, {}, nothing])
      refused('USAGE', () => attachDataplane(wrong as SharedDataplane));
    const alone = createDataplane({ shared: false });
    refused('UNSUPPORTED', () => alone.share());
  });

  test('a number is given away again when no thread may have the device in hand', () => {
    const plane = createDataplane({ queues: 2 });
    const other = attachDataplane(plane.share());
    const word = (workerBase(2 * other.number) + WORKER_ROUNDS_OFFSET) / 4;
    const u32 = new Uint32Array(plane.share().memory.buffer);
    const device = { name: 'a', vni: 42, address: OWN };
    assert.equal(plane.addDevice(device), 1);
    // As if it were inside of the engine.
    u32[word]!++;
    plane.deleteDevice('a');
    assert.equal(plane.nameOf(1), '');
    assert.equal(plane.addDevice(device), 2, 'the name is free, the number is not');
    plane.deleteDevice('a');
    assert.equal(plane.addDevice(device), 3);
    u32[word]!++;
    plane.tick();
    assert.equal(plane.addDevice({ ...device, name: 'b', vni: 43 }), 1);
    assert.deepEqual(plane.devices(), ['a', 'b']);
    plane.deleteDevice('a');
    u32[word]!++;
    plane.deleteDevice('b');
    assert.equal(plane.addDevice(device), 2);
    plane.reclaim(1);
    assert.equal(
      plane.addDevice({ ...device, name: 'c', vni: 44 }),
      1,
      'a thread that has gone has nothing in hand',
    );
  });
});

/** Carries packets both ways; says how many collections there were, before that with garbage to collect. */
const CLEAN = `
import { PerformanceObserver } from 'node:perf_hooks';
const { createDataplane } = await import(${JSON.stringify(BUILT)});
let collections = 0;
new PerformanceObserver((list) => { collections += list.getEntries().length; }).observe({ entryTypes: ['gc'] });
const settled = async () => { await new Promise((done) => setTimeout(done, 50)); const seen = collections; collections = 0; return seen; };
const plane = createDataplane();
const device = plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', remote: '192.0.2.2' });
const frames = plane.queue.frames(64);
const datagrams = plane.queue.datagrams(64);
const frame = new Uint8Array(64).fill(6);
frame[6] = 2;
const datagram = Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0, ...frame);
function carry(packets) {
  let sum = 0;
  for (let done = 0; done < packets; done += 128) {
    for (let i = 0; i < 64; ++i) {
      const slot = frames.slots[i];
      slot.write(frame);
      slot.device = device;
      datagrams.slots[i].write(datagram, '192.0.2.2');
    }
    const sent = plane.queue.encap(frames);
    while (sent.next()) sum += sent.bytes.length + sent.address.length + sent.port + sent.flow;
    const arrived = plane.queue.decap(datagrams);
    while (arrived.next()) sum += arrived.bytes.length + arrived.device + arrived.vni;
    sum &= 0xffffff;
  }
  return sum;
}
carry(2e6);
const kept = [];
for (let i = 0; i < 3e6; ++i) kept[i & 1023] = { i };
const first = await settled();
carry(3e6);
const second = await settled();
const { encap_packets, decap_packets } = plane.counters('a');
console.log(JSON.stringify({ first, second, encap_packets, decap_packets, kept: kept.length }));
`;

test('no allocation for packets: nothing is collected while millions are carried', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CLEAN], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  const { first, second, encap_packets, decap_packets } = JSON.parse(text);
  assert.ok(first > 0, 'collections are seen when there is garbage');
  assert.equal(second, 0);
  assert.ok(encap_packets >= 2.5e6 && decap_packets >= 2.5e6);
});
