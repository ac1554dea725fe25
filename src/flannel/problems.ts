/** What is not as it should be, by topic: said once when it begins and once when it is over. */
import type { Logger } from './network-options.ts';

export class Problems {
  readonly #say: Logger;
  readonly #known = new Map<string, string>();

  constructor(say: Logger) {
    this.#say = say;
  }

  /** @param sentence undefined: all is well */
  set(topic: string, sentence: string | undefined): void {
    const before = this.#known.get(topic);
    if (sentence === before) return;
    if (sentence === undefined) {
      this.#known.delete(topic);
      this.#say('info', `${topic}: as it should be again`);
    } else {
      this.#known.set(topic, sentence);
      this.#say('warn', sentence);
    }
  }

  /** Does a step; what it throws is the topic's problem. @returns whether it succeeded */
  async attempt(topic: string, work: () => unknown): Promise<boolean> {
    try {
      await work();
      this.set(topic, undefined);
      return true;
    } catch (error) {
      this.set(topic, (error as Error).message);
      return false;
    }
  }

  of(topic: string): string | undefined {
    return this.#known.get(topic);
  }

  list(): string[] {
    return [...this.#known.values()];
  }
}
