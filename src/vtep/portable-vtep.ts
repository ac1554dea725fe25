/**
 * A VTEP without TAPs, sockets of its own, threads and privilege: each device has a port, all share an underlay, and
 * packets are carried on this thread. Devices, tables and words are those of the batched one.
 */
import { type CounterName, readCounter } from '../dataplane/counters.ts';
import { Dataplane } from '../dataplane/dataplane.ts';
import { compileEngine } from '../dataplane/engine-file.ts';
import type { CompiledHook, HookProgram } from '../dataplane/hook-program.ts';
import type { HookFunction } from '../dataplane/hook-types.ts';
import { wantParcels } from '../dataplane/parcels.ts';
import { QUEUE_BLOCKS } from '../dataplane/queue-state.ts';
import { VtepError } from '../errors.ts';
import type { Underlay } from '../io/underlay.ts';
import type { DeviceChange, DeviceInfo, HookDirection, HookInfo, HookRequest, VtepStatus } from '../types.ts';
import { Carrier } from './carrier.ts';
import type { PortableVtep, PortableVtepOptions, PortDeviceRequest } from './options.ts';
import { PortableDevices } from './portable-devices.ts';
import type { Readers } from './readers.ts';
import { deviceInfo, vtepStatus } from './status.ts';
import { CLOCK_MILLISECONDS, VtepCalls } from './vtep-calls.ts';

export class PortVtep extends VtepCalls implements PortableVtep {
  protected override readonly plane: Dataplane;
  readonly #underlay: Underlay;
  readonly #carrier: Carrier;
  readonly #devices: PortableDevices;
  readonly #started = Date.now();
  readonly #clock: NodeJS.Timeout;

  /** @param readers what is handed in by programs -> what the tables take */
  constructor({ underlay, signal, logger = () => {} }: PortableVtepOptions, readers: Readers) {
    super(readers, signal);
    check(underlay);
    this.#underlay = underlay;
    this.plane = new Dataplane(compileEngine(), QUEUE_BLOCKS, 0, {
      ifindex: () => 0,
      ifname: () => '',
      joinGroup: (_, group) => {
        throw new VtepError('UNSUPPORTED', `group ${group}: this underlay joins none: give remotes`);
      },
    });
    wantParcels(this.plane.views);
    this.#carrier = new Carrier(this.plane, underlay, logger, (failure) =>
      this.plane.tellHookFailure(failure),
    );
    this.#devices = new PortableDevices(this.plane, underlay, this.#carrier, logger);
    this.watch(this.plane, logger);
    underlay.start({
      arrived: (...datagram) => this.#carrier.receive(...datagram),
      lost: (device, bytes, reason) => this.#carrier.lost(device, bytes, reason),
      warn: (message) => logger('warn', message),
    });
    this.#clock = setInterval(() => this.#tick(), CLOCK_MILLISECONDS);
    // Sockets keep the process alive, a clock alone has no reason to.
    this.#clock.unref();
    void this.closeOnAbort();
  }

  addDevice(request: PortDeviceRequest): Promise<DeviceInfo> {
    return this.change(async () => {
      if (typeof request !== 'object' || request === null)
        throw new VtepError('USAGE', 'device: an object with "name", "id" and "port" is expected');
      const { port, up = true, ...words } = request;
      if (typeof up !== 'boolean') throw new VtepError('USAGE', 'device: up: true or false is expected');
      const device = await this.#devices.add(this.readers.device(words), words, port, up);
      return this.#info(device.config.name);
    });
  }

  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo> {
    return this.change(async () => {
      const device = await this.#devices.change(this.readers.dev(name), this.readers.change(change));
      return this.#info(device.config.name);
    });
  }

  deleteDevice(name: string): Promise<void> {
    return this.change(async () => {
      const { index } = this.#devices.find(this.readers.dev(name));
      await this.#devices.remove(name);
      this.forgetDrops(index);
    });
  }

  devices(): DeviceInfo[] {
    return this.#devices.all().map(({ config }) => this.#info(config.name));
  }

  async hook(request: HookRequest): Promise<void> {
    void this.open;
    const dev = this.readers.dev(request?.dev);
    throw new VtepError(
      'UNSUPPORTED',
      `hook dev ${dev}: Operation not supported: set it by setHook(), in the program itself`,
    );
  }

  hookShow(dev?: string): HookInfo[] {
    void this.open;
    const name = this.dev(dev);
    if (name !== undefined) this.#devices.find(name);
    return [];
  }

  setNeighbour(name: string, address: string, mac?: string): void {
    const { neighbours } = this.open;
    const { index } = this.#devices.find(this.readers.dev(name));
    neighbours.apply(index, name, address, mac);
  }

  setHook(
    name: string,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined {
    void this.open;
    return this.#carrier.setHook(this.#devices.find(this.readers.dev(name)).index, direction, hook);
  }

  status(): VtepStatus {
    const { views, blocks } = this.plane;
    const devices = this.#devices.all();
    const sum = (...names: CounterName[]) =>
      devices.reduce(
        (total, { index }) =>
          names.reduce((some, name) => some + readCounter(views, blocks, index, name), total),
        0,
      );
    const { kind, can } = this.#underlay;
    const ability = (has: boolean) => (has ? 'on' : `off: ${kind} can't set it`);
    return vtepStatus(
      { plane: this.plane, workers: blocks, devices, started: this.#started },
      {
        engine: {
          io: `portable (${kind})`,
          uring: 'off: packets are carried on the program’s own thread',
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
      },
    );
  }

  async responds(milliseconds: number): Promise<boolean> {
    const most = this.readers.milliseconds(milliseconds);
    const asked = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    return !this.isClosed && performance.now() - asked <= most;
  }

  protected override async shut(): Promise<void> {
    clearInterval(this.#clock);
    for (const { config } of this.#devices.all()) await this.#devices.remove(config.name);
    this.#carrier.close();
    await this.#underlay.close();
  }

  #info(name: string): DeviceInfo {
    const { plane, device } = { plane: this.plane, device: this.#devices.find(name) };
    return deviceInfo(plane, plane.blocks, device);
  }

  /** Numbers of devices with their names; 0 = datagrams of none. */
  *#names(): Generator<[number, string]> {
    yield [0, ''];
    for (const { index, config } of this.#devices.all()) yield [index, config.name];
  }

  #tick(): void {
    this.plane.tick();
    for (const { index, up } of this.#devices.all()) if (up) this.plane.fdb.age(index);
    this.tellDrops(this.#names());
  }
}

function check(underlay: Underlay): void {
  for (const name of ['start', 'open', 'shut', 'send', 'close', 'owns'] as const)
    if (typeof underlay?.[name] !== 'function')
      throw new VtepError(
        'USAGE',
        `underlay: ${name}() is missing: give dgramUnderlay(), or one of that shape`,
      );
}
