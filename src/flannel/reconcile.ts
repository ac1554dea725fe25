/**
 * Keeps the kernel and the FDB as the leases have it: level-triggered, that is from the whole of what is wanted against
 * the whole of what there is, whatever has happened in between.
 *
 *   leases -> examine.ts -> desired.ts  \
 *                                         program.ts -> neighbours, FDB, who may send, routes
 *   kernel, FDB -> actual.ts            /
 *
 * A pass after a change of leases takes what there is from memory, where program.ts keeps it; a full pass reads it anew:
 * at the start, at an interval, when the kernel or the FDB tells of a change that somebody else has made
 * (kernel-watch.ts), when our device or we have changed, and after a failure. pace.ts says when.
 *
 * Before the first snapshot nothing is touched: a source that can't be reached is no reason to forget.
 */
import type { Message } from '../netlink/message.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { type Watch, watchNetlink } from '../netlink/watch.ts';
import type { Vtep, VtepEvent } from '../types.ts';
import { type Examined, examine, type Overlay, type Self } from './examine.ts';
import { Family, type FamilyHost } from './family.ts';
import { judge, WATCHED_GROUPS } from './kernel-watch.ts';
import type { Lease } from './lease.ts';
import { Pace, type PassResult } from './pace.ts';
import { type PassReport, type PeerState, peerStates, type ReconcilerReport } from './peer-states.ts';
import type { Problem } from './problem.ts';
import { Programmer } from './program.ts';

/** Our routes are told apart by it (`ip route show proto 118`); nobody else's number in /etc/iproute2/rt_protos. */
export const ROUTE_PROTOCOL = 118;

const INTERVAL_MS = 30_000;
/** Announcements that may wait, in bytes as the kernel counts them: those of 10,000 peers programmed at once. */
const WATCH_BYTES = 32 * 1024 * 1024;
/** Lines for one pass. */
const LOGGED_MAX = 20;

export interface ReconcilerOptions {
  vtep: Vtep;
  /** Our devices, one a family at most; may come later (`setOverlays`). */
  overlays?: readonly Overlay[];
  self: Self;
  /** Peers on our own links get a route to their public address, without the tunnel. */
  directRouting: boolean;
  /** ROUTE_PROTOCOL unless given. */
  protocol?: number;
  /** Between full passes; 30 s unless given. */
  intervalMs?: number;
  log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export class Reconciler {
  readonly #log: ReconcilerOptions['log'];
  readonly #host: FamilyHost;
  readonly #pace: Pace;
  readonly #unsubscribe: () => void;
  readonly #families = new Map<4 | 6, Family>();
  readonly #counters = { full: 0, delta: 0, written: 0, removed: 0, failed: 0, repaired: 0 };
  readonly #last: { full?: PassReport; delta?: PassReport } = {};
  #leases: Map<string, Lease> | undefined;
  #overlays: readonly Overlay[];
  #self: Self;
  /** Leases, devices or we have changed since the last pass: what it writes is no repair. */
  #changed = true;
  /** What is known of the kernel is not enough to go by: the next pass is a full one, whoever asks. */
  #doubtful = true;
  #examined: Examined = { peers: [], problems: [] };
  #problems: Problem[] = [];
  #synced = false;
  #error: string | undefined;
  #watch: Promise<Watch | undefined> | undefined;
  #closing: Promise<void> | undefined;

  /** @throws VtepError SYSTEM or PERMISSION when the kernel can't be asked */
  constructor(options: ReconcilerOptions) {
    const { vtep, directRouting, protocol = ROUTE_PROTOCOL } = options;
    const socket = new NetlinkSocket({ tables: true });
    const programmer = new Programmer(socket, vtep, protocol);
    this.#host = { vtep, socket, programmer, protocol, directRouting };
    this.#log = options.log;
    this.#overlays = options.overlays ?? [];
    this.#self = options.self;
    this.#pace = new Pace(options.intervalMs ?? INTERVAL_MS, (full) => this.#pass(full));
    this.#unsubscribe = vtep.subscribe((event) => this.#hear(event));
  }

  /** Every member but us. Resolves when they are programmed, or have failed to be (`peers()`). */
  snapshot(leases: readonly Lease[]): Promise<void> {
    this.#leases = new Map(leases.map((lease) => [lease.key, lease]));
    return this.#alter();
  }

  /** What has changed since the snapshot; `removed` are keys. Resolves as `snapshot` does. */
  change(changed: readonly Lease[], removed: readonly string[]): Promise<void> {
    if (this.#leases === undefined) return Promise.resolve();
    for (const key of removed) this.#leases.delete(key);
    for (const lease of changed) this.#leases.set(lease.key, lease);
    return this.#alter();
  }

  /** Everything anew. Resolves when it is done. */
  reconcile(): Promise<void> {
    return this.#pace.ask(true);
  }

  /** Our devices are others now, or made anew. A family that is left out loses what was programmed of it. */
  setOverlays(overlays: readonly Overlay[]): Promise<void> {
    this.#overlays = overlays;
    this.#doubtful = true;
    return this.#alter();
  }

  setSelf(self: Self): Promise<void> {
    this.#self = self;
    this.#doubtful = true;
    return this.#alter();
  }

  peers(): PeerState[] {
    return peerStates(this.#leases?.values() ?? [], this.#overlays, this.#examined, this.#families);
  }

  /** What is wrong with leases, and what the last pass met with. */
  problems(): Problem[] {
    return this.#problems;
  }

  report(): ReconcilerReport {
    const states = this.peers();
    const entries = { neighbours: 0, fdb: 0, sources: 0, routes: 0 };
    for (const family of this.#families.values()) {
      for (const key of ['neighbours', 'fdb', 'sources', 'routes'] as const)
        entries[key] += family.entries[key];
    }
    return {
      synced: this.#synced,
      leases: this.#leases?.size ?? 0,
      peers: {
        wanted: this.#examined.peers.length,
        programmed: states.filter(({ programmed }) => programmed).length,
        direct: states.filter(({ way }) => way === 'direct').length,
      },
      problems: this.#problems.length,
      entries,
      counters: { ...this.#counters },
      ...this.#last,
      ...(this.#error !== undefined && { error: this.#error }),
    };
  }

  /** @param options.remove takes away all that is ours; otherwise it stays, and traffic goes on. Safe to call twice. */
  close(options: { remove: boolean }): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  async #close({ remove }: { remove: boolean }): Promise<void> {
    await this.#pace.close();
    this.#unsubscribe();
    await (await this.#watch)?.close();
    try {
      if (remove) for (const family of this.#families.values()) await this.#clear(family);
    } finally {
      this.#host.socket.close();
    }
  }

  #alter(): Promise<void> {
    this.#changed = true;
    return this.#pace.ask(this.#doubtful);
  }

  async #pass(full: boolean): Promise<PassResult> {
    if (this.#leases === undefined) return { failed: false, repaired: false };
    if (full) this.#watch ??= this.#startWatch();
    const started = performance.now();
    const isRepair = !this.#changed;
    this.#changed = false;
    const counts = { written: 0, removed: 0, failed: 0 };
    try {
      await this.#passFamilies(full, counts);
      this.#doubtful &&= !full;
      this.#synced = true;
      this.#error = undefined;
    } catch (error) {
      this.#doubtful = true;
      this.#error = (error as Error).message;
      this.#log('error', `leases can't be programmed: ${this.#error}: it is tried again`);
    }
    const milliseconds = performance.now() - started;
    this.#last[full ? 'full' : 'delta'] = { at: Date.now(), milliseconds, ...counts };
    ++this.#counters[full ? 'full' : 'delta'];
    for (const key of ['written', 'removed', 'failed'] as const) this.#counters[key] += counts[key];
    const repairs = isRepair ? counts.written + counts.removed : 0;
    this.#counters.repaired += repairs;
    if (repairs > 0) {
      this.#log(
        'info',
        `repaired: ${counts.written} entries made again, ${counts.removed} stale ones removed`,
      );
    }
    this.#settleProblems();
    return { failed: this.#error !== undefined || counts.failed > 0, repaired: repairs > 0 };
  }

  async #passFamilies(full: boolean, counts: Omit<PassReport, 'at' | 'milliseconds'>): Promise<void> {
    const overlays = this.#overlays;
    const { networks } = this.#self;
    const examined = examine(this.#leases!.values(), overlays, this.#self);
    this.#examined = examined;
    for (const [version, family] of this.#families) {
      if (overlays.some((overlay) => overlay.family === version)) continue;
      await this.#clear(family);
      this.#families.delete(version);
    }
    for (const overlay of overlays) {
      const family = this.#families.get(overlay.family) ?? new Family(this.#host, overlay);
      this.#families.set(overlay.family, family);
      const peers = examined.peers.filter(({ version }) => version === overlay.family);
      const outcome = await family.pass({ overlay, peers, networks }, full);
      counts.written += outcome.written;
      counts.removed += outcome.removed;
      counts.failed += outcome.failed;
    }
  }

  async #clear(family: Family): Promise<void> {
    await family.pass({ overlay: family.overlay, peers: [], networks: this.#self.networks }, true);
  }

  /** Tells of problems that are new. */
  #settleProblems(): void {
    const before = new Set(this.#problems.map(({ text }) => text));
    this.#problems = [
      ...this.#examined.problems,
      ...[...this.#families.values()].flatMap((family) => family.problems()),
    ];
    const fresh = this.#problems.filter(({ text }) => !before.has(text));
    for (const { text } of fresh.slice(0, LOGGED_MAX)) this.#log('warn', text);
    if (fresh.length > LOGGED_MAX) this.#log('warn', `and ${fresh.length - LOGGED_MAX} more of the kind`);
  }

  /** Who watches reads the tables after the watch has begun: then nothing is missed. */
  async #startWatch(): Promise<Watch | undefined> {
    const failed = (reason: string) => {
      this.#log('error', `what others change is seen late now: netlink: ${reason}`);
      // The next full pass listens anew.
      void this.#watch?.then((watch) => watch?.close());
      this.#watch = undefined;
    };
    const listener = {
      messages: (messages: Message[]) => this.#judge(messages),
      resync: () => this.#pace.announce(),
      failed,
    };
    try {
      const watch = await watchNetlink(WATCHED_GROUPS, listener, {
        bufferBytes: WATCH_BYTES,
        ignoredPort: this.#host.socket.port,
      });
      this.#pace.announce();
      return watch;
    } catch (error) {
      failed((error as Error).message);
      return undefined;
    }
  }

  #judge(messages: readonly Message[]): void {
    const { protocol, directRouting } = this.#host;
    const verdict = judge(messages, {
      ...{ protocol, directRouting },
      deviceAt: (ifindex, name) =>
        this.#overlays.some(({ device }) => device === name) ||
        [...this.#families.values()].some((family) => family.ifindex === ifindex),
      neighbour: (version, address) => this.#families.get(version)?.neighbour(address),
      isWanted: (version, network) => this.#families.get(version)?.wantsRoute(network) ?? false,
    });
    for (const { version, network } of verdict.contested) this.#families.get(version)?.contested.add(network);
    if (verdict.concerns) this.#pace.announce();
  }

  /** The FDB: somebody has changed an entry that a command makes, or the device has come or gone. */
  #hear(event: VtepEvent): void {
    if (this.#host.programmer.writing) return;
    const isOurs = (name: string) => this.#overlays.some(({ device }) => device === name);
    const concerns =
      (event.event === 'fdb' && event.entry.state === 'permanent' && isOurs(event.entry.ifname)) ||
      (event.event === 'link' && isOurs(event.ifname));
    if (concerns) this.#pace.announce();
  }
}
