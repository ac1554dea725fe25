/**
 * The one thread that sleeps on the netlink sockets of all watches: a thread of Node's costs 8 MB, and one can wait
 * for any number of sockets. It begins with the first watch and ends with the last.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { VtepError } from '../errors.ts';
import { systemError } from '../io/errno.ts';
import { syscalls } from '../io/syscalls.ts';

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

/** Handed to the thread when it starts. */
export interface ThreadStart {
  /** An eventfd: there are orders, or `stop` is 1. */
  wake: number;
  /** One i32. */
  stop: SharedArrayBuffer;
}

/** A socket to listen to from now on, or no more. */
export type Order =
  /** `ignoredPort`: announcements of what the socket with this port has done are left out; 0 = none is. */
  { add: number; fd: number; ignoredPort: number } | { remove: number };

/** Of one socket, by the number that it was added with. */
export type Heard = { id: number } & (
  | { kind: 'added' }
  | { kind: 'removed' }
  | { kind: 'messages'; bytes: Uint8Array }
  | { kind: 'resync' }
  /** The socket is listened to no more. */
  | { kind: 'failed'; reason: string }
);

type Hear = (heard: Heard) => void;

class ListeningThread {
  readonly #worker: Worker;
  readonly #wake: number;
  readonly #stop = new SharedArrayBuffer(4);
  readonly #hearers = new Map<number, Hear>();
  readonly #ended: Promise<void>;
  #last = 0;
  #isDead = false;

  /** @throws VtepError SYSTEM */
  constructor() {
    this.#wake = syscalls().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.#wake < 0) throw systemError('eventfd');
    const start: ThreadStart = { wake: this.#wake, stop: this.#stop };
    this.#worker = new Worker(fileURLToPath(import.meta.resolve('#netlink-thread')), {
      ...{ workerData: start, name: 'vxlane netlink', execArgv: [] },
      // It keeps nothing: what Node reserves for young objects by default would be most of its memory.
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.on('message', (heard: Heard) => this.#hearers.get(heard.id)?.(heard));
    this.#worker.on('error', (error) => {
      this.#isDead = true;
      for (const [id, hear] of this.#hearers) hear({ id, kind: 'failed', reason: error.message });
    });
    this.#ended = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    // A process that ends waits for its threads, and this one would never hear of it.
    process.on('exit', this.#leave);
  }

  get users(): number {
    return this.#hearers.size;
  }

  /** Returns the number of the socket. */
  add(fd: number, ignoredPort: number, hear: Hear): number {
    const id = ++this.#last;
    this.#hearers.set(id, hear);
    this.#order({ add: id, fd, ignoredPort });
    return id;
  }

  /** A thread that has failed reads nothing any more. */
  remove(id: number): void {
    if (this.#isDead) this.#hearers.get(id)?.({ id, kind: 'removed' });
    else this.#order({ remove: id });
  }

  forget(id: number): void {
    this.#hearers.delete(id);
  }

  async end(): Promise<void> {
    this.#leave();
    process.off('exit', this.#leave);
    await this.#ended;
    syscalls().close(this.#wake);
  }

  #order(order: Order): void {
    this.#worker.postMessage(order);
    this.#tell();
  }

  readonly #leave = (): void => {
    Atomics.store(new Int32Array(this.#stop), 0, 1);
    this.#tell();
  };

  #tell(): void {
    const one = new Uint8Array(8);
    one[0] = 1;
    syscalls().writeBytes(this.#wake, one, 8);
  }
}

let thread: ListeningThread | undefined;

/**
 * Listens to a socket. Resolves, when it is being listened to, to what ends that; the socket stays open.
 * @throws VtepError SYSTEM
 */
export async function listenTo(
  fd: number,
  ignoredPort: number,
  hear: (heard: Heard) => void,
): Promise<() => Promise<void>> {
  thread ??= new ListeningThread();
  const used = thread;
  let settle: (heard: Heard) => void = () => {};
  const next = () =>
    new Promise<Heard>((resolve) => {
      settle = resolve;
    });
  let isEnding = false;
  const added = next();
  const id = used.add(fd, ignoredPort, (heard) => {
    if (heard.kind === 'added' || heard.kind === 'removed') settle(heard);
    else if (!isEnding) hear(heard);
    if (heard.kind === 'failed') settle(heard);
  });
  const leave = async () => {
    used.forget(id);
    if (used.users > 0) return;
    if (thread === used) thread = undefined;
    await used.end();
  };
  const first = await added;
  if (first.kind === 'failed') {
    await leave();
    throw new VtepError('SYSTEM', `netlink thread: ${first.reason}`);
  }
  return async () => {
    isEnding = true;
    const removed = next();
    used.remove(id);
    await removed;
    await leave();
  };
}
