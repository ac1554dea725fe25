/** The devices of a flannel network, one a family: what they are called and how they are made. */
import { AF_INET, AF_INET6 } from '../io/family.ts';
import type { DeviceRequest } from '../types.ts';
import { overheadOf } from '../vtep/device.ts';
import type { BackendConfig, NetConfig } from './lease.ts';
import type { IpVersion } from './prefix.ts';

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
  const overhead = overheadOf(config.enableIpv6 ? AF_INET6 : AF_INET, false);
  return Math.min(config.backend.mtu ?? underlayMtu, underlayMtu) - overhead;
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

/** What a device of a flannel network has of its own; what the kernel has besides is its default. */
export function overlayRequest({ backend, mac, validateSources, ...given }: OverlayOptions): DeviceRequest {
  return {
    name: given.name,
    address: mac,
    mtu: given.mtu,
    id: backend.vni,
    local: given.local,
    dev: given.dev,
    dstport: backend.port,
    learning: backend.learning,
    gbp: backend.gbp,
    ...(given.bind ? { bind: true } : {}),
    ...(validateSources ? { knownpeers: true } : {}),
  };
}
