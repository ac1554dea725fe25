/**
 * What the host and a worker thread tell each other about hooks. A thread never returns to its event loop: it looks at a
 * word of its control block between two rounds, and takes its messages only when that has changed.
 *
 * A program comes in two steps, so that all threads have it or none: each prepares it (instantiates or imports it, hands
 * it its rules), then, when all could, each switches to it between two rounds.
 */
import type { MessagePort } from 'node:worker_threads';
import { DEVICE_COUNT } from '../../assembly/layout.ts';
import type { CompiledHook } from '../dataplane/hook-program.ts';
import type { HookDirection, OnStop } from '../types.ts';

/** One direction of one device: where one program at a time may be. */
export interface Seat {
  readonly device: number;
  readonly direction: HookDirection;
}

export type HookCode =
  | { readonly kind: 'wasm'; readonly compiled: CompiledHook; readonly fuel: number }
  /** A module's URL. */
  | { readonly kind: 'js'; readonly url: string };

export interface Program extends Seat {
  /** Of one VTEP no two programs have the same. */
  readonly generation: number;
  readonly code: HookCode;
  readonly onstop: OnStop;
  readonly rules?: Uint8Array;
}

export type HookOrder =
  | { step: 'prepare'; program: Program }
  /** To what has been prepared; what was there before goes. */
  | { step: 'switch'; generation: number }
  /** What has been prepared is not wanted. */
  | { step: 'forget'; generation: number }
  | { step: 'remove'; seat: Seat }
  /** Whatever comes to the seat is dropped. */
  | { step: 'close'; seat: Seat };

export type HookReport =
  /** The order with this number (they count from 1) has been carried out, or why not. */
  | { done: number; refused?: string }
  /** A program has failed; told once a while. `isLast`: it is not called again. */
  | { fault: string; seat: Seat; generation: number; isLast?: boolean };

/** What threads are to have. */
export interface HookState {
  readonly programs: readonly Program[];
  /** Where a program has been stopped, and nothing passes without it. */
  readonly closed: readonly Seat[];
}

/** What a thread starts with: of one that takes another one's place, also what that one had. */
export interface HookStart extends HookState {
  /** CONTROL_WORDS of i32, and STATS of f64 behind them. */
  readonly control: SharedArrayBuffer;
  readonly port: MessagePort;
}

/** i32s: orders posted; what the thread does with JavaScript; how often it has begun to; for which seat, and program. */
export const CONTROL_ORDERS = 0;
export const CONTROL_STATE = 1;
export const CONTROL_CALLS = 2;
export const CONTROL_SEAT = 3;
export const CONTROL_GENERATION = 4;
/** i32s: what the batch is that programs are shown: HELD_*; device or listener; records or messages; first record of the call. */
export const CONTROL_HELD = 5;
export const CONTROL_HELD_BY = 6;
export const CONTROL_HELD_COUNT = 7;
export const CONTROL_HELD_RECORD = 8;
/** i32: descriptors that only the thread knows, -1 = none: what it leaves behind when it is terminated. */
export const CONTROL_DESCRIPTORS = 9;
export const CONTROL_DESCRIPTORS_MAX = 23;
export const CONTROL_WORDS = 32;

/** CONTROL_STATE */
export const IDLE = 0;
export const LOADING = 1;
export const CALLING = 2;

/** CONTROL_HELD */
export const HELD_NOTHING = 0;
export const HELD_FRAMES = 1;
export const HELD_DATAGRAMS = 2;

/** f64s behind the words: packets shown to the program of each seat. */
export const STATS_OFFSET = CONTROL_WORDS * 4;
/** i32s behind those, for each seat: generation of its module in WebAssembly, 0 = it has none; the area that it has. */
export const AREAS_OFFSET = STATS_OFFSET + DEVICE_COUNT * 2 * 8;
export const CONTROL_BYTES = AREAS_OFFSET + DEVICE_COUNT * 2 * 8;

export function seatNumber({ device, direction }: Seat): number {
  return device * 2 + (direction === 'encap' ? 0 : 1);
}

export function seatOf(number: number): Seat {
  return { device: number >>> 1, direction: (number & 1) === 0 ? 'encap' : 'decap' };
}
