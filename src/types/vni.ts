/** VNIs of external devices, with the words of `bridge vni`. */

/** First and last of a range of numbers; equal for one. */
export type NumberRange = readonly [first: number, last: number];

/**
 * `bridge vni add|del` on a device with `vnifilter`; with `vlan`, on any external device, what
 * `bridge vlan add|del vid N tunnel_info id M` is to a bridge port: only the mapping changes.
 * A request that is refused changes nothing.
 */
export interface VniRequest {
  op: 'add' | 'del';
  dev: string;
  /** A range that ends before it begins has no VNIs. May be empty to remove the mapping of `vlan`. */
  vni: readonly NumberRange[];
  /** Where unknown MACs of these VNIs go; absent: the device's own default destination. */
  remote?: string;
  group?: string;
  /** VLANs on the TAP, 1 to 4094: the first is the first VNI's, and so on; as many as there are VNIs. */
  vlan?: NumberRange;
  /** Frames that come untagged from the TAP are of this VLAN; one of a device is. */
  pvid?: boolean;
  /** Frames of this VLAN are untagged when they go to the TAP. */
  untagged?: boolean;
}

/** One VNI of an external device. */
export interface VniInfo {
  ifname: string;
  vni: number;
  /** `vni add` listed it (`vnifilter`); otherwise a VLAN is mapped to it and no more. */
  listed: boolean;
  /** Its own; absent: the device's. */
  remote?: string;
  group?: string;
  vlan?: number;
  pvid?: boolean;
  untagged?: boolean;
  /** Bytes, packets, drops, errors of each direction, as `bridge -s vni`. */
  stats: { rx: VniStats; tx: VniStats };
}

/** Of one VNI in one direction. */
export interface VniStats {
  bytes: number;
  packets: number;
  drops: number;
  errors: number;
}
