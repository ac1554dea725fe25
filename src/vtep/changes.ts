/** `link set`: all of a change or nothing of it. What can be refused comes first, and each step can be undone. */
import { VtepError } from '../errors.ts';
import { setUso } from '../io/tap.ts';
import { ipBatch } from '../netlink/ip.ts';
import type { DeviceChange } from '../types.ts';
import { type Core, rename, tellLink } from './core.ts';
import { releaseSources, retainSources, setUpVnis, wantsUso } from './creation.ts';
import { type CompleteConfig, type Device, recordOf, remoteOf, scopeOf, underlayIndex } from './device.ts';
import { changed } from './rules.ts';

/** @throws VtepError; then the device is as before */
export async function changeDevice(core: Core, device: Device, change: DeviceChange): Promise<void> {
  const { plane, lifecycle, workers } = core;
  const before = device.config;
  const config = changed(device, change);
  const link = change.dev === undefined ? device.link : underlayIndex(config);
  const next = { config, link };
  const raises = change.up === true && !device.up;
  const undo: (() => unknown)[] = [];
  let sources: Pick<Device, 'source' | 'sourceDf'> | undefined;
  try {
    if (config.local !== before.local || scopeOf(next) !== scopeOf(device)) {
      sources = retainSources(core, { ...next, family: device.family });
      const made = sources;
      undo.push(() => releaseSources(core, made));
    }
    if (raises) {
      await lifecycle.raise(device);
      undo.push(() => lifecycle.lower(device));
    }
    undo.push(lifecycle.joinInstead(device, next));
    undo.push(moveDefault(core, device, next));
    undo.push(switchOffloads(core, device, config));
    undo.push(() => setUpVnis(core, device));
    setUpVnis(core, { index: device.index, ...next });
    await setInterface(device, change, config, raises);
  } catch (error) {
    for (const step of undo.reverse()) await takeBack(core, step);
    throw error;
  }
  const { source, sourceDf } = device;
  // The name may have been changed from outside while `ip` ran; here it is what was asked for.
  Object.assign(device, { link, ...sources, config: { ...config, name: device.config.name } });
  if (change.name !== undefined) rename(core, device, change.name);
  if (config.knownsenders) plane.fdb.setKnownSenders(device.index, true);
  plane.devices.write(device.index, recordOf(device));
  if (!config.knownsenders) plane.fdb.setKnownSenders(device.index, false);
  if (change.policy !== undefined) plane.policies.setDevice(device.index, { id: change.policy });
  if (sources !== undefined) {
    await workers.quiesce();
    releaseSources(core, { source, sourceDf });
  }
  if (change.up === false) await lifecycle.lower(device);
  tellLink(core, device);
}

/** What went wrong first is what the caller hears. */
async function takeBack(core: Core, step: () => unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    core.log('error', `a refused change could not be taken back: ${(error as Error).message}`);
  }
}

/** The new default destination is appended, then the old one leaves. Returns how to take it back. */
function moveDefault(core: Core, device: Device, next: Pick<Device, 'config' | 'link'>): () => void {
  const { fdb } = core.plane;
  const { index, config, link } = device;
  const [before, after] = [remoteOf(config), remoteOf(next.config)];
  // As in the kernel: another `dev` alone leaves the entry as it is.
  if (before === after) return () => {};
  fdb.setDefaultRemote(index, undefined, after, next.link);
  fdb.setDefaultRemote(index, before, undefined, link);
  return () => {
    fdb.setDefaultRemote(index, undefined, before, link);
    fdb.setDefaultRemote(index, after, undefined, next.link);
  };
}

/** What arrives in bundles, and UDP super-frames of the TAP. Returns how to take it back. */
function switchOffloads(core: Core, device: Device, config: CompleteConfig): () => void {
  const set = (wanted: CompleteConfig) => {
    for (const listener of device.listeners)
      core.listeners.bundle(listener, device.index, wanted.gro ?? true);
    if (wantsUso(core, wanted) !== device.tap.uso && !wanted.gpe) setUso(device.tap, wantsUso(core, wanted));
  };
  const before = device.config;
  set(config);
  return () => set(before);
}

/** What the TAP itself has: one step that can fail in its midst is taken back by another. */
async function setInterface(
  device: Device,
  change: DeviceChange,
  config: CompleteConfig,
  raised: boolean,
): Promise<void> {
  const { config: before, place } = device;
  const wasUp = device.up && !raised;
  const name = before.name;
  const commands: string[] = [];
  const back: string[] = [];
  const set = (words: string, old: string) => {
    commands.push(`link set dev ${name} ${words}`);
    back.unshift(`link set dev ${name} ${old}`);
  };
  if (change.address !== undefined) set(`address ${change.address}`, `address ${before.address}`);
  if (config.mtu !== before.mtu) set(`mtu ${config.mtu}`, `mtu ${before.mtu}`);
  if (change.up !== undefined) set(change.up ? 'up' : 'down', wasUp ? 'up' : 'down');
  if (change.name !== undefined && change.name !== name)
    commands.push(`link set dev ${name} name ${change.name}`);
  if (commands.length === 0) return;
  if (place === undefined) {
    throw new VtepError(
      'SYSTEM',
      `link ${name}: Cannot find device "${name}": it was moved to a network namespace that can't be entered: move it back`,
    );
  }
  try {
    await ipBatch(commands, place.within);
  } catch (error) {
    for (const command of back) await ipBatch([command], place.within).catch(() => undefined);
    throw error;
  }
}
