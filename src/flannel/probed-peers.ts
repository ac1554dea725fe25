/** Who is probed: by name, in the order of asking, and by the tag that requests and answers bear. */
import type { Family } from '../io/family.ts';
import { Probed, type ProbePeer } from './reachability.ts';

/** A tag is a place, and how many peers had it before. */
const PLACE_BITS = 20;
const PLACE_MASK = (1 << PLACE_BITS) - 1;

export class ProbedPeers {
  /** By key and family. */
  #byName = new Map<string, Probed>();
  /** The same in the order in which they are asked. */
  #order: readonly Probed[] = [];
  #next = 0;
  readonly #places: (Probed | undefined)[] = [];
  /** Tags for those to come whose places are free. */
  readonly #vacant: number[] = [];

  get all(): readonly Probed[] {
    return this.#order;
  }

  find(key: string, family: Family): Probed | undefined {
    return this.#byName.get(nameOf(key, family));
  }

  /** undefined: whoever had the tag has gone. */
  byTag(tag: number): Probed | undefined {
    const peer = this.#places[tag & PLACE_MASK];
    return peer?.tag === tag ? peer : undefined;
  }

  /** Whose turn it is; there has to be one. */
  next(): Probed {
    const peer = this.#order[this.#next]!;
    this.#next = (this.#next + 1) % this.#order.length;
    return peer;
  }

  /**
   * All from now on; those that stay, with the same addresses, are the same objects. Of two with one name the last one
   * counts.
   * @param mtuOf of our device of a family, in bytes
   * @returns who is new
   */
  set(peers: readonly ProbePeer[], mtuOf: (family: Family) => number): Probed[] {
    const kept = new Map<string, Probed>();
    const added: Probed[] = [];
    for (const [name, peer] of new Map(peers.map((one) => [nameOf(one.key, one.family), one]))) {
      const known = this.#byName.get(name);
      if (known?.found.address === peer.address && known.found.publicIp === peer.publicIp)
        kept.set(name, known);
      else {
        const probed = this.#add(peer, mtuOf(peer.family));
        kept.set(name, probed);
        added.push(probed);
      }
    }
    for (const [name, peer] of this.#byName) if (kept.get(name) !== peer) this.#drop(peer);
    this.#byName = kept;
    this.#order = [...kept.values()];
    if (this.#next >= this.#order.length) this.#next = 0;
    return added;
  }

  clear(): void {
    this.#byName.clear();
    this.#order = [];
  }

  #add(peer: ProbePeer, mtu: number): Probed {
    const tag = this.#vacant.pop() ?? this.#places.length;
    const probed = new Probed(peer, tag, mtu);
    this.#places[tag & PLACE_MASK] = probed;
    return probed;
  }

  #drop(peer: Probed): void {
    if (peer.tag < 0) return;
    this.#places[peer.tag & PLACE_MASK] = undefined;
    this.#vacant.push((peer.tag + PLACE_MASK + 1) >>> 0);
    peer.tag = -1;
  }
}

function nameOf(key: string, family: Family): string {
  return `${family} ${key}`;
}
