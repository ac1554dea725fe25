/**
 * What programs hand to `createVtep`, and what it gives. Types only, and none but of types: a program's compiler need not
 * read the rest of us.
 */
import type { CompiledHook, HookProgram } from '../dataplane/hook-program.ts';
import type { HookFunction } from '../dataplane/hook-types.ts';
import type { FramePort } from '../io/frame-port.ts';
import type { Underlay } from '../io/underlay.ts';
import type { DeviceInfo, DeviceRequest, HookDirection, Vtep } from '../types.ts';

/** Is handed the log, line by line; nothing is printed without one. */
export type Logger = (level: 'info' | 'warn' | 'error', message: string) => void;

/** How frames cross the border to a TAP: a system call for each, io_uring, or whichever is better and permitted. */
export type EngineChoice = 'auto' | 'batched' | 'uring';

/** Of a VTEP on TAPs and batched sockets. */
export interface VtepOptions {
  /** Queues of each TAP, each with workers of its own; 1 unless given. */
  queues?: number;
  /**
   * Offloads to do without, e.g. on a kernel that has one of them broken. All on unless given. What is off here is
   * off for every device; what is on, each device may switch off for itself (`gso`, `gro`, `uso`).
   */
  offloads?: { udpSegment?: boolean; udpGro?: boolean; coalesce?: boolean; tapUso?: boolean };
  /** How frames cross the border to a TAP; what VXLANE_ENGINE says unless given, and `auto` without that. */
  engine?: EngineChoice;
  /**
   * Threads of each queue: 2 = one a direction, 1 = both on one. Unless given, 2 where there are cores for them and as
   * many again for the programs that talk.
   */
  threads?: 1 | 2;
  /** Microseconds that a worker looks for more after work, before it sleeps; 100 unless given, 0 = none. */
  spin?: number;
  /** Closes the VTEP when it aborts. */
  signal?: AbortSignal;
  logger?: Logger;
}

/** A device of a portable VTEP: `DeviceConfig`, of which the name and `id` are enough, and where its frames go. */
export interface PortDeviceRequest extends DeviceRequest {
  /** The device's from now on: closed when the device is deleted. */
  port: FramePort;
  /** Unless false the device is up at once. */
  up?: boolean;
}

/** Of a VTEP whose devices have ports. */
export interface PortableVtepOptions {
  /** What carries the datagrams: `dgramUnderlay()`, a host of `createMemoryNetwork()`, or a program's own. */
  underlay: Underlay;
  /** Closes the VTEP when it aborts. */
  signal?: AbortSignal;
  logger?: Logger;
}

/** What `createVtep({ underlay })` gives: a `Vtep` whose devices have ports. */
export interface PortableVtep extends Vtep {
  /** @throws VtepError USAGE, EXISTS, IN_USE, PERMISSION, UNSUPPORTED, NO_SPACE; then there is no device, and the port is the caller's to close */
  addDevice(device: PortDeviceRequest): Promise<DeviceInfo>;
  /**
   * What `proxy` answers from and `rsc` routes by: the overlay's own IP addresses.
   * @param mac absent: it is no neighbour any more. @throws VtepError NOT_FOUND, USAGE, NO_SPACE
   */
  setNeighbour(device: string, address: string, mac?: string): void;
  /**
   * Has a function, or what `compileHook` gave, decide on each packet of a device; `undefined`: nothing any more. What it
   * sends out of ports and into tunnels goes there by itself. A `hook` event tells when it fails.
   * @returns of a module its instance, which can be configured and read
   * @throws VtepError NOT_FOUND, USAGE, NO_SPACE; then nothing has changed
   */
  setHook(
    device: string,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined;
}
