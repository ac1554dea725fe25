/**
 * A dataplane: one memory, one engine on it, and the host's half of its tables. It knows no device and no
 * socket; a VTEP on TAPs and an embedder's program are built on the same thing.
 */
import {
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_NOW_OFFSET,
  HEADER_OFFLOADS_OFFSET,
  WORKER_HOOKED_OFFSET,
} from '../../assembly/layout.ts';
import type { VtepEvent } from '../types.ts';
import { Devices } from './devices.ts';
import { instantiateEngine } from './engine.ts';
import { drainEvents, lostEvents } from './events.ts';
import type { EngineExports } from './exports.ts';
import { Fdb } from './fdb.ts';
import type { HookFailure } from './hook-types.ts';
import { Mdb } from './mdb.ts';
import { createMemory, type Views, viewsOf, workerBase } from './memory.ts';
import { Neighbours } from './neighbours.ts';
import type { NexthopInfo } from './nexthops.ts';
import { Notices } from './notices.ts';
import { Peers } from './peers.ts';
import { Policies } from './policies.ts';
import { Vni } from './vni.ts';
import { setDefault, Vnis } from './vnis.ts';

/** What the tables ask their surroundings; an embedder without interfaces leaves it out. */
export interface Surroundings {
  /** Index of a network interface, for `via`; 0 = there is none of that name. */
  ifindex(name: string): number;
  /** "" when it has gone. */
  ifname(index: number): string;
  /** All nexthops at once; absent: there are none. */
  readNexthops?(): readonly NexthopInfo[];
  /** VNIs of a device that is up send to a group; others may have joined it too. Absent: nobody joins. */
  joinGroup?(device: number, address: string): void;
  leaveGroup?(device: number, address: string): void;
}

const NO_INTERFACES: Surroundings = { ifindex: () => 0, ifname: () => '' };
/** Seconds that the clock begins at, so that "long ago" is not negative. */
const CLOCK_START = 1000;

export class Dataplane {
  readonly views: Views;
  readonly module: WebAssembly.Module;
  readonly exports: EngineExports;
  readonly devices: Devices;
  readonly vni: Vni;
  readonly vnis: Vnis;
  readonly policies: Policies;
  readonly peers: Peers;
  readonly fdb: Fdb;
  readonly mdb: Mdb;
  readonly neighbours: Neighbours;
  readonly notices = new Notices();
  /** Worker blocks in the memory. */
  readonly blocks: number;
  /** Of each worker: events lost that subscribers know of. */
  readonly #lostTold: number[] = [];

  /**
   * @param module a compiled engine
   * @param offloads OFFLOAD_* bits that the surroundings can do
   * @param shared whether other threads may have the memory too; the module must be of the same kind
   */
  constructor(
    module: WebAssembly.Module,
    blocks: number,
    offloads: number,
    surroundings: Surroundings = NO_INTERFACES,
    shared = true,
  ) {
    this.blocks = blocks;
    this.module = module;
    this.views = viewsOf(createMemory(blocks, shared));
    this.exports = instantiateEngine(this.module, this.views.memory);
    this.views.view.setUint32(HEADER_BASE + HEADER_OFFLOADS_OFFSET, offloads, true);
    this.devices = new Devices(this.views);
    this.vni = new Vni(this.views.memory);
    this.neighbours = new Neighbours(this.views.memory);
    const host = {
      view: this.views.view,
      exports: this.exports,
      deviceIndex: (name: string) => this.devices.indexOf(name),
      deviceName: (index: number) => this.devices.nameOf(index),
      deviceIfindex: (index: number) => this.devices.ifindexOf(index),
      domainOf: (device: number, vni: number, make?: boolean) =>
        this.devices.domainOf(device, vni) || this.vnis.domainOf(device, vni, make),
      joinGroup: () => {},
      leaveGroup: () => {},
      ...surroundings,
      workers: blocks,
      now: () => this.tick(),
      emit: (event: VtepEvent) => this.notices.emit(event),
      isHeard: () => this.notices.isHeard,
    };
    this.vnis = new Vnis(
      {
        ...host,
        setDefault: (device, domain, before, after) => setDefault(this.fdb, device, domain, before, after),
        forgetVni: (device, vni) => this.policies.forgetVni(device, vni),
        rebind: (device) => this.mdb.rebind(device),
      },
      this.vni,
    );
    this.policies = new Policies({
      ...host,
      domainOf: (device, vni) => (this.vnis.has(device, vni) ? this.vnis.domainOf(device, vni) : 0),
    });
    this.peers = new Peers(host);
    this.fdb = new Fdb(host);
    this.mdb = new Mdb(host);
    this.tick();
  }

  /** Tells the engine the time; to be called at least once a second. Returns it in seconds, monotonic. */
  tick(): number {
    const now = Math.floor(performance.now() / 1000) + CLOCK_START;
    this.views.view.setUint32(HEADER_BASE + HEADER_NOW_OFFSET, now, true);
    return now;
  }

  /** No worker shows its frames to a hook any more. */
  forgetHooks(device: number): void {
    for (let block = 0; block < this.blocks; ++block)
      this.views.bytes[workerBase(block) + WORKER_HOOKED_OFFSET + device] = 0;
  }

  /** Tells the subscribers of a hook that this thread runs. */
  tellHookFailure({ device, direction, message }: HookFailure): void {
    const ifname = this.devices.nameOf(device);
    this.notices.emit({
      ...{ event: 'hook', change: 'fault', ifname, direction, file: '', generation: 0, reason: message },
    });
  }

  /** Everything that the tables hold of a device goes; it still has its name, and no worker has it in hand. */
  forgetDevice(device: number): void {
    this.fdb.flushDevice(device);
    this.fdb.setKnownSenders(device, false);
    this.mdb.flushDevice(device);
    this.vnis.remove(device);
    this.policies.remove(device);
    this.peers.remove(device);
    this.neighbours.clear(device);
  }

  /** Tells the subscribers what a worker has learned and missed, and how much of it is lost. */
  relayEvents(worker: number): void {
    const nameOf = (device: number) => this.devices.nameOf(device);
    drainEvents(this.views, worker, (event) => this.notices.relay(event, this.views.view, nameOf, this.fdb));
    const lost = lostEvents(this.views, worker);
    const more = (lost - (this.#lostTold[worker] ?? 0)) >>> 0;
    this.#lostTold[worker] = lost;
    if (more > 0 && this.notices.isHeard) this.notices.emit({ event: 'lost', lost: more });
  }

  /** Events of all workers that found no room. */
  get lostEvents(): number {
    let sum = 0;
    for (let block = 0; block < this.blocks; ++block) sum += lostEvents(this.views, block);
    return sum;
  }

  /** Entries in all FDBs. */
  get entries(): number {
    return this.views.view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true);
  }
}
