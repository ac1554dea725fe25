/**
 * A TAP is an interface like any other: whoever takes it up or down, renames, moves or deletes it, changes its MAC
 * or MTU or makes it a port of a bridge is followed at once. An announcement only says where to look: what holds
 * is what the kernel answers then, so that old news do no harm.
 */
import { HEADER_BASE, HEADER_PATHS_GENERATION_OFFSET } from '../../assembly/layout.ts';
import { nameOf } from '../io/interface.ts';
import { nameOfTap, namespaceOfTap } from '../io/tap.ts';
import { ipBatch } from '../netlink/ip.ts';
import { dumpLinks, getLink, type Link, readLink } from '../netlink/links.ts';
import type { Message } from '../netlink/message.ts';
import { type Core, rename, tellLink } from './core.ts';
import { destroyDevice } from './creation.ts';
import { type Device, NO_MAC, recordOf } from './device.ts';
import { type Place, type PlaceListener, Places } from './places.ts';

/** RTM_* of addresses, routes and rules, beside those of links (linux/rtnetlink.h). */
const UNDERLAY_TYPES = new Set([16, 17, 20, 21, 24, 25, 32, 33]);

export class Following implements PlaceListener {
  readonly #core: Core;
  readonly #places: Places;

  constructor(core: Core) {
    this.#core = core;
    this.#places = new Places(this);
  }

  /** Listens from now on. Returns the VTEP's own place. @throws VtepError SYSTEM */
  async start(): Promise<Place> {
    const home = await this.#places.start();
    this.#core.tables.loadNexthops(home.socket);
    return home;
  }

  close(): Promise<void> {
    return this.#places.close();
  }

  messages(place: Place, messages: Message[]): void {
    this.#guard(() => this.#hear(place, messages));
  }

  /** Announcements were lost: everything is looked at. */
  resync(place: Place): void {
    this.#guard(() => this.#readAgain(place));
  }

  #hear(place: Place, messages: Message[]): void {
    const touched = new Set<number>();
    const gone = new Set<number>();
    const names = new Map<number, string>();
    const downs = new Set<number>();
    let underlay = false;
    for (const message of messages) {
      underlay ||= place.home && UNDERLAY_TYPES.has(message.type);
      const event = readLink(message);
      if (event === undefined) continue;
      if (event.removed && place.home) gone.add(event.ifindex);
      if (!event.removed && place.home) names.set(event.link.ifindex, event.link.name);
      if (!event.removed && event.wentDown) downs.add(event.link.ifindex);
      touched.add(event.removed ? event.ifindex : event.link.ifindex);
    }
    if (underlay) this.#pathsChanged();
    this.#core.tables.hear(messages, (ifindex) => this.#deviceAt(place, ifindex));
    for (const device of this.#devices()) {
      // `dev` is an interface, not a name.
      if (names.has(device.link)) device.config.dev = names.get(device.link)!;
      if (gone.has(device.link)) this.#lostUnderlay(device);
      else if (device.place === place && touched.has(device.ifindex)) {
        if (device.up && downs.has(device.ifindex)) this.#bounce(device);
        this.settle(device);
      }
    }
  }

  /** It went down, for however short a time: what that closes and flushes is closed and flushed. */
  #bounce(device: Device): void {
    this.#later(device, async () => {
      if (!device.up) return;
      await this.#core.lifecycle.lower(device);
      tellLink(this.#core, device);
      await this.#align(device);
    });
  }

  #readAgain(place: Place): void {
    const { tables } = this.#core;
    tables.loadNeighbours(place.socket, (ifindex) => this.#deviceAt(place, ifindex));
    if (place.home) {
      tables.loadNexthops(place.socket);
      this.#pathsChanged();
    }
    for (const device of this.#devices()) {
      const dev = device.link === 0 ? undefined : nameOf(device.link);
      if (place.home && dev !== undefined) device.config.dev = dev;
      if (place.home && device.link !== 0 && dev === undefined) this.#lostUnderlay(device);
      else if (device.place === place) this.settle(device);
    }
  }

  failed(reason: string): void {
    this.#core.log('error', `interfaces are not followed any more: netlink thread: ${reason}: restart`);
  }

  /** Brings what we know of a device's interface to what is. */
  settle(device: Device): void {
    const core = this.#core;
    if (device.place === undefined) return;
    const link = getLink(device.place.socket, device.ifindex);
    if (link === undefined) {
      this.#later(device, () => this.#lost(device));
      return;
    }
    this.#take(device, link);
    if (link.name !== device.config.name) {
      core.log('info', `link ${device.config.name}: renamed to ${link.name}`);
      rename(core, device, link.name);
      tellLink(core, device);
    }
    if (link.up !== device.up) this.#later(device, () => this.#align(device));
  }

  #take(device: Device, link: Link): void {
    const { config } = device;
    const { devices } = this.#core.plane;
    if (link.address !== config.address || link.mtu !== config.mtu) {
      Object.assign(config, { address: link.address, mtu: link.mtu });
      devices.setLink(device.index, link.address || NO_MAC, link.mtu);
      tellLink(this.#core, device);
    }
    const { bridgePort: bridged, noarp } = link;
    if (bridged === device.bridged && noarp === device.noarp) return;
    Object.assign(device, { bridged, noarp });
    devices.write(device.index, recordOf(device));
  }

  /** In its turn: opens or closes the ports, as the TAP is up or down by then. */
  async #align(device: Device): Promise<void> {
    const { lifecycle, log } = this.#core;
    const { place } = device;
    const link = place && getLink(place.socket, device.ifindex);
    if (place === undefined || link === undefined || link.up === device.up) return;
    if (!link.up) {
      await lifecycle.lower(device);
    } else {
      try {
        await lifecycle.raise(device);
      } catch (error) {
        log('error', `link ${link.name}: ${(error as Error).message}: it was taken down again`);
        await ipBatch([`link set dev ${link.name} down`], place.within).catch(() => undefined);
        return;
      }
    }
    tellLink(this.#core, device);
  }

  /** In its turn: the interface is not where it was. */
  async #lost(device: Device): Promise<void> {
    const { log, lifecycle, tables, plane } = this.#core;
    const { place, config } = device;
    if (place !== undefined && getLink(place.socket, device.ifindex) !== undefined) return;
    const name = nameOfTap(device.tap);
    if (name === undefined) {
      log('warn', `link ${config.name}: the interface was deleted: the device goes with it`);
      await destroyDevice(this.#core, device);
      return;
    }
    // As the kernel's device: it is taken down by the move, and its sockets stay here when it goes up again.
    await lifecycle.lower(device);
    tables.forget(device.index);
    device.place = undefined;
    try {
      const namespace = namespaceOfTap(device.tap);
      if (namespace === undefined) throw new Error('this kernel does not say which');
      const now = await this.#places.of(namespace);
      const link = dumpLinks(now.socket).find((one) => one.name === name);
      if (link === undefined) throw new Error(`${name} is not there`);
      Object.assign(device, { place: now, ifindex: link.ifindex });
      plane.devices.write(device.index, recordOf(device));
      tables.loadNeighbours(now.socket, (ifindex) => this.#deviceAt(now, ifindex));
      log('info', `link ${config.name}: moved to another network namespace; its ports stay in this one`);
      this.settle(device);
    } catch (error) {
      log(
        'warn',
        `link ${config.name}: moved to a network namespace where it can't be followed (${(error as Error).message}): delete the device and add it again`,
      );
    }
    tellLink(this.#core, device);
  }

  /** Stops listening where no device is any more. */
  async leaveUnused(): Promise<void> {
    await this.#places.leaveUnused(new Set(this.#devices().map(({ place }) => place)));
  }

  #lostUnderlay(device: Device): void {
    this.#later(device, async () => {
      const { log } = this.#core;
      log('warn', `link ${device.config.name}: dev ${device.config.dev} has gone: the device goes with it`);
      await destroyDevice(this.#core, device);
    });
  }

  /** Unless the device has gone by then. */
  #later(device: Device, work: () => Promise<void>): void {
    const { inTurn, devices, log } = this.#core;
    inTurn(async () => {
      if (devices.get(device.config.name) !== device) return;
      await work();
      await this.leaveUnused();
    }).catch((error: Error) => log('error', `link ${device.config.name}: ${error.message}`));
  }

  /** There is nobody to throw to: a kernel that can't be asked is told of, and the next news may do better. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#core.log('error', `following interfaces: ${(error as Error).message}`);
    }
  }

  #pathsChanged(): void {
    const at = (HEADER_BASE + HEADER_PATHS_GENERATION_OFFSET) >>> 2;
    Atomics.add(this.#core.plane.views.u32, at, 1);
  }

  #deviceAt(place: Place, ifindex: number): number {
    for (const device of this.#devices()) {
      if (device.place === place && device.ifindex === ifindex) return device.index;
    }
    return 0;
  }

  #devices(): Device[] {
    return [...this.#core.devices.values()];
  }
}
