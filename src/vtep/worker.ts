/**
 * Entry of a worker thread: wait for descriptors, serve each until it is empty, wait again. It never
 * returns to the event loop, but for turns while a hook's module is imported; WORKER_STOP and the poller's eventfd end it.
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
import { Forwarding } from './forwarding.ts';
import { HookThread } from './hook-thread.ts';
import { openTransfers } from './io-engine.ts';
import { listenerSocket } from './listeners.ts';
import { Paths } from './paths.ts';
import { Waiting } from './waiting.ts';
import {
  contextOf,
  LISTENER_TOKEN,
  note,
  type Role,
  type WorkerContext,
  type WorkerData,
} from './worker-context.ts';

/** A role that the thread serves. */
interface Server {
  readonly context: WorkerContext;
  /** Number of its block. */
  readonly block: number;
  readonly kind: Role['kind'];
  /** @param id a device's for encap, a listener's for decap */
  serve(id: number): void;
  close(): void;
}

const start = workerData as WorkerData;
const engine = instantiateEngine(start.module, start.memory);
let refused = '';
const contexts = start.roles.map((role) => contextOf(start, role, engine));
const hooks = new HookThread(
  start.hooks,
  Object.fromEntries(start.roles.map(({ kind }, index) => [kind, contexts[index]!])),
);
await hooks.begin(start.hooks);
const servers = start.roles.map(serverOf);
parentPort?.postMessage(refused);
await run(servers);
// The thread ends; descriptors are the process's.
for (const server of servers) server.close();

function serverOf(role: Role, index: number): Server {
  const context = contexts[index]!;
  const transfers = openTransfers(context, start.engine);
  refused ||= transfers.refused;
  hooks.own(transfers.ring);
  const shared = { context, block: role.index, kind: role.kind };
  if (role.kind === 'encap') {
    const paths = new Paths(context);
    hooks.own(...paths.descriptors);
    const close = () => {
      paths.close();
      transfers.close();
    };
    return { ...shared, serve: encapServer(context, paths, transfers.reader, hooks), close };
  }
  const forwarding = new Forwarding(contextOf(start, { ...role, index: role.index + 1 }, engine), (...fds) =>
    hooks.own(...fds),
  );
  const drain = decapServer(context, transfers.writer, hooks, forwarding);
  const serve = (listener: number) => {
    const fd = listenerSocket(context.i32, listener, context.queue);
    if (fd >= 0) drain(listener, fd);
  };
  const close = () => {
    forwarding.close();
    transfers.close();
  };
  return { ...shared, serve, close };
}

async function run(roles: readonly Server[]): Promise<void> {
  // Alone, or encap and decap.
  const first = roles[0]!;
  const last = roles.at(-1)!;
  const { address, base, i32, poller, sys, u32, view } = first.context;
  const stop = (base + WORKER_STOP_OFFSET) >>> 2;
  const rounds = (base + WORKER_ROUNDS_OFFSET) >>> 2;
  const events = base + EPOLL_OFFSET;
  const drained = events + EPOLL_EVENT_COUNT * EPOLL_EVENT_BYTES;
  const written = roles.map((role) => (role.context.base + EVENTS_OFFSET + EVENTS_WRITTEN_OFFSET) >>> 2);
  const told = roles.map(() => 0);
  const waiting = new Waiting(start.spin);
  let worked = first.kind;
  while (Atomics.load(i32, stop) === 0) {
    hooks.poll();
    if (hooks.isLoading) await hooks.turn();
    const sleep = waiting.next() && !hooks.isLoading;
    const count = sys.epoll_wait(poller.epoll, address + events, EPOLL_EVENT_COUNT, sleep ? -1 : 0);
    if (sleep) note(first.context, 1, 1);
    if (waiting.ended(count > 0)) sys.sched_yield();
    for (let index = 0; index < count; ++index) {
      const token = view.getUint32(events + index * EPOLL_EVENT_BYTES + EPOLL_TOKEN_OFFSET, true);
      if (token === WAKE_TOKEN) sys.read(poller.wake, address + drained, 8);
      else {
        const server = token < LISTENER_TOKEN ? first : last;
        server.serve(token & ~LISTENER_TOKEN);
        worked = server.kind;
      }
    }
    if (count > 0) waiting.worked(worked);
    for (let role = 0; role < roles.length; ++role) {
      const now = u32[written[role]!]!;
      if (now === told[role]) continue;
      told[role] = now;
      parentPort?.postMessage(roles[role]!.block);
    }
    Atomics.add(u32, rounds, 1);
  }
}
