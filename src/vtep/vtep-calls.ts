/**
 * What every VTEP does alike, whatever its devices are made of: calls about its tables, changes of devices one after the
 * other, and an end that comes once.
 */
import type { Dataplane } from '../dataplane/dataplane.ts';
import { VtepError } from '../errors.ts';
import type {
  FdbEntry,
  FdbFlush,
  FdbRequest,
  MdbEntry,
  MdbFlush,
  MdbRequest,
  PeerInfo,
  PeerRequest,
  PolicyInfo,
  PolicyRequest,
  VniInfo,
  VniRequest,
  VtepEvent,
} from '../types.ts';
import { Happenings } from './happenings.ts';
import type { Readers } from './readers.ts';

/** Between two looks at the clock: entries age, drops are told of. */
export const CLOCK_MILLISECONDS = 500;

export abstract class VtepCalls extends Happenings {
  protected readonly readers: Readers;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => void this.close();
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /**
   * @param readers what is handed in by programs -> what the tables take
   * @param signal closes the VTEP, from `closeOnAbort` on
   * @throws VtepError USAGE when it has been aborted already
   */
  constructor(readers: Readers, signal: AbortSignal | undefined) {
    super();
    if (signal?.aborted) throw new VtepError('USAGE', 'signal: it has been aborted already');
    this.readers = readers;
    this.#signal = signal;
  }

  fdb(request: FdbRequest): void {
    this.open.fdb.apply(this.readers.fdb(request));
  }

  fdbShow(dev?: string): FdbEntry[] {
    return this.open.fdb.show(this.dev(dev));
  }

  fdbGet(dev: string, mac: string, vni?: number): FdbEntry {
    return this.open.fdb.get(...this.readers.fdbKey(dev, mac, vni));
  }

  fdbFlush(filter: FdbFlush): number {
    return this.open.fdb.flush(this.readers.fdbFlush(filter));
  }

  vni(request: VniRequest): void {
    this.open.vnis.apply(this.readers.vni(request));
  }

  vniShow(dev?: string): VniInfo[] {
    return this.open.vnis.show(this.dev(dev));
  }

  policy(request: PolicyRequest): void {
    this.open.policies.apply(this.readers.policy(request));
  }

  policyShow(dev?: string): PolicyInfo[] {
    return this.open.policies.show(this.dev(dev));
  }

  peer(request: PeerRequest): void {
    this.open.peers.apply(this.readers.peer(request));
  }

  peerShow(dev?: string): PeerInfo[] {
    return this.open.peers.show(this.dev(dev));
  }

  mdb(request: MdbRequest): void {
    this.open.mdb.apply(this.readers.mdb(request));
  }

  mdbShow(dev?: string): MdbEntry[] {
    return this.open.mdb.show(this.dev(dev));
  }

  mdbGet(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[] {
    return this.open.mdb.get(...this.readers.mdbKey(dev, grp, src, src_vni));
  }

  mdbFlush(filter: MdbFlush): number {
    return this.open.mdb.flush(this.readers.mdbFlush(filter));
  }

  subscribe(listener: (event: VtepEvent) => void): () => void {
    const hear = this.readers.listener(listener);
    return this.open.notices.subscribe((event) => hear(event));
  }

  close(): Promise<void> {
    this.#closing ??= this.inTurn(() => {
      this.#signal?.removeEventListener('abort', this.#onAbort);
      return this.shut();
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  protected abstract readonly plane: Dataplane;

  /** Takes every device down and frees all: once, after the changes that were asked for before. */
  protected abstract shut(): Promise<void>;

  protected get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** The dataplane, for a call from outside. @throws VtepError USAGE when the VTEP has been closed */
  protected get open(): Dataplane {
    if (this.isClosed) throw new VtepError('USAGE', 'vtep: it has been closed: create another one');
    return this.plane;
  }

  /** From now on; at once when it has come to that meanwhile. */
  protected async closeOnAbort(): Promise<void> {
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal?.aborted) await this.close();
  }

  /** Which devices a call is about; undefined: all. */
  protected dev(name: string | undefined): string | undefined {
    return name === undefined ? undefined : this.readers.dev(name);
  }

  /** A call from outside that changes devices. @throws VtepError USAGE when the VTEP has been closed by its turn */
  protected change<T>(work: () => Promise<T>): Promise<T> {
    return this.inTurn(() => {
      void this.open;
      return work();
    });
  }

  /** Runs when what was asked for before is done, well or not. */
  protected inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}
