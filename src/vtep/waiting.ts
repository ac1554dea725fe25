/**
 * How a worker waits. To be woken costs 2 us on the core it slept on and 20 to 40 us on another one of a
 * virtual machine; to look again costs one. So after work it looks again for a while, giving the core to
 * whoever else wants it each time, before it sleeps: an answer, or the rest of a burst, is met awake. Traffic
 * that never rewards this, such as single datagrams far apart, is soon left to sleep over. What rewards it is known
 * by direction: who has sent a request may soon have the answer to carry, who has delivered an answer has not, and
 * the vain looks after the one must not be the end of those after the other.
 */
import type { Role } from './worker-context.ts';

/** Looking, unless said otherwise, microseconds: as `net.core.busy_read` of a kernel that polls, twice. */
export const SPIN_MICROSECONDS = 100;
/** So many spins in a row that found nothing, and the next ones are left out ... */
export const VAIN_MAX = 8;
/** ... but for one of so many, which finds out whether that still holds. */
export const PROBE_EVERY = 32;

export class Waiting {
  readonly #clock: () => number;
  readonly #milliseconds: number;
  /** When looking ends; 0 = it does not look. */
  #until = 0;
  /** Vain looks in a row after work of a kind, and the kind that was worked on last. */
  readonly #vain: Record<Role['kind'], number> = { encap: 0, decap: 0 };
  #last: Role['kind'] = 'encap';

  /**
   * @param spin microseconds to look for after work; 0 = never
   * @param clock milliseconds, monotonic
   */
  constructor(spin = SPIN_MICROSECONDS, clock: () => number = () => performance.now()) {
    this.#milliseconds = spin / 1000;
    this.#clock = clock;
  }

  /** Should the next wait be a sleep (true), or only a look? */
  next(): boolean {
    return this.#until === 0;
  }

  /** After the wait. Returns true when the core should be offered to others before the next look. */
  ended(found: boolean): boolean {
    if (found) {
      if (this.#until !== 0) this.#vain[this.#last] = 0;
      this.#until = 0;
      return false;
    }
    if (this.#until === 0) return false;
    if (this.#clock() < this.#until) return true;
    this.#until = 0;
    this.#vain[this.#last] += 1;
    return false;
  }

  /** After the work that was found; `kind` is that of its last part. */
  worked(kind: Role['kind']): void {
    if (this.#milliseconds === 0) return;
    this.#last = kind;
    const vain = this.#vain[kind];
    if (vain >= VAIN_MAX && (vain - VAIN_MAX) % PROBE_EVERY !== 0) {
      this.#vain[kind] += 1;
      return;
    }
    this.#until = this.#clock() + this.#milliseconds;
  }
}
