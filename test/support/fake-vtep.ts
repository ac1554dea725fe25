/**
 * A Vtep without sockets, threads or packets: the interface's rules in memory, so that the daemon and the
 * command line can be tested anywhere. The FDB follows the kernel's driver as far as commands can see it.
 */
import { VtepError } from '../../src/errors.ts';
import type {
  DeviceChange,
  DeviceConfig,
  DeviceInfo,
  FdbEntry,
  FdbFlush,
  FdbRequest,
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
  Vtep,
  VtepEvent,
  VtepStatus,
} from '../../src/types.ts';

const ZERO_MAC = '00:00:00:00:00:00';

interface Remote {
  dst: string;
  port: number;
  vni: number;
  via?: string;
}

interface Entry {
  mac: string;
  state: 'permanent' | 'static' | '';
  flags: string[];
  remotes: Remote[];
}

interface Device {
  info: DeviceInfo;
  /** Newest first. */
  entries: Entry[];
}

export class FakeVtep implements Vtep {
  readonly calls: string[] = [];
  readonly listeners = new Set<(event: VtepEvent) => void>();
  closed = 0;
  /** Whether its threads are alive, for the watchdog. */
  responding = true;
  /** Names whose creation or change fails, to see what is left behind. */
  readonly failing = new Set<string>();
  /** Added to every status, so that rates and counters have something to show. */
  extra: Partial<VtepStatus> = {};
  /** What `vni show` and `policy show` have to show. */
  vnis: VniInfo[] = [];
  policies: PolicyInfo[] = [];
  /** By "dev mac". */
  readonly peers = new Map<string, PeerInfo>();
  #devices: Device[] = [];
  #ifindex = 7;

  #find(name: string): Device {
    const device = this.#devices.find(({ info }) => info.config.name === name);
    if (device === undefined) throw new VtepError('NOT_FOUND', `Cannot find device "${name}"`);
    return device;
  }

  async addDevice(config: DeviceConfig): Promise<DeviceInfo> {
    this.calls.push(`add ${config.name}`);
    if (this.failing.has(config.name)) throw new VtepError('IN_USE', `UDP port ${config.dstport} is taken`);
    for (const { info } of this.#devices) {
      if (info.config.name === config.name) throw new VtepError('EXISTS', `link ${config.name}: File exists`);
      if (info.config.id === config.id && info.config.dstport === config.dstport)
        throw new VtepError('EXISTS', 'A VXLAN device with the specified VNI already exists.');
    }
    const none = () => ({ bytes: 0, packets: 0, errors: 0, dropped: 0 });
    const info: DeviceInfo = {
      config: { address: '02:42:00:00:00:01', mtu: config.dev ? 1450 : 1500, ...config },
      number: this.#devices.length + 1,
      ifindex: this.#ifindex++,
      up: false,
      stats: { rx: none(), tx: none() },
    };
    const entries: Entry[] = [];
    if (config.remote) {
      const via = config.dev ? { via: config.dev } : {};
      const first = { dst: config.remote, port: config.dstport, vni: config.id, ...via };
      entries.push({ mac: ZERO_MAC, state: 'permanent', flags: ['self'], remotes: [first] });
    }
    this.#devices.push({ info, entries });
    return structuredClone(info);
  }

  async setDevice(name: string, change: DeviceChange): Promise<DeviceInfo> {
    this.calls.push(`set ${name} ${JSON.stringify(change)}`);
    const { info } = this.#find(name);
    const { up, ...rest } = change;
    if (up !== undefined) info.up = up;
    Object.assign(info.config, rest);
    return structuredClone(info);
  }

  vni(request: VniRequest): void {
    this.calls.push(`vni ${JSON.stringify(request)}`);
    this.#find(request.dev);
    if (this.failing.has(request.dev)) throw new VtepError('UNSUPPORTED', 'Operation not supported');
  }

  vniShow(dev?: string): VniInfo[] {
    if (dev !== undefined) this.#find(dev);
    return this.vnis.filter(({ ifname }) => dev === undefined || ifname === dev);
  }

  policy(request: PolicyRequest): void {
    this.calls.push(`policy ${JSON.stringify(request)}`);
    this.#find(request.dev);
  }

  policyShow(dev?: string): PolicyInfo[] {
    if (dev !== undefined) this.#find(dev);
    return this.policies.filter(({ ifname }) => dev === undefined || ifname === dev);
  }

  peer(request: PeerRequest): void {
    const { op, dev, mac } = request;
    this.calls.push(`peer ${op} ${mac} ${dev}`);
    this.#find(dev);
    const key = `${dev} ${mac}`;
    if (op === 'del') {
      if (!this.peers.delete(key))
        throw new VtepError('NOT_FOUND', `peer del ${mac}: No such file or directory`);
      return;
    }
    const none = {
      rx: { packets: 0, bytes: 0, address_drops: 0, subnet_drops: 0 },
      tx: { packets: 0, bytes: 0 },
    };
    const { stats, ...counted } = this.peers.get(key) ?? { stats: none };
    const prefixes = [...(request.prefixes ?? [])];
    this.peers.set(key, { ...counted, ifname: dev, mac, src: request.src, prefixes, stats });
  }

  peerShow(dev?: string): PeerInfo[] {
    if (dev !== undefined) this.#find(dev);
    return [...this.peers.values()].filter(({ ifname }) => dev === undefined || ifname === dev);
  }

  mdb(request: MdbRequest): void {
    this.calls.push(`mdb ${request.op} ${request.grp}`);
    this.#find(request.dev);
  }

  mdbShow(_?: string): MdbEntry[] {
    return [];
  }

  mdbGet(..._: Parameters<Vtep['mdbGet']>): MdbEntry[] {
    return [];
  }

  mdbFlush(_: MdbFlush): number {
    return 0;
  }

  subscribe(listener: (event: VtepEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Tells all listeners, as if it had happened. */
  emit(event: VtepEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  async deleteDevice(name: string): Promise<void> {
    this.calls.push(`delete ${name}`);
    const device = this.#find(name);
    this.#devices = this.#devices.filter((other) => other !== device);
  }

  devices(): DeviceInfo[] {
    return structuredClone(this.#devices.map(({ info }) => info));
  }

  fdb(request: FdbRequest): void {
    this.calls.push(`fdb ${request.op} ${request.mac}`);
    const device = this.#find(request.dev);
    const { config } = device.info;
    const entry = device.entries.find(({ mac }) => mac === request.mac);
    const many = request.mac === ZERO_MAC || (Number.parseInt(request.mac.slice(0, 2), 16) & 1) === 1;
    const remote: Remote = {
      dst: request.dst ?? '',
      port: request.port ?? config.dstport,
      vni: request.vni ?? config.id,
      ...(request.via === undefined ? {} : { via: request.via }),
    };
    const same = (other: Remote) => JSON.stringify(other) === JSON.stringify(remote);

    if (request.op === 'del') {
      if (entry === undefined) throw new VtepError('NOT_FOUND', 'No such file or directory');
      if (request.dst !== undefined) entry.remotes = entry.remotes.filter((other) => !same(other));
      if (request.dst === undefined || entry.remotes.length === 0)
        device.entries = device.entries.filter((other) => other !== entry);
      return;
    }
    const { state = 'permanent' } = request;
    const flags = [
      'self',
      ...(['router', 'extern_learn', 'sticky'] as const).filter((flag) => request[flag]),
    ];
    const shape = { state: state === 'dynamic' ? ('' as const) : state, flags };
    if (entry === undefined) {
      if (request.op === 'replace' && many) throw new VtepError('UNSUPPORTED', 'Operation not supported');
      device.entries.unshift({ mac: request.mac, ...shape, remotes: [remote] });
      return;
    }
    if (request.op === 'add')
      throw new VtepError('EXISTS', `fdb add ${request.mac} dev ${request.dev}: File exists`);
    if (request.op === 'replace' && many)
      throw new VtepError('UNSUPPORTED', 'Cannot replace non-unicast fdb entries.');
    Object.assign(entry, shape);
    if (request.op === 'replace') entry.remotes = [remote];
    else if (many && !entry.remotes.some(same)) entry.remotes.push(remote);
  }

  fdbShow(dev?: string): FdbEntry[] {
    const devices = dev === undefined ? this.#devices : [this.#find(dev)];
    return devices.flatMap(({ info: { config }, entries }) =>
      entries.flatMap(({ mac, state, flags, remotes }) =>
        remotes.map(({ dst, port, vni, via }) => ({
          mac,
          ifname: config.name,
          dst,
          ...(port === config.dstport ? {} : { port }),
          ...(vni === config.id ? {} : { vni }),
          ...(via === undefined ? {} : { viaIf: via }),
          used: 0,
          updated: 0,
          flags: [...flags],
          state,
        })),
      ),
    );
  }

  fdbGet(dev: string, mac: string): FdbEntry {
    const found = this.fdbShow(dev).find((entry) => entry.mac === mac);
    if (found === undefined) throw new VtepError('NOT_FOUND', 'Fdb entry not found.');
    return found;
  }

  fdbFlush(filter: FdbFlush): number {
    const device = this.#find(filter.dev);
    const before = device.entries.length;
    device.entries = device.entries.filter(
      ({ state, remotes }) =>
        (filter.permanent !== undefined && filter.permanent !== (state === 'permanent')) ||
        (filter.dynamic !== undefined && filter.dynamic !== (state === '')) ||
        (filter.dst !== undefined && !remotes.some(({ dst }) => dst === filter.dst)),
    );
    return before - device.entries.length;
  }

  readonly hooks = new Map<string, HookInfo>();
  /** As they came. */
  readonly hookRequests: HookRequest[] = [];

  async hook(request: HookRequest): Promise<void> {
    const { op, dev, direction } = request;
    this.#find(dev);
    const key = `${dev} ${direction}`;
    const known = this.hooks.get(key);
    if (op === 'del') {
      if (!this.hooks.delete(key)) throw new VtepError('NOT_FOUND', 'No such file or directory');
      return;
    }
    if (op === 'add' && known !== undefined) throw new VtepError('EXISTS', 'File exists');
    this.hookRequests.push(request);
    this.hooks.set(key, {
      ...{ ifname: dev, direction, kind: request.wasm === undefined ? 'js' : 'wasm', file: request.file },
      generation: this.hookRequests.length,
      ...(request.fuel !== undefined && { fuel: request.fuel }),
      onstop: request.onstop ?? (request.wasm === undefined ? 'pass' : 'drop'),
      stats: known?.stats ?? { packets: 0, dropped: 0, redirected: 0, mirrored: 0, faults: 0, stopped: 0 },
    });
  }

  hookShow(dev?: string): HookInfo[] {
    if (dev !== undefined) this.#find(dev);
    return [...this.hooks.values()].filter(({ ifname }) => dev === undefined || ifname === dev);
  }

  async responds(): Promise<boolean> {
    return this.responding;
  }

  status(): VtepStatus {
    return {
      version: '0.0.0-fake',
      pid: process.pid,
      uptime: 3723,
      engine: { io: 'batched', uring: 'off: not asked for', wasm: 'simd', memoryBytes: 64 * 2 ** 20 },
      offloads: { 'udp-segment': 'on', 'tap-uso': 'off: Linux 6.2 or newer is needed' },
      workers: [],
      listeners: [],
      devices: this.devices(),
      counters: {},
      fdb: { entries: this.fdbShow().length, capacity: 65536 },
      ...this.extra,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    this.closed++;
    this.#devices = [];
  }
}
