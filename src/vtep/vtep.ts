/**
 * A VTEP: one dataplane, its worker threads, and the devices on them. `createVtep` makes one on real TAPs
 * and sockets; it is what the daemon runs and what an embedder gets.
 */
import {
  AF_INET,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  MESSAGE_COUNT,
  OFFLOAD_COALESCE,
  OFFLOAD_UDP_SEGMENT,
  WORKERS_BASE,
} from '../../assembly/layout.ts';
import { clearCounters } from '../dataplane/counters.ts';
import { Dataplane } from '../dataplane/dataplane.ts';
import { VtepError } from '../errors.ts';
import { indexOf, nameOf, stateOf } from '../io/interface.ts';
import { makeResident } from '../io/residence.ts';
import { syscalls } from '../io/syscalls.ts';
import { closeTap, openTap } from '../io/tap.ts';
import { ipBatch } from '../netlink/ip.ts';
import type {
  DeviceChange,
  DeviceConfig,
  DeviceInfo,
  FdbEntry,
  FdbFlush,
  FdbRequest,
  MdbEntry,
  MdbFlush,
  MdbRequest,
  PolicyInfo,
  PolicyRequest,
  VniInfo,
  VniRequest,
  Vtep,
  VtepEvent,
  VtepStatus,
} from '../types.ts';
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
import { Listeners } from './listeners.ts';
import { type Offloads, probeOffloads } from './offloads.ts';
import { releaseSource, retainSource } from './sources.ts';
import { deviceInfo, vtepStatus } from './status.ts';
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

function notYet(): VtepError {
  return new VtepError('UNSUPPORTED', 'not supported by this VTEP');
}

class BatchedVtep implements Vtep {
  readonly #options: VtepOptions;
  readonly #queues: number;
  readonly #plane: Dataplane;
  readonly #workers: Workers;
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
    this.#offloads = probeOffloads(options.offloads ?? {});
    let bits = 0;
    if (this.#offloads.udpSegment === 'on') bits |= OFFLOAD_UDP_SEGMENT;
    if (this.#offloads.coalesce === 'on') bits |= OFFLOAD_COALESCE;
    const names = { ifindex: indexOf, ifname: (index: number) => nameOf(index) ?? '' };
    this.#plane = new Dataplane(Workers.blocks(this.#queues), bits, names);
    this.#workers = new Workers(this.#plane.views);
    this.#listeners = new Listeners(this.#plane.views, this.#offloads.udpGro === 'on');
  }

  async start(): Promise<void> {
    const { views, module } = this.#plane;
    const address = syscalls().addressOf(views.bytes);
    views.view.setBigUint64(HEADER_BASE + HEADER_ADDRESS_OFFSET, BigInt(address), true);
    makeResident(address + WORKERS_BASE, views.bytes.length - WORKERS_BASE);
    await this.#workers.start(
      this.#queues,
      module,
      address,
      (reason) => this.#log('error', reason),
      (worker) => this.#plane.relayEvents(worker),
    );
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
    return [...this.#devices.values()].map((device) =>
      deviceInfo(this.#plane.views, this.#workers.count, device),
    );
  }

  fdb(request: FdbRequest): void {
    this.#plane.fdb.apply(request);
  }

  fdbShow(dev?: string): FdbEntry[] {
    return this.#plane.fdb.show(dev);
  }

  fdbGet(dev: string, mac: string): FdbEntry {
    return this.#plane.fdb.get(dev, mac);
  }

  fdbFlush(filter: FdbFlush): number {
    return this.#plane.fdb.flush(filter);
  }

  vni(_: VniRequest): void {
    throw notYet();
  }

  vniShow(): VniInfo[] {
    return [];
  }

  policy(_: PolicyRequest): void {
    throw notYet();
  }

  policyShow(): PolicyInfo[] {
    return [];
  }

  mdb(request: MdbRequest): void {
    this.#plane.mdb.apply(request);
  }

  mdbShow(dev?: string): MdbEntry[] {
    return this.#plane.mdb.show(dev);
  }

  mdbGet(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[] {
    return this.#plane.mdb.get(dev, grp, src, src_vni);
  }

  mdbFlush(filter: MdbFlush): number {
    return this.#plane.mdb.flush(filter);
  }

  subscribe(listener: (event: VtepEvent) => void): () => void {
    return this.#plane.notices.subscribe(listener);
  }

  status(): VtepStatus {
    return vtepStatus({
      plane: this.#plane,
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
        // A super-frame of more segments than one batch has messages is cut by the kernel.
        `link set dev ${name} gso_max_segs ${MESSAGE_COUNT}`,
      ]);
      const index = this.#plane.devices.claim(name);
      undo.push(() => this.#plane.devices.release(index));
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
      clearCounters(this.#plane.views, this.#workers.count, index);
      this.#plane.devices.write(index, recordOf(device));
      this.#plane.fdb.setDefaultRemote(index, undefined, config.remote, ifindex);
      undo.push(() => this.#plane.fdb.flushDevice(index));
      this.#plane.devices.setQueues(index, tap.queues);
      this.#plane.devices.setUp(index, true);
      this.#plane.vni.add(listener.id, config.id, index);
      undo.push(() => this.#plane.vni.remove(listener.id, config.id));
      if (listener.devices.size === 1) this.#workers.watchListener(listener.fd, listener.id);
      this.#workers.watchTap(tap.queues, index);
      this.#devices.set(name, device);
      return deviceInfo(this.#plane.views, this.#workers.count, device);
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
      this.#plane.fdb.setDefaultRemote(
        device.index,
        device.config.remote,
        change.remote,
        underlayIndex(config),
      );
    }
    Object.assign(device, next);
    this.#plane.devices.write(device.index, recordOf(device));
    if (resource) {
      await this.#workers.quiesce();
      this.#releaseSources({ ...device, ...before });
    }
    if (change.name !== undefined && change.name !== name) {
      this.#devices.delete(name);
      this.#devices.set(change.name, device);
      this.#plane.devices.rename(device.index, change.name);
    }
    this.#follow(device);
    return deviceInfo(this.#plane.views, this.#workers.count, device);
  }

  async #delete(device: Device): Promise<void> {
    const { index, listener, tap } = device;
    this.#devices.delete(device.config.name);
    this.#workers.unwatchTap(tap.queues);
    this.#plane.vni.remove(listener.id, device.config.id);
    this.#plane.devices.setUp(index, false);
    const last = this.#listeners.release(listener, index);
    if (last) this.#workers.unwatchListener(listener.fd, listener.id);
    await this.#workers.quiesce();
    if (last) this.#listeners.close(listener);
    this.#plane.devices.setQueues(index, []);
    closeTap(tap);
    this.#plane.fdb.flushDevice(index);
    this.#releaseSources(device);
    this.#plane.devices.release(index);
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
    device.source = retainSource(this.#plane.views, { ...group, df: false });
    device.sourceDf = device.source;
    if (family !== AF_INET) return;
    try {
      device.sourceDf = retainSource(this.#plane.views, { ...group, df: true });
    } catch (error) {
      releaseSource(this.#plane.views, device.source);
      throw error;
    }
  }

  #releaseSources(device: Pick<Device, 'source' | 'sourceDf'>): void {
    releaseSource(this.#plane.views, device.source);
    if (device.sourceDf !== device.source) releaseSource(this.#plane.views, device.sourceDf);
  }

  #tick(): void {
    const now = this.#plane.tick();
    for (const device of this.#devices.values()) this.#follow(device);
    if (now < this.#nextAgeing) return;
    let next = 10;
    for (const device of this.#devices.values())
      next = Math.min(next, this.#plane.fdb.age(device.index).next);
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
      this.#plane.devices.setUp(device.index, false);
      this.#log(
        'warn',
        `link ${config.name}: the interface has gone (deleted, or moved to another network namespace): delete the device and add it again`,
      );
      return;
    }
    if (state.address !== config.address || state.mtu !== config.mtu) {
      Object.assign(config, { address: state.address, mtu: state.mtu });
      this.#plane.devices.setLink(device.index, state.address, state.mtu);
    }
    if (name !== config.name) {
      this.#log('info', `link ${config.name}: renamed to ${name}`);
      this.#devices.delete(config.name);
      config.name = name;
      this.#devices.set(name, device);
      this.#plane.devices.rename(device.index, name);
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
