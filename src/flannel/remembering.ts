/**
 * A source that is also remembered: configuration, our lease and the other members stand in a file beside the node's
 * state. A node that is started while etcd or the API server is away goes on with what it knew last, as a running one
 * does; when the source answers, it says what holds.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeWhole } from './atomic-file.ts';
import type {
  Lease,
  LeaseListener,
  LeaseSource,
  MemberRecord,
  NetConfig,
  SourceState,
  Stored,
  Subnets,
} from './lease.ts';
import type { Logger } from './network-options.ts';

/** Addresses of the whole network: nobody else's business. */
const FILE_MODE = 0o600;
/** Of the file: what is written by another one is not read. */
const FORMAT = 1;
const RETRY_MS = 10_000;

interface Remembered {
  format: typeof FORMAT;
  config: NetConfig;
  own: Lease;
  members: Lease[];
}

export interface RememberingOptions {
  /** File. */
  path: string;
  logger: Logger;
  /** How long a source has to answer before what is remembered is taken; 3000 */
  graceMs?: number;
  /** At most so often is the file written, however much happens; 10,000 */
  writeMs?: number;
}

export class RememberingSource implements LeaseSource {
  readonly #source: LeaseSource;
  readonly #path: string;
  readonly #log: Logger;
  readonly #graceMs: number;
  readonly #writeMs: number;
  readonly #memory: Remembered | undefined;
  /** The source's own configuration, once it has been asked. */
  #fresh: Promise<NetConfig> | undefined;
  /** What is remembered is in use: the source has not been heard yet. */
  #fromMemory = false;
  /** Our lease, when the source has given it. */
  #acquired: Promise<Lease> | undefined;
  #config: NetConfig | undefined;
  #own: Lease | undefined;
  readonly #members = new Map<string, Lease>();
  #writing: NodeJS.Timeout | undefined;
  #written = 0;

  constructor(source: LeaseSource, { path, logger, graceMs = 3000, writeMs = 10_000 }: RememberingOptions) {
    this.#source = source;
    this.#path = path;
    this.#log = logger;
    this.#graceMs = graceMs;
    this.#writeMs = writeMs;
    this.#memory = read(path);
  }

  async config(signal: AbortSignal): Promise<NetConfig> {
    const fresh = this.#source.config(signal);
    this.#fresh = fresh;
    const memory = this.#memory;
    const found = memory === undefined ? await fresh : await this.#inTime(fresh, memory.config, signal);
    this.#config = found;
    if (this.#fromMemory) this.#compare(fresh, found);
    return found;
  }

  stored(signal: AbortSignal): Promise<Stored> {
    return this.#fromMemory ? Promise.resolve(this.#memory!.own) : this.#source.stored(signal);
  }

  async acquire(self: MemberRecord, previous: Subnets, signal: AbortSignal): Promise<Lease> {
    const acquire = () => this.#source.acquire(self, previous, signal);
    if (!this.#fromMemory) {
      this.#own = await acquire();
      this.#acquired = Promise.resolve(this.#own);
      return this.#own;
    }
    this.#acquired = this.#persist(async () => {
      await this.#fresh;
      return acquire();
    }, signal);
    // That it ends with the signal is nobody's mistake.
    this.#acquired.catch(() => undefined);
    const { key, subnet, subnetV6 } = this.#memory!.own;
    this.#own = { ...self, key, ...(subnet && { subnet }), ...(subnetV6 && { subnetV6 }) };
    return this.#own;
  }

  publish(self: MemberRecord): void {
    // Before there is a lease there is nothing to publish under.
    void this.#acquired?.then(() => this.#source.publish(self)).catch(() => undefined);
  }

  async follow(listener: LeaseListener, signal: AbortSignal): Promise<void> {
    if (this.#fromMemory) {
      for (const lease of this.#memory!.members) this.#members.set(lease.key, lease);
      listener.snapshot([...this.#members.values()]);
      const own = await this.#acquired!;
      const isOther = own.subnet !== this.#own?.subnet || own.subnetV6 !== this.#own?.subnetV6;
      this.#own = own;
      this.#fromMemory = false;
      if (isOther) listener.own(own);
    }
    await this.#source.follow(this.#noting(listener), signal);
  }

  state(): SourceState {
    return this.#source.state();
  }

  async close(): Promise<void> {
    if (this.#writing !== undefined) {
      clearTimeout(this.#writing);
      this.#write();
    }
    await this.#source.close();
  }

  /** Until it succeeds or is not wanted any more; why it doesn't is also the source's state. */
  async #persist(acquire: () => Promise<Lease>, signal: AbortSignal): Promise<Lease> {
    for (;;) {
      try {
        return await acquire();
      } catch (error) {
        if (signal.aborted) throw error;
        this.#log('error', `our lease: ${(error as Error).message}`);
        await sleep(RETRY_MS, undefined, { signal });
      }
    }
  }

  /** What the source says, or what is remembered when it says nothing for a while. What it refuses is refused. */
  async #inTime(fresh: Promise<NetConfig>, known: NetConfig, signal: AbortSignal): Promise<NetConfig> {
    const waiting = new AbortController();
    const late = sleep(this.#graceMs, known, { signal: AbortSignal.any([signal, waiting.signal]) });
    late.catch(() => undefined);
    const found = await Promise.race([fresh, late]);
    waiting.abort();
    if (found === known) {
      this.#fromMemory = true;
      this.#log('warn', 'the source of leases does not answer: going on with what was known last');
    }
    return found;
  }

  /** A configuration is read once. */
  #compare(fresh: Promise<NetConfig>, known: NetConfig): void {
    fresh
      .then((config) => {
        if (JSON.stringify(config) === JSON.stringify(known)) return;
        this.#log(
          'error',
          'the network has another configuration now: restart, for this one is used until then',
        );
      })
      .catch(() => undefined);
  }

  #noting(listener: LeaseListener): LeaseListener {
    return {
      snapshot: (leases) => {
        this.#members.clear();
        for (const lease of leases) this.#members.set(lease.key, lease);
        this.#writeSoon();
        listener.snapshot(leases);
      },
      change: (changed, removed) => {
        for (const key of removed) this.#members.delete(key);
        for (const lease of changed) this.#members.set(lease.key, lease);
        this.#writeSoon();
        listener.change(changed, removed);
      },
      own: (lease) => {
        this.#own = lease;
        this.#writeSoon();
        listener.own(lease);
      },
    };
  }

  /** At once for the first, then no more often than said. */
  #writeSoon(): void {
    const due = Math.max(0, this.#written + this.#writeMs - Date.now());
    this.#writing ??= setTimeout(() => this.#write(), due).unref();
  }

  #write(): void {
    this.#writing = undefined;
    this.#written = Date.now();
    if (this.#config === undefined || this.#own === undefined) return;
    const known: Remembered = {
      ...{ format: FORMAT, config: this.#config, own: this.#own },
      members: [...this.#members.values()],
    };
    try {
      writeWhole(this.#path, `${JSON.stringify(known)}\n`, FILE_MODE);
    } catch (error) {
      this.#log('warn', `what is known of the members can't be kept: ${(error as Error).message}`);
    }
  }
}

/** What is not there, or not whole, is not known. */
function read(path: string): Remembered | undefined {
  try {
    const known = JSON.parse(readFileSync(path, 'utf8')) as Partial<Remembered>;
    const isWhole = known.format === FORMAT && known.config && known.own && Array.isArray(known.members);
    return isWhole ? (known as Remembered) : undefined;
  } catch {
    return undefined;
  }
}
