/**
 * A VTEP: one dataplane, its worker threads, and the devices on them. `createVtep` makes one on real TAPs
 * and sockets; it is what the daemon runs and what an embedder gets.
 */
import { randomBytes } from 'node:crypto';
import {
  AF_INET,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_NOW_OFFSET,
  HEADER_OFFLOADS_OFFSET,
  OFFLOAD_COALESCE,
  OFFLOAD_TAP_USO,
  OFFLOAD_UDP_SEGMENT,
} from '../../assembly/layout.ts';
import { clearCounters } from '../dataplane/counters.ts';
import { Devices } from '../dataplane/devices.ts';
import { compileEngine, instantiateEngine } from '../dataplane/engine.ts';
import { Fdb } from '../dataplane/fdb.ts';
import { createMemory, type Views, viewsOf } from '../dataplane/memory.ts';
import { Vni } from '../dataplane/vni.ts';
import { indexOf, nameOf, stateOf } from '../io/interface.ts';
import { syscalls } from '../io/syscalls.ts';
import { closeTap, openTap } from '../io/tap.ts';
import { hasUdpGro, hasUdpSegment } from '../io/udp.ts';
import { ipBatch } from '../netlink/ip.ts';
import {
  changed,
  type Device,
  familyOf,
  hasChecksum,
  mtuOf,
  randomMac,
  recordOf,
  underlayIndex,
} from './device.ts';
import { VtepError } from './errors.ts';
import { Listeners } from './listeners.ts';
import { releaseSource, retainSource } from './sources.ts';
import { deviceInfo, type Offloads, vtepStatus } from './status.ts';
import type {
  DeviceChange,
  DeviceConfig,
  DeviceInfo,
  FdbEntry,
  FdbFlush,
  FdbRequest,
  Vtep,
  VtepStatus,
} from './types.ts';
import { Workers } from './workers.ts';

export interface VtepOptions {
  /** Pairs of worker threads; 1 unless given. */
  queues?: number;
  /** Offloads to do without, e.g. on a kernel that has one of them broken. All on unless given. */
  offloads?: { udpSegment?: boolean; udpGro?: boolean; coalesce?: boolean; tapUso?: boolean };
  logger?: (level: 'info' | 'warn' | 'error', message: string) => void;
}

const CLOCK_MILLISECONDS = 500;
/** Frames that a TAP may hold for us: bursts of many flows, each with its 64 KiB in flight. */
const TAP_QUEUE_FRAMES = 4096;

/**
 * @throws VtepError UNSUPPORTED (not Linux, no koffi), SYSTEM
 */
export async function createVtep(options: VtepOptions = {}): Promise<Vtep> {
  const vtep = new BatchedVtep(options);
  await vtep.start();
  return vtep;
}

class BatchedVtep implements Vtep {
  readonly #options: VtepOptions;
  readonly #queues: number;
  readonly #views: Views;
  readonly #module = compileEngine();
  readonly #workers: Workers;
  readonly #table: Devices;
  readonly #fdb: Fdb;
  readonly #vni: Vni;
  readonly #listeners: Listeners;
  readonly #devices = new Map<string, Device>();
  readonly #offloads: Offloads;
  readonly #started = Date.now();
  #clock: NodeJS.Timeout | undefined;
  #nextAgeing = 0;
  #closing: Promise<void> | undefined;
  /** Changes run one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: VtepOptions) {
    this.#options = options;
    this.#queues = options.queues ?? 1;
    this.#views = viewsOf(createMemory(Workers.blocks(this.#queues)));
    const { view, memory, bytes } = this.#views;
    const exports = instantiateEngine(this.#module, memory);
    view.setBigUint64(HEADER_BASE + HEADER_ADDRESS_OFFSET, BigInt(syscalls().addressOf(bytes)), true);
    view.setUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, randomBytes(4).readUInt32LE(), true);
    this.#tick();
    this.#offloads = probe(options);
    let bits = 0;
    if (this.#offloads.udpSegment === 'on') bits |= OFFLOAD_UDP_SEGMENT;
    if (this.#offloads.coalesce === 'on') bits |= OFFLOAD_COALESCE;
    if (this.#offloads.tapUso === 'on') bits |= OFFLOAD_TAP_USO;
    view.setUint32(HEADER_BASE + HEADER_OFFLOADS_OFFSET, bits, true);
    this.#workers = new Workers(this.#views);
    this.#table = new Devices(this.#views);
    this.#vni = new Vni(memory);
    this.#listeners = new Listeners(this.#views, this.#offloads.udpGro === 'on');
    this.#fdb = new Fdb({
      view,
      exports,
      deviceIndex: (name) => this.#table.indexOf(name),
      deviceName: (index) => this.#table.nameOf(index),
      ifindex: indexOf,
      ifname: (index) => nameOf(index) ?? `if${index}`,
      now: () => this.#now(),
    });
  }

  async start(): Promise<void> {
    const address = syscalls().addressOf(this.#views.bytes);
    const failed = (reason: string) => this.#log('error', reason);
    await this.#workers.start(this.#queues, this.#module, address, failed);
    this.#clock = setInterval(() => this.#tick(), CLOCK_MILLISECONDS);
  }

  addDevice(config: DeviceConfig): Promise<DeviceInfo> {
    return this.#inTurn(() => this.#add(config));
  }

  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo> {
    return this.#inTurn(() => this.#change(name, change));
  }

  deleteDevice(name: string): Promise<void> {
    return this.#inTurn(() => this.#delete(this.#find(name)));
  }

  devices(): DeviceInfo[] {
    return [...this.#devices.values()].map((device) => deviceInfo(this.#views, this.#workers.count, device));
  }

  fdb(request: FdbRequest): void {
    this.#fdb.apply(request);
  }

  fdbShow(dev?: string): FdbEntry[] {
    return this.#fdb.show(dev);
  }

  fdbGet(dev: string, mac: string): FdbEntry {
    return this.#fdb.get(dev, mac);
  }

  fdbFlush(filter: FdbFlush): number {
    return this.#fdb.flush(filter);
  }

  status(): VtepStatus {
    return vtepStatus({
      views: this.#views,
      workers: this.#workers,
      listeners: this.#listeners,
      devices: [...this.#devices.values()],
      offloads: this.#offloads,
      started: this.#started,
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#inTurn(async () => {
      clearInterval(this.#clock);
      for (const device of this.#devices.values()) await this.#delete(device);
      await this.#workers.stop();
    });
    return this.#closing;
  }

  async #add(config: DeviceConfig): Promise<DeviceInfo> {
    const { name } = config;
    const family = familyOf(config);
    if (this.#devices.has(name))
      throw new VtepError('EXISTS', `link ${name}: File exists: delete it first, or choose another name`);
    this.#checkVni(config, family);
    const mtu = mtuOf(config, family);
    const ifindex = underlayIndex(config);
    const undo: (() => unknown)[] = [];
    try {
      const tap = openTap(name, this.#queues, this.#offloads.tapUso === 'on');
      undo.push(() => closeTap(tap));
      const complete = {
        ...config,
        mtu,
        address: config.address ?? randomMac(),
        ageing: config.ageing || 300,
      };
      await ipBatch([
        `link set dev ${name} address ${complete.address} mtu ${mtu} txqueuelen ${TAP_QUEUE_FRAMES}`,
      ]);
      const index = this.#table.claim(name);
      undo.push(() => this.#table.release(index));
      const listener = await this.#listeners.retain(index, family, config.dstport, config.udp6zerocsumrx);
      undo.push(() => this.#listeners.release(listener, index) && this.#listeners.close(listener));
      const device: Device = {
        index,
        config: complete,
        tap,
        listener,
        family,
        source: 0,
        sourceDf: 0,
        gone: false,
      };
      this.#retainSources(device);
      undo.push(() => this.#releaseSources(device));
      clearCounters(this.#views, this.#workers.count, index);
      this.#table.write(index, recordOf(device));
      this.#fdb.setDefaultRemote(index, undefined, config.remote, ifindex);
      undo.push(() => this.#fdb.flushDevice(index));
      this.#table.setQueues(index, tap.queues);
      this.#table.setUp(index, true);
      this.#vni.add(listener.id, config.id, index);
      if (listener.devices.size === 1) this.#workers.watchListener(listener.fd, listener.id);
      this.#workers.watchTap(tap.queues, index);
      this.#devices.set(name, device);
      return deviceInfo(this.#views, this.#workers.count, device);
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  async #change(name: string, change: DeviceChange): Promise<DeviceInfo> {
    const device = this.#find(name);
    const config = changed(device, change);
    const next = { ...device, config };
    const commands: string[] = [];
    if (change.address !== undefined) commands.push(`link set dev ${name} address ${change.address}`);
    if (change.mtu !== undefined) commands.push(`link set dev ${name} mtu ${mtuOf(config, device.family)}`);
    if (change.up !== undefined) commands.push(`link set dev ${name} ${change.up ? 'up' : 'down'}`);
    if (change.name !== undefined) commands.push(`link set dev ${name} name ${change.name}`);
    await ipBatch(commands);
    const resource = change.local !== undefined && change.local !== device.config.local;
    const before = { source: device.source, sourceDf: device.sourceDf };
    if (resource) this.#retainSources(next);
    if (change.remote !== undefined) {
      this.#fdb.setDefaultRemote(device.index, device.config.remote, change.remote, underlayIndex(config));
    }
    Object.assign(device, next);
    this.#table.write(device.index, recordOf(device));
    if (resource) {
      await this.#workers.quiesce();
      this.#releaseSources({ ...device, ...before });
    }
    if (change.name !== undefined && change.name !== name) {
      this.#devices.delete(name);
      this.#devices.set(change.name, device);
      this.#table.rename(device.index, change.name);
    }
    this.#follow(device);
    return deviceInfo(this.#views, this.#workers.count, device);
  }

  async #delete(device: Device): Promise<void> {
    const { index, listener, tap } = device;
    this.#devices.delete(device.config.name);
    this.#workers.unwatchTap(tap.queues);
    this.#vni.remove(listener.id, device.config.id);
    this.#table.setUp(index, false);
    const last = this.#listeners.release(listener, index);
    if (last) this.#workers.unwatchListener(listener.fd, listener.id);
    await this.#workers.quiesce();
    if (last) this.#listeners.close(listener);
    this.#table.setQueues(index, []);
    closeTap(tap);
    this.#fdb.flushDevice(index);
    this.#releaseSources(device);
    this.#table.release(index);
  }

  #find(name: string): Device {
    const device = this.#devices.get(name);
    if (device === undefined) {
      throw new VtepError(
        'NOT_FOUND',
        `link ${name}: Cannot find device "${name}": "vxlane link show" lists them`,
      );
    }
    return device;
  }

  /** As the kernel: one device per VNI, port and family, whatever its `local`. */
  #checkVni(config: DeviceConfig, family: number): void {
    for (const other of this.#devices.values()) {
      if (
        other.config.id === config.id &&
        other.config.dstport === config.dstport &&
        other.family === family
      ) {
        throw new VtepError(
          'EXISTS',
          `link ${config.name}: A VXLAN device with the specified VNI already exists: ${other.config.name} has id ${config.id} on port ${config.dstport}`,
        );
      }
    }
  }

  #retainSources(device: Device): void {
    const { config, family } = device;
    const group = {
      family,
      local: config.local ?? '',
      noChecksum: !hasChecksum(config, family),
      ports: config.srcport,
    };
    device.source = retainSource(this.#views, { ...group, df: false });
    device.sourceDf = family === AF_INET ? retainSource(this.#views, { ...group, df: true }) : device.source;
  }

  #releaseSources(device: Pick<Device, 'source' | 'sourceDf'>): void {
    releaseSource(this.#views, device.source);
    if (device.sourceDf !== device.source) releaseSource(this.#views, device.sourceDf);
  }

  /** The monotonic clock in seconds, from 1,000 on: an entry may look older than the machine. */
  #now(): number {
    return process.hrtime()[0] + 1000;
  }

  #tick(): void {
    const now = this.#now();
    this.#views.view.setUint32(HEADER_BASE + HEADER_NOW_OFFSET, now, true);
    if (this.#devices === undefined) return;
    for (const device of this.#devices.values()) this.#follow(device);
    if (now < this.#nextAgeing) return;
    let next = 10;
    for (const device of this.#devices.values()) next = Math.min(next, this.#fdb.age(device.index).next);
    this.#nextAgeing = now + Math.max(1, next);
  }

  /** The TAP is a real interface: whoever renames it or changes its MAC or MTU is followed. */
  #follow(device: Device): void {
    if (device.gone) return;
    const { tap, config } = device;
    const name = nameOf(tap.ifindex);
    const state = name === undefined ? undefined : stateOf(name);
    if (name === undefined || state === undefined) {
      device.gone = true;
      this.#table.setUp(device.index, false);
      this.#log(
        'warn',
        `link ${config.name}: the interface has gone (deleted, or moved to another network namespace): delete the device and add it again`,
      );
      return;
    }
    if (state.address !== config.address || state.mtu !== config.mtu) {
      Object.assign(config, { address: state.address, mtu: state.mtu });
      this.#table.setLink(device.index, state.address, state.mtu);
    }
    if (name !== config.name) {
      this.#log('info', `link ${config.name}: renamed to ${name}`);
      this.#devices.delete(config.name);
      config.name = name;
      this.#devices.set(name, device);
      this.#table.rename(device.index, name);
    }
  }

  #log(level: 'info' | 'warn' | 'error', message: string): void {
    this.#options.logger?.(level, message);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** What the kernel has and the options leave on. */
function probe(options: VtepOptions): Offloads {
  const wanted = options.offloads ?? {};
  const say = (on: boolean | undefined, has: () => boolean, without: string) =>
    on === false ? 'off: by configuration' : has() ? 'on' : `off: ${without}`;
  return {
    udpSegment: say(wanted.udpSegment, hasUdpSegment, 'Linux 4.18 or newer is needed'),
    udpGro: say(wanted.udpGro, hasUdpGro, 'Linux 5.0 or newer is needed'),
    coalesce: say(wanted.coalesce, () => true, ''),
    tapUso: say(wanted.tapUso, () => true, ''),
  };
}
