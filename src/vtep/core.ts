/** What the parts of a VTEP share. */
import type { Dataplane } from '../dataplane/dataplane.ts';
import type { VtepEvent } from '../types.ts';
import type { Device } from './device.ts';
import type { Groups } from './groups.ts';
import type { Hooks } from './hooks.ts';
import type { KernelTables } from './kernel-tables.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Listeners } from './listeners.ts';
import type { Offloads } from './offloads.ts';
import type { Place } from './places.ts';
import type { Workers } from './workers.ts';

export type Logger = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface Core {
  readonly plane: Dataplane;
  readonly workers: Workers;
  readonly listeners: Listeners;
  readonly groups: Groups;
  readonly hooks: Hooks;
  readonly lifecycle: Lifecycle;
  readonly tables: KernelTables;
  readonly offloads: Offloads;
  /** Pairs of worker threads. */
  readonly queues: number;
  /** By name. */
  readonly devices: Map<string, Device>;
  /** The VTEP's own network namespace. */
  readonly home: () => Place;
  readonly log: Logger;
  readonly emit: (event: VtepEvent) => void;
  /** Changes run one after the other. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Tells of a device that has come, gone, or changed its state. */
export function tellLink(core: Core, device: Device, deleted = false): void {
  const { config, ifindex, up } = device;
  core.emit({ event: 'link', deleted, ifname: config.name, ifindex, up });
}

/** Under its new name from now on. */
export function rename(core: Core, device: Device, name: string): void {
  const before = device.config.name;
  if (before === name) return;
  if (core.devices.get(before) === device) core.devices.delete(before);
  device.config.name = name;
  core.devices.set(name, device);
  core.plane.devices.rename(device.index, name);
}
