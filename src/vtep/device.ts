/** One device of a VTEP: what it is made of, and what follows from its configuration. */
import ipaddr from 'ipaddr.js';
import { AF_INET, AF_INET6 } from '../../assembly/layout.ts';
import { type DeviceFeatures, MTU_DEFAULT } from '../dataplane/device-features.ts';
import type { DeviceRecord } from '../dataplane/devices.ts';
import { VtepError } from '../errors.ts';
import type { Family } from '../io/family.ts';
import { indexOf, stateOf } from '../io/interface.ts';
import type { Tap } from '../io/tap.ts';
import type { DeviceConfig } from '../types.ts';
import type { Listener } from './listeners.ts';
import type { Place } from './places.ts';

// The rules of the daemon ask for it too.
export { formatBits, usedBits } from '../dataplane/device-features.ts';

export const MTU_MIN = 68;
/** A TAP takes no more (65535 less its Ethernet header). */
export const MTU_MAX = 65521;
/** What the kernel's device takes, and its sentences name. */
const MTU_MAX_KERNEL = 65535;
/** Outer headers, UDP and VXLAN, and the inner Ethernet header, which GPE has none of. */
const OVERHEAD_BYTES = { [AF_INET]: 36, [AF_INET6]: 56 };
const ETHERNET_BYTES = 14;

/** What an underlay packet has beside the inner IP packet. */
export function overheadOf(family: Family, gpe: boolean): number {
  return OVERHEAD_BYTES[family] + (gpe ? 0 : ETHERNET_BYTES);
}

/** What stands in the record of a TUN, which has none. */
export const NO_MAC = '00:00:00:00:00:00';

/** Every default filled in; a TUN has no MAC. */
export type CompleteConfig = DeviceConfig & { address: string; mtu: number };

export interface Device {
  readonly index: number;
  config: CompleteConfig;
  readonly tap: Tap;
  readonly family: Family;
  /** ifindex of the TAP, in the network namespace that it is in; undefined: in one that can't be followed. */
  ifindex: number;
  place: Place | undefined;
  /** ifindex of `dev`, 0 = none. */
  link: number;
  /** Source groups for datagrams without and with DF. */
  source: number;
  sourceDf: number;
  /** The TAP is up and the ports are open. */
  up: boolean;
  /** Open ports; none while it is down. */
  listeners: Listener[];
  /** The TAP is a port of a bridge. */
  bridged: boolean;
  /** Its interface does no ARP (IFF_NOARP): the proxy swallows requests. */
  noarp: boolean;
}

/** IPv4 unless an address says otherwise. */
export function familyOf(config: DeviceConfig): Family {
  const addresses = [config.local, config.remote, config.group];
  return addresses.some((address) => address !== undefined && isIpv6(address)) ? AF_INET6 : AF_INET;
}

export function isIpv6(address: string): boolean {
  return ipaddr.parse(address).kind() === 'ipv6';
}

/** Where unknown MACs go. */
export function remoteOf(config: DeviceConfig): string | undefined {
  return config.group ?? config.remote;
}

export function isLinkLocal(config: DeviceConfig): boolean {
  return (
    config.local !== undefined && ipaddr.parse(config.local).range() === 'linkLocal' && isIpv6(config.local)
  );
}

/** ifindex that the device's own address belongs to, when that is link-local; else 0. */
export function scopeOf({ config, link }: Pick<Device, 'config' | 'link'>): number {
  return isLinkLocal(config) ? link : 0;
}

/** The largest MTU that `dev` leaves; a TAP's without one. */
export function mtuMax(config: DeviceConfig, family: Family): number {
  if (config.dev === undefined) return MTU_MAX;
  const underlay = stateOf(config.dev);
  if (underlay === undefined) throw noDevice(config.dev);
  return Math.min(MTU_MAX, Math.max(MTU_MIN, underlay.mtu - overheadOf(family, config.gpe)));
}

/** The MTU asked for, or what `dev` leaves; larger than that is cut down, as the kernel does at creation. */
export function mtuOf(config: DeviceConfig, family: Family): number {
  const most = mtuMax(config, family);
  const mtu = config.mtu ?? (config.dev === undefined ? MTU_DEFAULT : most);
  if (mtu < MTU_MIN || mtu > MTU_MAX_KERNEL) {
    throw new VtepError('USAGE', `mtu ${mtu}: MTU must be between ${MTU_MIN} and ${MTU_MAX_KERNEL}`);
  }
  return Math.min(mtu, most);
}

/** ifindex of `dev`, 0 without. */
export function underlayIndex(config: DeviceConfig): number {
  if (config.dev === undefined) return 0;
  const index = indexOf(config.dev);
  if (index === 0) throw noDevice(config.dev);
  return index;
}

function noDevice(dev: string): VtepError {
  return new VtepError('NOT_FOUND', `dev ${dev}: Cannot find device "${dev}": "ip link show" lists them`);
}

/** A random unicast MAC, locally administered, as the kernel gives. */
export function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** What decides about sharing a port and about the header bits. */
export function featuresOf(config: DeviceConfig, { bridged = false, noarp = false } = {}): DeviceFeatures {
  const { proxy, rsc, l2miss, l3miss, localbypass, external, vnifilter, gbp, gpe } = config;
  const { remcsumtx, remcsumrx, udp6zerocsumrx } = config;
  const {
    proxyforward = false,
    latelearning = false,
    honourdontlearn = false,
    knownsenders = false,
    knownpeers = false,
  } = config;
  const { gso, gro = true, uso = true } = config;
  return {
    ...{ proxy, rsc, l2miss, l3miss, localbypass, external, vnifilter, gbp, gpe },
    ...{ remcsumtx, remcsumrx, udp6zerocsumrx, linkLocal: isLinkLocal(config), bridged, noarp },
    ...{ proxyforward, latelearning, honourdontlearn, knownsenders, knownpeers },
    ...{ gsoOff: gso === 'off', gsoTunnel: gso === 'tunnel', groOff: !gro, usoOff: !uso },
  };
}

export function recordOf(
  device: Pick<
    Device,
    'config' | 'family' | 'source' | 'sourceDf' | 'ifindex' | 'link' | 'bridged' | 'noarp'
  > & { tap: Pick<Tap, 'uso'> },
): DeviceRecord {
  const { config, family, tap } = device;
  const features = featuresOf(config, device);
  // Also where the kernel takes none: before Linux 6.2, and for a TUN.
  features.usoOff = !tap.uso;
  return {
    vni: config.id,
    address: config.address || NO_MAC,
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
    features,
    flowlabel: config.flowlabel,
    ifindex: device.ifindex,
    link: device.link,
    ...(config.reserved_bits === undefined ? {} : { reservedBits: BigInt(config.reserved_bits) }),
  };
}

export function hasChecksum(config: DeviceConfig, family: Family): boolean {
  return family === AF_INET ? config.udpcsum : !config.udp6zerocsumtx;
}
