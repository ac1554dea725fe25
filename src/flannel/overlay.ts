/** The devices of a flannel network, one a family: what they are called and how they are made. */
import type { DeviceConfig } from '../types.ts';
import type { BackendConfig, NetConfig } from './lease.ts';

/** Outer headers of each family: IP, UDP, VXLAN, inner Ethernet. */
const OVERHEAD_BYTES = { 4: 50, 6: 70 };
/** Devices have no flood entry and learn nothing unless told to; what the kernel has besides is its default. */
const AGEING_SECONDS = 300;

export type IpVersion = 4 | 6;

/** Families in use, IPv4 first. */
export function familiesOf({ enableIpv4, enableIpv6 }: NetConfig): IpVersion[] {
  return [...(enableIpv4 ? [4 as const] : []), ...(enableIpv6 ? [6 as const] : [])];
}

/** As flanneld calls them. */
export function overlayName(version: IpVersion, { vni }: BackendConfig): string {
  return version === 4 ? `flannel.${vni}` : `flannel-v6.${vni}`;
}

/**
 * MTU of all devices and of the pods. Where an IPv6 underlay is in use it leaves room for its larger header, for
 * IPv4 too: pods have one MTU. More than the interface takes is no use to anybody.
 */
export function overlayMtu(config: NetConfig, underlayMtu: number): number {
  return Math.min(config.backend.mtu ?? underlayMtu, underlayMtu) - OVERHEAD_BYTES[config.enableIpv6 ? 6 : 4];
}

export interface OverlayOptions {
  name: string;
  backend: BackendConfig;
  mac: string;
  mtu: number;
  /** Outer address of ours. */
  local: string;
  /** Underlay interface. */
  dev: string;
  /** Receive on `local` only. */
  bind: boolean;
  /** Take frames only from peers, from their own addresses. */
  validateSources: boolean;
}

export function overlayConfig({ backend, mac, validateSources, ...given }: OverlayOptions): DeviceConfig {
  return {
    name: given.name,
    address: mac,
    mtu: given.mtu,
    id: backend.vni,
    local: given.local,
    dev: given.dev,
    dstport: backend.port,
    srcport: [0, 0],
    learning: backend.learning,
    ageing: AGEING_SECONDS,
    maxaddress: 0,
    ttl: 0,
    tos: 0,
    df: 'unset',
    udpcsum: true,
    udp6zerocsumtx: false,
    udp6zerocsumrx: false,
    flowlabel: 0,
    proxy: false,
    rsc: false,
    l2miss: false,
    l3miss: false,
    remcsumtx: false,
    remcsumrx: false,
    localbypass: true,
    external: false,
    vnifilter: false,
    gbp: backend.gbp,
    gpe: false,
    ...(given.bind ? { bind: true } : {}),
    ...(validateSources ? { knownpeers: true } : {}),
  };
}
