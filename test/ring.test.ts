/**
 * Rings between threads: every frame comes through, once, in order and whole; a full ring takes nothing and loses
 * nothing; and whoever ends in the midst of it, or does what can't be right, harms nobody.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { HOOK_RECORDS_OFFSET, HOOK_WINDOW_ENCAP_OFFSET } from '../assembly/layout.ts';
import { compileHook } from '../src/dataplane/hook-program.ts';
import {
  attachConsumer,
  attachProducer,
  createDataplane,
  type RingConsumer,
  type RingProducer,
  type SharedRing,
} from '../src/dataplane/index.ts';
import { OWN, PORT, planeWith, refused } from './support/embedded.ts';
import { handMade, i32 } from './support/hook-modules.ts';
import { below } from './support/mutate.ts';
import { mulberry32 } from './support/reference.ts';

const BUILT = new URL('../dist/src/dataplane/index.js', import.meta.url).href;
const FRAMES = 300_000;

/** What a frame of a number is: its length, and every byte. */
const SHARED_WORDS = `
const lengthOf = (number) => 60 + (number * 7) % 441;
const stamp = (bytes, number) => {
  const length = lengthOf(number);
  for (let i = 0; i < length; i++) bytes[i] = (number + i * 31) & 255;
  bytes[0] = 2; bytes[6] = 2; bytes[12] = 0x88; bytes[13] = 0xb5;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(14, number);
  return length;
};
const isStamped = (bytes, length, number) => {
  if (length !== lengthOf(number) || new DataView(bytes.buffer, bytes.byteOffset).getUint32(14) !== number) return false;
  for (let i = 18; i < length; i++) if (bytes[i] !== ((number + i * 31) & 255)) return false;
  return true;
};
`;

/** Fills a ring with frames of numbers from `first` on, a few at a time. */
const PRODUCER = `
import { parentPort, workerData } from 'node:worker_threads';
const { built, ring, device, first, count, dies } = workerData;
const { attachProducer } = await import(built);
${SHARED_WORDS}
const producer = attachProducer(ring);
let full = 0;
for (let number = first; number < first + count; ) {
  let slot = producer.claim();
  if (slot === undefined) { ++full; producer.wait(); continue; }
  for (let burst = 1 + (number * 13) % 50; slot !== undefined && number < first + count; ) {
    slot.length = stamp(slot.bytes, number++);
    slot.device = device;
    slot = --burst > 0 && number < first + count ? producer.claim() : undefined;
  }
  producer.publish();
}
if (dies) {
  // In the midst of a frame, which is never published.
  const slot = producer.claim();
  slot.length = stamp(slot.bytes, 0xdead);
  slot.device = device;
  parentPort.postMessage({ full });
  for (;;) slot.bytes[20]++;
}
producer.close();
parentPort.postMessage({ full });
`;

/** A queue: what comes by the ring is sent, received again, and goes on by another ring. */
const CARRIER = `
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
const { built, shared, count, port } = workerData;
const { attachDataplane } = await import(built);
${SHARED_WORDS}
const queue = attachDataplane(shared);
const [inward, outward] = [queue.ring(64, 512), queue.ring(32, 512)];
parentPort.postMessage({ inward: inward.share(), outward: outward.share() });
const producer = outward.produce();
const datagrams = queue.datagrams(64, 520);
let number = 0;
let wrong = 0;
while (number < count) {
  inward.wait(1000);
  const sent = queue.encap(inward, 1 + (number * 11) % 64);
  const first = number;
  while (sent.next()) {
    const bytes = sent.bytes;
    if (bytes[0] !== 8 || bytes[6] !== 42 || sent.port !== port) ++wrong;
    if (!isStamped(bytes.subarray(8), bytes.length - 8, number)) ++wrong;
    datagrams.slots[number - first].write(bytes, '192.0.2.2');
    ++number;
  }
  inward.release();
  const arrived = queue.decap(datagrams, port, number - first);
  while (arrived.next()) {
    let slot = producer.claim();
    while (slot === undefined) { producer.publish(); producer.wait(1000); slot = producer.claim(); }
    slot.write(arrived.bytes);
    slot.device = arrived.device;
  }
  producer.publish();
}
parentPort.postMessage({ number, wrong });
await once(parentPort, 'message');
queue.close();
`;

const CONSUMER = `
import { parentPort, workerData } from 'node:worker_threads';
const { built, ring, device, count } = workerData;
const { attachConsumer } = await import(built);
${SHARED_WORDS}
const consumer = attachConsumer(ring);
let number = 0;
let wrong = 0;
while (number < count) {
  consumer.wait(1000);
  for (let slot; (slot = consumer.peek()) !== undefined; ++number)
    if (slot.device !== device || !isStamped(slot.bytes, slot.length, number)) ++wrong;
  consumer.release();
}
consumer.close();
parentPort.postMessage({ number, wrong });
`;

function started(script: string, workerData: object, context: { after(end: () => unknown): void }): Worker {
  const worker = new Worker(script, { eval: true, workerData: { built: BUILT, ...workerData } });
  context.after(() => worker.terminate());
  return worker;
}

async function told<T>(worker: Worker): Promise<T> {
  const [message] = await Promise.race([
    once(worker, 'message'),
    once(worker, 'error').then(([error]) => Promise.reject(error)),
  ]);
  return message;
}

describe('a ring between threads', () => {
  test('every frame comes through, in order and whole, by two rings and four threads', async (context) => {
    const plane = createDataplane({ queues: 2 });
    // Receives its own: nothing is learned, and nothing dropped as its own.
    const device = plane.addDevice({
      ...{ name: 'a', vni: 42, address: OWN, port: PORT },
      ...{ remote: '192.0.2.2', learning: false },
    });
    const carrier = started(CARRIER, { shared: plane.share(), count: FRAMES, port: PORT }, context);
    const { inward, outward } = await told<Record<'inward' | 'outward', SharedRing>>(carrier);
    const consumer = started(CONSUMER, { ring: outward, device, count: FRAMES }, context);
    const producer = started(PRODUCER, { ring: inward, device, first: 0, count: FRAMES }, context);
    const [made, carried, taken] = await Promise.all([
      told<{ full: number }>(producer),
      told(carrier),
      told(consumer),
    ]);
    assert.deepEqual(carried, { number: FRAMES, wrong: 0 });
    assert.deepEqual(taken, { number: FRAMES, wrong: 0 });
    assert.ok(made.full > 0, 'the ring was full at times');
    const { encap_packets, decap_packets, ...others } = plane.counters('a');
    assert.deepEqual({ encap_packets, decap_packets }, { encap_packets: FRAMES, decap_packets: FRAMES });
    assert.deepEqual(Object.keys(others).sort(), ['decap_bytes', 'encap_bytes']);
  });

  test('a producer that ends in the midst of a frame has published the others; the next one goes on', async (context) => {
    const { plane, number: device } = planeWith({ remote: '192.0.2.2' });
    const ring = plane.queue.ring(128, 512);
    const workers = [0, 1].map((turn) => ({
      ring: ring.share(),
      device,
      first: turn * 100,
      count: 100,
      dies: turn === 0,
    }));
    const first = started(PRODUCER, workers[0]!, context);
    await told(first);
    await first.terminate();
    const second = started(PRODUCER, workers[1]!, context);
    await assert.rejects(told(second), { code: 'IN_USE' });
    for (const wrong of ['', 'both', undefined, 'toString'])
      refused('USAGE', () => ring.reclaim(wrong as 'producer'));
    ring.reclaim('producer');
    const third = told(started(PRODUCER, workers[1]!, context));
    const numbers: number[] = [];
    for (const end = performance.now() + 15_000; numbers.length < 200; await pause(1)) {
      const sent = plane.queue.encap(ring, 30);
      while (sent.next())
        numbers.push(new DataView(sent.bytes.buffer, sent.bytes.byteOffset).getUint32(8 + 14));
      ring.release();
      assert.ok(performance.now() < end, `${numbers.length} frames`);
    }
    await third;
    assert.deepEqual(numbers, [...Array(200).keys()]);
    assert.equal(ring.waiting, 0);
  });

  test('whoever sleeps is woken by the other end, by the end of the ring, and by the clock', async (context) => {
    const { plane, number: device } = planeWith({ remote: '192.0.2.2' });
    const ring = plane.queue.ring(4, 512);
    const producer = started(PRODUCER, { ring: ring.share(), device, first: 0, count: 1000 }, context);
    assert.ok(ring.wait(15_000));
    const began = performance.now();
    const other = plane.queue.ring(4);
    assert.equal(other.wait(20), false);
    assert.ok(performance.now() - began >= 19);
    // The producer sleeps, or is about to: the ring is full.
    await pause(20);
    const ended = told(producer);
    plane.queue.close();
    await assert.rejects(ended, { code: 'USAGE' });
  });
});

describe('a ring', () => {
  test('does as an array does, whatever the turns: filled, full, emptied, wrapped', () => {
    for (let seed = 1; seed <= 20; ++seed) {
      const random = mulberry32(seed);
      const { plane, number: device } = planeWith({ remote: '192.0.2.2' });
      const count = 2 ** below(random, 5);
      const ring = plane.queue.ring(count, 100);
      // The one end or the other is here; the consumer's is the queue itself in every other run.
      const consumer = seed % 2 === 0 ? ring.consume() : undefined;
      const producer = ring.produce();
      const [claimed, published, taken]: number[][] = [[], [], []];
      let number = 0;
      for (let step = 0; step < 2000; ++step) {
        const kind = below(random, 5);
        if (kind <= 1) {
          const slot = producer.claim();
          assert.equal(slot === undefined, claimed!.length + published!.length + taken!.length === count);
          if (slot === undefined) continue;
          slot.write(new Uint8Array(60 + (number % 40)).fill(number & 0xfe));
          slot.device = device;
          claimed!.push(number++);
        } else if (kind === 2) {
          producer.publish();
          published!.push(...claimed!.splice(0));
        } else if (kind === 3) {
          const most = below(random, count + 2);
          const wanted = published!.splice(0, most);
          taken!.push(...wanted);
          const seen = consumer === undefined ? encapped(most) : peeked(consumer, most);
          assert.deepEqual(
            seen,
            wanted.map((one) => [60 + (one % 40), one & 0xfe]),
          );
        } else {
          if (consumer === undefined) ring.release();
          else consumer.release();
          taken!.length = 0;
        }
        if (consumer === undefined) assert.equal(ring.waiting, published!.length);
      }
      plane.close();

      function encapped(most: number): number[][] {
        const seen: number[][] = [];
        const sent = plane.queue.encap(ring, most);
        while (sent.next()) seen.push([sent.length - 8, sent.bytes.at(-1)!]);
        return seen;
      }
    }
  });

  test('that is full gives no slot, and what it has is not overwritten', () => {
    const { plane, number: device } = planeWith({ remote: '192.0.2.2' });
    const ring = plane.queue.ring(8, 64);
    const producer = ring.produce();
    for (let index = 0; index < 8; ++index) {
      const slot = producer.claim()!;
      slot.write(new Uint8Array(60).fill(index * 2));
      slot.device = device;
    }
    assert.equal(producer.claim(), undefined);
    assert.equal(ring.waiting, 0, 'nothing is published yet');
    producer.publish();
    assert.equal(producer.wait(1), false);
    const sent = plane.queue.encap(ring);
    assert.ok(sent.next());
    assert.equal(producer.claim(), undefined, 'taken, but not released');
    for (let index = 0; index < 8; ++index, sent.next()) assert.equal(sent.bytes[8], index * 2);
    ring.release();
    refused('USAGE', () => sent.bytes);
    assert.ok(producer.wait(0));
    for (let index = 0; index < 8; ++index) assert.ok(producer.claim());
    assert.equal(producer.claim(), undefined);
  });

  test('of a frame to many remotes is taken in turns, and ends with release', () => {
    const { plane, number: device } = planeWith();
    for (let remote = 0; remote < 1000; ++remote)
      plane.fdb.apply({
        op: 'append',
        dev: 'a',
        mac: '00:00:00:00:00:00',
        dst: `10.0.${remote >> 7}.${remote & 127}`,
      });
    const ring = plane.queue.ring(4, 64);
    const producer = ring.produce();
    const fill = (byte: number) => {
      const slot = producer.claim()!;
      slot.write(new Uint8Array(60).fill(byte));
      slot.device = device;
      producer.publish();
    };
    for (const byte of [255, 253]) fill(byte);
    const sent = plane.queue.encap(ring);
    assert.ok(sent.next());
    refused('USAGE', () => plane.queue.encap(ring));
    ring.release();
    fill(251);
    const next = plane.queue.encap(ring);
    let count = 0;
    for (; next.next(); ++count) assert.equal(next.bytes[8], 251);
    assert.equal(count, 1000);
  });

  test('drops what no producer should have published, and counts it', () => {
    const { plane, number: device } = planeWith({ remote: '192.0.2.2' });
    const gone = plane.addDevice({ name: 'b', vni: 43, address: OWN, remote: '192.0.2.3' });
    const ring = plane.queue.ring(8, 64);
    const producer = ring.produce();
    const slots = Array.from({ length: 5 }, (_, index) => {
      const slot = producer.claim()!;
      slot.write(new Uint8Array(60).fill(2 * index));
      slot.device = index === 1 ? gone : device;
      return slot;
    });
    slots[3]!.length = 5;
    plane.deleteDevice('b');
    // A producer that writes past the door: the length of the third.
    const { memory, base } = ring.share();
    new DataView(memory.buffer).setUint32(base + 5 * 64 + 2 * 8, 0xffffffff, true);
    producer.publish();
    const sent = plane.queue.encap(ring);
    const seen: number[] = [];
    while (sent.next()) seen.push(sent.bytes[8]!);
    assert.deepEqual(seen, [0, 8]);
    assert.deepEqual(plane.counters(''), { drop_device_down: 1, drop_tap_read: 1 });
    assert.equal(plane.counters('a').drop_short_frame, 1);
  });

  test('that is used wrongly refuses, and goes on', () => {
    const { plane, number: device } = planeWith({ remote: '192.0.2.2' });
    const { queue } = plane;
    for (const count of [0, 3, 257, 512, 1.5, '4', undefined])
      refused('USAGE', () => queue.ring(count as number));
    for (const bytes of [0, -1, 70_000, 'x', null]) refused('USAGE', () => queue.ring(4, bytes as number));
    refused('NO_SPACE', () => queue.ring(256, 65_000));
    const ring = queue.ring(4, 64);
    for (const wrong of [-1, 0.5, '1', null]) refused('USAGE', () => queue.encap(ring, wrong as number));
    refused('USAGE', () => planeWith().queue.encap(ring));
    const producer = ring.produce();
    refused('IN_USE', () => ring.produce());
    refused('IN_USE', () => attachProducer(ring.share()));
    assert.equal(queue.encap(ring).next(), false);
    refused('IN_USE', () => ring.consume());
    const shared = ring.share();
    for (const wrong of [
      undefined,
      null,
      {},
      1,
      { ...shared, base: 1 },
      { ...shared, count: 2 ** 30 },
      { ...shared, identity: 'x' },
    ])
      for (const attach of [attachProducer, attachConsumer])
        refused('USAGE', () => attach(wrong as SharedRing));
    const slot = producer.claim()!;
    for (const wrong of [65, -1, 1.5, '1', undefined])
      refused('USAGE', () => (slot.length = wrong as number));
    for (const wrong of [0, 256, 1.5, '1', undefined])
      refused('USAGE', () => (slot.device = wrong as number));
    for (const wrong of [new Uint8Array(65), 'x', undefined, [1]])
      refused('USAGE', () => slot.write(wrong as Uint8Array));
    slot.write(new Uint8Array(60).fill(6));
    slot.device = device;
    producer.publish();
    producer.close();
    producer.close();
    for (const use of [
      () => producer.claim(),
      () => producer.publish(),
      () => producer.wait(0),
      () => slot.bytes,
    ])
      refused('USAGE', use);
    assert.ok(queue.encap(ring).next(), 'what was published stays');
    const again: RingProducer = attachProducer(ring.share());
    ring.close();
    ring.close();
    const ways = [
      ...[
        () => ring.share(),
        () => ring.produce(),
        () => ring.consume(),
        () => ring.waiting,
        () => ring.release(),
      ],
      ...[() => ring.wait(0), () => ring.reclaim('producer'), () => queue.encap(ring)],
      ...[() => again.claim(), () => again.publish(), () => attachProducer(shared)],
    ];
    for (const use of ways) refused('USAGE', use);
    // The next ring may lie where it was; who had the old one has no part in it.
    const next = queue.ring(4, 64);
    assert.equal(next.share().base, shared.base);
    refused('USAGE', () => again.claim());
    again.close();
    const heir = next.produce();
    refused('IN_USE', () => next.produce());
    assert.ok(heir.claim());
    refused('UNSUPPORTED', () => createDataplane({ shared: false }).queue.ring(4).share());
    refused('UNSUPPORTED', () => createDataplane({ shared: false }).queue.ring(4).wait(1));
  });
});

function peeked(consumer: RingConsumer, most: number): number[][] {
  const seen: number[][] = [];
  while (seen.length < most) {
    const slot = consumer.peek();
    if (slot === undefined) break;
    seen.push([slot.length, slot.bytes[slot.length - 1]!]);
  }
  return seen;
}

test('a hook that writes over the cursors of a ring gets no more frames sent than it has slots', () => {
  const { queue, number: device } = planeWith({ remote: '192.0.2.2' });
  const ring = queue.ring(8, 128);
  const producer = ring.produce();
  const publish = () => {
    const slot = producer.claim()!;
    slot.write(new Uint8Array(60).fill(2));
    slot.device = device;
    producer.publish();
  };
  // store(records - distance, 0xfffffff0): "filled" of the ring, the first word of the window.
  const distance = HOOK_RECORDS_OFFSET - HOOK_WINDOW_ENCAP_OFFSET;
  const hook = [0x20, 0, ...i32(distance), 0x6b, ...i32(-16), 0x36, 2, 0];
  queue.setHook(device, 'encap', compileHook(handMade({ hook })));
  publish();
  let sent = queue.encap(ring);
  while (sent.next());
  queue.setHook(device, 'encap', undefined);
  assert.ok(ring.waiting > 1e9, `${ring.waiting}`);
  sent = queue.encap(ring, 1e6);
  let count = 0;
  while (sent.next()) ++count;
  assert.ok(count <= 8, `${count} sent`);
});
