/**
 * The batched underlay: UDP sockets of our own, with many datagrams a system call, segments cut and joined by the
 * kernel where it can, and outer TOS, TTL and DF. Linux and koffi; no privilege.
 */
import { VtepError } from '../errors.ts';
import { AF_INET, AF_INET6, type Family } from './family.ts';
import { Inbox } from './inbox.ts';
import { parseIp } from './ip-address.ts';
import { Outbox } from './outbox.ts';
import { Readiness } from './readiness.ts';
import { syscalls } from './syscalls.ts';
import { ADDRESS_MISSING, hasUdpSegment, openListener, openSource, PORT_TAKEN, setGro } from './udp.ts';
import type { LossReason, OutgoingDatagram, Underlay, UnderlayFamily, UnderlaySink } from './underlay.ts';

const SOURCES = 4;
const SOURCES_MAX = 64;
const BUFFER_BYTES = 4 * 1024 * 1024;
/** Batches of one socket before the others, and the program's own work, get their turn. */
const ROUNDS = 8;
/** Turns of the event loop that look for more before the thread sleeps: what comes soon need not wake it. */
const IDLE_TURNS = 4;
const FAMILIES: Readonly<Record<UnderlayFamily, Family>> = { inet: AF_INET, inet6: AF_INET6 };

/** Of `batchedUnderlay`. */
export interface BatchedUnderlayOptions {
  /** Own address over IPv4, to receive at and to send from; "0.0.0.0" = any of the host's. */
  address?: string;
  /** Over IPv6; "::" */
  address6?: string;
  /**
   * Sockets to send from, 1 to 64, each with a port that the system chooses; 4. The inner flow chooses among them, so
   * that routers and receive queues can tell flows apart.
   */
  sources?: number;
}

/**
 * @example
 * const vtep = await createVtep({ underlay: batchedUnderlay({ address: '192.0.2.1' }) });
 *
 * @throws VtepError USAGE; UNSUPPORTED where Linux or koffi is missing: `dgramUnderlay` does without
 */
export function batchedUnderlay(options: BatchedUnderlayOptions = {}): Underlay {
  const refuse = (what: string) => {
    throw new VtepError('USAGE', `batched underlay: ${what}`);
  };
  if (typeof options !== 'object' || options === null) refuse('an object of options is expected');
  const { address = '0.0.0.0', address6 = '::', sources = SOURCES } = options;
  if (parseIp(address)?.family !== 'inet') refuse(`address ${address}: an IPv4 address is expected`);
  if (parseIp(address6)?.family !== 'inet6') refuse(`address6 ${address6}: an IPv6 address is expected`);
  if (!(Number.isInteger(sources) && sources >= 1 && sources <= SOURCES_MAX))
    refuse(`sources ${sources}: give a number from 1 to ${SOURCES_MAX}`);
  try {
    syscalls();
  } catch (error) {
    if (!(error instanceof VtepError)) throw error;
    throw new VtepError('UNSUPPORTED', `batched underlay: ${error.message}; or use dgramUnderlay()`);
  }
  return new BatchedUnderlay({ inet: address, inet6: parseIp(address6)!.text }, sources);
}

interface Listener {
  fd: number;
  port: number;
}

class BatchedUnderlay implements Underlay {
  readonly kind = 'batched';
  readonly can = { tos: true, ttl: true, df: true };
  readonly #addresses: Record<UnderlayFamily, string>;
  readonly #sourceCount: number;
  readonly #listeners = new Map<string, Listener>();
  /** By family, DF and number of the source. */
  readonly #outboxes = new Map<number, Outbox>();
  readonly #filled = new Set<Outbox>();
  #sink: UnderlaySink | undefined;
  #inbox: Inbox | undefined;
  #readiness: Readiness | undefined;
  #segments = false;
  #idle = 0;
  #isClosed = false;

  constructor(addresses: Record<UnderlayFamily, string>, sources: number) {
    this.#addresses = addresses;
    this.#sourceCount = sources;
  }

  start(sink: UnderlaySink): void {
    if (this.#sink !== undefined || this.#isClosed)
      throw new VtepError('IN_USE', 'batched underlay: another VTEP has had it: make another');
    this.#sink = sink;
    this.#segments = hasUdpSegment();
    this.#inbox = new Inbox((...arrived) => sink.arrived(...arrived));
  }

  owns(address: string): boolean {
    return Object.values(this.#addresses).includes(address);
  }

  async open(family: UnderlayFamily, port: number): Promise<void> {
    const local = this.#localOf(family);
    const options = { family: FAMILIES[family], port, local, scope: 0, zeroChecksum: true };
    const fd = openListener({ ...options, bufferBytes: BUFFER_BYTES });
    const what = `underlay ${family === 'inet6' ? `[${this.#addresses[family]}]` : this.#addresses[family]}:${port}`;
    if (fd === PORT_TAKEN)
      throw new VtepError(
        'IN_USE',
        `${what}: Address already in use: give another dstport, or another address`,
      );
    if (fd === ADDRESS_MISSING)
      throw new VtepError('SYSTEM', `${what}: EADDRNOTAVAIL: it is not this host's: give one that is`);
    try {
      setGro(fd, true);
      this.#readiness ??= this.#awaiting();
      this.#readiness.add(fd);
    } catch (error) {
      syscalls().close(fd);
      throw error;
    }
    this.#listeners.set(`${family} ${port}`, { fd, port });
  }

  async shut(family: UnderlayFamily, port: number): Promise<void> {
    this.#forget(`${family} ${port}`);
  }

  send(datagram: OutgoingDatagram): LossReason | undefined {
    if (this.#isClosed) return 'unreachable';
    const outbox = this.#outboxOf(datagram);
    if (outbox === undefined) return 'unreachable';
    const lost = outbox.put(datagram);
    if (lost === undefined) this.#filled.add(outbox);
    return lost;
  }

  flush(): void {
    for (const outbox of this.#filled) outbox.flush();
    this.#filled.clear();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    await this.#readiness?.close();
    for (const { fd } of [...this.#listeners.values(), ...this.#outboxes.values()]) syscalls().close(fd);
    this.#listeners.clear();
    this.#outboxes.clear();
  }

  #forget(key: string): void {
    const listener = this.#listeners.get(key);
    if (listener === undefined) return;
    this.#listeners.delete(key);
    this.#readiness!.remove(listener.fd);
    syscalls().close(listener.fd);
  }

  /** "" = any */
  #localOf(family: UnderlayFamily): string {
    const address = this.#addresses[family];
    return address === '0.0.0.0' || address === '::' ? '' : address;
  }

  #outboxOf({ address, df, flow }: OutgoingDatagram): Outbox | undefined {
    const family: UnderlayFamily = address.includes(':') ? 'inet6' : 'inet';
    const isInet = family === 'inet';
    // Over IPv6 there is no DF: it is never fragmented on the way.
    const group = isInet ? Number(df) : 2;
    const key = group * SOURCES_MAX + (flow % this.#sourceCount);
    const known = this.#outboxes.get(key);
    if (known !== undefined) return known;
    const local = this.#localOf(family);
    const options = { family: FAMILIES[family], local, scope: 0, port: 0, df: isInet && df };
    let fd: number;
    try {
      fd = openSource({ ...options, noChecksum: false, bufferBytes: BUFFER_BYTES });
    } catch (error) {
      this.#sink!.warn(`underlay: ${(error as Error).message}`);
      return undefined;
    }
    if (fd < 0) return undefined;
    const outbox = new Outbox(fd, FAMILIES[family], this.#segments, (device, bytes, reason) =>
      this.#sink!.lost(device, bytes, reason),
    );
    this.#outboxes.set(key, outbox);
    return outbox;
  }

  #awaiting(): Readiness {
    const readiness = new Readiness(
      'vxlane underlay',
      () => this.#receive(),
      (error) => this.#sink!.warn(`underlay: nothing is received any more: ${error.message}`),
    );
    readiness.arm();
    return readiness;
  }

  #receive(): void {
    if (this.#isClosed) return;
    let received = false;
    for (const [key, { fd, port }] of this.#listeners) received = this.#drain(key, fd, port) || received;
    this.#idle = received ? 0 : this.#idle + 1;
    if (this.#isClosed) return;
    if (this.#idle < IDLE_TURNS) setImmediate(() => this.#receive());
    else {
      this.#idle = 0;
      this.#readiness!.arm();
    }
  }

  /** @returns whether anything was there */
  #drain(key: string, fd: number, port: number): boolean {
    // A listener may have been shut by what a datagram brought about.
    for (let round = 0; round < ROUNDS && this.#listeners.has(key); ++round) {
      let found: number;
      try {
        found = this.#inbox!.receive(fd, port);
      } catch (error) {
        this.#sink!.warn(
          `underlay: nothing is received on port ${port} any more: ${(error as Error).message}`,
        );
        this.#forget(key);
        return false;
      }
      if (found < this.#inbox!.messages) return round > 0 || found > 0;
    }
    return true;
  }
}
