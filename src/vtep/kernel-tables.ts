/**
 * What the kernel's own tables hold for our devices: neighbours of their interfaces (`ip neigh add ... dev TAP`)
 * and nexthops (`ip nexthop add ... fdb`). Kept here as Maps, told to whoever writes them where packets look.
 */
import type { Dataplane } from '../dataplane/dataplane.ts';
import { parseAddress, parseMac, ZERO_MAC } from '../dataplane/fdb-text.ts';
import { joinNexthops, type NexthopInfo } from '../dataplane/nexthops.ts';
import type { Message } from '../netlink/message.ts';
import { dumpNeighbours, type Neighbour, readNeighbour } from '../netlink/neighbours.ts';
import { dumpNexthops, type Nexthop, type NexthopGroup, readNexthop } from '../netlink/nexthops.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';

export interface KernelTablesListener {
  /** A neighbour of a device has come, changed (its MAC may be "" now: not known), or been removed. */
  onNeighbour(device: number, neighbour: Neighbour, removed: boolean): void;
  /** All there are now, after something of it has changed. */
  onNexthops(nexthops: readonly NexthopInfo[]): void;
}

/** States in which the kernel's proxy answers for a neighbour: NUD_CONNECTED (linux/neighbour.h). */
const CONNECTED = 0x80 | 0x40 | 0x02;

/** Writes the kernel's tables where packets look. `full` hears of what has no room there. */
export function followTables(plane: Dataplane, full: (reason: string) => void): KernelTablesListener {
  return {
    onNeighbour(device, { address, lladdr, state }, removed) {
      // Elsewhere nobody looks, and a node of flannel has more neighbours than there is room for.
      if (!plane.devices.usesNeighbours(device)) return;
      const parsed = parseAddress(address);
      const mac = parseMac(lladdr);
      if (parsed === undefined) return;
      if (removed) {
        plane.neighbours.remove(device, parsed);
        return;
      }
      try {
        // One whose MAC is not known (incomplete, failed) is there all the same: it is no miss.
        plane.neighbours.set(device, parsed, mac ?? ZERO_MAC, (state & CONNECTED) !== 0);
      } catch (error) {
        full((error as Error).message);
      }
    },
    onNexthops: (nexthops) => plane.fdb.setNexthops(nexthops),
  };
}

export class KernelTables {
  readonly #listener: KernelTablesListener;
  /** device -> address -> neighbour */
  readonly #neighbours = new Map<number, Map<string, Neighbour>>();
  #nexthops = new Map<number, Nexthop>();
  #groups = new Map<number, NexthopGroup>();

  constructor(listener: KernelTablesListener) {
    this.#listener = listener;
  }

  /** @param deviceOf ifindex -> device, 0 = not one of ours */
  hear(messages: readonly Message[], deviceOf: (ifindex: number) => number): void {
    let changed = false;
    for (const message of messages) {
      const event = readNeighbour(message);
      if (event !== undefined) {
        const device = deviceOf(event.neighbour.ifindex);
        if (device !== 0) this.#put(device, event.neighbour, event.removed);
      }
      changed = this.#hearNexthop(message) || changed;
    }
    if (changed) this.#tellNexthops();
  }

  /** Reads a device's neighbours anew: it has come to where the socket asks, or announcements were lost. */
  loadNeighbours(socket: NetlinkSocket, deviceOf: (ifindex: number) => number): void {
    const found = new Map<number, Set<string>>();
    for (const neighbour of dumpNeighbours(socket)) {
      const device = deviceOf(neighbour.ifindex);
      if (device === 0) continue;
      const addresses = found.get(device) ?? new Set();
      found.set(device, addresses.add(neighbour.address));
      this.#put(device, neighbour, false);
    }
    for (const [device, known] of this.#neighbours) {
      for (const neighbour of [...known.values()]) {
        const here = deviceOf(neighbour.ifindex) === device;
        if (here && !found.get(device)?.has(neighbour.address)) this.#put(device, neighbour, true);
      }
    }
  }

  loadNexthops(socket: NetlinkSocket): void {
    this.#load(socket);
    this.#tellNexthops();
  }

  /** The device, or its interface, has gone. */
  forget(device: number): void {
    const known = this.#neighbours.get(device);
    this.#neighbours.delete(device);
    for (const neighbour of known?.values() ?? []) this.#listener.onNeighbour(device, neighbour, true);
  }

  #load(socket: NetlinkSocket): void {
    const { nexthops, groups } = dumpNexthops(socket);
    this.#nexthops = new Map(nexthops.map((nexthop) => [nexthop.id, nexthop]));
    this.#groups = new Map(groups.map((group) => [group.id, group]));
  }

  #put(device: number, neighbour: Neighbour, removed: boolean): void {
    const known = this.#neighbours.get(device) ?? new Map<string, Neighbour>();
    this.#neighbours.set(device, known);
    const before = known.get(neighbour.address);
    // One that failed is told of without its MAC; the kernel still has it, and so does a route short circuit.
    const lladdr = neighbour.lladdr === '' ? (before?.lladdr ?? '') : neighbour.lladdr;
    const now = { ...neighbour, lladdr };
    if (removed) known.delete(now.address);
    else known.set(now.address, now);
    if (removed ? before !== undefined : before === undefined || isOther(before, now)) {
      this.#listener.onNeighbour(device, now, removed);
    }
  }

  #hearNexthop(message: Message): boolean {
    const event = readNexthop(message);
    if (event === undefined) return false;
    if (event.removed) {
      this.#nexthops.delete(event.id);
      this.#groups.delete(event.id);
    } else if ('group' in event) {
      this.#groups.set(event.group.id, event.group);
    } else {
      this.#nexthops.set(event.nexthop.id, event.nexthop);
    }
    return true;
  }

  /** Reads them anew: somebody names one that has not been announced yet. Tells nobody. */
  readNexthops(socket: NetlinkSocket): NexthopInfo[] {
    this.#load(socket);
    return this.#known();
  }

  #tellNexthops(): void {
    this.#listener.onNexthops(this.#known());
  }

  #known(): NexthopInfo[] {
    return joinNexthops([...this.#nexthops.values()], [...this.#groups.values()]);
  }
}

function isOther(one: Neighbour, other: Neighbour): boolean {
  return one.lladdr !== other.lladdr || one.state !== other.state || one.flags !== other.flags;
}
