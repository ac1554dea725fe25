/** When routes and neighbours appear in a namespace, as the kernel announces them. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Namespace } from '../../test/support/netns.ts';

/** Room for the announcements of tens of thousands of entries that come in one batch. */
const BUFFER_BYTES = 64 << 20;

export class Watcher {
  readonly #child: ChildProcess;
  #wanted: ((line: string) => boolean) | undefined;
  #found: (at: number) => void = () => undefined;

  constructor(namespace: Namespace) {
    const words = ['-o', '-rc', `${BUFFER_BYTES}`, 'monitor', 'route', 'neigh'];
    this.#child = namespace.spawn('ip', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      if (!this.#wanted?.(line)) return;
      this.#wanted = undefined;
      this.#found(performance.now());
    });
  }

  /** Resolves to the time (performance.now) at which a line was the last one wanted. */
  until(isLast: (line: string) => boolean, withinMs: number, what: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${what}: not within ${withinMs} ms`)), withinMs);
      this.#found = (at) => {
        clearTimeout(late);
        resolve(at);
      };
      this.#wanted = isLast;
    });
  }

  close(): void {
    this.#child.kill();
  }
}
