/**
 * How a worker waits. To be woken costs 2 us on the core it slept on and 20 to 40 us on another one of a
 * virtual machine; to look again costs one. So while traffic is dense it looks again for a while, giving the
 * core to whoever else wants it each time, before it sleeps; when traffic is thin it sleeps at once.
 */

/** Looks before it sleeps; with their yields about 50 us on a core that nobody else wants. */
export const LOOKS_MAX = 100;
/** A sleep shorter than this says that traffic is dense. */
export const DENSE_MILLISECONDS = 2;

export class Waiting {
  readonly #clock: () => number;
  #looksLeft = 0;
  #dense = false;
  #asleepSince = 0;

  /** @param clock milliseconds, monotonic */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** Should the next wait be a sleep (true), or only a look? */
  next(): boolean {
    if (this.#looksLeft > 0) {
      this.#looksLeft -= 1;
      return false;
    }
    this.#asleepSince = this.#clock();
    return true;
  }

  /** After the wait. Returns false when the core should be offered to others before the next look. */
  ended(found: boolean): boolean {
    if (this.#asleepSince !== 0) {
      this.#dense = this.#clock() - this.#asleepSince < DENSE_MILLISECONDS;
      this.#asleepSince = 0;
    }
    if (found) this.#looksLeft = this.#dense ? LOOKS_MAX : 0;
    return found || this.#looksLeft === 0;
  }
}
