/** What probing has found out of one peer, and what is to be said of it. */
import ipaddr from 'ipaddr.js';
import { errorName } from '../io/errno.ts';
import { AF_INET, AF_INET6, type Family } from '../io/family.ts';
import { overheadOf } from '../vtep/device.ts';

/** Requests in a row that may stay without answer before a peer counts as silent, or its large packets as lost. */
const MISSES_MAX = 3;
/** Share of a new round trip in the smoothed one, as in TCP (RFC 6298). */
const SMOOTHING = 1 / 8;

export interface ProbePeer {
  /** Of its lease. A peer of both families stands in the list twice. */
  key: string;
  /** What answers in the overlay: the address of the lease's network, "10.244.2.0". */
  address: string;
  /** Of `address`. */
  family: Family;
  /** Outer address, of either family. */
  publicIp: string;
}

export interface Reachability extends ProbePeer {
  /** "unknown" until it has answered once, or not three times in a row. */
  state: 'unknown' | 'answers' | 'silent';
  /** Milliseconds: of the last answer, and smoothed. */
  rttMs?: number;
  smoothedRttMs?: number;
  /** As Date.now() counts. */
  lastAnswer?: number;
  sent: number;
  /** Requests that stayed without answer. */
  lost: number;
  /** Packets of the device's MTU. "unknown" while small ones aren't answered. */
  fullSize: 'passes' | 'lost' | 'unknown';
  /** Bytes, by the kernel's route to `publicIp`; 0: there is no way. Absent: not asked yet. */
  pathMtu?: number;
  /** Bytes that the outer packets of full-size ones have. */
  neededMtu: number;
  /** Its host answers pings on the underlay; absent: not asked, or not answered. */
  hostAnswers?: boolean;
  /** Why requests could not be sent, the last time: "ENETUNREACH". */
  sendError?: string;
}

export interface ReachabilityProblem {
  key: string;
  family: Family;
  kind: 'silent' | 'full-size' | 'path-mtu';
  /** What is wrong and what may be done, on one line. */
  text: string;
}

/** Small requests, or full-size ones: the one that is under way, and how many before it were lost. */
interface Track {
  /** 0: none. */
  number: number;
  misses: number;
}

/** A peer as the prober keeps it. */
export class Probed {
  readonly found: Reachability;
  /** Read when it is asked first: a hundred thousand are set at once. */
  #bytes: Uint8Array | undefined;
  #publicBytes: Uint8Array | undefined;
  readonly small: Track = { number: 0, misses: 0 };
  readonly large: Track = { number: 0, misses: 0 };
  /** Stands in every request to it; -1: it has gone. */
  tag: number;
  /** The last ping that its host has answered. */
  hostAnswered = 0;
  rounds = 0;

  constructor(peer: ProbePeer, tag: number, mtu: number) {
    this.tag = tag;
    const { key, address, family, publicIp } = peer;
    this.found = {
      ...{ key, address, family, publicIp },
      ...{ state: 'unknown', sent: 0, lost: 0, fullSize: 'unknown', neededMtu: 0 },
    };
    this.setMtu(mtu);
  }

  get bytes(): Uint8Array {
    this.#bytes ??= Uint8Array.from(ipaddr.parse(this.found.address).toByteArray());
    return this.#bytes;
  }

  get publicBytes(): Uint8Array {
    this.#publicBytes ??= Uint8Array.from(ipaddr.parse(this.found.publicIp).toByteArray());
    return this.#publicBytes;
  }

  get publicFamily(): Family {
    return this.found.publicIp.includes(':') ? AF_INET6 : AF_INET;
  }

  /** The device's, in bytes. What was found out of the former one no longer counts. */
  setMtu(mtu: number): void {
    const neededMtu = mtu + overheadOf(this.publicFamily, false);
    if (neededMtu === this.found.neededMtu) return;
    this.found.neededMtu = neededMtu;
    this.found.fullSize = 'unknown';
    Object.assign(this.large, { number: 0, misses: 0 });
    this.rounds = 0;
  }

  sent(number: number, large: boolean, errno: number): void {
    const { found } = this;
    found.sent += 1;
    (large ? this.large : this.small).number = number;
    if (errno !== 0) found.sendError = errorName(errno);
    else if (!large) delete found.sendError;
  }

  /** Returns whether something became different that is worth telling. */
  answered(number: number, large: boolean, rttMs: number): boolean {
    const { found } = this;
    const before = `${found.state} ${found.fullSize}`;
    const track = large ? this.large : this.small;
    if (track.number === number) track.number = 0;
    track.misses = 0;
    found.state = 'answers';
    found.lastAnswer = Date.now();
    if (large) found.fullSize = 'passes';
    // A full-size packet takes longer, and the clock may have been set.
    else if (!Number.isNaN(rttMs)) {
      found.rttMs = rttMs;
      const smoothed = found.smoothedRttMs ?? rttMs;
      found.smoothedRttMs = smoothed + (rttMs - smoothed) * SMOOTHING;
    }
    return before !== `${found.state} ${found.fullSize}`;
  }

  /** Returns "again" when it is too early to say. */
  missed(number: number, large: boolean): 'stale' | 'again' | 'changed' | 'known' {
    const { found } = this;
    const track = large ? this.large : this.small;
    if (track.number !== number) return 'stale';
    track.number = 0;
    found.lost += 1;
    // A peer that has stopped answering at all says nothing of sizes.
    if (large && found.state !== 'answers') return 'known';
    track.misses += 1;
    if (track.misses < MISSES_MAX) return 'again';
    const before = large ? found.fullSize : found.state;
    if (large) found.fullSize = 'lost';
    else Object.assign(found, { state: 'silent', fullSize: 'unknown' });
    return before === (large ? found.fullSize : found.state) ? 'known' : 'changed';
  }
}

/** What is wrong with the way to a peer; undefined: nothing that is known of. */
export function problemOf(
  found: Reachability,
  ours: { vni: number; port: number; mtu: number },
): ReachabilityProblem | undefined {
  const { key, family, address, publicIp, pathMtu, neededMtu } = found;
  const problem = (kind: ReachabilityProblem['kind'], text: string) => ({ key, family, kind, text });
  const who = `${address} (${publicIp})`;
  if (found.state === 'silent') {
    return problem('silent', `${who} does not answer: ${causeOf(found, ours)}`);
  }
  const room = pathMtu !== undefined && pathMtu > 0 && pathMtu < neededMtu;
  const fit = `set MTU of the network's Backend to ${pathMtu ?? 'what fits'}`;
  if (found.fullSize === 'lost') {
    const path = room ? `, the path carries ${pathMtu}` : '';
    return problem(
      'full-size',
      `${who}: large packets don't arrive: MTU: packets of ${ours.mtu} bytes need ${neededMtu} outside${path}: ${fit}`,
    );
  }
  if (room) {
    return problem(
      'path-mtu',
      `${who}: the path carries ${pathMtu} bytes, full packets need ${neededMtu} and are cut on their way: ${fit}`,
    );
  }
  return undefined;
}

function causeOf(found: Reachability, { vni, port }: { vni: number; port: number }): string {
  if (found.pathMtu === 0) return `there is no route to ${found.publicIp}`;
  if (found.sendError !== undefined) {
    return `requests can't be sent (${found.sendError}): is the route to ${found.address} there?`;
  }
  const host =
    found.hostAnswers === true
      ? 'its host answers pings'
      : 'its host answers no pings on the underlay either';
  return `${host}: does a firewall drop UDP port ${port}, here or there? Has it VNI ${vni} and port ${port}, too, and its VTEP's MAC as its lease says?`;
}
