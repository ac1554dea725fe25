/**
 * Leases from a file, read again whenever it changes. A file that can't be read keeps what was known, and its error
 * is shown. The directory is watched and not the file, so that one that is replaced (by rename, or by the symbolic
 * links of a Kubernetes volume) is seen; a look at an interval serves file systems that announce nothing.
 */
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { type LeaseFile, parseLeaseFile } from './file-schema.ts';
import type {
  Lease,
  LeaseListener,
  LeaseSource,
  MemberRecord,
  NetConfig,
  SourceState,
  Subnets,
} from './lease.ts';
import { parseNetConfig } from './net-config.ts';

/** Editors write in several steps. */
const SETTLE_MS = 50;
const LOOK_MS = 5000;
/** While there is no directory to watch. */
const BLIND_MS = 500;

export interface FileSourceOptions {
  path: string;
  logger?: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export function createFileSource(options: FileSourceOptions): LeaseSource {
  return new FileSource(options);
}

interface Known extends LeaseFile {
  parsed: NetConfig;
}

class FileSource implements LeaseSource {
  readonly #path: string;
  readonly #log: NonNullable<FileSourceOptions['logger']>;
  /** Of the last file that was whole. */
  #known: Known | undefined;
  #text: string | undefined;
  #error: string | undefined;
  /** Why we have no lease although the file is whole. */
  #homeless: string | undefined;
  #since = Date.now();
  #self: MemberRecord | undefined;
  #own: Lease | undefined;
  readonly #counters = { reloads: 0, malformed: 0 };
  readonly #listeners = new Set<() => void>();
  #watcher: FSWatcher | undefined;
  #settling: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #closed = false;

  constructor({ path, logger = () => {} }: FileSourceOptions) {
    this.#path = path;
    this.#log = logger;
    this.#look();
  }

  async config(signal: AbortSignal): Promise<NetConfig> {
    return (await this.#wait((known) => known, signal)).parsed;
  }

  async stored(signal: AbortSignal): Promise<Partial<MemberRecord & Subnets>> {
    return this.#wait((known) => ownOf(known, undefined) ?? {}, signal);
  }

  async acquire(self: MemberRecord, _previous: Subnets, signal: AbortSignal): Promise<Lease> {
    this.#self = self;
    return this.#wait((known) => {
      this.#own = this.#leaseOf(known);
      return this.#own;
    }, signal);
  }

  publish(self: MemberRecord): void {
    this.#self = self;
    if (this.#own !== undefined) this.#own = { ...this.#own, ...self };
  }

  follow(listener: LeaseListener, signal: AbortSignal): Promise<void> {
    const tell = () => {
      const known = this.#known;
      if (known === undefined) return;
      const own = this.#leaseOf(known);
      const before = this.#own;
      if (own !== undefined) {
        this.#own = own;
        if (own.subnet !== before?.subnet || own.subnetV6 !== before?.subnetV6) listener.own(own);
      }
      const ours = ownOf(known, this.#self)?.key;
      listener.snapshot(known.leases.filter(({ key }) => key !== ours));
    };
    tell();
    this.#listeners.add(tell);
    return new Promise((resolve) => {
      const stop = () => {
        this.#listeners.delete(tell);
        resolve();
      };
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
  }

  state(): SourceState {
    const error = this.#error ?? this.#homeless;
    return {
      kind: 'file',
      where: this.#path,
      synced: this.#known !== undefined,
      connected: this.#error === undefined,
      since: this.#since,
      ...(error === undefined ? {} : { error }),
      skipped: [],
      counters: { ...this.#counters },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    clearTimeout(this.#settling);
    clearTimeout(this.#looking);
    await this.#reading;
  }

  /** Our record under the subnet that the file gives us; undefined: it gives none. */
  #leaseOf(known: Known): Lease | undefined {
    const self = this.#self;
    const found = ownOf(known, self);
    const subnet = found?.subnet ?? known.subnet;
    const subnetV6 = found?.subnetV6 ?? known.subnetV6;
    const { enableIpv4, enableIpv6 } = known.parsed;
    const missing = [enableIpv4 && subnet === undefined, enableIpv6 && subnetV6 === undefined];
    const words = ['subnet', 'subnetV6'].filter((_, index) => missing[index]);
    this.#homeless =
      words.length === 0
        ? undefined
        : `${this.#path}: it gives us no ${words.join(' and ')}: add "${words[0]}: ...", or a lease with our public IP ${self?.publicIp ?? self?.publicIpV6 ?? ''}`.trim();
    if (self === undefined || words.length > 0) return undefined;
    return {
      ...self,
      key: found?.key ?? 'self',
      ...(enableIpv4 && subnet !== undefined ? { subnet } : {}),
      ...(enableIpv6 && subnetV6 !== undefined ? { subnetV6 } : {}),
    };
  }

  /** Resolves when what is known has an answer; looks again after each reading. */
  #wait<T>(answer: (known: Known) => T | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        const found = this.#known && answer(this.#known);
        if (found === undefined) return;
        leave();
        resolve(found);
      };
      const abort = () => {
        leave();
        reject(signal.reason);
      };
      const leave = () => {
        this.#listeners.delete(settle);
        signal.removeEventListener('abort', abort);
      };
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener('abort', abort);
      this.#listeners.add(settle);
      settle();
    });
  }

  /** Now, and again at an interval or when something happens in the directory. */
  #look(): void {
    if (this.#closed) return;
    try {
      this.#watcher ??= watch(dirname(this.#path), () => this.#soon());
      this.#watcher.on('error', () => {
        this.#watcher?.close();
        this.#watcher = undefined;
      });
    } catch {
      // No such directory yet: the interval finds it.
    }
    this.#reading = this.#reading.then(() => this.#read());
    this.#looking = setTimeout(() => this.#look(), this.#watcher === undefined ? BLIND_MS : LOOK_MS);
  }

  #soon(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#reading = this.#reading.then(() => this.#read());
    }, SETTLE_MS);
  }

  async #read(): Promise<void> {
    try {
      const text = await readFile(this.#path, 'utf8');
      if (text === this.#text && this.#error === undefined) return;
      this.#text = text;
      const file = await parseLeaseFile(text, this.#path);
      const parsed = parseNetConfig(file.config, { where: `${this.#path}: config` });
      this.#known = { ...file, parsed };
      if (this.#error !== undefined) this.#say(undefined);
      this.#counters.reloads++;
      for (const listener of [...this.#listeners]) listener();
    } catch (error) {
      this.#say(sentence(error as NodeJS.ErrnoException, this.#path));
    }
  }

  #say(error: string | undefined): void {
    if (error === this.#error) return;
    this.#error = error;
    this.#since = Date.now();
    if (error === undefined) this.#log('info', `leases: ${this.#path} is whole again`);
    else {
      this.#counters.malformed++;
      const kept = this.#known === undefined ? '' : ': what was known before stays';
      this.#log('error', `leases: ${error}${kept}`);
    }
  }
}

function sentence(error: NodeJS.ErrnoException, path: string): string {
  if (error.code === 'ENOENT') return `${path}: no such file: it is waited for`;
  return error.message;
}

/** The lease of the list that is ours: by name, by our public IP, or by an address of this host. */
function ownOf({ self, leases }: LeaseFile, record: MemberRecord | undefined): Lease | undefined {
  if (self !== undefined) return leases.find(({ key }) => key === self);
  const addresses = new Set(
    Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []),
  );
  for (const address of [record?.publicIp, record?.publicIpV6])
    if (address !== undefined) addresses.add(address);
  return leases.find(
    ({ publicIp, publicIpV6 }) => addresses.has(publicIp ?? '') || addresses.has(publicIpV6 ?? ''),
  );
}
