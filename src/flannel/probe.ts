/**
 * Does the overlay carry packets? Every peer is asked, over and over, by ICMP echo through the tunnel, for the address
 * of its lease's network, which a kernel's flannel.1 answers for as its own. Small requests tell whether it answers
 * and how fast; rarer ones of the device's MTU whether large packets arrive. Beside each of these a ping as large as
 * their outer packets goes to the public address itself, with DF: from what comes back the kernel learns the path's
 * MTU, which its route then tells.
 *
 * It is never exact work: requests are spread evenly over the interval, at most so many a second, whoever stays
 * without answer is asked again at once, and everything is read when the next timer fires.
 */
import { EMSGSIZE } from '../io/errno.ts';
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import type { EchoReply } from '../io/icmp.ts';
import { Routes } from '../netlink/routes.ts';
import { ProbeSockets } from './probe-sockets.ts';
import { ProbedPeers } from './probed-peers.ts';
import { Queue } from './queue.ts';
import {
  type Probed,
  type ProbePeer,
  problemOf,
  type Reachability,
  type ReachabilityProblem,
} from './reachability.ts';

const INTERVAL_MS = 10_000;
/** Longer round trips count as lost first, and as answers when they come. */
const TIMEOUT_MS = 2000;
const PER_SECOND = 1000;
/** One round in so many has a full-size request, too. */
const LARGE_EVERY = 6;
/** So often are answers read, and requests sent, while there is nothing urgent: seldom, as each costs a wake-up. */
const TICKS_PER_INTERVAL = 10;
/** Somebody new is waited for: nobody wants to wait for the news of that. */
const TICK_NEW_MS = 100;
const TICK_MIN_MS = 20;
/** What may be sent at once: a larger burst would fill queues. */
const BURST = 50;
/** Answers that come later than that say nothing of now. */
const LATEST_MS = 60_000;
const NUMBER_MAX = 0x7fffffff;
/** So many silent peers, and none that answers, say that the overlay doesn't work. */
const SILENT_ENOUGH = 100;

export interface ProbeOptions {
  /** Our own addresses in the overlay, "10.244.1.0"; a family without is not probed. */
  address?: string | undefined;
  addressV6?: string | undefined;
  /** Of the devices, in bytes; `mtuV6` is `mtu` unless given. */
  mtu: number;
  mtuV6?: number | undefined;
  /** Of the network: for the words that problems are told in. */
  vni: number;
  port: number;
  intervalMs?: number;
  timeoutMs?: number;
  perSecond?: number;
  /** Hears of every peer whose `state` or `fullSize` has become another. It must not throw. */
  changed?: (found: Readonly<Reachability>) => void;
}

/** A request that may still be answered; kept in the order of `due`. */
interface Waiting {
  peer: Probed;
  kind: 'small' | 'large' | 'path';
  number: number;
  due: number;
}

export class Prober {
  #options: ProbeOptions;
  readonly #interval: number;
  readonly #timeout: number;
  readonly #perSecond: number;
  readonly #peers = new ProbedPeers();
  #given: readonly ProbePeer[] = [];
  /** To be asked before all others. */
  readonly #urgent = new Queue<{ peer: Probed; large: boolean }>();
  readonly #waiting = new Queue<Waiting>();
  /** Counts requests, from 1: the lowest bit of what is sent says "full size". */
  #number = 0;
  readonly #sockets = new ProbeSockets();
  #routes: Routes | undefined;
  #timer: NodeJS.Timeout | undefined;
  #last = performance.now();
  /** Requests that may be sent now: of the rounds, and of all. */
  #credit = 0;
  #budget = BURST;
  #closed = false;
  #routesError: string | undefined;

  constructor(options: ProbeOptions) {
    this.#options = { ...options };
    this.#interval = options.intervalMs ?? INTERVAL_MS;
    this.#timeout = options.timeoutMs ?? TIMEOUT_MS;
    this.#perSecond = options.perSecond ?? PER_SECOND;
  }

  /** Why nothing can be probed at present: "ICMP socket: EPERM: ..."; undefined: it can. */
  get error(): string | undefined {
    return this.#sockets.error ?? this.#routesError;
  }

  /** Replies that were none to us, and those cut short. */
  get ignored(): number {
    return this.#sockets.ignored;
  }

  /** All peers from now on. What is known of those that stay, with the same addresses, is kept. */
  setPeers(peers: readonly ProbePeer[]): void {
    if (this.#closed) return;
    this.#given = peers;
    const probed = peers.filter(({ family }) => this.#addressOf(family) !== undefined);
    for (const peer of this.#peers.set(probed, (family) => this.#mtuOf(family)))
      this.#urgent.push({ peer, large: false });
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#arm();
  }

  /** Our own addresses or MTU have become others. What isn't given is no more. */
  update(options: Pick<ProbeOptions, 'address' | 'addressV6' | 'mtu' | 'mtuV6'>): void {
    const none = { address: undefined, addressV6: undefined, mtuV6: undefined };
    this.#options = { ...this.#options, ...none, ...options };
    this.#sockets.close();
    for (const peer of this.#peers.all) peer.setMtu(this.#mtuOf(peer.found.family));
    // A family may have come or gone.
    this.setPeers(this.#given);
  }

  /** What is known of a peer. The object changes with what is found out. */
  of(key: string, family: Family): Readonly<Reachability> | undefined {
    return this.#peers.find(key, family)?.found;
  }

  all(): Readonly<Reachability>[] {
    return this.#peers.all.map(({ found }) => found);
  }

  problems(): ReachabilityProblem[] {
    const { vni, port } = this.#options;
    return this.#peers.all.flatMap(({ found }) => {
      const problem = problemOf(found, { vni, port, mtu: this.#mtuOf(found.family) });
      return problem === undefined ? [] : [problem];
    });
  }

  /**
   * Do peers answer, as /readyz means it: at least one answers, or there are none, or there was no time yet to find
   * out; not so when every one was asked three times for nothing (a hundred, where there are more). Where nothing can
   * be probed (`error`) nobody is blamed.
   */
  ready(): { ok: boolean; reasons: string[] } {
    let silent = 0;
    for (const { found } of this.#peers.all) {
      if (found.state === 'answers') return { ok: true, reasons: [] };
      if (found.state === 'silent') ++silent;
    }
    const ok = silent === 0 || silent < Math.min(this.#peers.all.length, SILENT_ENOUGH);
    return { ok, reasons: ok ? [] : [`none of ${silent} peers answers in the overlay`] };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#sockets.close();
    this.#routes?.close();
    this.#routes = undefined;
    this.#peers.clear();
    this.#waiting.clear();
    this.#urgent.clear();
  }

  /** Sets the timer for what has to be done next; none when there is nothing. */
  #arm(): void {
    if (this.#closed || this.#timer !== undefined) return;
    if (this.#peers.all.length === 0 && this.#waiting.first === undefined) return;
    const first = this.#waiting.first;
    let delay = Math.min(this.#interval / TICKS_PER_INTERVAL, BURST / 2 / this.#rate());
    if (this.#urgent.length > 0) delay = TICK_MIN_MS;
    else if (first === undefined) delay = Math.max(delay, (1 - this.#credit) / this.#rate());
    else if (first.peer.found.state === 'unknown') delay = Math.min(delay, TICK_NEW_MS);
    this.#timer = setTimeout(this.#tick, Math.max(delay, TICK_MIN_MS));
    this.#timer.unref();
  }

  /** Requests of the rounds a millisecond. */
  #rate(): number {
    return Math.min(this.#peers.all.length / this.#interval, this.#perSecond / 1000);
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    const elapsed = now - this.#last;
    this.#last = now;
    this.#budget = Math.min(this.#budget + (elapsed * this.#perSecond) / 1000, BURST);
    this.#credit = Math.min(this.#credit + elapsed * this.#rate(), BURST);
    this.#sockets.receive(this.#heard);
    this.#expire(now);
    this.#ask(now);
    this.#arm();
  };

  #ask(now: number): void {
    while (this.#budget >= 1) {
      const next = this.#urgent.shift();
      if (next === undefined) break;
      if (next.peer.tag >= 0) this.#send(next.peer, next.large ? 'large' : 'small', now);
    }
    for (let left = this.#peers.all.length; left > 0 && this.#credit >= 1 && this.#budget >= 1; --left) {
      const peer = this.#peers.next();
      this.#credit -= 1;
      // Who is new is asked first of all.
      const isNew = peer.found.state === 'unknown' && this.#urgent.length > 0;
      if (peer.small.number === 0 && !isNew) this.#round(peer, now);
    }
  }

  #round(peer: Probed, now: number): void {
    this.#send(peer, 'small', now);
    peer.rounds += 1;
    if ((peer.rounds + peer.tag) % LARGE_EVERY === 0) this.#measure(peer, now);
  }

  /** What has to do with sizes. */
  #measure(peer: Probed, now: number): void {
    if (peer.found.state === 'answers' && peer.large.number === 0) this.#send(peer, 'large', now);
    this.#send(peer, 'path', now);
  }

  #send(peer: Probed, kind: Waiting['kind'], now: number): void {
    this.#budget -= 1;
    const { found } = peer;
    const socket =
      kind === 'path'
        ? this.#sockets.underlay(peer.publicFamily)
        : this.#sockets.overlay(found.family, this.#addressOf(found.family) ?? '');
    if (socket === undefined) return;
    this.#number = (this.#number % NUMBER_MAX) + 1;
    const number = this.#number;
    if (kind === 'path') {
      const errno = socket.send(peer.publicBytes, peer.tag, number * 2, found.neededMtu);
      // The path's MTU is known to be smaller. Is its host there at all?
      if (errno === EMSGSIZE) socket.send(peer.publicBytes, peer.tag, number * 2);
    } else {
      const large = kind === 'large';
      const bytes = large ? this.#mtuOf(found.family) : 0;
      peer.sent(number, large, socket.send(peer.bytes, peer.tag, number * 2 + Number(large), bytes));
    }
    this.#waiting.push({ peer, kind, number, due: now + this.#timeout });
  }

  /** Whatever has waited long enough. */
  #expire(now: number): void {
    for (;;) {
      const first = this.#waiting.first;
      if (first === undefined || first.due > now) return;
      this.#waiting.shift();
      const { peer, kind, number } = first;
      if (peer.tag < 0) continue;
      if (kind === 'path') this.#askRoute(peer, number);
      else this.#missed(peer, kind === 'large', number, now);
    }
  }

  #missed(peer: Probed, large: boolean, number: number, now: number): void {
    const outcome = peer.missed(number, large);
    if (outcome === 'again') this.#urgent.push({ peer, large });
    if (outcome !== 'changed') return;
    if (!large) this.#measure(peer, now);
    this.#tell(peer);
  }

  #askRoute(peer: Probed, number: number): void {
    if (peer.hostAnswered !== number) delete peer.found.hostAnswers;
    try {
      this.#routes ??= new Routes();
      peer.found.pathMtu = this.#routes.routeTo({ family: peer.publicFamily, address: peer.publicBytes }).mtu;
    } catch (error) {
      this.#routesError = (error as Error).message;
    }
  }

  readonly #heard = ({ tag, number: wire, rttMs, from }: EchoReply): void => {
    const peer = this.#peers.byTag(tag);
    if (peer === undefined || rttMs > LATEST_MS) return;
    const number = wire >>> 1;
    if (equal(from, peer.publicBytes)) {
      peer.hostAnswered = number;
      peer.found.hostAnswers = true;
    } else if (equal(from, peer.bytes)) {
      const told = peer.answered(number, (wire & 1) === 1, rttMs);
      if (peer.found.fullSize === 'unknown' && peer.large.number === 0)
        this.#measure(peer, performance.now());
      if (told) this.#tell(peer);
    }
  };

  #tell(peer: Probed): void {
    this.#options.changed?.(peer.found);
  }

  #addressOf(family: Family): string | undefined {
    return family === AF_INET6 ? this.#options.addressV6 : this.#options.address;
  }

  #mtuOf(family: Family): number {
    return family === AF_INET ? this.#options.mtu : (this.#options.mtuV6 ?? this.#options.mtu);
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
