/**
 * What the kernel's driver refuses about a device as a whole, in the order in which it looks and with its own
 * sentences (drivers/net/vxlan). Everything is looked at before anything is changed.
 */
import { readFileSync } from 'node:fs';
import ipaddr from 'ipaddr.js';
import { AF_INET6 } from '../../assembly/layout.ts';
import {
  AGEING_DEFAULT_SECONDS,
  formatBits,
  receiveBits,
  reservedBits,
  usedBits,
} from '../dataplane/device-features.ts';
import { VtepError } from '../errors.ts';
import type { Family } from '../io/family.ts';
import { indexOf } from '../io/interface.ts';
import type { DeviceChange, DeviceConfig } from '../types.ts';
import {
  type CompleteConfig,
  type Device,
  familyOf,
  featuresOf,
  isIpv6,
  isLinkLocal,
  MTU_MAX,
  MTU_MIN,
  mtuMax,
  remoteOf,
} from './device.ts';

/** What remedies everything that is fixed at creation. */
export const ADD_AGAIN = 'delete the device and add it again';
const UNICAST = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i;

/** A device that is to be made. @throws VtepError USAGE, EXISTS or UNSUPPORTED */
export function checkNew(config: DeviceConfig, others: Iterable<Pick<Device, 'config' | 'family'>>): void {
  const { name, local, address } = config;
  if (address !== undefined && !config.gpe && (!UNICAST.test(address) || /^0+(:0+){5}$/.test(address))) {
    throw refusal(
      `address ${address}`,
      'Provided Ethernet address is not unicast',
      'clear the lowest bit of its first byte',
    );
  }
  const family = checkAddresses(config);
  if (config.bind && local === undefined) throw refusal('bind', 'needs "local"', 'the address to receive on');
  checkNeeds(config);
  reservedBitsOf(config);
  for (const other of others) {
    if (!isSame(config, family, other)) continue;
    throw new VtepError(
      'EXISTS',
      `link ${name}: A VXLAN device with the specified VNI already exists: ${other.config.name} has id ${config.id} on port ${config.dstport}`,
    );
  }
}

/** Our own options that are nothing without another one. */
function checkNeeds({ proxyforward, proxy, honourdontlearn, gbp, knownpeers, gpe }: DeviceConfig): void {
  if (proxyforward && !proxy) throw refusal('proxyforward', 'needs "proxy"', 'say both, or leave it out');
  if (honourdontlearn && !gbp) throw refusal('honourdontlearn', 'needs "gbp"', 'say both, or leave it out');
  if (knownpeers && gpe) throw refusal('knownpeers', 'packets of "gpe" have no MAC', 'leave one of them out');
}

/** Addresses, scopes, `dev` and the flow label. Returns the family of the underlay. */
function checkAddresses(config: DeviceConfig): Family {
  const { local, dev, flowlabel } = config;
  const far = remoteOf(config);
  if (local !== undefined && far !== undefined && isIpv6(local) !== isIpv6(far)) {
    throw refusal(
      'local and remote',
      'Local and remote address must be from the same family',
      'IPv4 both, or IPv6',
    );
  }
  if (local !== undefined && isMulticast(local)) {
    throw refusal(`local ${local}`, 'Local address cannot be multicast', 'give one of this host');
  }
  const family = familyOf(config);
  if (family === AF_INET6) checkScopes(config);
  if (flowlabel !== 0 && family !== AF_INET6) {
    const what = flowlabel === 'inherit' ? 'policy' : 'attribute';
    throw refusal('flowlabel', `Label ${what} only applies to IPv6 VXLAN devices`, 'leave it out');
  }
  if (dev === undefined) {
    if (far !== undefined && isMulticast(far)) {
      throw refusal(
        `group ${far}`,
        'Local interface required for multicast remote destination',
        'give "dev"',
      );
    }
    if (isLinkLocal(config)) {
      throw refusal('dev', 'Local interface required for link-local local/remote addresses', 'give "dev"');
    }
  } else if (family === AF_INET6 && isIpv6Disabled(dev)) {
    throw refusal(
      `dev ${dev}`,
      'IPv6 support disabled by administrator',
      `sysctl net.ipv6.conf.${dev}.disable_ipv6=0`,
    );
  }
  return family;
}

function checkScopes(config: DeviceConfig): void {
  const far = remoteOf(config);
  const scope = far === undefined ? undefined : scopeOf(far);
  // A group of another scope than an interface's own is no match for a link-local address either.
  const wrong = isLinkLocal(config)
    ? scope !== undefined && scope !== 'link'
    : far !== undefined && scope === 'link' && !isMulticast(far);
  if (wrong) {
    throw refusal(
      'local and remote',
      'Invalid combination of local and remote address scopes',
      'both must be link-local',
    );
  }
}

/** The bits of a device, filled in. @throws VtepError USAGE when they are in use */
export function reservedBitsOf(config: DeviceConfig): string {
  const features = featuresOf(config);
  if (config.reserved_bits === undefined) return formatBits(reservedBits(features));
  const wanted = BigInt(config.reserved_bits);
  const used = usedBits(features);
  if ((wanted & used) !== 0n) {
    throw refusal(
      'reserved_bits',
      `Used bits ${formatBits(used)} cannot overlap reserved bits ${formatBits(wanted)}`,
      'leave those out',
    );
  }
  return formatBits(wanted);
}

/** Whether two devices would be handed the same datagrams. `local` has no part in it. */
function isSame(config: DeviceConfig, family: Family, other: Pick<Device, 'config' | 'family'>): boolean {
  const taken = other.config;
  // What a device with `vnifilter` receives is checked by VNI.
  if (taken.vnifilter || taken.id !== config.id || taken.dstport !== config.dstport) return false;
  if (taken.bind && config.bind && taken.local !== config.local) return false;
  if (receiveBits(featuresOf(taken)) !== receiveBits(featuresOf(config)) || other.family !== family)
    return false;
  return !isLinkLocal(config) || !isLinkLocal(taken) || taken.dev === config.dev;
}

/**
 * The configuration after a change.
 * @throws VtepError USAGE, EXISTS or UNSUPPORTED when the kernel would refuse
 */
export function changed(device: Pick<Device, 'config' | 'family'>, change: DeviceChange): CompleteConfig {
  const { config: before, family } = device;
  const { up: _, ttl, ...values } = change;
  const config = { ...before };
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) Object.assign(config, { [key]: value });
  }
  if (change.remote !== undefined) delete config.group;
  if (change.group !== undefined) delete config.remote;
  // No address in particular: there is no default destination any more.
  const far = remoteOf(config);
  if (far !== undefined && isUnspecified(far)) {
    delete config.remote;
    delete config.group;
  }
  // A device that inherits the TTL goes on doing so: the kernel takes the new value and never uses it.
  if (ttl !== undefined && before.ttl !== 'inherit') config.ttl = ttl;
  if (change.ageing === 0) config.ageing = AGEING_DEFAULT_SECONDS;
  checkFamilies(change, family);
  checkNeeds(config);
  checkAddresses(config);
  checkInterface(device, change, config);
  return config;
}

function checkFamilies(change: DeviceChange, family: Family): void {
  const isOther = (address: string | undefined) =>
    address !== undefined && isIpv6(address) !== (family === AF_INET6);
  if (isOther(change.remote) || isOther(change.group)) {
    throw unchangeable('remote', 'New group address family does not match old group');
  }
  if (isOther(change.local)) throw unchangeable('local', 'New local address family does not match old');
}

/** What `ip link set` would be refused for the interface itself. */
function checkInterface(
  device: Pick<Device, 'config' | 'family'>,
  change: DeviceChange,
  config: CompleteConfig,
): void {
  const { name, address, mtu, dev } = change;
  if (name !== undefined && name !== device.config.name && indexOf(name) !== 0) {
    throw new VtepError(
      'EXISTS',
      `link ${device.config.name} name ${name}: File exists: choose another name`,
    );
  }
  if (address !== undefined && !UNICAST.test(address)) {
    throw refusal(
      `address ${address}`,
      'Cannot assign requested address',
      'clear the lowest bit of its first byte',
    );
  }
  if (mtu !== undefined) {
    if (mtu < MTU_MIN) throw refusal(`mtu ${mtu}`, 'mtu less than device minimum', `${MTU_MIN} is the least`);
    if (mtu > MTU_MAX)
      throw refusal(`mtu ${mtu}`, 'mtu greater than device maximum', `${MTU_MAX} is the most`);
  }
  if (mtu === undefined && dev === undefined) return;
  const most = mtuMax(config, device.family);
  if (mtu === undefined) {
    // A narrower underlay takes the device's MTU along.
    config.mtu = Math.min(config.mtu, most);
  } else if (mtu > most) {
    throw refusal(`mtu ${mtu}`, 'Invalid argument', `${most} is the most that ${config.dev} leaves`);
  }
}

function refusal(what: string, sentence: string, remedy: string): VtepError {
  return new VtepError('USAGE', `${what}: ${sentence}: ${remedy}`);
}

function unchangeable(what: string, sentence: string): VtepError {
  return new VtepError('UNSUPPORTED', `${what}: ${sentence}: ${ADD_AGAIN}`);
}

function isUnspecified(address: string): boolean {
  return ipaddr.parse(address).range() === 'unspecified';
}

export function isMulticast(address: string): boolean {
  return ipaddr.parse(address).range() === 'multicast';
}

/** `link` for link-local addresses, unicast or multicast; undefined for the unspecified one. */
function scopeOf(address: string): 'link' | 'other' | undefined {
  const parsed = ipaddr.parse(address);
  const range = parsed.range();
  if (range === 'unspecified') return undefined;
  if (range === 'multicast') return (parsed.toByteArray()[1]! & 0x0f) === 2 ? 'link' : 'other';
  return range === 'linkLocal' ? 'link' : 'other';
}

function isIpv6Disabled(dev: string): boolean {
  try {
    return readFileSync(`/proc/sys/net/ipv6/conf/${dev}/disable_ipv6`, 'utf8').trim() === '1';
  } catch {
    return false;
  }
}
