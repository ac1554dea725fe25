/**
 * Hears when one of some descriptors can be read: Node's own loop waits for no socket that it hasn't made, so a thread
 * sleeps in epoll, tells, and sleeps on when it is told to.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { closePoller, openPoller, type Poller, unwatch, wake, watch } from './poller.ts';

/** Handed to the thread when it starts. */
export interface ReadinessStart {
  poller: Poller;
  /** READINESS_... below, shared. */
  control: Int32Array<SharedArrayBuffer>;
}

/** 1 = the thread may sleep until there is something; it sets 0 when there is. */
export const READINESS_ARMED = 0;
/** 1 = it is to end. */
export const READINESS_STOP = 1;
const CONTROL_WORDS = 2;

export class Readiness {
  readonly #poller = openPoller();
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #isClosed = false;
  readonly #leave = () => this.#stop();

  /** @param ready called on this thread; it isn't called again before `arm` @throws VtepError SYSTEM */
  constructor(name: string, ready: () => void, failed: (error: Error) => void) {
    const start: ReadinessStart = { poller: this.#poller, control: this.#control };
    this.#worker = new Worker(fileURLToPath(import.meta.resolve('#readiness-thread')), {
      ...{ workerData: start, name, execArgv: [] },
      // It keeps nothing: what Node reserves for young objects by default would be most of its memory.
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.on('message', () => {
      if (!this.#isClosed) ready();
    });
    this.#worker.on('error', failed);
    this.#ended = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    // A process that ends waits for its threads, and this one would never hear of it.
    process.on('exit', this.#leave);
  }

  add(fd: number): void {
    watch(this.#poller, fd, fd);
  }

  remove(fd: number): void {
    unwatch(this.#poller, fd);
  }

  /** Nothing is left to read: tell when there is. */
  arm(): void {
    Atomics.store(this.#control, READINESS_ARMED, 1);
    Atomics.notify(this.#control, READINESS_ARMED);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return this.#ended;
    this.#isClosed = true;
    this.#stop();
    await this.#ended;
    process.off('exit', this.#leave);
    closePoller(this.#poller);
  }

  #stop(): void {
    Atomics.store(this.#control, READINESS_STOP, 1);
    this.arm();
    wake(this.#poller);
  }
}
