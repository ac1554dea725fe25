/** A worker's stopwatch: it counts what is called, changes no answer, and isn't there unless asked for. */
import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { OFFLOAD_COALESCE } from '../assembly/layout.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { syscalls } from '../src/io/syscalls.ts';
import { timed, workerProfile } from '../src/vtep/profile.ts';
import type { WorkerContext } from '../src/vtep/worker-context.ts';

const WORKER = 1;
const plane = new Dataplane(compileEngine('release'), 2, OFFLOAD_COALESCE);

function context(): WorkerContext {
  const f64 = new Float64Array(plane.views.memory.buffer);
  const own = { address: 0, base: workerBase(WORKER), queue: 0, poller: { epoll: -1, wake: -1 }, f64 };
  return { ...plane.views, ...own, sys: syscalls(), exports: plane.exports };
}

test('calls are counted by kind, timed, and answered as without', () => {
  assert.equal(workerProfile(plane.views, WORKER), undefined, 'no stopwatch yet');
  const { exports, sys } = timed(context());
  const before = workerProfile(plane.views, WORKER)!;
  assert.deepEqual(before.calls, {}, 'what the calibration left is gone');
  assert.equal(before.thread, Number(readlinkSync('/proc/thread-self').split('/').at(-1)));
  assert.ok(
    before.secondsPerCall > 1e-9 && before.secondsPerCall < 1e-4,
    `${before.secondsPerCall} s a call`,
  );

  for (let i = 0; i < 1000; ++i) assert.equal(sys.read(-1, 0, 0), -1);
  assert.equal(sys.sched_yield(), 0);
  assert.equal(exports.layoutVersion(), plane.exports.layoutVersion());
  const epoll = sys.epoll_create1(0);
  const events = sys.addressOf(plane.views.bytes);
  assert.equal(sys.epoll_wait(epoll, events, 1, 0), 0, 'a look');
  assert.equal(sys.epoll_wait(epoll, events, 1, 20), 0, 'a wait');
  assert.equal(sys.close(epoll), 0);

  const { calls } = workerProfile(plane.views, WORKER)!;
  const counts = Object.fromEntries(Object.entries(calls).map(([kind, { count }]) => [kind, count]));
  assert.deepEqual(counts, {
    addressOf: 1,
    wasm: 1,
    asleep: 1,
    read: 1000,
    sched_yield: 1,
    epoll_create1: 1,
    epoll_wait: 1,
    close: 1,
  });
  assert.ok(
    calls.asleep!.seconds > 0.015 && calls.asleep!.seconds < 2,
    `asleep ${calls.asleep!.seconds} s of 0.02`,
  );
  assert.ok(calls.read!.seconds < 1, `a call that fails at once: ${calls.read!.seconds} s for 1,000`);
  assert.equal(workerProfile(plane.views, 0), undefined, 'the other worker has none');
});

test('a sleep that has not ended yet counts as far as it has come', () => {
  const asleep: number[] = [];
  const epoll_wait = () => {
    for (const end = performance.now() + 200; performance.now() < end; ) asleep.push(seconds());
    return 0;
  };
  const seconds = () => workerProfile(plane.views, WORKER)?.calls.asleep?.seconds ?? 0;
  const before = seconds();
  const { sys } = timed({ ...context(), sys: { ...syscalls(), epoll_wait } });
  sys.epoll_wait(-1, 0, 0, -1);
  assert.ok(asleep.at(-1)! - before > 0.15, `${asleep.at(-1)} s after 0.2`);
  assert.ok(Math.abs(seconds() - asleep.at(-1)!) < 0.15, 'and once only when it has');
  const after = seconds();
  sys.epoll_wait(-1, 0, 0, 0);
  assert.equal(seconds(), after, 'a look is no sleep');
});
