/**
 * The two engines on the same TAPs: what io_uring is told, and that frames, their order and the counters come out as
 * with a call for each. The kernel is played, so that it can refuse what a real one seldom does.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_DEVICE_OFFSET,
  DESCRIPTOR_LENGTH_OFFSET,
  DEVICE_BYTES,
  DEVICE_TAP_OFFSET,
  DEVICES_BASE,
  ENCAP_ARENA_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_COUNT,
  ENCAP_RING_OFFSET,
  FRAME_HEADROOM_BYTES,
  FRAME_MAX_BYTES,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  IOVEC_BYTES,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  RING_TAKEN_OFFSET,
  VIRTIO_HEADER_BYTES,
  WRITE_BYTES,
  WRITE_COUNT,
  WRITE_DEVICE_OFFSET,
  WRITE_FRAMES_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITES_OFFSET,
} from '../assembly/layout.ts';
import { readCounters } from '../src/dataplane/counters.ts';
import { instantiateEngine } from '../src/dataplane/engine.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { createMemory, viewsOf, workerBase } from '../src/dataplane/memory.ts';
import { EAGAIN, EINTR, EIO, ENOMEM } from '../src/io/errno.ts';
import type { Syscalls } from '../src/io/syscalls.ts';
import { BatchedReader, type TapReader } from '../src/vtep/tap-reader.ts';
import { BatchedWriter } from '../src/vtep/tap-writer.ts';
import { UringReader } from '../src/vtep/uring-reader.ts';
import { UringWriter } from '../src/vtep/uring-writer.ts';
import type { WorkerContext } from '../src/vtep/worker-context.ts';
import { Dice, SEED } from './support/differential-dice.ts';
import { NaiveUring, type Submission } from './support/naive-uring.ts';

const RING = 40;
const TAP = 41;
const DEVICE = 7;
const QUEUE = 1;
/** Where the memory is said to lie: addresses that the kernel is told need more than 32 bits. */
const ADDRESS = 0x7f12_0000_0000;
const EBADFD = 77;
const RUNS = 60;

const module = compileEngine('release');

/** A worker whose TAPs are played: `perform` answers both kinds of call. */
function worker(perform: (submission: Submission) => number, enterLimit: () => number, cursor = 0) {
  const views = viewsOf(createMemory(1));
  const base = workerBase(0);
  views.view.setBigUint64(HEADER_BASE + HEADER_ADDRESS_OFFSET, BigInt(ADDRESS), true);
  const exports = instantiateEngine(module, views.memory);
  const uring = new NaiveUring(views, base, cursor, perform);
  let errno = 0;
  const answer = (result: number) => {
    if (result < 0) errno = -result;
    return Math.max(result, -1);
  };
  const plain = (operation: Submission['operation']) => (fd: number, address: number, length: number) =>
    answer(perform({ operation, fd, address, length }));
  const sys = {
    errno: () => errno,
    read: plain('read'),
    writev: plain('writev'),
    io_uring_enter: (ring: number, count: number) => {
      assert.equal(ring, RING);
      const limit = enterLimit();
      return limit === 0 ? answer(-ENOMEM) : uring.enter(count, limit);
    },
  } as unknown as Syscalls;
  const context = {
    ...{ ...views, sys, exports, base, queue: QUEUE },
    ...{ address: ADDRESS, poller: { epoll: -1, wake: -1 } },
  } as unknown as WorkerContext;
  return { context, views, base, uring };
}

type Arrival = Uint8Array | number;

/** Bursts of frames, with an EINTR here and there, as a TAP hands them out; `undefined` ends a burst. */
function arrivals(dice: Dice): (Arrival | undefined)[] {
  const all: (Arrival | undefined)[] = [];
  let number = 0;
  for (let burst = 0; burst < 12; ++burst) {
    const largest = dice.pick([64, 1500, 9000, FRAME_MAX_BYTES]);
    const count = dice.pick([1, 1, 2, 3, dice.between(4, 30), dice.between(60, 300)]);
    for (let index = 0; index < count; ++index) {
      const frame = new Uint8Array(dice.between(VIRTIO_HEADER_BYTES + 14, largest)).fill(dice.byte());
      new DataView(frame.buffer).setUint32(VIRTIO_HEADER_BYTES, number++);
      all.push(frame);
      if (dice.chance(1)) all.push(-EINTR);
    }
    all.push(undefined);
  }
  return all;
}

/** Everything that a reader brings in, fill by fill, as the encap loop would take it. */
function readAll(seed: number, kind: 'batched' | 'uring', refusals: boolean): string[] {
  const dice = new Dice('arrivals', seed);
  const limits = new Dice('limits', seed);
  const pending = arrivals(dice);
  const perform = ({ operation, fd, address, length }: Submission) => {
    assert.deepEqual([operation, fd, length], ['read', TAP, FRAME_MAX_BYTES]);
    const next = pending[0];
    if (next === undefined) return -EAGAIN;
    pending.shift();
    if (typeof next === 'number') return next;
    views.bytes.set(next, address - ADDRESS);
    return next.length;
  };
  const limit = () => (refusals && limits.chance(20) ? limits.pick([0, 1, 5]) : 64);
  const { context, views, base, uring } = worker(perform, limit, dice.pick([0, 5, 0xffff_fff0]));
  const reader: TapReader = kind === 'batched' ? new BatchedReader(context) : new UringReader(context, RING);
  const ring = base + ENCAP_RING_OFFSET;
  const frames: string[] = [];
  for (let fills = 0; pending.length > 0; ++fills) {
    assert.ok(fills < 10_000, 'the reader stands still');
    // The burst is over when the TAP was found empty.
    const more = reader.fill(DEVICE, TAP);
    assert.ok(reader.calls > 0);
    if (!more && pending[0] === undefined) pending.shift();
    const filled = views.view.getUint32(ring + RING_FILLED_OFFSET, true);
    const taken = views.view.getUint32(ring + RING_TAKEN_OFFSET, true);
    const count = (filled - taken) >>> 0;
    assert.ok(count <= ENCAP_RING_COUNT);
    let end = base + ENCAP_ARENA_OFFSET;
    for (let index = 0; index < count; ++index) {
      const at = ring + RING_DESCRIPTORS_OFFSET + ((taken + index) % ENCAP_RING_COUNT) * DESCRIPTOR_BYTES;
      const header = views.view.getUint32(at, true);
      const length = views.view.getInt32(at + DESCRIPTOR_LENGTH_OFFSET, true) + VIRTIO_HEADER_BYTES;
      assert.equal(views.view.getUint32(at + DESCRIPTOR_DEVICE_OFFSET, true), DEVICE, 'and no domain');
      assert.ok(header - FRAME_HEADROOM_BYTES + VIRTIO_HEADER_BYTES >= end, 'headroom in front of each');
      end = header + length;
      assert.ok(end <= base + ENCAP_ARENA_OFFSET + ENCAP_ARENA_BYTES);
      frames.push(Buffer.from(views.bytes.subarray(header, header + Math.min(length, 64))).toString('hex'));
      frames.push(`${length}`);
    }
    views.view.setUint32(ring + RING_TAKEN_OFFSET, filled, true);
  }
  assert.equal(uring.waiting, 0);
  return frames;
}

test(`both engines read the same frames in the same order (seed ${SEED})`, () => {
  for (let run = 0; run < RUNS; ++run) {
    const expected = readAll(SEED + run, 'batched', false);
    assert.ok(expected.length > 12);
    assert.deepEqual(readAll(SEED + run, 'uring', false), expected);
    assert.deepEqual(readAll(SEED + run, 'uring', true), expected, 'with a kernel short of memory');
  }
});

test('a TAP that stays empty costs one call, and one that holds a lot few', () => {
  let held = 0;
  const { context, views, base } = worker(
    () => (held-- > 0 ? 100 : -EAGAIN),
    () => 64,
  );
  const reader = new UringReader(context, RING);
  const counted = (frames: number) => {
    held = frames;
    let calls = 0;
    while (reader.fill(DEVICE, TAP)) calls += reader.calls;
    const ring = base + ENCAP_RING_OFFSET;
    const { view } = views;
    view.setUint32(ring + RING_TAKEN_OFFSET, view.getUint32(ring + RING_FILLED_OFFSET, true), true);
    return calls + reader.calls;
  };
  assert.equal(counted(0), 1);
  assert.equal(counted(1), 2, 'one frame: a read, and one that finds nothing');
  assert.ok(counted(40) <= 7, 'the first burst is felt out');
  assert.equal(counted(40), 1, 'the next one is expected');
});

test('a TAP that has been deleted is counted once', () => {
  for (const before of [0, 10]) {
    let left = before;
    const { context, views } = worker(
      () => (left-- > 0 ? 100 : -EBADFD),
      () => 64,
    );
    const reader = new UringReader(context, RING);
    assert.equal(reader.fill(DEVICE, TAP), false);
    assert.deepEqual(readCounters(views, 1, DEVICE), { drop_tap_read: 1 });
  }
});

/** What arrives at the TAPs, and the counters of the devices, after the walk left `count` writes. */
function writeAll(seed: number, kind: 'batched' | 'uring', refusals: boolean) {
  const dice = new Dice('writes', seed);
  const limits = new Dice('limits', seed);
  const arrived: string[] = [];
  const fates = Array.from({ length: WRITE_COUNT }, () => (dice.chance(15) ? dice.pick([-EIO, -EAGAIN]) : 0));
  const perform = ({ operation, fd, address, length }: Submission) => {
    assert.equal(operation, 'writev');
    const parts: string[] = [];
    for (let index = 0; index < length; ++index) {
      const iovec = address - ADDRESS + index * IOVEC_BYTES;
      parts.push(`${views.view.getBigUint64(iovec, true)}+${views.view.getBigUint64(iovec + 8, true)}`);
    }
    const number = Math.floor((address - ADDRESS - base - WRITE_IOVECS_BASE_OFFSET) / (WRITE_IOVEC_MAX * 16));
    if (fd < 0) return -9;
    if (fates[number]! < 0) return fates[number]!;
    arrived.push(`${fd}: ${parts.join(' ')}`);
    return 100;
  };
  const limit = () => (refusals && limits.chance(30) ? limits.pick([0, 1, 7]) : 64);
  const { context, views, base, uring } = worker(perform, limit, dice.pick([0, 3, 0xffff_ffc1]));
  const { view } = views;
  for (let device = 1; device <= 3; ++device) {
    const fd = device === 3 ? -1 : 100 + device;
    view.setInt32(DEVICES_BASE + device * DEVICE_BYTES + DEVICE_TAP_OFFSET + QUEUE * 4, fd, true);
  }
  const writer = kind === 'batched' ? new BatchedWriter(context) : new UringWriter(context, RING);
  let calls = 0;
  for (let batch = 0; batch < 5; ++batch) {
    const count = dice.pick([0, 1, 2, 3, dice.between(4, 70), WRITE_COUNT]);
    for (let index = 0; index < count; ++index) {
      const write = base + WRITES_OFFSET + index * WRITE_BYTES;
      view.setUint16(write + WRITE_DEVICE_OFFSET, dice.pick([1, 1, 1, 2, 3]), true);
      view.setUint32(write + WRITE_FRAMES_OFFSET, dice.between(1, 40), true);
      const iovecs = dice.pick([2, 2, 2, 5, WRITE_IOVEC_MAX]);
      view.setUint32(write + WRITE_IOVECS_OFFSET, iovecs, true);
      for (let part = 0; part < iovecs; ++part) {
        const iovec = base + WRITE_IOVECS_BASE_OFFSET + (index * WRITE_IOVEC_MAX + part) * IOVEC_BYTES;
        view.setBigUint64(iovec, BigInt(ADDRESS + dice.between(0, 1 << 20)), true);
        view.setBigUint64(iovec + 8, BigInt(dice.between(1, 9000)), true);
      }
    }
    calls += writer.write(count);
  }
  assert.equal(uring.waiting, 0);
  const counters = [1, 2, 3].map((device) => readCounters(views, 1, device));
  return { arrived, counters, calls };
}

test(`both engines write the same frames in the same order and count the same losses (seed ${SEED})`, () => {
  let [batched, uring] = [0, 0];
  for (let run = 0; run < RUNS; ++run) {
    const { calls, ...expected } = writeAll(SEED + run, 'batched', false);
    const { calls: fewer, ...found } = writeAll(SEED + run, 'uring', false);
    assert.deepEqual(found, expected);
    const { calls: _, ...short } = writeAll(SEED + run, 'uring', true);
    assert.deepEqual(short, expected, 'with a kernel short of memory');
    batched += calls;
    uring += fewer;
  }
  assert.ok(uring * 10 < batched, `${uring} calls instead of ${batched}`);
});
