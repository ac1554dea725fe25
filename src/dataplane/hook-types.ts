/** What a program sees of hooks: functions and WebAssembly modules that decide on each packet of a device. */

import type { HookDirection } from '../types.ts';
import type { EngineMemory } from './wasm-types.ts';

export type { HookDirection };

/** Out of a device's port, as if it had arrived there; or into its tunnel, as if it had come from its port. */
export type HookWay = 'port' | 'tunnel';

/**
 * The packets of a batch, one after the other; the object itself shows the one at hand. It is over when the function
 * returns. What the function moves on from, or leaves out, passes; what it changes in `bytes` is changed.
 * @throws VtepError USAGE, by all of it, when there is no packet at hand
 */
export interface HookBatch {
  readonly direction: HookDirection;
  /** On to the next one, or the first. False: there is none. */
  next(): boolean;
  /**
   * The frame, from the Ethernet header on (of a GPE device: the IP packet). The same view as the last time, where place
   * and size are the same; `memory` and `offset` are for those who do without views.
   */
  readonly bytes: Uint8Array;
  readonly memory: Uint8Array;
  readonly offset: number;
  readonly length: number;
  /** Number of the device whose hook it is. */
  readonly device: number;
  /** Decap: that it came with. Encap: that it goes out under, as it is; 0 = none (a VLAN that is mapped to none). */
  readonly vni: number;
  /** Where the IP header begins, 0 = not IP, or no whole header (and always, of a GPE device). */
  readonly l3: number;
  /** Decap: address of the host that it came from; encap: "". */
  readonly sender: string;
  /** Decap: outer TOS or traffic class. */
  readonly tos: number;
  /** The checksum of TCP or UDP is that of the pseudo header only, and is completed later. */
  readonly isPartial: boolean;
  /** A super-frame, which is cut into segments later. */
  readonly isSuper: boolean;
  /** Bytes before the frame that `push` may take. */
  readonly headroom: number;
  /** The frame begins `count` bytes earlier; what is in them is the function's to write. @throws VtepError USAGE */
  push(count: number): void;
  /** The frame begins `count` bytes later. @throws VtepError USAGE */
  pull(count: number): void;
  /** The frame has `length` bytes, no more than it had. @throws VtepError USAGE */
  trim(length: number): void;
  /** On its own way, as it is now. */
  pass(): void;
  /** Counted: `drop_hook`, on arrival `drop_hook_received`. */
  drop(): void;
  /** Instead of its own way. @param device number of one that is up. @throws VtepError USAGE */
  redirect(device: number, way?: HookWay): void;
  /** A copy, beside whatever becomes of it. One for each packet. @throws VtepError USAGE */
  mirror(device: number, way?: HookWay): void;
}

/**
 * Decides on a batch. When it throws, the packets that it has not decided on are dropped and counted as
 * `drop_hook_fault`; nobody else sees the error but who asked for it.
 */
export type HookFunction = (batch: HookBatch) => void;

/** A hook that failed, at most once a second. */
export interface HookFailure {
  readonly device: number;
  readonly direction: HookDirection;
  readonly message: string;
}

/** What is called with records (assembly/layout.ts). It never throws; what it returns is why it failed. */
export interface HookRunner {
  run(records: number, count: number): { readonly message: string } | undefined;
}

/** Where a module's instance lives on the memory. */
export interface HookPlace {
  /** Its own HOOK_AREA_BYTES. */
  readonly area: number;
  /** Records and frames: what it may reach of the rest. */
  readonly low: number;
  readonly high: number;
}

/** A hook that needs memory of its own: a WebAssembly module. */
export interface HookModule<Runner extends HookRunner = HookRunner> {
  instantiate(memory: EngineMemory, place: HookPlace): Runner;
}
