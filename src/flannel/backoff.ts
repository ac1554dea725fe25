/** Pauses between attempts, growing and with some chance in them, so that many members don't return as one. */

export class Backoff {
  readonly #min: number;
  readonly #max: number;
  #next: number;

  constructor(minMs: number, maxMs: number) {
    this.#min = minMs;
    this.#max = maxMs;
    this.#next = minMs;
  }

  /** Milliseconds until the next attempt: half to all of a span that doubles. */
  next(): number {
    const span = this.#next;
    this.#next = Math.min(2 * span, this.#max);
    return span * (0.5 + Math.random() / 2);
  }

  reset(): void {
    this.#next = this.#min;
  }
}

/** Resolves after the time, or at the signal. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}
