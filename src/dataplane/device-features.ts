/** What a device does beyond carrying frames, as bits of its record and as bits of the VXLAN header. */
import {
  DEVICE_FLAG_BRIDGED,
  DEVICE_FLAG_EXTERNAL,
  DEVICE_FLAG_GBP,
  DEVICE_FLAG_GPE,
  DEVICE_FLAG_GRO_OFF,
  DEVICE_FLAG_GSO_OFF,
  DEVICE_FLAG_GSO_TUNNEL,
  DEVICE_FLAG_HONOUR_DONT_LEARN,
  DEVICE_FLAG_KNOWN_PEERS,
  DEVICE_FLAG_KNOWN_SENDERS,
  DEVICE_FLAG_L2MISS,
  DEVICE_FLAG_L3MISS,
  DEVICE_FLAG_LATE_LEARNING,
  DEVICE_FLAG_LINK_LOCAL,
  DEVICE_FLAG_LOCALBYPASS,
  DEVICE_FLAG_NOARP,
  DEVICE_FLAG_PROXY,
  DEVICE_FLAG_PROXY_FORWARD,
  DEVICE_FLAG_REMCSUM_RX,
  DEVICE_FLAG_REMCSUM_TX,
  DEVICE_FLAG_RSC,
  DEVICE_FLAG_USO_OFF,
  RECEIVE_EXTERNAL,
  RECEIVE_GBP,
  RECEIVE_GPE,
  RECEIVE_REMCSUM,
  RECEIVE_VNIFILTER,
  RECEIVE_ZERO_CHECKSUM,
} from '../../assembly/layout.ts';

/** Of a device that says nothing of it, or 0. */
export const AGEING_DEFAULT_SECONDS = 300;
/** The kernel's, of an interface that nothing else limits. */
export const MTU_DEFAULT = 1500;

const ALL_BITS = 0xffffffffffffffffn;
/** Header bits that each feature does not use, for what is dropped when nothing else is asked for. */
const RESERVED_PLAIN = 0xf7ffffff000000ffn;
const RESERVED_GBP = 0x77000000ffffffffn;
const RESERVED_GPE = 0xc2ffff00ffffffffn;
const RESERVED_REMCSUM = 0xffdfffffffffff00n;

/** What a device does beyond carrying frames. */
export interface DeviceFeatures {
  proxy?: boolean;
  rsc?: boolean;
  l2miss?: boolean;
  l3miss?: boolean;
  localbypass?: boolean;
  external?: boolean;
  vnifilter?: boolean;
  gbp?: boolean;
  gpe?: boolean;
  remcsumtx?: boolean;
  remcsumrx?: boolean;
  udp6zerocsumrx?: boolean;
  proxyforward?: boolean;
  latelearning?: boolean;
  honourdontlearn?: boolean;
  knownsenders?: boolean;
  knownpeers?: boolean;
  gsoOff?: boolean;
  gsoTunnel?: boolean;
  groOff?: boolean;
  usoOff?: boolean;
  /** Its underlay addresses are link-local. */
  linkLocal?: boolean;
  /** Its TAP is a port of a bridge. */
  bridged?: boolean;
  /** The interface does no ARP. */
  noarp?: boolean;
}

const FLAGS: readonly (readonly [keyof DeviceFeatures, number])[] = [
  ['proxy', DEVICE_FLAG_PROXY],
  ['rsc', DEVICE_FLAG_RSC],
  ['l2miss', DEVICE_FLAG_L2MISS],
  ['l3miss', DEVICE_FLAG_L3MISS],
  ['localbypass', DEVICE_FLAG_LOCALBYPASS],
  ['external', DEVICE_FLAG_EXTERNAL],
  ['gbp', DEVICE_FLAG_GBP],
  ['gpe', DEVICE_FLAG_GPE],
  ['remcsumtx', DEVICE_FLAG_REMCSUM_TX],
  ['remcsumrx', DEVICE_FLAG_REMCSUM_RX],
  ['proxyforward', DEVICE_FLAG_PROXY_FORWARD],
  ['latelearning', DEVICE_FLAG_LATE_LEARNING],
  ['honourdontlearn', DEVICE_FLAG_HONOUR_DONT_LEARN],
  ['knownsenders', DEVICE_FLAG_KNOWN_SENDERS],
  ['knownpeers', DEVICE_FLAG_KNOWN_PEERS],
  ['gsoOff', DEVICE_FLAG_GSO_OFF],
  ['gsoTunnel', DEVICE_FLAG_GSO_TUNNEL],
  ['groOff', DEVICE_FLAG_GRO_OFF],
  ['usoOff', DEVICE_FLAG_USO_OFF],
  ['linkLocal', DEVICE_FLAG_LINK_LOCAL],
  ['bridged', DEVICE_FLAG_BRIDGED],
  ['noarp', DEVICE_FLAG_NOARP],
];

const RECEIVE: readonly (readonly [keyof DeviceFeatures, number])[] = [
  ['gbp', RECEIVE_GBP],
  ['gpe', RECEIVE_GPE],
  ['udp6zerocsumrx', RECEIVE_ZERO_CHECKSUM],
  ['remcsumrx', RECEIVE_REMCSUM],
  ['external', RECEIVE_EXTERNAL],
  ['vnifilter', RECEIVE_VNIFILTER],
];

/** DEVICE_FLAG_* bits. */
export function flagBits(features: DeviceFeatures): number {
  return bitsOf(FLAGS, features);
}

/** RECEIVE_* bits: devices on one port share a socket when they agree on them. */
export function receiveBits(features: DeviceFeatures): number {
  return bitsOf(RECEIVE, features);
}

/** The 64 header bits that are dropped on when nothing else is asked for: all that are not in use. */
export function reservedBits({ gbp, gpe, remcsumrx }: DeviceFeatures): bigint {
  let bits = RESERVED_PLAIN;
  if (gbp) bits &= RESERVED_GBP;
  if (gpe) bits &= RESERVED_GPE;
  if (remcsumrx) bits &= RESERVED_REMCSUM;
  return bits;
}

/** Those that are in use: nobody may ask to drop on them. */
export function usedBits(features: DeviceFeatures): bigint {
  return ALL_BITS ^ reservedBits(features);
}

/** As the kernel and iproute2 write them. */
export function formatBits(bits: bigint): string {
  return `0x${bits.toString(16).padStart(16, '0')}`;
}

function bitsOf(
  table: readonly (readonly [keyof DeviceFeatures, number])[],
  features: DeviceFeatures,
): number {
  return table.reduce((bits, [key, bit]) => (features[key] ? bits | bit : bits), 0);
}
