/** Waiting between attempts, so that what is down isn't hammered and thousands of nodes don't return as one. */

/** Delays that double from the first to the last, each between half and the whole of its step. */
export class Backoff {
  readonly #firstMs: number;
  readonly #lastMs: number;
  #stepMs: number;

  constructor(firstMs: number, lastMs: number) {
    this.#firstMs = firstMs;
    this.#lastMs = lastMs;
    this.#stepMs = firstMs;
  }

  /** How long to wait before the next attempt, in milliseconds. */
  next(): number {
    const step = this.#stepMs;
    this.#stepMs = Math.min(step * 2, this.#lastMs);
    return step / 2 + (Math.random() * step) / 2;
  }

  /** The last attempt went well. */
  reset(): void {
    this.#stepMs = this.#firstMs;
  }
}

/** Resolves after the time or at once when the signal is aborted: who called looks at the signal. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
