/** The devices of a portable VTEP: each with its port, on the ports of the underlay. */
import { AF_INET6 } from '../../assembly/layout.ts';
import { clearCounters } from '../dataplane/counters.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { MTU_DEFAULT } from '../dataplane/device-features.ts';
import { Listening } from '../dataplane/listening.ts';
import { SOURCE, SOURCE_DF } from '../dataplane/parcels.ts';
import { VtepError } from '../errors.ts';
import type { FramePort } from '../io/frame-port.ts';
import type { Underlay } from '../io/underlay.ts';
import type { DeviceChange, DeviceConfig, VtepStatus } from '../types.ts';
import type { Carrier } from './carrier.ts';
import {
  type CompleteConfig,
  type Device,
  familyOf,
  mtuOf,
  overheadOf,
  randomMac,
  recordOf,
  remoteOf,
} from './device.ts';
import type { Logger } from './options.ts';
import { changed, checkNew, isMulticast, reservedBitsOf } from './rules.ts';

export type PortDevice = Pick<
  Device,
  'index' | 'config' | 'family' | 'ifindex' | 'link' | 'source' | 'sourceDf' | 'up' | 'bridged' | 'noarp'
> & {
  tap: { uso: false };
  port: FramePort;
  /** Its port has ended: it can't go up again. */
  hasEnded: boolean;
  /** Listener numbers, while it is up, with their UDP ports. */
  open: { listener: number; port: number }[];
};

type Family = 'inet' | 'inet6';

export class PortableDevices {
  readonly #plane: Dataplane;
  readonly #underlay: Underlay;
  readonly #carrier: Carrier;
  readonly #log: Logger;
  readonly #listening: Listening;
  readonly #byName = new Map<string, PortDevice>();
  /** Devices on a port of the underlay, by "inet 8472". */
  readonly #users = new Map<string, number>();

  constructor(plane: Dataplane, underlay: Underlay, carrier: Carrier, log: Logger) {
    this.#plane = plane;
    this.#underlay = underlay;
    this.#carrier = carrier;
    this.#log = log;
    this.#listening = new Listening(plane.views);
  }

  all(): PortDevice[] {
    return [...this.#byName.values()];
  }

  /** @throws VtepError NOT_FOUND */
  find(name: string): PortDevice {
    const device = this.#byName.get(name);
    if (device !== undefined) return device;
    throw new VtepError('NOT_FOUND', `link ${name}: Cannot find device "${name}": devices() lists them`);
  }

  /**
   * @param asked with every default filled in; @param given what the program said itself
   * @throws VtepError; then nothing is left behind; the port may have been started: the caller closes it
   */
  async add(
    asked: DeviceConfig,
    given: Partial<DeviceConfig>,
    port: FramePort,
    up: boolean,
  ): Promise<PortDevice> {
    const { name } = asked;
    const { devices, fdb, policies, vnis, views, blocks } = this.#plane;
    for (const key of ['start', 'write', 'close'] as const)
      if (typeof port?.[key] !== 'function')
        throw new VtepError('USAGE', `link ${name}: port: ${key}() is missing: createMemoryPort() makes one`);
    if (this.#byName.has(name))
      throw new VtepError('EXISTS', `link ${name}: File exists: delete it first, or choose another name`);
    checkNew(asked, this.#byName.values());
    this.#refuseUnable(asked);
    const family = familyOf(asked);
    const index = devices.claim(name);
    const undo: (() => unknown)[] = [() => devices.release(index)];
    try {
      clearCounters(views, blocks, index);
      const device: PortDevice = {
        ...{ index, family, port, ifindex: index, link: 0, up: false, bridged: false, noarp: false },
        ...{ source: SOURCE, sourceDf: SOURCE_DF, hasEnded: false, open: [], tap: { uso: false } },
        config: asked as CompleteConfig,
      };
      undo.push(() => this.#plane.forgetDevice(index));
      // What a port that was started says later is nobody's.
      undo.push(() => {
        device.hasEnded = true;
      });
      this.#start(device);
      device.config = {
        ...asked,
        address: asked.address ?? port.address ?? randomMac(),
        mtu: mtuOf({ ...asked, mtu: given.mtu ?? this.#mtuFor(device) }, family),
        reserved_bits: reservedBitsOf(asked),
      };
      fdb.setKnownSenders(index, asked.knownsenders === true);
      devices.write(index, recordOf(device));
      fdb.setDefaultRemote(index, undefined, remoteOf(asked), 0);
      if (asked.policy !== undefined) policies.setDevice(index, { id: asked.policy });
      if (asked.external && asked.remote !== undefined)
        vnis.setRemote(index, { address: asked.remote, ifindex: 0 });
      devices.setUp(index, false);
      this.#byName.set(name, device);
      undo.push(() => this.#byName.delete(name));
      if (up) await this.#raise(device);
      else this.#tell(device);
      return device;
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  /** @throws VtepError; then the device is as before */
  async change(name: string, change: DeviceChange): Promise<PortDevice> {
    const device = this.find(name);
    const { name: newName = name, up, dev, ...words } = change;
    if (dev !== undefined) throw unable('dev', 'the underlay finds the way');
    if (newName !== name && this.#byName.has(newName))
      throw new VtepError('EXISTS', `link ${name} name ${newName}: File exists: choose another name`);
    const before = device.config;
    const config = { ...changed(device, words), name: newName };
    this.#refuseUnable(config);
    if (up === true) await this.#raise(device);
    const { fdb, devices, policies, vnis } = this.#plane;
    if (remoteOf(config) !== remoteOf(before)) {
      fdb.setDefaultRemote(device.index, undefined, remoteOf(config), 0);
      fdb.setDefaultRemote(device.index, remoteOf(before), undefined, 0);
      if (config.external)
        vnis.setRemote(
          device.index,
          config.remote === undefined ? undefined : { address: config.remote, ifindex: 0 },
        );
    }
    if (newName !== name) {
      this.#byName.delete(name);
      this.#byName.set(newName, device);
      devices.rename(device.index, newName);
    }
    device.config = config;
    fdb.setKnownSenders(device.index, config.knownsenders === true);
    devices.write(device.index, recordOf(device));
    if (change.policy !== undefined) policies.setDevice(device.index, { id: change.policy });
    if (up === false) await this.#lower(device);
    this.#tell(device);
    return device;
  }

  async remove(name: string): Promise<void> {
    const device = this.find(name);
    await this.#lower(device);
    this.#byName.delete(name);
    device.hasEnded = true;
    for (const direction of ['encap', 'decap'] as const)
      this.#carrier.setHook(device.index, direction, undefined);
    this.#plane.forgetDevice(device.index);
    this.#plane.devices.release(device.index);
    this.#tell(device, true);
    try {
      await device.port.close();
    } catch (error) {
      this.#log('warn', `link ${name}: its port could not be closed: ${String(error)}`);
    }
  }

  listeners(): VtepStatus['listeners'] {
    return [...this.#users.keys()].map((key) => {
      const [family, port] = key.split(' ') as [Family, string];
      const on = this.all().filter(
        (device) => familyWord(device) === family && device.open.some((one) => one.port === Number(port)),
      );
      return { family, port: Number(port), devices: on.map(({ config }) => config.name) };
    });
  }

  /** The port begins; what it says from then on is about this device. */
  #start(device: PortDevice): void {
    const { index, port, config } = device;
    port.start({
      frames: (batch, headers) => {
        if (device.up) this.#carrier.send(index, batch, headers);
      },
      closed: (error) => this.#ended(device, error),
      warn: (message) => this.#log('warn', `link ${config.name}: ${message}`),
    });
  }

  /** The port was closed under the device: it goes down, and stays there until it is deleted. */
  #ended(device: PortDevice, error?: Error): void {
    if (device.hasEnded) return;
    device.hasEnded = true;
    const why = error === undefined ? '' : `: ${error.message}`;
    this.#log('warn', `link ${device.config.name}: its port has been closed${why}: it is down`);
    this.#lower(device).then(
      () => this.#tell(device),
      (failure) => this.#log('error', `link ${device.config.name}: ${String(failure)}`),
    );
  }

  async #raise(device: PortDevice): Promise<void> {
    if (device.up) return;
    const { config, index } = device;
    if (device.hasEnded)
      throw new VtepError(
        'USAGE',
        `link ${config.name}: its port has been closed: delete it and add it again`,
      );
    const family = familyWord(device);
    const undo: (() => unknown)[] = [];
    try {
      for (const port of new Set([config.dstport, ...(config.listen ?? [])])) {
        await this.#retain(family, port);
        undo.push(() => this.#release(family, port));
        const listener = this.#listening.retain(device.family, port);
        undo.push(() => this.#listening.release(listener));
        if (!config.external) {
          this.#plane.vni.add(listener, config.id, index);
          undo.push(() => this.#plane.vni.remove(listener, config.id));
        }
        device.open.push({ listener, port });
      }
      if (config.external)
        this.#plane.vnis.open(
          index,
          device.open.map(({ listener }) => listener),
        );
    } catch (error) {
      for (const step of undo.reverse()) await step();
      device.open = [];
      throw error;
    }
    this.#carrier.attach(index, device.port);
    this.#plane.devices.setUp(index, true);
    device.up = true;
    this.#tell(device);
  }

  async #lower(device: PortDevice): Promise<void> {
    if (!device.up) return;
    const { index, config, open } = device;
    device.up = false;
    device.open = [];
    this.#plane.devices.setUp(index, false);
    this.#carrier.attach(index, undefined);
    if (config.external) this.#plane.vnis.close(index);
    for (const { listener } of open) {
      if (!config.external) this.#plane.vni.remove(listener, config.id);
      this.#listening.release(listener);
    }
    this.#plane.fdb.flushDown(index);
    for (const { port } of open) await this.#release(familyWord(device), port);
  }

  async #retain(family: Family, port: number): Promise<void> {
    const key = `${family} ${port}`;
    const users = this.#users.get(key) ?? 0;
    if (users === 0) await this.#underlay.open(family, port);
    this.#users.set(key, users + 1);
  }

  async #release(family: Family, port: number): Promise<void> {
    const key = `${family} ${port}`;
    const users = this.#users.get(key)! - 1;
    if (users > 0) this.#users.set(key, users);
    else {
      this.#users.delete(key);
      await this.#underlay.shut(family, port);
    }
  }

  /** What the port says, else what the underlay leaves, else the kernel's 1500. */
  #mtuFor(device: PortDevice): number {
    const outer = this.#underlay.mtu;
    return device.port.mtu ?? (outer === undefined ? MTU_DEFAULT : outer - overheadOf(device.family, false));
  }

  /** What the batched VTEP does with the kernel's help and this one can't do at all. @throws VtepError UNSUPPORTED */
  #refuseUnable(config: DeviceConfig): void {
    const { kind, can } = this.#underlay;
    const { local, srcport, tos, ttl, df } = config;
    if (config.dev !== undefined) throw unable('dev', 'the underlay finds the way');
    if (local !== undefined && !this.#underlay.owns(local))
      throw unable(`local ${local}`, `the ${kind} underlay has no such address: give it to the underlay`);
    if (config.group !== undefined || (config.remote !== undefined && isMulticast(config.remote)))
      throw unable('group', 'give remotes, as entries of 00:00:00:00:00:00');
    if (srcport[0] !== 0 || srcport[1] !== 0) throw unable('srcport', 'the underlay chooses');
    if (config.bind) throw unable('bind', 'give the address to the underlay');
    if (config.gpe) throw unable('gpe', 'ports carry Ethernet frames');
    if (!config.udpcsum || config.udp6zerocsumtx || config.udp6zerocsumrx)
      throw unable('checksums', 'the underlay computes them');
    if (tos !== 0 && !can.tos) throw unable('tos', `${kind} can't set it`);
    if (ttl !== 0 && !can.ttl) throw unable('ttl', `${kind} can't set it`);
    if (df !== 'unset' && !can.df) throw unable('df', `${kind} can't set it`);
    if (config.flowlabel !== 0) throw unable('flowlabel', `${kind} can't set it`);
  }

  #tell({ config, ifindex, up }: PortDevice, deleted = false): void {
    this.#plane.notices.emit({ event: 'link', deleted, ifname: config.name, ifindex, up });
  }
}

function familyWord({ family }: Pick<PortDevice, 'family'>): Family {
  return family === AF_INET6 ? 'inet6' : 'inet';
}

function unable(what: string, why: string): VtepError {
  return new VtepError('UNSUPPORTED', `${what}: not on a portable VTEP: ${why}`);
}
