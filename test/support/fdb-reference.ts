/**
 * The FDB written down as plainly as it can be: a Map, words instead of bits, one case of the
 * kernel's table after the other. What assembly/fdb.ts and src/dataplane/fdb.ts do is compared
 * with it, operation by operation.
 */
import type { FdbEntry, FdbFlush, FdbRequest } from '../../src/types.ts';

export interface ReferenceDevice {
  name: string;
  vni: number;
  port: number;
  limit: number;
  ageing: number;
}

interface Remote {
  dst: string;
  port: number;
  vni: number;
  via: string;
}

interface Entry {
  mac: string;
  device: ReferenceDevice;
  state: 'permanent' | 'static' | 'dynamic' | 'default';
  flags: string[];
  byUser: boolean;
  used: number;
  updated: number;
  created: number;
  remotes: Remote[];
}

const ANY = ['0.0.0.0', '::'];

export class FdbReference {
  now = 0;
  #created = 0;
  readonly #entries = new Map<string, Entry>();
  readonly #devices: readonly ReferenceDevice[];

  constructor(devices: readonly ReferenceDevice[]) {
    this.#devices = devices;
  }

  /** @returns the code of the refusal, or undefined */
  apply(request: FdbRequest): string | undefined {
    const device = this.#device(request.dev);
    const remote: Remote = {
      dst: request.dst ?? '0.0.0.0',
      port: request.port || device.port,
      vni: request.vni ?? device.vni,
      via: request.via ?? '',
    };
    const entry = this.#entries.get(keyOf(request.dev, request.mac));
    if (request.op === 'del') return entry ? this.#remove(entry, remote) : 'NOT_FOUND';
    const flags = ['self'];
    if (request.router) flags.push('router');
    if (request.extern_learn) flags.push('extern_learn');
    if (request.sticky) flags.push('sticky');
    const state = request.state ?? 'permanent';
    if (!entry) {
      if (request.op === 'replace' && isGroup(request.mac)) return 'UNSUPPORTED';
      return this.#create(device, request.mac, remote, state, flags, true) ? undefined : 'NO_SPACE';
    }
    if (request.op === 'add') return 'EXISTS';
    if (request.op === 'replace' && isGroup(request.mac)) return 'UNSUPPORTED';
    let changed = request.use === true;
    if (!(request.extern_learn && entry.byUser)) {
      if (entry.state !== state || entry.flags.join() !== flags.join() || !entry.byUser) changed = true;
      Object.assign(entry, { state, flags, byUser: true });
    }
    const known = entry.remotes.some((other) => same(other, remote));
    if (!known && request.op === 'replace') {
      entry.remotes[0] = remote;
      changed = true;
    }
    if (!known && request.op === 'append' && isGroup(request.mac)) {
      entry.remotes.push(remote);
      changed = true;
    }
    if (changed) entry.updated = this.now;
    return undefined;
  }

  learn(dev: string, mac: string, sender: string): 'known' | 'new' | 'moved' | 'refused' | 'full' {
    const entry = this.#entries.get(keyOf(dev, mac));
    if (!entry) {
      const device = this.#device(dev);
      const remote = { dst: sender, port: device.port, vni: device.vni, via: '' };
      return this.#create(device, mac, remote, 'dynamic', ['self'], false) ? 'new' : 'full';
    }
    entry.updated = this.now;
    const first = entry.remotes[0]!;
    if (first.dst === sender && first.via === '') return 'known';
    if (entry.state !== 'dynamic') return 'refused';
    if (first.dst === sender) return 'known';
    first.dst = sender;
    return 'moved';
  }

  touch(dev: string, mac: string): void {
    const entry = this.#entries.get(keyOf(dev, mac));
    if (entry) entry.used = this.now;
  }

  age(dev: string): number {
    return this.#drop((entry) => {
      const ages = entry.state === 'dynamic' && !entry.flags.includes('extern_learn');
      return entry.device.name === dev && ages && this.now >= entry.updated + entry.device.ageing;
    });
  }

  /** What is lost by going down. */
  down(dev: string): number {
    return this.#drop(
      (entry) => entry.device.name === dev && entry.state === 'dynamic' && entry.mac !== '00:00:00:00:00:00',
    );
  }

  flush(filter: FdbFlush): number {
    let removed = 0;
    for (const entry of [...this.#entries.values()]) {
      if (entry.device.name !== filter.dev || !matches(entry, filter)) continue;
      const keep = entry.remotes.filter(
        (remote) =>
          (filter.dst !== undefined && remote.dst !== filter.dst) ||
          (filter.port !== undefined && remote.port !== filter.port) ||
          (filter.vni !== undefined && remote.vni !== filter.vni),
      );
      removed += entry.remotes.length - keep.length;
      entry.remotes = keep;
      if (keep.length === 0) this.#entries.delete(keyOf(filter.dev, entry.mac));
    }
    return removed;
  }

  setDefaultRemote(dev: string, before: string | undefined, after: string | undefined): void {
    if (before === after) return;
    const device = this.#device(dev);
    const mac = '00:00:00:00:00:00';
    const remoteTo = (dst: string) => ({ dst, port: device.port, vni: device.vni, via: '' });
    if (after !== undefined) {
      const entry = this.#entries.get(keyOf(dev, mac));
      const remote = remoteTo(after);
      if (!entry) {
        this.#create(device, mac, remote, 'default', ['self'], false);
      } else {
        const known = entry.remotes.some((other) => same(other, remote));
        if (!known) entry.remotes.push(remote);
        const changed =
          !known || entry.state !== 'default' || entry.flags.join() !== 'self' || entry.byUser !== false;
        if (changed) entry.updated = this.now;
        Object.assign(entry, { state: 'default', flags: ['self'], byUser: false });
      }
    }
    const entry = this.#entries.get(keyOf(dev, mac));
    if (before !== undefined && entry) this.#remove(entry, remoteTo(before));
  }

  /** Destinations of a MAC in the order of the list. */
  lookup(dev: string, mac: string): string[] {
    return this.#entries.get(keyOf(dev, mac))?.remotes.map(({ dst }) => dst) ?? [];
  }

  show(dev?: string): FdbEntry[] {
    return [...this.#entries.values()]
      .filter((entry) => dev === undefined || entry.device.name === dev)
      .sort((one, other) => other.created - one.created)
      .flatMap((entry) =>
        entry.remotes.map((remote) => ({
          mac: entry.mac,
          ifname: entry.device.name,
          dst: remote.dst,
          ...(remote.port !== entry.device.port && { port: remote.port }),
          ...(remote.vni !== entry.device.vni && { vni: remote.vni }),
          ...(remote.via !== '' && { viaIf: remote.via }),
          used: this.now - entry.used,
          updated: this.now - entry.updated,
          flags: entry.flags,
          state: { permanent: 'permanent', default: 'permanent', static: 'static', dynamic: '' }[entry.state],
        })),
      );
  }

  #create(
    device: ReferenceDevice,
    mac: string,
    remote: Remote,
    state: Entry['state'],
    flags: string[],
    byUser: boolean,
  ): boolean {
    const count = [...this.#entries.values()].filter((entry) => entry.device === device).length;
    if (device.limit !== 0 && count >= device.limit) return false;
    const { now } = this;
    const created = ++this.#created;
    const entry = { mac, device, state, flags, byUser, used: now, updated: now, created, remotes: [remote] };
    this.#entries.set(keyOf(device.name, mac), entry);
    return true;
  }

  #remove(entry: Entry, remote: Remote): undefined {
    const keep = ANY.includes(remote.dst) ? [] : entry.remotes.filter((other) => !same(other, remote));
    entry.remotes = keep;
    if (keep.length === 0) this.#entries.delete(keyOf(entry.device.name, entry.mac));
  }

  #drop(goes: (entry: Entry) => boolean): number {
    const going = [...this.#entries].filter(([, entry]) => goes(entry));
    for (const [key] of going) this.#entries.delete(key);
    return going.length;
  }

  #device(name: string): ReferenceDevice {
    return this.#devices.find((device) => device.name === name)!;
  }
}

function matches(entry: Entry, filter: FdbFlush): boolean {
  const permanent = entry.state === 'permanent' || entry.state === 'default';
  const noarp = entry.state === 'permanent' || entry.state === 'static';
  const wants: [boolean | undefined, boolean, boolean][] = [
    [filter.permanent, permanent, !permanent],
    [filter.static, noarp && !permanent, !noarp],
    [filter.dynamic, !noarp && !permanent, noarp],
    [filter.router, entry.flags.includes('router'), !entry.flags.includes('router')],
    [filter.extern_learn, entry.flags.includes('extern_learn'), !entry.flags.includes('extern_learn')],
  ];
  return wants.every(([asked, yes, no]) => asked === undefined || (asked ? yes : no));
}

function keyOf(dev: string, mac: string): string {
  return `${dev} ${mac}`;
}

function isGroup(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1 || mac === '00:00:00:00:00:00';
}

function same(one: Remote, other: Remote): boolean {
  return one.dst === other.dst && one.port === other.port && one.vni === other.vni && one.via === other.via;
}
