/** Devices come and go: every step of the one can be undone, and the other undoes them in reverse. */
import { AF_INET, MESSAGE_COUNT } from '../../assembly/layout.ts';
import { clearCounters } from '../dataplane/counters.ts';
import { AGEING_DEFAULT_SECONDS } from '../dataplane/device-features.ts';
import { VtepError } from '../errors.ts';
import { closeTap, openTap } from '../io/tap.ts';
import { ipBatch } from '../netlink/ip.ts';
import type { DeviceConfig } from '../types.ts';
import { type Core, tellLink } from './core.ts';
import {
  type CompleteConfig,
  type Device,
  familyOf,
  hasChecksum,
  mtuOf,
  randomMac,
  recordOf,
  remoteOf,
  scopeOf,
  underlayIndex,
} from './device.ts';
import { checkNew, reservedBitsOf } from './rules.ts';
import { releaseSource, retainSource } from './sources.ts';

/** Frames that a TAP may hold for us: bursts of many flows, each with its 64 KiB in flight. */
const TAP_QUEUE_FRAMES = 4096;

/** Makes a device; it is down. @throws VtepError; then nothing is left behind */
export async function createDevice(core: Core, asked: DeviceConfig): Promise<Device> {
  const { plane, workers, queues, devices } = core;
  const { name } = asked;
  if (devices.has(name)) {
    throw new VtepError('EXISTS', `link ${name}: File exists: delete it first, or choose another name`);
  }
  checkNew(asked, devices.values());
  const family = familyOf(asked);
  const link = underlayIndex(asked);
  const config: CompleteConfig = {
    ...asked,
    mtu: mtuOf(asked, family),
    address: asked.gpe ? '' : (asked.address ?? randomMac()),
    ageing: asked.ageing || AGEING_DEFAULT_SECONDS,
    reserved_bits: reservedBitsOf(asked),
  };
  const undo: (() => unknown)[] = [];
  try {
    const tap = openTap(name, queues, { uso: wantsUso(core, config), tun: config.gpe });
    undo.push(() => closeTap(tap));
    const address = config.address === '' ? '' : `address ${config.address} `;
    await ipBatch([
      `link set dev ${name} ${address}mtu ${config.mtu} txqueuelen ${TAP_QUEUE_FRAMES}`,
      // A super-frame of more segments than one batch has messages is cut by the kernel.
      `link set dev ${name} gso_max_segs ${MESSAGE_COUNT}`,
    ]);
    const index = plane.devices.claim(name);
    undo.push(() => plane.devices.release(index));
    const sources = retainSources(core, { config, family, link });
    undo.push(() => releaseSources(core, sources));
    const device: Device = {
      ...{ index, config, tap, family, link, ...sources },
      ...{ ifindex: tap.ifindex, place: core.home() },
      ...{ up: false, listeners: [], bridged: false, noarp: false },
    };
    clearCounters(plane.views, workers.count, index);
    undo.push(() => plane.fdb.setKnownSenders(index, false));
    plane.fdb.setKnownSenders(index, config.knownsenders === true);
    plane.devices.write(index, recordOf(device));
    plane.fdb.setDefaultRemote(index, undefined, remoteOf(config), link);
    undo.push(() => plane.forgetDevice(index));
    if (config.policy !== undefined) plane.policies.setDevice(index, { id: config.policy });
    setUpVnis(core, device);
    plane.devices.setQueues(index, tap.queues);
    plane.devices.setUp(index, false);
    workers.watchTap(tap.queues, index);
    devices.set(name, device);
    tellLink(core, device);
    return device;
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

export async function destroyDevice(core: Core, device: Device): Promise<void> {
  const { plane, workers, devices, lifecycle, tables, hooks } = core;
  const { index, tap } = device;
  // It may have gone from outside while this waited for its turn.
  if (devices.get(device.config.name) !== device) return;
  devices.delete(device.config.name);
  workers.unwatchTap(tap.queues);
  await lifecycle.lower(device, true);
  await hooks.forget(device);
  await workers.quiesce();
  plane.devices.setQueues(index, []);
  closeTap(tap);
  plane.forgetDevice(index);
  releaseSources(core, device);
  tables.forget(index);
  plane.devices.release(index);
  tellLink(core, device, true);
}

/** Neither the VTEP nor the device is without; the kernel may still be. */
export function wantsUso({ offloads }: Core, { uso = true, gpe }: DeviceConfig): boolean {
  return offloads.tapUso === 'on' && uso && !gpe;
}

/** What further VNIs and received frames of a device take from its options. */
export function setUpVnis(
  core: Core,
  { index, config, link }: Pick<Device, 'index' | 'config' | 'link'>,
): void {
  const address = remoteOf(config);
  if (config.external)
    core.plane.vnis.setRemote(index, address === undefined ? undefined : { address, ifindex: link });
}

/** Source groups for datagrams without and with DF; over IPv6 they are one. */
export function retainSources(
  core: Core,
  device: Pick<Device, 'config' | 'family' | 'link'>,
): Pick<Device, 'source' | 'sourceDf'> {
  const { views } = core.plane;
  const { config, family } = device;
  const group = {
    family,
    local: config.local ?? '',
    scope: scopeOf(device),
    noChecksum: !hasChecksum(config, family),
    ports: config.srcport,
  };
  const source = retainSource(views, { ...group, df: false });
  if (family !== AF_INET) return { source, sourceDf: source };
  try {
    return { source, sourceDf: retainSource(views, { ...group, df: true }) };
  } catch (error) {
    releaseSource(views, source);
    throw error;
  }
}

/** No worker may send from them any more. */
export function releaseSources(core: Core, { source, sourceDf }: Pick<Device, 'source' | 'sourceDf'>): void {
  releaseSource(core.plane.views, source);
  if (sourceDf !== source) releaseSource(core.plane.views, sourceDf);
}
