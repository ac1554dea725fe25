/**
 * Metrics of our IPv4 routes. The kernel (6.18) keeps what routes have in common in a hash by protocol, scope, source,
 * metric and device, not by gateway, and searches it whenever a route is made: thousands of routes out of one device
 * that differ by their gateway stand in one chain, and making n of them takes n * n. 10,000 take 850 ms, 100,000
 * minutes. With another metric after each thousand it is 8 ms for every thousand. Networks of fewer members have metric
 * 0 throughout, as flanneld's. Metrics order routes to one network only, so they change nothing of where packets go.
 */
import type { Actual } from './actual.ts';

const ROUTES_PER_METRIC = 1024;

export class Metrics {
  /** metric -> how many of our routes have it */
  readonly #counts = new Map<number, number>();
  #lowest = 0;

  constructor({ routes }: Pick<Actual, 'routes'>) {
    for (const same of routes.values()) for (const { priority } of same) this.#count(priority);
  }

  /** For one route more. */
  take(): number {
    while ((this.#counts.get(this.#lowest) ?? 0) >= ROUTES_PER_METRIC) ++this.#lowest;
    this.#count(this.#lowest);
    return this.#lowest;
  }

  #count(metric: number): void {
    this.#counts.set(metric, (this.#counts.get(metric) ?? 0) + 1);
  }
}
