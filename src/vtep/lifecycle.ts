/**
 * A device that goes up opens its ports, and one that goes down closes them and forgets what it has learned: as
 * the kernel's device lives, whoever takes the TAP up or down.
 */
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { receiveBits } from '../dataplane/device-features.ts';
import { VtepError } from '../errors.ts';
import { hasFamily, tellArrivals } from '../io/udp.ts';
import { type Device, featuresOf, isLinkLocal, scopeOf } from './device.ts';
import type { Groups } from './groups.ts';
import type { Listener, Listeners, Wanted } from './listeners.ts';
import type { Workers } from './workers.ts';

/** VNIs beyond a device's own, which come and go with its ports. */
export interface FurtherVnis {
  /** @throws VtepError; then nothing has changed */
  open(device: number, listeners: readonly number[]): void;
  close(device: number): void;
}

export interface LifecycleParts {
  plane: Dataplane;
  workers: Workers;
  listeners: Listeners;
  groups: Groups;
  vnis?: FurtherVnis;
}

export class Lifecycle {
  readonly #parts: LifecycleParts;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
  }

  /**
   * Opens the device's ports; the TAP itself is the caller's.
   * @throws VtepError IN_USE and others; then it is down as before
   */
  async raise(device: Device): Promise<void> {
    if (device.up) return;
    const { plane, workers, listeners, groups, vnis } = this.#parts;
    const undo: (() => unknown)[] = [];
    try {
      for (const wanted of wantedBy(device)) {
        const listener = await listeners.retain(device.index, wanted, device.config.gro);
        device.listeners.push(listener);
        undo.push(() => listeners.release(listener, device.index) && listeners.close(listener));
        // Whether it is of this device's link shows the interface alone: the sender may have any address.
        if (isLinkLocal(device.config)) listener.sockets.forEach(tellArrivals);
      }
      const { group, external } = device.config;
      if (!external) {
        for (const listener of device.listeners) {
          this.#addVni(listener, device);
          undo.push(() => plane.vni.remove(listener.id, device.config.id));
        }
      }
      if (group !== undefined) {
        groups.join(device.listeners, group, device.link);
        undo.push(() => groups.leave(device.listeners, group, device.link));
      }
      vnis?.open(
        device.index,
        device.listeners.map(({ id }) => id),
      );
    } catch (error) {
      for (const step of undo.reverse()) step();
      device.listeners = [];
      throw error;
    }
    plane.devices.setUp(device.index, true);
    device.up = true;
    for (const listener of device.listeners) {
      if (listener.devices.size === 1) workers.watchListener(listener.sockets, listener.id);
    }
  }

  /**
   * Closes the ports once no worker reads them, and flushes what the kernel flushes.
   * @param leaving the device goes: all that its tables hold is about to be flushed together
   */
  async lower(device: Device, leaving = false): Promise<void> {
    if (!device.up) return;
    const { plane, workers, listeners, groups, vnis } = this.#parts;
    const { group, id, external } = device.config;
    device.up = false;
    plane.devices.setUp(device.index, false);
    vnis?.close(device.index);
    if (group !== undefined) groups.leave(device.listeners, group, device.link);
    if (!external) for (const listener of device.listeners) plane.vni.remove(listener.id, id);
    const unused = device.listeners.filter((listener) => listeners.release(listener, device.index));
    for (const listener of unused) workers.unwatchListener(listener.sockets);
    device.listeners = [];
    await workers.quiesce();
    for (const listener of unused) listeners.close(listener);
    if (!leaving) plane.fdb.flushDown(device.index);
  }

  /** The way to the default group has changed: the old one is left when the new one has been joined. */
  joinInstead(device: Device, next: Pick<Device, 'config' | 'link'>): () => void {
    const { groups } = this.#parts;
    const { listeners, link } = device;
    const [before, after] = [device.config.group, next.config.group];
    if (!device.up || (before === after && link === next.link)) return () => {};
    if (after !== undefined) groups.join(listeners, after, next.link);
    if (before !== undefined) groups.leave(listeners, before, link);
    return () => {
      if (before !== undefined) groups.join(listeners, before, link);
      if (after !== undefined) groups.leave(listeners, after, next.link);
    };
  }

  /** Another device may be handed this VNI on this port although both could be made: the kernel refuses it now too. */
  #addVni(listener: Listener, device: Device): void {
    const { id, dstport } = device.config;
    try {
      this.#parts.plane.vni.add(listener.id, id, device.index);
    } catch (error) {
      if (!(error instanceof VtepError) || error.code !== 'EXISTS') throw error;
      const remedy = isLinkLocal(device.config)
        ? 'a device with link-local addresses on another interface has it'
        : 'another device has it';
      throw new VtepError(
        'IN_USE',
        `dstport ${dstport}: Address already in use: VNI ${id}: ${remedy}: give another dstport`,
      );
    }
  }
}

/** As the kernel: a port of the underlay's family, of both for an external device that has no other idea. */
function wantedBy(device: Device): Wanted[] {
  const { config, family } = device;
  const local = config.bind ? (config.local ?? '') : '';
  const scope = config.bind ? scopeOf(device) : 0;
  const receive = receiveBits(featuresOf(config));
  const families = config.external && !config.bind ? ([AF_INET, AF_INET6] as const) : [family];
  const ports = [...new Set([config.dstport, ...(config.listen ?? [])])];
  return families
    .filter((one) => one === family || hasFamily(one))
    .flatMap((one) => ports.map((port) => ({ family: one, port, receive, local, scope })));
}
