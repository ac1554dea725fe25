/**
 * Brings the kernel and the FDB from what there is to what is wanted, in flanneld's order: neighbour, FDB entry, route
 * (last, or the kernel would ask for the neighbour); and the same order when they go. What takes another's place comes
 * before the old one goes: a peer that changes its MAC is known by the new one in the FDB before the kernel uses it.
 *
 * What fails is told of its peer and stays as it is; the next pass goes on from there. So nothing is undone: a route is
 * made only when its neighbour and FDB entry are there, and without a route nothing is sent.
 */
import { setImmediate } from 'node:timers/promises';
import type { VtepError } from '../errors.ts';
import { ENODEV, ENOENT, errorName } from '../io/errno.ts';
import { nameOf } from '../io/interface.ts';
import { putNeighbour, removeNeighbour } from '../netlink/neighbours.ts';
import { RTN_UNICAST } from '../netlink/route-numbers.ts';
import { findRoute, putRoute, removeRoute, type TableRoute } from '../netlink/route-table.ts';
import type { NetlinkSocket, Refusal } from '../netlink/socket.ts';
import type { Vtep } from '../types.ts';
import { type Actual, familyOf } from './actual.ts';
import type { Peer } from './candidate.ts';
import { type Side, type Wanted, type Way, wayTo } from './desired.ts';
import { Metrics } from './metrics.ts';
import { parseIp } from './prefix.ts';

const ESRCH = 3;
const EEXIST = 17;
/** Messages after which others get their turn on this thread. */
const STEP_MESSAGES = 512;

export interface Outcome {
  /** Why a peer is not as it should be; the first of the reasons. */
  errors: Map<Peer, string>;
  /** Subnets to which somebody else has a route, and what that is. */
  foreign: Map<string, { peer: Peer; text: string }>;
  /** Entries made or changed, removed, and those for which it failed. */
  written: number;
  removed: number;
  failed: number;
}

export class Programmer {
  /** The FDB is being written: what it tells of now is our own doing. */
  writing = false;
  readonly #socket: NetlinkSocket;
  readonly #vtep: Vtep;
  readonly #protocol: number;

  constructor(socket: NetlinkSocket, vtep: Vtep, protocol: number) {
    this.#socket = socket;
    this.#vtep = vtep;
    this.#protocol = protocol;
  }

  /**
   * `actual` is kept up to date entry by entry, also when it throws.
   * @throws VtepError SYSTEM when the kernel can't be asked
   */
  async apply(side: Side, actual: Actual, wanted: Wanted): Promise<Outcome> {
    const outcome: Outcome = { errors: new Map(), foreign: new Map(), written: 0, removed: 0, failed: 0 };
    const neighbours = different(wanted.neighbours, actual.neighbours, 'mac');
    await this.#putNeighbours(side, actual, neighbours.fresh, outcome);
    await this.#putFdb(side, actual, wanted, outcome);
    await this.#putNeighbours(side, actual, neighbours.changed, outcome);
    await this.#putRoutes(side, actual, wanted, outcome);
    await this.#remove(side, actual, wanted, outcome);
    return outcome;
  }

  async #putNeighbours(side: Side, actual: Actual, items: readonly Item[], outcome: Outcome): Promise<void> {
    const family = familyOf(side);
    await this.#send(
      items,
      ({ peer }) => putNeighbour(family, side.ifindex, peer.prefix.bytes, peer.macBytes),
      ({ key, value, peer }, refusal) => {
        if (refusal !== undefined) {
          fail(outcome, peer, `neighbour ${key} dev ${side.overlay.device}`, refusal);
          return;
        }
        actual.neighbours.set(key, value);
        ++outcome.written;
      },
    );
  }

  async #putFdb({ overlay }: Side, actual: Actual, wanted: Wanted, outcome: Outcome): Promise<void> {
    const dev = overlay.device;
    const fdb = different(wanted.fdb, actual.fdb, 'remote');
    await this.#write([...fdb.fresh, ...fdb.changed], outcome, actual.fdb, ({ key: mac, peer }) => {
      const port = peer.port === undefined ? {} : { port: peer.port };
      this.#vtep.fdb({ op: 'replace', dev, mac, dst: peer.publicIp, ...port, state: 'permanent' });
    });
    const sources = different(wanted.sources, actual.sources, 'source');
    await this.#write(
      [...sources.fresh, ...sources.changed],
      outcome,
      actual.sources,
      ({ key: mac, peer }) => {
        this.#vtep.peer({ op: 'set', dev, mac, src: peer.publicIp, prefixes: [peer.subnet] });
      },
    );
  }

  async #putRoutes(side: Side, actual: Actual, wanted: Wanted, outcome: Outcome): Promise<void> {
    const metrics = new Metrics(actual);
    const isIpv6 = side.overlay.family === 6;
    const items: {
      network: string;
      peer: Peer;
      way: Way;
      before: TableRoute | undefined;
      priority: number;
    }[] = [];
    for (const [network, peer] of wanted.routes) {
      const there = actual.routes.get(network);
      const way = wayTo(peer, wanted, side);
      if (there?.some((one) => isSameWay(one, way)) || outcome.errors.has(peer)) continue;
      const before = there?.[0];
      // The kernel gives IPv6 routes a metric of its own choice.
      const priority = before?.priority ?? (isIpv6 ? 0 : metrics.take());
      // With another metric than the foreign one ours would be taken, and not be used.
      const mayHide = before === undefined && (isIpv6 || priority !== 0);
      if (mayHide && this.#isForeign(side, network, peer, outcome)) continue;
      items.push({ network, peer, way, before, priority });
    }
    const family = familyOf(side);
    const made = ({ peer, way, priority }: (typeof items)[number]) => ({
      ...{ family, priority, protocol: this.#protocol, type: RTN_UNICAST },
      destination: peer.prefix.bytes,
      prefixLength: peer.prefix.length,
      ...{ gateway: way.gateway, ifindex: way.ifindex, onlink: way.onlink },
    });
    await this.#send(
      items,
      (item) => putRoute({ ...made(item), gateway: item.way.gatewayBytes }, item.before !== undefined),
      (item, refusal) => {
        const { network, peer, way, before } = item;
        if (refusal === undefined) {
          const others = (actual.routes.get(network) ?? []).filter((one) => one !== before);
          actual.routes.set(network, [made(item), ...others]);
          ++outcome.written;
        } else if (refusal.errno !== EEXIST || !this.#isForeign(side, network, peer, outcome)) {
          fail(outcome, peer, `route ${network} via ${way.gateway}`, refusal);
        }
      },
    );
  }

  /** Tells of somebody else's route to that network, which the kernel would use, or which keeps ours out. */
  #isForeign(side: Side, network: string, peer: Peer, outcome: Outcome): boolean {
    const found = findRoute(this.#socket, familyOf(side), peer.prefix.bytes, peer.prefix.length);
    if (found === undefined || found.protocol === this.#protocol) return false;
    const via = found.gateway === undefined ? '' : ` via ${found.gateway}`;
    const dev = found.ifindex === 0 ? '' : ` dev ${nameOf(found.ifindex) ?? found.ifindex}`;
    const text = `route ${network}: File exists: another one leads there${via}${dev} (protocol ${found.protocol}): it is left alone; remove it`;
    outcome.foreign.set(network, { peer, text });
    outcome.errors.set(peer, text);
    return true;
  }

  /** Our routes that somebody else's has come before since. */
  findHidden(side: Side, networks: Iterable<string>, wanted: Wanted, outcome: Outcome): void {
    for (const network of networks) {
      const peer = wanted.routes.get(network);
      if (peer !== undefined && !outcome.errors.has(peer)) this.#isForeign(side, network, peer, outcome);
    }
  }

  async #remove(side: Side, actual: Actual, wanted: Wanted, outcome: Outcome): Promise<void> {
    const { overlay, ifindex } = side;
    const dev = overlay.device;
    const family = familyOf(side);
    const addresses = gone(actual.neighbours, wanted.neighbours);
    await this.#send(
      addresses,
      (address) => removeNeighbour(family, ifindex, parseIp(address)!),
      (address, refusal) => {
        if (isRemoved(refusal, outcome)) actual.neighbours.delete(address);
      },
    );
    await this.#erase(gone(actual.fdb, wanted.fdb), actual.fdb, outcome, (mac) => {
      this.#vtep.fdb({ op: 'del', dev, mac });
    });
    await this.#erase(gone(actual.sources, wanted.sources), actual.sources, outcome, (mac) => {
      this.#vtep.peer({ op: 'del', dev, mac });
    });
    await this.#send(
      staleRoutes(side, actual, wanted),
      ({ route }) => removeRoute(route, route.gateway === undefined ? undefined : parseIp(route.gateway)),
      ({ network, route }, refusal) => {
        if (!isRemoved(refusal, outcome)) return;
        const left = (actual.routes.get(network) ?? []).filter((one) => one !== route);
        if (left.length > 0) actual.routes.set(network, left);
        else actual.routes.delete(network);
      },
    );
  }

  async #send<T>(
    items: readonly T[],
    encode: (item: T) => Uint8Array,
    settle: (item: T, refusal: Refusal | undefined) => void,
  ): Promise<void> {
    for (let start = 0; start < items.length; start += STEP_MESSAGES) {
      if (start > 0) await setImmediate();
      const part = items.slice(start, start + STEP_MESSAGES);
      const refusals = new Map(this.#socket.batch(part.map(encode)).map((one) => [one.index, one]));
      for (const [index, item] of part.entries()) settle(item, refusals.get(index));
    }
  }

  async #write(
    items: readonly Item[],
    outcome: Outcome,
    table: Map<string, string>,
    put: (item: Item) => void,
  ): Promise<void> {
    await this.#each(items, (item) => {
      try {
        put(item);
        table.set(item.key, item.value);
        ++outcome.written;
      } catch (error) {
        if (!outcome.errors.has(item.peer)) outcome.errors.set(item.peer, (error as Error).message);
        ++outcome.failed;
      }
    });
  }

  async #erase(
    keys: readonly string[],
    table: Map<string, string>,
    outcome: Outcome,
    remove: (key: string) => void,
  ): Promise<void> {
    await this.#each(keys, (key) => {
      try {
        remove(key);
      } catch (error) {
        if ((error as VtepError).code !== 'NOT_FOUND') {
          ++outcome.failed;
          return;
        }
      }
      table.delete(key);
      ++outcome.removed;
    });
  }

  async #each<T>(items: readonly T[], work: (item: T) => void): Promise<void> {
    for (let start = 0; start < items.length; start += STEP_MESSAGES) {
      if (start > 0) await setImmediate();
      this.writing = true;
      for (const item of items.slice(start, start + STEP_MESSAGES)) work(item);
      this.writing = false;
    }
  }
}

interface Item {
  key: string;
  value: string;
  peer: Peer;
}

function different(
  wanted: ReadonlyMap<string, Peer>,
  actual: ReadonlyMap<string, string>,
  what: 'mac' | 'remote' | 'source',
): { fresh: Item[]; changed: Item[] } {
  const fresh: Item[] = [];
  const changed: Item[] = [];
  for (const [key, peer] of wanted) {
    const there = actual.get(key);
    const value = peer[what];
    if (there !== value) (there === undefined ? fresh : changed).push({ key, value, peer });
  }
  return { fresh, changed };
}

function gone(actual: ReadonlyMap<string, unknown>, wanted: ReadonlyMap<string, unknown>): string[] {
  return [...actual.keys()].filter((key) => !wanted.has(key));
}

export function isSameWay(there: TableRoute, { gateway, ifindex, onlink }: Way): boolean {
  return (
    there.type === RTN_UNICAST &&
    there.gateway === gateway &&
    there.ifindex === ifindex &&
    there.onlink === onlink
  );
}

/** Of several to one network the wanted one stays. A way that is not wanted goes also when the new one was refused. */
function staleRoutes(side: Side, actual: Actual, wanted: Wanted): { network: string; route: TableRoute }[] {
  const stale: { network: string; route: TableRoute }[] = [];
  for (const [network, routes] of actual.routes) {
    const peer = wanted.routes.get(network);
    const way = peer && wayTo(peer, wanted, side);
    const kept = way && routes.find((one) => isSameWay(one, way));
    for (const route of routes) if (route !== kept) stale.push({ network, route });
  }
  return stale;
}

function isRemoved(refusal: Refusal | undefined, outcome: Outcome): boolean {
  if (refusal === undefined) ++outcome.removed;
  else if (![ENOENT, ESRCH, ENODEV].includes(refusal.errno)) {
    ++outcome.failed;
    return false;
  }
  return true;
}

function fail(outcome: Outcome, peer: Peer, what: string, { errno, reason }: Refusal): void {
  const why = reason === '' ? errorName(errno) : `${reason} (${errorName(errno)})`;
  if (!outcome.errors.has(peer)) outcome.errors.set(peer, `${what}: ${why}: it is tried again`);
  ++outcome.failed;
}
