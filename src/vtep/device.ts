/**
 * One device of a VTEP: its TAP, listener, source groups and default remote, made in an order in which
 * every step can be undone, and undone in reverse.
 */
import ipaddr from 'ipaddr.js';
import { AF_INET, AF_INET6, OVERHEAD_IPV4_BYTES, OVERHEAD_IPV6_BYTES } from '../../assembly/layout.ts';
import type { DeviceRecord } from '../dataplane/devices.ts';
import { VtepError } from '../errors.ts';
import type { Family } from '../io/family.ts';
import { indexOf, stateOf } from '../io/interface.ts';
import type { Tap } from '../io/tap.ts';
import type { DeviceChange, DeviceConfig } from '../types.ts';
import type { Listener } from './listeners.ts';

const MTU_MIN = 68;
/** A TAP takes no more (65535 less its Ethernet header). */
const MTU_MAX = 65521;
const MTU_DEFAULT = 1500;

export interface Device {
  readonly index: number;
  config: DeviceConfig & { address: string; mtu: number };
  readonly tap: Tap;
  readonly listener: Listener;
  readonly family: Family;
  source: number;
  sourceDf: number;
  /** The interface has been deleted from outside. */
  gone: boolean;
}

/** IPv4 unless an address says otherwise. */
export function familyOf(config: DeviceConfig): Family {
  const addresses = [config.local, config.remote].filter((address) => address !== undefined);
  const kinds = new Set(addresses.map((address) => ipaddr.parse(address).kind()));
  if (kinds.size > 1) {
    throw new VtepError('USAGE', 'local and remote: both must be IPv4 addresses, or both IPv6');
  }
  return kinds.has('ipv6') ? AF_INET6 : AF_INET;
}

/** The MTU asked for, or what `dev` leaves; larger than that is cut down, as the kernel does at creation. */
export function mtuOf(config: DeviceConfig, family: Family): number {
  let most = MTU_MAX;
  if (config.dev !== undefined) {
    const underlay = stateOf(config.dev);
    if (underlay === undefined) {
      throw new VtepError('NOT_FOUND', `dev ${config.dev}: Cannot find device "${config.dev}"`);
    }
    most = underlay.mtu - (family === AF_INET ? OVERHEAD_IPV4_BYTES : OVERHEAD_IPV6_BYTES);
  }
  const mtu = config.mtu ?? (config.dev === undefined ? MTU_DEFAULT : most);
  if (mtu < MTU_MIN || mtu > MTU_MAX) {
    throw new VtepError('USAGE', `mtu ${mtu}: MTU must be between ${MTU_MIN} and ${MTU_MAX}`);
  }
  return Math.min(mtu, most);
}

/** ifindex of `dev`, 0 without. */
export function underlayIndex(config: DeviceConfig): number {
  if (config.dev === undefined) return 0;
  const index = indexOf(config.dev);
  if (index === 0) throw new VtepError('NOT_FOUND', `dev ${config.dev}: Cannot find device "${config.dev}"`);
  return index;
}

/** A random unicast MAC, locally administered, as the kernel gives. */
export function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function recordOf(device: Pick<Device, 'config' | 'family' | 'source' | 'sourceDf'>): DeviceRecord {
  const { config, family } = device;
  return {
    vni: config.id,
    address: config.address,
    mtu: config.mtu,
    family,
    port: config.dstport,
    learning: config.learning,
    ageing: config.ageing,
    maxaddress: config.maxaddress,
    ttl: config.ttl,
    tos: config.tos,
    df: config.df,
    source: device.source,
    sourceDf: device.sourceDf,
  };
}

export function hasChecksum(config: DeviceConfig, family: Family): boolean {
  return family === AF_INET ? config.udpcsum : !config.udp6zerocsumtx;
}

/** The configuration after a change. @throws VtepError when the kernel's driver would refuse */
export function changed(device: Device, change: DeviceChange): Device['config'] {
  const { up: _, ...values } = change;
  const config = { ...device.config };
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) Object.assign(config, { [key]: value });
  }
  if (change.ttl !== undefined && device.config.ttl === 'inherit') {
    throw new VtepError(
      'UNSUPPORTED',
      'ttl: cannot change TTL_INHERIT flag: delete the device and add it again',
    );
  }
  if (change.ageing === 0) config.ageing = device.config.ageing;
  if (familyOf(config) !== device.family) {
    throw new VtepError(
      'UNSUPPORTED',
      'remote and local: the address family cannot change: delete the device and add it again',
    );
  }
  return config;
}
