/**
 * Entry of a worker thread: wait for descriptors, serve each until it is empty, wait again. It never
 * returns to the event loop; WORKER_STOP and the poller's eventfd end it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import {
  EPOLL_EVENT_COUNT,
  EPOLL_OFFSET,
  EVENTS_OFFSET,
  EVENTS_WRITTEN_OFFSET,
  WORKER_ROUNDS_OFFSET,
  WORKER_STOP_OFFSET,
} from '../../assembly/layout.ts';
import { instantiateEngine } from '../dataplane/engine.ts';
import { EPOLL_EVENT_BYTES, EPOLL_TOKEN_OFFSET, WAKE_TOKEN } from '../io/poller.ts';
import { decapServer } from './decap-loop.ts';
import { encapServer } from './encap-loop.ts';
import { openTransfers } from './io-engine.ts';
import { listenerSocket } from './listeners.ts';
import { Paths } from './paths.ts';
import type { TapWriter } from './tap-writer.ts';
import { Waiting } from './waiting.ts';
import { contextOf, EVENTS, note, type WorkerContext, type WorkerStart } from './worker-context.ts';

const start = workerData as WorkerStart;
const context = contextOf(start, instantiateEngine(start.module, start.memory));
const transfers = openTransfers(context, start.engine);
parentPort?.postMessage(transfers.refused);
const paths = start.kind === 'encap' ? new Paths(context) : undefined;
run(
  context,
  paths === undefined
    ? decapTokens(context, transfers.writer)
    : encapServer(context, paths, transfers.reader),
);
// The thread ends; descriptors are the process's.
paths?.close();
transfers.close();

/** epoll's token of a listener is its number; its descriptor stands in the memory. */
function decapTokens(of: WorkerContext, writer: TapWriter): (token: number) => void {
  const serve = decapServer(of, writer);
  return (token) => {
    const fd = listenerSocket(of.i32, token);
    if (fd >= 0) serve(token, fd);
  };
}

function run(of: WorkerContext, serve: (token: number) => void): void {
  const { address, base, i32, poller, sys, u32, view } = of;
  const stop = (base + WORKER_STOP_OFFSET) >>> 2;
  const rounds = (base + WORKER_ROUNDS_OFFSET) >>> 2;
  const events = base + EPOLL_OFFSET;
  const drained = events + EPOLL_EVENT_COUNT * EPOLL_EVENT_BYTES;
  const written = (base + EVENTS_OFFSET + EVENTS_WRITTEN_OFFSET) >>> 2;
  let told = 0;
  const waiting = new Waiting();
  while (Atomics.load(i32, stop) === 0) {
    const sleep = waiting.next();
    const count = sys.epoll_wait(poller.epoll, address + events, EPOLL_EVENT_COUNT, sleep ? -1 : 0);
    if (sleep) note(of, 1, 1);
    if (!waiting.ended(count > 0)) sys.sched_yield();
    for (let index = 0; index < count; ++index) {
      const token = view.getUint32(events + index * EPOLL_EVENT_BYTES + EPOLL_TOKEN_OFFSET, true);
      if (token === WAKE_TOKEN) sys.read(poller.wake, address + drained, 8);
      else serve(token);
    }
    if (u32[written] !== told) {
      told = u32[written]!;
      parentPort?.postMessage(EVENTS);
    }
    Atomics.add(u32, rounds, 1);
  }
}
