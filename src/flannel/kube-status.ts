/** What is known about the connection to the API server, told in the log when it changes. */
import type { Logger } from '../vtep/options.ts';

export class KubeStatus {
  connected = false;
  since = Date.now();
  readonly counters: Record<string, number> = {};
  readonly #log: Logger;
  #lost: string | undefined;
  readonly #problems = new Map<string, string>();
  #wasConnected = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  get error(): string | undefined {
    return this.#lost ?? this.#problems.values().next().value;
  }

  count(name: string): void {
    this.counters[name] = (this.counters[name] ?? 0) + 1;
  }

  up(): void {
    if (!this.connected) {
      this.since = Date.now();
      if (this.#wasConnected) {
        this.count('reconnects');
        this.#log('info', 'kubernetes: the API server answers again');
      }
    }
    this.connected = true;
    this.#wasConnected = true;
    this.#lost = undefined;
  }

  down(error: Error): void {
    if (this.connected) this.since = Date.now();
    this.connected = false;
    const message = describe(error);
    if (this.#lost !== message) this.#log('warn', `kubernetes: ${message}`);
    this.#lost = message;
  }

  /** Something is waited for or tried again, whether or not the API server answers; one thing a topic. */
  problem(topic: string, message: string): void {
    if (this.#problems.get(topic) !== message) this.#log('warn', `kubernetes: ${message}`);
    this.#problems.set(topic, message);
  }

  solved(topic: string): void {
    this.#problems.delete(topic);
  }
}

/** One line; Node gives no text to the error that holds those of several addresses. */
export function describe(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  return (error.message || code || error.name).split('\n')[0]!;
}
