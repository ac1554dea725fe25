/**
 * Where a worker's time goes, for who asks: with VXLANE_PROFILE set, a stopwatch stands around every system call
 * and every call of the engine. Without it the worker has the bare functions, and this costs nothing.
 */
import { readlinkSync } from 'node:fs';
import {
  WORKER_PROFILE_COUNT_OFFSET,
  WORKER_PROFILE_OFFSET,
  WORKER_PROFILE_SECONDS_OFFSET,
  WORKER_PROFILE_SLOT_BYTES,
  WORKER_PROFILE_SLOTS,
} from '../../assembly/layout.ts';
import { type Views, workerBase } from '../dataplane/memory.ts';
import { type Syscalls, syscalls } from '../io/syscalls.ts';
import type { WorkerProfile } from '../types.ts';
import type { WorkerContext } from './worker-context.ts';

/** Slot 0: the thread's number, and what the stopwatch itself costs a call. Slot 1: since when it sleeps. Then a slot a kind. */
const FIRST_KIND = 2;
const ENGINE = 'wasm';
/** A wait that may last, and not a look whether there is anything. */
const ASLEEP = 'asleep';
/** Short ones, and the best counts: somebody else may have the core in between. */
const CALIBRATIONS = 50;
const CALIBRATION_CALLS = 2000;

/** Milliseconds of one clock for all threads. */
const clock = () => performance.timeOrigin + performance.now();

/** The same list in every thread of the process. */
const kinds = () => [ENGINE, ASLEEP, ...Object.keys(syscalls())];

const slotOf = (base: number, slot: number) =>
  base + WORKER_PROFILE_OFFSET + slot * WORKER_PROFILE_SLOT_BYTES;

/** The same context, timed. */
export function timed(context: WorkerContext): WorkerContext {
  const { base, exports, f64, sys } = context;
  const all = kinds();
  if (FIRST_KIND + all.length > WORKER_PROFILE_SLOTS) throw new Error('the profile has too few slots');
  const counter = (kind: string) =>
    (slotOf(base, all.indexOf(kind) + FIRST_KIND) + WORKER_PROFILE_COUNT_OFFSET) >>> 3;
  /** Of the stopwatch's own cost what lies between its two looks at the clock. */
  let between = 0;
  const watch = (kind: string, call: Call): Call => {
    const at = counter(kind);
    return (...words) => {
      const began = performance.now();
      const answer = call(...words);
      const took = performance.now() - began;
      f64[at]! += 1;
      f64[at + 1]! += took / 1000 - between;
      return answer;
    };
  };
  const watchWait = (call: Call): Call => {
    const [looks, sleeps] = [watch('epoll_wait', call), watch(ASLEEP, call)];
    const since = slotOf(base, 1) >>> 3;
    return (...words) => {
      if (words[3] === 0) return looks(...words);
      f64[since] = clock();
      const answer = sleeps(...words);
      f64[since] = 0;
      return answer;
    };
  };
  const calls = Object.entries(sys as unknown as Record<string, Call>).map(([name, call]) => [
    name,
    name === 'epoll_wait' ? watchWait(call) : watch(name, call),
  ]);
  const engine = Object.entries(exports as unknown as Record<string, unknown>).map(([name, value]) => [
    name,
    typeof value === 'function' ? watch(ENGINE, value as Call) : value,
  ]);
  const own = slotOf(base, 0);
  // "/proc/PID/task/THREAD"
  f64[(own + WORKER_PROFILE_COUNT_OFFSET) >>> 3] = Number(
    readlinkSync('/proc/thread-self').split('/').at(-1),
  );
  const nothing = watch(ENGINE, () => 0);
  let calibrated = 0;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < CALIBRATIONS; ++i) {
    f64.fill(0, counter(ENGINE), counter(ENGINE) + 2);
    const seconds = secondsPerCall(nothing);
    if (seconds > best) continue;
    best = seconds;
    calibrated = f64[counter(ENGINE) + 1]! / CALIBRATION_CALLS;
  }
  between = calibrated;
  f64[(own + WORKER_PROFILE_SECONDS_OFFSET) >>> 3] = best;
  f64.fill(0, counter(ENGINE), counter(ENGINE) + 2);
  return { ...context, sys: Object.fromEntries(calls) as Syscalls, exports: Object.fromEntries(engine) };
}

type Call = (...words: number[]) => number;

function secondsPerCall(call: Call): number {
  const began = performance.now();
  for (let index = 0; index < CALIBRATION_CALLS; ++index) call(index, index, index);
  return (performance.now() - began) / CALIBRATION_CALLS / 1000;
}

/** What a worker has noted so far; undefined when it has no stopwatch. */
export function workerProfile({ view }: Views, worker: number): WorkerProfile | undefined {
  const base = workerBase(worker);
  const read = (slot: number) => ({
    count: view.getFloat64(slotOf(base, slot) + WORKER_PROFILE_COUNT_OFFSET, true),
    seconds: view.getFloat64(slotOf(base, slot) + WORKER_PROFILE_SECONDS_OFFSET, true),
  });
  const { count: thread, seconds: secondsPerCall } = read(0);
  if (thread === 0) return undefined;
  const calls: WorkerProfile['calls'] = {};
  for (const [index, kind] of kinds().entries()) {
    const noted = read(index + FIRST_KIND);
    if (noted.count > 0) calls[kind] = noted;
  }
  // A sleep that has not ended yet counts as far as it has come.
  const { count: since } = read(1);
  if (since > 0) {
    calls[ASLEEP] ??= { count: 0, seconds: 0 };
    calls[ASLEEP].seconds += (clock() - since) / 1000;
  }
  return { thread, secondsPerCall, calls };
}
