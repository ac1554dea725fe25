/**
 * A VTEP: one dataplane, its worker threads, and the devices on them. `createVtep` makes one on real TAPs
 * and sockets; it is what the daemon runs and what an embedder gets.
 */
import { availableParallelism } from 'node:os';
import {
  DECAP_BYTES,
  ENCAP_BYTES,
  FDB_BUCKETS_BASE,
  HEADER_ADDRESS_OFFSET,
  HEADER_BASE,
  OFFLOAD_COALESCE,
  OFFLOAD_UDP_SEGMENT,
  REMOTES_BASE,
} from '../../assembly/layout.ts';
import { Dataplane } from '../dataplane/dataplane.ts';
import { compileEngine } from '../dataplane/engine-file.ts';
import { workerBase } from '../dataplane/memory.ts';
import { VtepError } from '../errors.ts';
import { indexOf, nameOf } from '../io/interface.ts';
import { makeResident, preferHugePages } from '../io/residence.ts';
import { syscalls } from '../io/syscalls.ts';
import type {
  DeviceChange,
  DeviceInfo,
  DeviceRequest,
  HookInfo,
  HookRequest,
  Vtep,
  VtepEvent,
  VtepStatus,
} from '../types.ts';
import { Ageing } from './ageing.ts';
import { changeDevice } from './changes.ts';
import type { Core } from './core.ts';
import { createDevice, destroyDevice } from './creation.ts';
import type { Device } from './device.ts';
import { Following } from './following.ts';
import { Groups } from './groups.ts';
import type { Happenings } from './happenings.ts';
import { Hooks } from './hooks.ts';
import { engineOf } from './io-engine.ts';
import { followTables, KernelTables } from './kernel-tables.ts';
import { Lifecycle } from './lifecycle.ts';
import { Listeners } from './listeners.ts';
import { failuresOf, probeOffloads } from './offloads.ts';
import type { VtepOptions } from './options.ts';
import type { Place } from './places.ts';
import type { Readers } from './readers.ts';
import { batchedStatus, deviceInfo, vtepStatus } from './status.ts';
import { UnderlayTaps } from './underlay-tap.ts';
import { CLOCK_MILLISECONDS, VtepCalls } from './vtep-calls.ts';
import { SPIN_MICROSECONDS } from './waiting.ts';
import { Workers } from './workers.ts';

/** Fewer, and both directions of a queue share a thread: no more busy threads than cores. */
const CORES_PER_QUEUE = 4;

/**
 * @param readers fill in what a request for a device leaves out
 * @throws VtepError UNSUPPORTED (not Linux, no koffi), USAGE (no such engine), SYSTEM
 */
export async function createVtep(options: VtepOptions, readers: Readers): Promise<Vtep & Happenings> {
  const vtep = new BatchedVtep(options, readers);
  await vtep.start();
  return vtep;
}

class BatchedVtep extends VtepCalls implements Vtep {
  readonly #core: Core;
  readonly #following: Following;
  readonly #ageing: Ageing;
  readonly #underlay: UnderlayTaps;
  readonly #started = Date.now();
  #home: Place | undefined;
  #clock: NodeJS.Timeout | undefined;

  constructor(options: VtepOptions, readers: Readers) {
    super(readers, options.signal);
    const queues = options.queues ?? 1;
    const offloads = probeOffloads(options.offloads ?? {});
    for (const failure of failuresOf(offloads)) options.logger?.('warn', failure);
    let bits = 0;
    if (offloads.udpSegment === 'on') bits |= OFFLOAD_UDP_SEGMENT;
    if (offloads.coalesce === 'on') bits |= OFFLOAD_COALESCE;
    const plane = new Dataplane(compileEngine(), Workers.blocks(queues), bits, {
      ifindex: indexOf,
      ifname: (index) => nameOf(index) ?? '',
      readNexthops: () => this.#core.tables.readNexthops(this.#home!.socket),
      joinGroup: (device, address) => this.#group('join', device, address),
      leaveGroup: (device, address) => this.#group('leave', device, address),
    });
    const threads = options.threads ?? (availableParallelism() < CORES_PER_QUEUE * queues ? 1 : 2);
    const workers = new Workers(plane.views, {
      engine: engineOf(options.engine),
      paired: threads === 1,
      spin: options.spin ?? SPIN_MICROSECONDS,
    });
    const listeners = new Listeners(plane.views, offloads.udpGro === 'on', queues);
    const groups = new Groups();
    const log = options.logger ?? (() => {});
    const emit = (event: VtepEvent) => plane.notices.emit(event);
    this.#core = {
      ...{ plane, workers, listeners, groups, offloads, queues, log, emit },
      hooks: new Hooks({ plane, workers, log, emit }),
      lifecycle: new Lifecycle({ plane, workers, listeners, groups, vnis: plane.vnis }),
      tables: new KernelTables(followTables(plane, (reason) => this.#core.log('error', reason))),
      devices: new Map(),
      home: () => this.#home!,
      inTurn: (work) => this.inTurn(work),
    };
    this.#ageing = new Ageing(plane.fdb);
    this.watch(plane, this.#core.log);
    this.#following = new Following(this.#core);
    this.#underlay = new UnderlayTaps({ views: plane.views, workers, log: this.#core.log });
  }

  async start(): Promise<void> {
    const { plane, workers, queues, log } = this.#core;
    const { views, module } = plane;
    const address = syscalls().addressOf(views.bytes);
    views.view.setBigUint64(HEADER_BASE + HEADER_ADDRESS_OFFSET, BigInt(address), true);
    preferHugePages(address + FDB_BUCKETS_BASE, REMOTES_BASE - FDB_BUCKETS_BASE);
    // All of decap, and encap but for what the largest batches take; those, and what hooks need, come when they do.
    for (const block of Workers.packetBlocks(queues)) {
      const base = address + workerBase(block);
      makeResident(base, DECAP_BYTES);
      preferHugePages(base + DECAP_BYTES, ENCAP_BYTES - DECAP_BYTES);
    }
    try {
      await workers.start(
        queues,
        module,
        address,
        (reason) => log('error', reason),
        (worker) => this.#core.plane.relayEvents(worker),
      );
      if (workers.refused !== '') log('info', `engine: batched, for io_uring is off: ${workers.refused}`);
      this.#home = await this.#following.start();
    } catch (error) {
      await this.#following.close();
      await workers.stop();
      throw error;
    }
    this.#clock = setInterval(() => this.#tick(), CLOCK_MILLISECONDS);
    await this.closeOnAbort();
  }

  addDevice(request: DeviceRequest): Promise<DeviceInfo> {
    return this.change(async () => {
      const device = await createDevice(this.#core, this.readers.device(request));
      this.#following.settle(device);
      await this.#settleUnderlay();
      return this.#info(device);
    });
  }

  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo> {
    return this.change(async () => {
      const device = this.#find(name);
      const { ageing } = device.config;
      const wanted = this.readers.change(change);
      try {
        await changeDevice(this.#core, device, wanted);
      } finally {
        // Also when it was taken back: what was heard in its midst is old.
        this.#following.settle(device);
        await this.#settleUnderlay();
      }
      if (device.config.ageing !== ageing) this.#ageing.changed(device);
      return this.#info(device);
    });
  }

  deleteDevice(name: string): Promise<void> {
    return this.change(async () => {
      const device = this.#find(name);
      await destroyDevice(this.#core, device);
      this.forgetDrops(device.index);
      await this.#following.leaveUnused();
      await this.#settleUnderlay();
    });
  }

  devices(): DeviceInfo[] {
    return [...this.#core.devices.values()].map((device) => this.#info(device));
  }

  hook(request: HookRequest): Promise<void> {
    return this.change(async () => {
      const wanted = this.readers.hook(request);
      await this.#core.hooks.apply(this.#find(wanted.dev), wanted);
    });
  }

  hookShow(dev?: string): HookInfo[] {
    void this.open;
    const name = this.dev(dev);
    if (name !== undefined) this.#find(name);
    return this.#core.hooks.show(name);
  }

  status(): VtepStatus {
    const { plane, workers } = this.#core;
    const devices = [...this.#core.devices.values()];
    return vtepStatus(
      { plane, workers: workers.count, devices, started: this.#started },
      batchedStatus(this.#core, devices, this.#underlay.state),
    );
  }

  responds(milliseconds: number): Promise<boolean> {
    return this.#core.workers.responds(this.readers.milliseconds(milliseconds));
  }

  protected override get plane(): Dataplane {
    return this.#core.plane;
  }

  protected override async shut(): Promise<void> {
    clearInterval(this.#clock);
    await this.#following.close();
    for (const device of this.#core.devices.values()) await destroyDevice(this.#core, device);
    await this.#settleUnderlay();
    this.#core.hooks.close();
    await this.#core.workers.stop();
  }

  #find(asked: string): Device {
    const name = this.readers.dev(asked);
    const device = this.#core.devices.get(name);
    if (device === undefined) {
      throw new VtepError(
        'NOT_FOUND',
        `link ${name}: Cannot find device "${name}": "vxlane link show" lists them`,
      );
    }
    return device;
  }

  /** A group of a VNI, on the ports of its device. */
  #group(step: 'join' | 'leave', index: number, address: string): void {
    const { groups, devices } = this.#core;
    const device = [...devices.values()].find((one) => one.index === index);
    if (device !== undefined) groups[step](device.listeners, address, device.link);
  }

  #info(device: Device): DeviceInfo {
    return deviceInfo(this.#core.plane, this.#core.workers.count, device);
  }

  /** The underlay TAP is there as long as a device wants it. */
  #settleUnderlay(): Promise<void> {
    return this.#underlay.settle([...this.#core.devices.values()]);
  }

  #tick(): void {
    const { plane, devices } = this.#core;
    // A device may have gone from outside.
    if (this.#underlay.tick([...devices.values()])) void this.inTurn(() => this.#settleUnderlay());
    this.tellDrops([[0, ''], ...[...devices.values()].map((one) => [one.index, one.config.name] as const)]);
    this.#core.hooks.tick();
    this.#ageing.tick(plane.tick(), devices);
  }
}
