/**
 * A VTEP without TAPs, sockets of its own, threads and privilege: each device has a port, all share an underlay, and
 * packets are carried on this thread. Devices, tables and words are those of the batched one.
 */
import { FDB_CAPACITY } from '../../assembly/layout.ts';
import { readCounter, readCounters } from '../dataplane/counters.ts';
import { Dataplane } from '../dataplane/dataplane.ts';
import { compileEngine, preferredBuild } from '../dataplane/engine-file.ts';
import { parseAddress, parseMac } from '../dataplane/fdb-text.ts';
import type { CompiledHook, HookProgram } from '../dataplane/hook-program.ts';
import type { HookFunction } from '../dataplane/hook-types.ts';
import { wantParcels } from '../dataplane/parcels.ts';
import { QUEUE_BLOCKS } from '../dataplane/queue-state.ts';
import { VtepError } from '../errors.ts';
import type { Underlay } from '../io/underlay.ts';
import type {
  DeviceChange,
  DeviceInfo,
  FdbEntry,
  FdbFlush,
  FdbRequest,
  HookDirection,
  HookInfo,
  HookRequest,
  MdbEntry,
  MdbFlush,
  MdbRequest,
  PeerInfo,
  PeerRequest,
  PolicyInfo,
  PolicyRequest,
  VniInfo,
  VniRequest,
  VtepEvent,
  VtepStatus,
} from '../types.ts';
import { version } from '../version.ts';
import { Carrier } from './carrier.ts';
import { Happenings } from './happenings.ts';
import type { PortableVtep, PortableVtepOptions, PortDeviceRequest } from './options.ts';
import { PortableDevices } from './portable-devices.ts';
import type { Readers } from './readers.ts';
import { deviceInfo } from './status.ts';

const CLOCK_MILLISECONDS = 500;

export class PortVtep extends Happenings implements PortableVtep {
  readonly #plane: Dataplane;
  readonly #underlay: Underlay;
  readonly #carrier: Carrier;
  readonly #devices: PortableDevices;
  readonly #readers: Readers;
  readonly #started = Date.now();
  readonly #clock: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => void this.close();
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** @param readers what is handed in by programs -> what the tables take */
  constructor({ underlay, signal, logger = () => {} }: PortableVtepOptions, readers: Readers) {
    super();
    check(underlay, signal);
    this.#readers = readers;
    this.#underlay = underlay;
    this.#plane = new Dataplane(compileEngine(), QUEUE_BLOCKS, 0, {
      ifindex: () => 0,
      ifname: () => '',
      joinGroup: (_, group) => {
        throw new VtepError('UNSUPPORTED', `group ${group}: this underlay joins none: give remotes`);
      },
    });
    wantParcels(this.#plane.views);
    this.#carrier = new Carrier(this.#plane, underlay, logger, (failure) =>
      this.#plane.tellHookFailure(failure),
    );
    this.#devices = new PortableDevices(this.#plane, underlay, this.#carrier, logger);
    this.watch(this.#plane, logger);
    underlay.start({
      arrived: (...datagram) => this.#carrier.receive(...datagram),
      lost: (device, bytes, reason) => this.#carrier.lost(device, bytes, reason),
      warn: (message) => logger('warn', message),
    });
    this.#clock = setInterval(() => this.#tick(), CLOCK_MILLISECONDS);
    // Sockets keep the process alive, a clock alone has no reason to.
    this.#clock.unref();
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  addDevice(request: PortDeviceRequest): Promise<DeviceInfo> {
    return this.#inTurn(async () => {
      if (typeof request !== 'object' || request === null)
        throw new VtepError('USAGE', 'device: an object with "name", "id" and "port" is expected');
      const { port, up = true, ...words } = request;
      if (typeof up !== 'boolean') throw new VtepError('USAGE', 'device: up: true or false is expected');
      const device = await this.#devices.add(this.#readers.device(words), words, port, up);
      return this.#info(device.config.name);
    });
  }

  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo> {
    return this.#inTurn(async () => {
      const device = await this.#devices.change(this.#readers.dev(name), this.#readers.change(change));
      return this.#info(device.config.name);
    });
  }

  deleteDevice(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const { index } = this.#devices.find(this.#readers.dev(name));
      await this.#devices.remove(name);
      this.forgetDrops(index);
    });
  }

  devices(): DeviceInfo[] {
    return this.#devices.all().map(({ config }) => this.#info(config.name));
  }

  fdb(request: FdbRequest): void {
    this.#open.fdb.apply(this.#readers.fdb(request));
  }

  fdbShow(dev?: string): FdbEntry[] {
    return this.#open.fdb.show(this.#dev(dev));
  }

  fdbGet(dev: string, mac: string, vni?: number): FdbEntry {
    return this.#open.fdb.get(...this.#readers.fdbKey(dev, mac, vni));
  }

  fdbFlush(filter: FdbFlush): number {
    return this.#open.fdb.flush(this.#readers.fdbFlush(filter));
  }

  vni(request: VniRequest): void {
    this.#open.vnis.apply(this.#readers.vni(request));
  }

  vniShow(dev?: string): VniInfo[] {
    return this.#open.vnis.show(this.#dev(dev));
  }

  policy(request: PolicyRequest): void {
    this.#open.policies.apply(this.#readers.policy(request));
  }

  policyShow(dev?: string): PolicyInfo[] {
    return this.#open.policies.show(this.#dev(dev));
  }

  peer(request: PeerRequest): void {
    this.#open.peers.apply(this.#readers.peer(request));
  }

  async hook(request: HookRequest): Promise<void> {
    void this.#open;
    const dev = this.#readers.dev(request?.dev);
    throw new VtepError(
      'UNSUPPORTED',
      `hook dev ${dev}: Operation not supported: set it by setHook(), in the program itself`,
    );
  }

  hookShow(dev?: string): HookInfo[] {
    void this.#open;
    const name = this.#dev(dev);
    if (name !== undefined) this.#devices.find(name);
    return [];
  }

  peerShow(dev?: string): PeerInfo[] {
    return this.#open.peers.show(this.#dev(dev));
  }

  mdb(request: MdbRequest): void {
    this.#open.mdb.apply(this.#readers.mdb(request));
  }

  mdbShow(dev?: string): MdbEntry[] {
    return this.#open.mdb.show(this.#dev(dev));
  }

  mdbGet(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[] {
    return this.#open.mdb.get(...this.#readers.mdbKey(dev, grp, src, src_vni));
  }

  mdbFlush(filter: MdbFlush): number {
    return this.#open.mdb.flush(this.#readers.mdbFlush(filter));
  }

  setNeighbour(name: string, address: string, mac?: string): void {
    const { neighbours } = this.#open;
    const { index } = this.#devices.find(this.#readers.dev(name));
    const what = `neighbour ${String(address)} dev ${name}`;
    const parsed = typeof address === 'string' ? parseAddress(address) : undefined;
    if (parsed === undefined) throw new VtepError('USAGE', `${what}: that is no IP address`);
    if (mac === undefined) {
      neighbours.remove(index, parsed);
      return;
    }
    const parsedMac = typeof mac === 'string' ? parseMac(mac) : undefined;
    if (parsedMac === undefined) throw new VtepError('USAGE', `${what}: "${String(mac)}" is no MAC`);
    neighbours.set(index, parsed, parsedMac, true);
  }

  setHook(
    name: string,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined {
    void this.#open;
    return this.#carrier.setHook(this.#devices.find(this.#readers.dev(name)).index, direction, hook);
  }

  subscribe(listener: (event: VtepEvent) => void): () => void {
    const hear = this.#readers.listener(listener);
    return this.#open.notices.subscribe((event) => hear(event));
  }

  status(): VtepStatus {
    const { views, blocks, entries } = this.#plane;
    const devices = this.#devices.all();
    const counters: VtepStatus['counters'] = {};
    for (const [index, name] of this.#names()) {
      const found = readCounters(views, blocks, index);
      if (Object.keys(found).length > 0) counters[name] = found as Record<string, number>;
    }
    const sum = (...names: ('encap_packets' | 'decap_packets' | 'encap_bytes' | 'decap_bytes')[]) =>
      devices.reduce(
        (total, { index }) =>
          names.reduce((some, name) => some + readCounter(views, blocks, index, name), total),
        0,
      );
    const { kind, can } = this.#underlay;
    const ability = (has: boolean) => (has ? 'on' : `off: ${kind} can't set it`);
    return {
      version: version(),
      pid: process.pid,
      uptime: Math.round((Date.now() - this.#started) / 1000),
      engine: {
        io: `portable (${kind})`,
        uring: 'off: packets are carried on the program’s own thread',
        wasm: preferredBuild() === 'scalar' ? 'scalar' : 'simd',
        memoryBytes: views.memory.buffer.byteLength,
      },
      offloads: { tos: ability(can.tos), ttl: ability(can.ttl), df: ability(can.df) },
      workers: [
        {
          name: 'main',
          packets: sum('encap_packets', 'decap_packets'),
          bytes: sum('encap_bytes', 'decap_bytes'),
          batches: this.#carrier.batches,
          syscalls: 0,
          sleeps: 0,
        },
      ],
      listeners: this.#devices.listeners(),
      devices: this.devices(),
      counters,
      fdb: { entries, capacity: FDB_CAPACITY },
      ...(this.#plane.lostEvents > 0 && { lostEvents: this.#plane.lostEvents }),
    };
  }

  async responds(milliseconds: number): Promise<boolean> {
    const most = this.#readers.milliseconds(milliseconds);
    const asked = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    return this.#closing === undefined && performance.now() - asked <= most;
  }

  close(): Promise<void> {
    this.#closing ??= this.#turn.then(async () => {
      this.#signal?.removeEventListener('abort', this.#onAbort);
      clearInterval(this.#clock);
      for (const { config } of this.#devices.all()) await this.#devices.remove(config.name);
      this.#carrier.close();
      await this.#underlay.close();
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @throws VtepError USAGE when it has been closed */
  get #open(): Dataplane {
    if (this.#closing !== undefined)
      throw new VtepError('USAGE', 'vtep: it has been closed: create another one');
    return this.#plane;
  }

  #dev(name: string | undefined): string | undefined {
    return name === undefined ? undefined : this.#readers.dev(name);
  }

  #info(name: string): DeviceInfo {
    const { plane, device } = { plane: this.#plane, device: this.#devices.find(name) };
    return deviceInfo(plane, plane.blocks, device);
  }

  /** Numbers of devices with their names; 0 = datagrams of none. */
  *#names(): Generator<[number, string]> {
    yield [0, ''];
    for (const { index, config } of this.#devices.all()) yield [index, config.name];
  }

  #tick(): void {
    this.#plane.tick();
    for (const { index, up } of this.#devices.all()) if (up) this.#plane.fdb.age(index);
    this.tellDrops(this.#names());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => {
      void this.#open;
      return work();
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

function check(underlay: Underlay, signal: AbortSignal | undefined): void {
  for (const name of ['start', 'open', 'shut', 'send', 'close', 'owns'] as const)
    if (typeof underlay?.[name] !== 'function')
      throw new VtepError(
        'USAGE',
        `underlay: ${name}() is missing: give dgramUnderlay(), or one of that shape`,
      );
  if (signal?.aborted) throw new VtepError('USAGE', 'signal: it has been aborted already');
}
