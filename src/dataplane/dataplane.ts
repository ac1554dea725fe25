/**
 * A dataplane: one memory, one engine on it, and the host's half of its tables. It knows no device and no
 * socket; a VTEP on TAPs and an embedder's program are built on the same thing.
 */
import {
  HEADER_BASE,
  HEADER_FDB_COUNT_OFFSET,
  HEADER_NOW_OFFSET,
  HEADER_OFFLOADS_OFFSET,
} from '../../assembly/layout.ts';
import { Devices } from './devices.ts';
import { compileEngine, type EngineBuild, instantiateEngine, preferredBuild } from './engine.ts';
import type { EngineExports } from './exports.ts';
import { Fdb } from './fdb.ts';
import { createMemory, type Views, viewsOf } from './memory.ts';
import { Vni } from './vni.ts';

/** Names of network interfaces, for `via`; an embedder without interfaces leaves it out. */
export interface InterfaceNames {
  /** 0 = there is none of that name. */
  ifindex(name: string): number;
  ifname(index: number): string;
}

const NO_INTERFACES: InterfaceNames = { ifindex: () => 0, ifname: (index) => `if${index}` };
/** Seconds that the clock begins at, so that "long ago" is not negative. */
const CLOCK_START = 1000;

export class Dataplane {
  readonly views: Views;
  readonly module: WebAssembly.Module;
  readonly exports: EngineExports;
  readonly devices: Devices;
  readonly vni: Vni;
  readonly fdb: Fdb;
  /** Worker blocks in the memory. */
  readonly blocks: number;

  /** @param offloads OFFLOAD_* bits that the surroundings can do */
  constructor(
    blocks: number,
    offloads: number,
    names: InterfaceNames = NO_INTERFACES,
    build: EngineBuild = preferredBuild(),
  ) {
    this.blocks = blocks;
    this.module = compileEngine(build);
    this.views = viewsOf(createMemory(blocks));
    this.exports = instantiateEngine(this.module, this.views.memory);
    this.views.view.setUint32(HEADER_BASE + HEADER_OFFLOADS_OFFSET, offloads, true);
    this.devices = new Devices(this.views);
    this.vni = new Vni(this.views.memory);
    this.fdb = new Fdb({
      view: this.views.view,
      exports: this.exports,
      deviceIndex: (name) => this.devices.indexOf(name),
      deviceName: (index) => this.devices.nameOf(index),
      ifindex: names.ifindex,
      ifname: names.ifname,
      now: () => this.tick(),
    });
    this.tick();
  }

  /** Tells the engine the time; to be called at least once a second. Returns it in seconds, monotonic. */
  tick(): number {
    const now = Math.floor(performance.now() / 1000) + CLOCK_START;
    this.views.view.setUint32(HEADER_BASE + HEADER_NOW_OFFSET, now, true);
    return now;
  }

  /** Entries in all FDBs. */
  get entries(): number {
    return this.views.view.getUint32(HEADER_BASE + HEADER_FDB_COUNT_OFFSET, true);
  }
}
