/**
 * The dataplane as a module: frames in, datagrams out, and back. Nothing here needs a privilege, a device, a socket or
 * a runtime's own modules. Two doors: `encap` and `decap`, which copy, one frame or datagram per call; and
 * `queue` (batch.ts), which does not.
 */
import { AF_INET, AF_INET6, RECEIVE_BUFFER_BYTES } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { VtepEvent } from '../types.ts';
import type { DatagramBatch, FrameBatch, SentDatagrams } from './batch.ts';
import { type CounterName, clearCounters, readCounters } from './counters.ts';
import { Dataplane } from './dataplane.ts';
import { checkDevice, familyOf, recordOf } from './embedded-device.ts';
import type {
  Datagram,
  EmbeddedDataplane,
  EmbeddedDevice,
  EmbeddedFdb,
  EmbeddedMdb,
  EmbeddedPeers,
  EmbeddedVnis,
  Frame,
  SharedDataplane,
} from './embedded-types.ts';
import { FRAME_BYTES } from './frames.ts';
import type { CompiledHook, HookProgram } from './hook-program.ts';
import type { HookDirection, HookFunction } from './hook-types.ts';
import { Listening } from './listening.ts';
import { wantParcels } from './parcels.ts';
import { Queue, VXLAN_PORT } from './queue.ts';
import { QUEUE_BLOCKS, releaseQueue } from './queue-state.ts';
import { Retirement } from './retirement.ts';
import { check } from './shape.ts';
import { tableDoors } from './table-doors.ts';

/** Where the datagrams of a device are expected. */
interface Place {
  listeners: readonly number[];
  /** Absent: an external device's are in a table of their own. */
  vni?: number;
}

export class Embedded implements EmbeddedDataplane {
  readonly #plane: Dataplane;
  readonly #tables = tableDoors(() => this.#open);
  readonly #queue: Queue;
  readonly #isShared: boolean;
  readonly #listening: Listening;
  readonly #retirement: Retirement;
  readonly #placed = new Map<string, Place>();
  /** Slots of the simple door, claimed at its first use. */
  #frames: FrameBatch | undefined;
  #datagrams: DatagramBatch | undefined;
  #isClosed = false;

  /**
   * @param module a compiled engine, for a memory of the kind that `shared` says
   * @param queues threads that may use the dataplane at a time
   */
  constructor(module: WebAssembly.Module, queues: number, shared: boolean) {
    this.#plane = new Dataplane(module, queues * QUEUE_BLOCKS, 0, undefined, shared);
    this.#isShared = shared;
    const { views, exports } = this.#plane;
    wantParcels(views);
    this.#queue = new Queue(views, exports);
    this.#queue.hookFailed = (failure) => this.#plane.tellHookFailure(failure);
    this.#listening = new Listening(views);
    this.#retirement = new Retirement(this.#plane);
  }

  get fdb(): EmbeddedFdb {
    void this.#open;
    return this.#tables.fdb;
  }

  get vnis(): EmbeddedVnis {
    void this.#open;
    return this.#tables.vnis;
  }

  get mdb(): EmbeddedMdb {
    void this.#open;
    return this.#tables.mdb;
  }

  get peers(): EmbeddedPeers {
    void this.#open;
    return this.#tables.peers;
  }

  get queue(): Queue {
    return this.#queue;
  }

  get memoryBytes(): number {
    return this.#plane.views.bytes.length;
  }

  addDevice(device: EmbeddedDevice): number {
    const { devices, fdb, views, blocks } = this.#open;
    checkDevice(device);
    const { name } = device;
    if (devices.indexOf(name) !== 0)
      throw new VtepError('EXISTS', `device ${name}: there is one of that name`);
    this.#retirement.settle();
    const index = devices.claim(name);
    const undo: (() => unknown)[] = [() => devices.release(index)];
    try {
      clearCounters(views, blocks, index);
      undo.push(() => this.#plane.forgetDevice(index));
      fdb.setKnownSenders(index, device.knownsenders === true);
      devices.write(index, recordOf(device));
      fdb.setDefaultRemote(index, undefined, device.remote, 0);
      if (device.policy !== undefined) this.#plane.policies.setDevice(index, { id: device.policy });
      this.#placed.set(name, this.#place(index, device, undo));
      devices.setUp(index, true);
      return index;
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  deleteDevice(name: string): void {
    const index = this.numberOf(name);
    const { listeners, vni } = this.#placed.get(name)!;
    this.#plane.devices.setUp(index, false);
    this.#plane.vnis.close(index);
    for (const listener of listeners) {
      if (vni !== undefined) this.#plane.vni.remove(listener, vni);
      this.#listening.release(listener);
    }
    this.#placed.delete(name);
    this.#plane.forgetHooks(index);
    for (const direction of ['encap', 'decap'] as const) this.#queue.setHook(index, direction, undefined);
    this.#retirement.retire(index);
  }

  devices(): string[] {
    void this.#open;
    return [...this.#placed.keys()];
  }

  numberOf(name: string): number {
    check('device', 'text', name);
    const index = this.#open.devices.indexOf(name);
    if (index === 0) throw new VtepError('NOT_FOUND', `device ${name}: there is none of that name`);
    return index;
  }

  nameOf(number: number): string {
    const name = this.#open.devices.nameOf(number);
    return this.#placed.has(name) ? name : '';
  }

  encap(device: string, frame: Uint8Array, virtio?: Uint8Array): Datagram[] {
    const number = this.numberOf(device);
    this.#frames ??= this.#queue.frames(1, FRAME_BYTES);
    const slot = this.#frames.slots[0]!;
    slot.write(frame, virtio);
    slot.device = number;
    return take(this.#queue.encap(this.#frames));
  }

  decap(datagram: Uint8Array, sender: string, port: number = VXLAN_PORT): Frame[] {
    const { devices } = this.#open;
    this.#datagrams ??= this.#queue.datagrams(1, RECEIVE_BUFFER_BYTES);
    this.#datagrams.slots[0]!.write(datagram, sender);
    const arrived = this.#queue.decap(this.#datagrams, port);
    const frames: Frame[] = [];
    while (arrived.next()) {
      arrived.complete();
      frames.push({ device: devices.nameOf(arrived.device), bytes: arrived.bytes.slice() });
    }
    return frames;
  }

  forwarded(): Datagram[] {
    void this.#open;
    return take(this.#queue.forwarded);
  }

  setHook(
    device: string,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined {
    return this.#queue.setHook(this.numberOf(device), direction, hook);
  }

  counters(device: string): Partial<Record<CounterName, number>> {
    const { views, blocks } = this.#open;
    return readCounters(views, blocks, device === '' ? 0 : this.numberOf(device));
  }

  setNeighbour(device: string, address: string, mac?: string): void {
    const number = this.numberOf(device);
    check('neighbour: address', 'text', address);
    if (mac !== undefined) check('neighbour: mac', 'text', mac);
    this.#plane.neighbours.apply(number, device, address, mac);
  }

  subscribe(listener: (event: VtepEvent) => void): () => void {
    check('subscribe', 'listener', listener);
    return this.#open.notices.subscribe(listener);
  }

  poll(): void {
    const { blocks } = this.#open;
    for (let block = 0; block < blocks; ++block) this.#plane.relayEvents(block);
  }

  tick(): void {
    this.#open.tick();
    this.poll();
    for (const name of this.#placed.keys()) this.#plane.fdb.age(this.numberOf(name));
    this.#retirement.settle();
  }

  share(): SharedDataplane {
    const { views, module } = this.#open;
    if (this.#isShared) return { memory: views.memory, module };
    throw new VtepError(
      'UNSUPPORTED',
      'share: the memory is for one thread: create the dataplane with "shared", in a page that is cross-origin isolated',
    );
  }

  reclaim(queue: number): void {
    const { views, blocks } = this.#open;
    if (!(Number.isInteger(queue) && queue > 0 && queue < blocks / QUEUE_BLOCKS))
      throw new VtepError(
        'USAGE',
        `reclaim: queue ${String(queue)}: others’ are 1 to ${blocks / QUEUE_BLOCKS - 1}`,
      );
    releaseQueue(views, queue);
    this.#retirement.settle();
  }

  close(): void {
    this.#isClosed = true;
    this.#queue.close();
  }

  /** @throws VtepError USAGE when it has been closed */
  get #open(): Dataplane {
    if (this.#isClosed) throw new VtepError('USAGE', 'dataplane: it has been closed: create another one');
    return this.#plane;
  }

  /** Makes a device's datagrams come to it. */
  #place(
    index: number,
    { port = VXLAN_PORT, vni, external, remote, ...device }: EmbeddedDevice,
    undo: Undo,
  ): Place {
    const family = familyOf({ ...device, ...(remote !== undefined && { remote }) });
    const listeners = (external ? [AF_INET, AF_INET6] : [family]).map((one) => {
      const listener = this.#listening.retain(one, port);
      undo.push(() => this.#listening.release(listener));
      return listener;
    });
    if (external) {
      if (remote !== undefined) this.#plane.vnis.setRemote(index, { address: remote, ifindex: 0 });
      this.#plane.vnis.open(index, listeners);
      return { listeners };
    }
    // The VNI may be another device's, or nobody's.
    this.#plane.vni.add(listeners[0]!, vni, index);
    return { listeners, vni };
  }
}

type Undo = (() => unknown)[];

function take(sent: SentDatagrams): Datagram[] {
  const datagrams: Datagram[] = [];
  while (sent.next()) {
    const { address, port, flow } = sent;
    datagrams.push({ bytes: sent.bytes.slice(), address, port, flow });
  }
  return datagrams;
}
