/** Requests for VNIs, from words to numbers. What cannot be right is refused here, before a table is looked at. */
import {
  AF_INET,
  DEVICE_FAMILY_OFFSET,
  DEVICE_LINK_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_RECEIVE_OFFSET,
  RECEIVE_VNIFILTER,
  VXLAN_VNI_MAX,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { VniRequest } from '../types.ts';
import { deviceRecord, isExternal } from './fdb-record.ts';
import { type Address, formatAddress, isAny, parseAddress } from './fdb-text.ts';
import { VLAN_FIRST, VLAN_LAST } from './vlans.ts';

/** What VNIs need to know of their device, as it stands in memory. */
export interface VniDevice {
  readonly index: number;
  readonly name: string;
  readonly external: boolean;
  readonly vnifilter: boolean;
  readonly port: number;
  readonly family: number;
  /** RECEIVE_* bits */
  readonly receive: number;
  /** ifindex of `dev`, 0 = none */
  readonly link: number;
}

/** Where frames for unknown MACs go. */
export interface Destination {
  readonly address: string;
  /** Interface to leave through, 0 = by route. */
  readonly ifindex: number;
}

export function readDevice(view: DataView, index: number, name: string): VniDevice {
  const at = deviceRecord(index);
  const receive = view.getUint32(at + DEVICE_RECEIVE_OFFSET, true);
  return {
    index,
    name,
    external: isExternal(view, index),
    vnifilter: (receive & RECEIVE_VNIFILTER) !== 0,
    port: view.getUint16(at + DEVICE_PORT_OFFSET, true),
    family: view.getUint8(at + DEVICE_FAMILY_OFFSET),
    receive,
    link: view.getUint32(at + DEVICE_LINK_OFFSET, true),
  };
}

/**
 * The VNIs of a request. A range that ends before it begins has none, as in the kernel.
 * @throws VtepError USAGE for VNI 0, which is the device's own, and for those above 24 bits
 */
export function readVnis(what: string, ranges: VniRequest['vni']): number[] {
  if (ranges.length === 0) throw noVni(what);
  const vnis = new Set<number>();
  for (const [first, last] of ranges) {
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 1 || last < 1) throw noVni(what);
    if (first > VXLAN_VNI_MAX || last > VXLAN_VNI_MAX) {
      throw new VtepError(
        'USAGE',
        `${what}: invalid VNI ${Math.max(first, last)}: a VNI is a number from 1 to ${VXLAN_VNI_MAX}`,
      );
    }
    for (let vni = first; vni <= last; ++vni) vnis.add(vni);
  }
  return [...vnis];
}

function noVni(what: string): VtepError {
  return new VtepError(
    'USAGE',
    `${what}: vni start nor end found in vni entry.: give VNIs from 1 to ${VXLAN_VNI_MAX}, as in 100,200-205`,
  );
}

/** The destination of its own that a request gives its VNIs; undefined: the device's. */
export function readDestination(
  what: string,
  { remote, group }: Pick<VniRequest, 'remote' | 'group'>,
  device: VniDevice,
): Destination | undefined {
  if (remote !== undefined && group !== undefined) {
    throw new VtepError('USAGE', `${what}: duplicate group: both group and remote cannot be specified`);
  }
  const text = remote ?? group;
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address === undefined) {
    throw new VtepError(
      'USAGE',
      `${what}: "${text}" is not an IP address; write it as 192.0.2.1 or 2001:db8::1`,
    );
  }
  if (isAny(address)) return undefined;
  if (group !== undefined && !isMulticast(address)) {
    throw new VtepError('USAGE', `${what}: argument "${text}" is wrong: invalid group address`);
  }
  if (address.family !== device.family) {
    const family = device.family === AF_INET ? 'IPv4' : 'IPv6';
    throw new VtepError(
      'UNSUPPORTED',
      `${what}: Address family not supported by protocol: ${device.name} takes ${family} remotes`,
    );
  }
  if (isMulticast(address) && device.link === 0) {
    throw new VtepError(
      'USAGE',
      `${what}: Local interface required for multicast remote group.: add the device with "dev"`,
    );
  }
  return { address: formatAddress(address), ifindex: device.link };
}

/** Whether a destination is a group, which has to be joined. */
export function isGroupAddress(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && isMulticast(address);
}

function isMulticast({ family, bytes }: Address): boolean {
  return family === AF_INET ? bytes[0]! >> 4 === 0xe : bytes[0] === 0xff;
}

/** First and last VLAN. @throws VtepError USAGE */
export function readVlans(what: string, [first, last]: NonNullable<VniRequest['vlan']>): [number, number] {
  const inside = (vlan: number) => Number.isInteger(vlan) && vlan >= VLAN_FIRST && vlan <= VLAN_LAST;
  if (inside(first) && inside(last) && first <= last) return [first, last];
  throw new VtepError(
    'USAGE',
    `${what}: Invalid argument: VLAN ${first === last ? first : `${first}-${last}`}: VLANs are ${VLAN_FIRST} to ${VLAN_LAST}`,
  );
}
