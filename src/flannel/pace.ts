/**
 * When passes run: one after the other, what is asked for during one together in the next; whole ones at an interval,
 * soon after an announcement, and again after a failure. Somebody who undoes our work at once gets ever slower answers
 * instead of a race.
 */
import { setImmediate } from 'node:timers/promises';

/** After an announcement: the rest of what it belongs to comes meanwhile. */
const SOON_MS = 50;
const SOON_MAX_MS = 5000;
/** As many repairs in a row are no quarrel: a device that went down takes several. */
const REPAIRS_FREE = 10;
/** After a failure. */
const RETRY_MS = 1000;
/** As long as this without announcements that concern us, and it is peace. */
const PEACE_MS = 10_000;

export interface PassResult {
  /** Something failed: it is to be tried again. */
  failed: boolean;
  /** Entries were not as they had been left. */
  repaired: boolean;
}

interface Turn {
  full: boolean;
  done: Promise<void>;
  end: () => void;
}

export class Pace {
  readonly #pass: (full: boolean) => Promise<PassResult>;
  readonly #intervalMs: number;
  #next: Turn | undefined;
  #running: Promise<void> | undefined;
  #closed = false;
  #interval: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #retries = 0;
  /** Announcements in a row after which something had to be repaired. */
  #repairs = 0;
  #announced = 0;
  #answering = false;

  /** @param pass never rejects */
  constructor(intervalMs: number, pass: (full: boolean) => Promise<PassResult>) {
    this.#intervalMs = intervalMs;
    this.#pass = pass;
  }

  /** Resolves when a pass that began after the call has ended. */
  ask(full: boolean): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#next === undefined) {
      let end = () => {};
      const done = new Promise<void>((resolve) => {
        end = resolve;
      });
      this.#next = { full, done, end };
    }
    this.#next.full ||= full;
    const { done } = this.#next;
    this.#running ??= this.#run();
    return done;
  }

  /** Something may have changed outside: a full pass in a moment. */
  announce(): void {
    if (this.#closed || this.#soon !== undefined) return;
    const now = performance.now();
    if (now - this.#announced > PEACE_MS) this.#repairs = 0;
    this.#announced = now;
    const delay = Math.min(SOON_MS * 2 ** Math.max(0, this.#repairs - REPAIRS_FREE), SOON_MAX_MS);
    this.#soon = setTimeout(() => {
      this.#soon = undefined;
      this.#answering = true;
      void this.ask(true);
    }, delay).unref();
  }

  /** Resolves when the pass under way has ended; no other begins. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of [this.#interval, this.#retry, this.#soon]) clearTimeout(timer);
    await this.#running;
    this.#next?.end();
  }

  async #run(): Promise<void> {
    // What is asked for in the same moment is one.
    await setImmediate();
    while (this.#next !== undefined && !this.#closed) {
      const turn = this.#next;
      this.#next = undefined;
      const answering = this.#answering && turn.full;
      if (turn.full) this.#answering = false;
      const result = await this.#pass(turn.full);
      if (answering) this.#repairs = result.repaired ? this.#repairs + 1 : 0;
      this.#schedule(turn.full, result.failed);
      turn.end();
    }
    this.#running = undefined;
  }

  #schedule(full: boolean, failed: boolean): void {
    if (this.#closed) return;
    if (full) {
      clearTimeout(this.#interval);
      this.#interval = setTimeout(() => void this.ask(true), this.#intervalMs).unref();
    }
    if (!failed) {
      this.#retries = 0;
      return;
    }
    clearTimeout(this.#retry);
    const delay = Math.min(RETRY_MS * 2 ** this.#retries++, this.#intervalMs);
    this.#retry = setTimeout(() => void this.ask(true), delay).unref();
  }
}
