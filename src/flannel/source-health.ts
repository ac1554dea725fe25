/** How a source of leases fares: its `state()`, and a line in the log whenever that changes, not at every attempt. */
import type { Logger } from '../vtep/options.ts';
import type { SkippedRecord, SourceState } from './lease.ts';

export class SourceHealth {
  readonly #kind: SourceState['kind'];
  readonly #where: string;
  readonly #logger: Logger;
  readonly #counters: Record<string, number> = {};
  readonly #skipped = new Map<string, SkippedRecord>();
  /** What fails at the moment, by what was tried. */
  readonly #problems = new Map<string, string>();
  #connected = false;
  #since = Date.now();
  synced = false;

  constructor(kind: SourceState['kind'], where: string, logger: Logger = () => {}) {
    this.#kind = kind;
    this.#where = where;
    this.#logger = logger;
  }

  /** An attempt that worked; what failed under the same name before works again. */
  works(activity: string): void {
    const failed = this.#problems.delete(activity);
    if (!this.#connected || failed)
      this.#logger('info', `${this.#kind} ${this.#where}: ${activity}: connected`);
    this.#connect(true);
  }

  /** @param lost whether the source could not be heard at all */
  fails(activity: string, problem: string, lost: boolean): void {
    if (lost) this.#connect(false);
    if (this.#problems.get(activity) === problem) return;
    this.#problems.set(activity, problem);
    this.#logger('warn', problem);
  }

  count(name: string): void {
    this.#counters[name] = (this.#counters[name] ?? 0) + 1;
  }

  /** A record that is left out. */
  skip(record: SkippedRecord): void {
    if (this.#skipped.get(record.key)?.reason === record.reason) return;
    this.#skipped.set(record.key, record);
    this.count('malformed');
    this.#logger('warn', `${record.key}: ${record.reason}: the record is left out`);
  }

  /** A key that is gone, or has become readable. */
  unskip(key: string): void {
    this.#skipped.delete(key);
  }

  /** Forgets skipped records whose keys are gone. */
  keepSkipped(keys: { has(key: string): boolean }): void {
    for (const key of this.#skipped.keys()) if (!keys.has(key)) this.#skipped.delete(key);
  }

  state(): SourceState {
    const [error] = this.#problems.values();
    return {
      kind: this.#kind,
      where: this.#where,
      synced: this.synced,
      connected: this.#connected,
      since: this.#since,
      ...(error !== undefined && { error }),
      skipped: [...this.#skipped.values()],
      counters: { ...this.#counters },
    };
  }

  #connect(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    this.#since = Date.now();
  }
}
