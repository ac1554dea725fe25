/** What a program sees of a dataplane of its own. */
import type { DeviceConfig } from '../types/device.ts';
import type { VtepEvent } from '../types/event.ts';
import type { FdbEntry, FdbFlush, FdbRequest } from '../types/fdb.ts';
import type { MdbEntry, MdbFlush, MdbRequest } from '../types/mdb.ts';
import type { PeerInfo, PeerRequest } from '../types/peer.ts';
import type { VniInfo, VniRequest } from '../types/vni.ts';
import type { DataplaneQueue } from './batch.ts';
import type { CounterName } from './counters.ts';
import type { CompiledHook, HookProgram } from './hook-program.ts';
import type { HookDirection, HookFunction } from './hook-types.ts';
import type { EngineMemory, EngineModule } from './wasm-types.ts';

type Options = Pick<
  DeviceConfig,
  'mtu' | 'learning' | 'ageing' | 'maxaddress' | 'ttl' | 'tos' | 'df' | 'flowlabel'
> &
  Pick<DeviceConfig, 'proxy' | 'proxyforward' | 'rsc' | 'l2miss' | 'l3miss' | 'external' | 'vnifilter'> &
  Pick<DeviceConfig, 'gbp' | 'policy' | 'gpe' | 'remcsumtx' | 'remcsumrx'> &
  Pick<DeviceConfig, 'latelearning' | 'honourdontlearn' | 'knownsenders' | 'knownpeers'>;

/**
 * A device of an embedded dataplane. The options are those of `DeviceConfig`; defaults are the kernel driver's where it
 * has one: it learns, forgets after 300 seconds, and its MTU is 1500.
 */
export interface EmbeddedDevice extends Partial<Options> {
  /** Any name; it stands for the device in all calls. */
  name: string;
  /** 0 to 16777215; 0 for an external device */
  vni: number;
  /** Frames from this MAC are refused on arrival: `aa:bb:cc:dd:ee:ff`. */
  address: string;
  /** UDP port that datagrams go to and are expected at; 8472 */
  port?: number;
  /** Default destination. */
  remote?: string;
  /** Family of the underlay when there is no `remote`; "inet" */
  family?: 'inet' | 'inet6';
}

/** What is to be sent. */
export interface Datagram {
  /** VXLAN header and frame. */
  bytes: Uint8Array<ArrayBuffer>;
  address: string;
  port: number;
  /** 0 to 63, by the hash of the inner flow: choose the source port by it. */
  flow: number;
}

/** What has arrived for a device. */
export interface Frame {
  device: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** What another thread needs to use the dataplane: to be posted to it. */
export interface SharedDataplane {
  readonly memory: EngineMemory;
  readonly module: EngineModule;
}

/** Forwarding entries, as `bridge fdb` has them. */
export interface EmbeddedFdb {
  /** @throws VtepError EXISTS, NOT_FOUND, UNSUPPORTED, USAGE or NO_SPACE; then nothing has changed */
  apply(request: FdbRequest): void;
  /** One line for each remote, the newest entry first. @param dev absent: all devices */
  show(dev?: string): FdbEntry[];
  /** The first remote of an entry. @throws VtepError NOT_FOUND, USAGE */
  get(dev: string, mac: string, vni?: number): FdbEntry;
  /** @returns how many remotes went */
  flush(filter: FdbFlush): number;
}

/** VNIs of external devices, as `bridge vni` has them. */
export interface EmbeddedVnis {
  /** @throws VtepError; then nothing has changed */
  apply(request: VniRequest): void;
  /** By device, then by VNI. @param dev absent: all devices */
  show(dev?: string): VniInfo[];
}

/** Who devices with `knownpeers` take frames from. */
export interface EmbeddedPeers {
  /** @throws VtepError NOT_FOUND, USAGE or NO_SPACE; then nothing has changed */
  apply(request: PeerRequest): void;
  /** In the order of their making. @param dev absent: all devices */
  show(dev?: string): PeerInfo[];
}

/** Multicast groups, as `bridge mdb` has them. */
export interface EmbeddedMdb {
  /** @throws VtepError; then nothing has changed */
  apply(request: MdbRequest): void;
  /** One line for each remote, the newest entry first. @param dev absent: all devices */
  show(dev?: string): MdbEntry[];
  /** @returns how many entries went */
  flush(filter: MdbFlush): number;
}

/** A dataplane: devices and tables of its own, frames in, datagrams out, and back. */
export interface EmbeddedDataplane {
  readonly fdb: EmbeddedFdb;
  readonly vnis: EmbeddedVnis;
  readonly mdb: EmbeddedMdb;
  readonly peers: EmbeddedPeers;
  /** The batch door of this thread. */
  readonly queue: DataplaneQueue;
  /** Bytes of memory that are reserved; what is not touched costs nothing. */
  readonly memoryBytes: number;

  /** @returns its number, by which the batch door knows it. @throws VtepError EXISTS, USAGE, NO_SPACE */
  addDevice(device: EmbeddedDevice): number;
  /** Its number may soon be another one's. @throws VtepError NOT_FOUND */
  deleteDevice(name: string): void;
  /** Names, in the order of their making. */
  devices(): string[];
  /** @throws VtepError NOT_FOUND */
  numberOf(name: string): number;
  /** "" = there is none of that number */
  nameOf(number: number): string;

  /**
   * An Ethernet frame (14 to 65,590 bytes) that the device is to send. A frame that must be dropped gives
   * no datagram and a counter.
   * @param virtio of a frame that came with a virtio header, as `FrameSlot.write` takes it: a super-frame is cut
   * @throws VtepError NOT_FOUND (no such device), USAGE (longer than a slot)
   */
  encap(device: string, frame: Uint8Array, virtio?: Uint8Array): Datagram[];
  /** The UDP payload that `sender` sent to `port` (8472) of this host. @throws VtepError USAGE */
  decap(datagram: Uint8Array, sender: string, port?: number): Frame[];

  /** What hooks of the last `decap` sent into tunnels: as `encap` gives it. */
  forwarded(): Datagram[];
  /** As `queue.setHook`, of this thread's queue. @throws VtepError NOT_FOUND, USAGE, NO_SPACE; then nothing has changed */
  setHook(
    device: string,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined;

  /** Counters that are not zero, of all threads; "" = datagrams that belong to no device. @throws VtepError NOT_FOUND */
  counters(device: string): Partial<Record<CounterName, number>>;
  /**
   * What the proxy answers from and `rsc` routes by: the overlay's own IP addresses.
   * @param mac absent: it is no neighbour any more. @throws VtepError NOT_FOUND, USAGE, NO_SPACE
   */
  setNeighbour(device: string, address: string, mac?: string): void;
  /**
   * Hears of changes of the tables, and in `poll` and `tick` of what packets have taught and missed. Returns what ends it.
   * What a listener throws stops neither the call nor other listeners: it is thrown again in a microtask of its own.
   */
  subscribe(listener: (event: VtepEvent) => void): () => void;
  /** Hands what packets have taught and missed since, in all threads, to the subscribers. */
  poll(): void;
  /** The clock: `poll`, and learned entries expire; to be called every second or so. */
  tick(): void;
  /**
   * For `attachDataplane` in another thread. @throws VtepError UNSUPPORTED when the memory is not shared
   */
  share(): SharedDataplane;
  /**
   * Leaves a queue that was another thread's to the next one: for threads that ended without closing theirs.
   * @throws VtepError USAGE
   */
  reclaim(queue: number): void;
  /** The queue of this thread closes, and all else throws. Nothing when it is closed. */
  close(): void;
}
