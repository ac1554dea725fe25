/** A stretch of numbers (bytes, records) that is handed out in runs. */
import { VtepError } from '../errors.ts';

interface Run {
  start: number;
  end: number;
}

export class Space {
  readonly #what: string;
  /** Free runs, in order, none touching the next. */
  #free: Run[];

  constructor(what: string, size: number) {
    this.#what = what;
    this.#free = [{ start: 0, end: size }];
  }

  /** @returns where the run begins. @throws VtepError NO_SPACE */
  claim(size: number): number {
    const found = this.#free.find(({ start, end }) => end - start >= size);
    if (found === undefined) {
      const longest = Math.max(0, ...this.#free.map(({ start, end }) => end - start));
      throw new VtepError(
        'NO_SPACE',
        `${this.#what}: ${size} are wanted, ${longest} are free: release a batch, or ask for fewer or smaller slots`,
      );
    }
    const { start } = found;
    found.start += size;
    this.#free = this.#free.filter(({ start: from, end }) => from < end);
    return start;
  }

  release(start: number, size: number): void {
    const runs = [...this.#free, { start, end: start + size }].sort((one, other) => one.start - other.start);
    this.#free = [];
    for (const run of runs) {
      const last = this.#free.at(-1);
      if (last !== undefined && last.end === run.start) last.end = run.end;
      else this.#free.push(run);
    }
  }
}
