/**
 * What a request does to the MDB of one device, in the kernel's terms (`__vxlan_mdb_add`,
 * `__vxlan_mdb_del` and what they call). A draft lies over the entries as they are and collects what
 * becomes of them; whoever made it takes it over as a whole, or drops it, and nothing has changed.
 */
import { VtepError } from '../errors.ts';
import { type Address, sameAddress } from './fdb-text.ts';
import { isStarG, keyOf, type MdbGroup } from './mdb-text.ts';

/** Where a copy goes. Identity is the address alone. */
export interface MdbRemote {
  readonly address: Address;
  /** UDP port; 0 sends to the device's */
  readonly port: number;
  /** On the wire; 0 = the one that the entry is about */
  readonly vni: number;
  /** 0 = by route */
  readonly ifindex: number;
  readonly mode: 'include' | 'exclude';
  readonly protocol: number;
  /** Of a (*, G): those that have an (S, G) through it. Newest first. */
  readonly sources: readonly Address[];
  /** Gets nothing: its source is one that a (*, G) excludes. */
  readonly blocked: boolean;
}

export interface MdbRecord extends MdbGroup {
  /** Newest first. None: the entry goes. */
  readonly remotes: readonly MdbRemote[];
}

/** What is told of a change, in the kernel's order. */
export interface MdbNotice {
  readonly deleted: boolean;
  readonly group: MdbGroup;
  readonly remote: MdbRemote;
}

/** Those that frames are sent to, in the order of the list: the first one's copy leaves last. */
export function eligible(record: MdbRecord): MdbRemote[] {
  const starG = isStarG(record);
  return record.remotes.filter(({ blocked, mode }) => !blocked && !(starG && mode === 'include'));
}

export class MdbDraft {
  /** By key, in the order in which they were made. */
  readonly changes = new Map<string, MdbRecord>();
  readonly notices: MdbNotice[] = [];
  readonly #base: ReadonlyMap<string, MdbRecord>;
  readonly #what: string;

  /** @param what begins the message of a refusal */
  constructor(what: string, base: ReadonlyMap<string, MdbRecord>) {
    this.#what = what;
    this.#base = base;
  }

  /** @throws VtepError EXISTS */
  add(group: MdbGroup, wanted: MdbRemote, replaces: boolean): void {
    // Here it gets its place: before the (S, G)s that it makes.
    this.#put(group, this.#remotesOf(group));
    const known = this.#find(group, wanted.address);
    if (known && !replaces) {
      throw new VtepError(
        'EXISTS',
        `${this.#what}: vxlan: Replace not specified and MDB remote entry already exists. Use "replace"`,
      );
    }
    const sources = this.#addSources(group, wanted, known?.sources ?? [], replaces);
    const remote = { ...wanted, sources };
    const before = this.#remotesOf(group);
    this.#put(group, known ? before.map((one) => (one === known ? remote : one)) : [remote, ...before]);
    this.notices.push({ deleted: false, group, remote });
  }

  /** @throws VtepError NOT_FOUND */
  remove(group: MdbGroup, address: Address): void {
    const known = this.#find(group, address);
    if (!known) {
      const what = this.#remotesOf(group).length === 0 ? 'MDB entry' : 'MDB remote entry';
      throw new VtepError(
        'NOT_FOUND',
        `${this.#what}: vxlan: Did not find ${what}. "mdb show" lists what there is`,
      );
    }
    this.removeRemote(group, known);
  }

  /** Takes the (S, G)s that it made along. It may have gone with another one already. */
  removeRemote(group: MdbGroup, remote: MdbRemote): void {
    const before = this.#remotesOf(group);
    if (!before.includes(remote)) return;
    this.notices.push({ deleted: true, group, remote });
    this.#put(
      group,
      before.filter((one) => one !== remote),
    );
    for (const source of remote.sources) this.#removeSource(group, source, remote.address);
  }

  /** Makes an (S, G) of each source, and unmakes those that are no longer named. @returns the new list */
  #addSources(
    group: MdbGroup,
    wanted: MdbRemote,
    before: readonly Address[],
    replaces: boolean,
  ): readonly Address[] {
    const blocked = wanted.mode === 'exclude';
    const sources = [...before];
    for (const source of wanted.sources) {
      if (!includes(sources, source)) sources.unshift(source);
      else if (!replaces) {
        throw new VtepError(
          'EXISTS',
          `${this.#what}: vxlan: Source entry already exists. Name each source once`,
        );
      }
      this.add({ ...group, source }, { ...wanted, mode: 'include', sources: [], blocked }, replaces);
    }
    for (const source of sources) {
      if (!includes(wanted.sources, source)) this.#removeSource(group, source, wanted.address);
    }
    return sources.filter((source) => includes(wanted.sources, source));
  }

  #removeSource(group: MdbGroup, source: Address, address: Address): void {
    const child = { ...group, source };
    const known = this.#find(child, address);
    // It may have been removed by hand.
    if (known) this.removeRemote(child, known);
  }

  #find(group: MdbGroup, address: Address): MdbRemote | undefined {
    return this.#remotesOf(group).find((remote) => sameAddress(remote.address, address));
  }

  #remotesOf(group: MdbGroup): readonly MdbRemote[] {
    const key = keyOf(group);
    return (this.changes.get(key) ?? this.#base.get(key))?.remotes ?? [];
  }

  #put({ vni, group, source }: MdbGroup, remotes: readonly MdbRemote[]): void {
    const record = { vni, group, ...(source && { source }), remotes };
    this.changes.set(keyOf(record), record);
  }
}

function includes(list: readonly Address[], address: Address): boolean {
  return list.some((one) => sameAddress(one, address));
}
