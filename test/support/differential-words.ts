/** Lines of `ip` and `bridge` words that the sets of the differential suite have in common. */
import { DEVICE, REMOTES, REMOTES6 } from './differential-twins.ts';
import { HOSTS, PORT, UNDERLAY, VNI } from './traffic-vtep.ts';

/** MACs of entries: none of them reads as the number of a case. */
export const KNOWN_MAC = '02:aa:00:00:00:01';
export const OTHER_MAC = '02:aa:00:00:00:02';
export const UNKNOWN_MAC = '02:ab:00:00:00:01';
export const GROUP_MAC = '01:00:5e:01:02:03';
export const OWN_MAC = HOSTS[0].vtepMac;

export interface DeviceOptions {
  v6?: boolean;
  /** Further words of `ip link add ... type vxlan`. */
  words?: string;
  /** The far end is the default destination; true unless given. */
  remote?: boolean;
  learning?: boolean;
  mtu?: number;
  /** Leave `local` or `dev` out. */
  local?: false | string;
  dev?: false;
  vni?: number;
  port?: number;
}

/** Makes the device and takes it up. */
export function device(options: DeviceOptions = {}): string[] {
  const { v6 = false, words = '', remote = true, learning = false, vni = VNI, port = PORT } = options;
  const mtu = options.mtu ?? 1500 - (v6 ? 70 : 50);
  const local = options.local ?? (v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay);
  return [
    [
      `link add ${DEVICE} address ${OWN_MAC} mtu ${mtu} type vxlan id ${vni}`,
      local === false ? '' : `local ${local}`,
      remote ? `remote ${(v6 ? REMOTES6 : REMOTES)[0]}` : '',
      options.dev === false ? '' : `dev ${UNDERLAY}`,
      `dstport ${port} ${learning ? 'learning' : 'nolearning'} ${words}`,
    ].join(' '),
    `link set ${DEVICE} up`,
  ];
}

/** `bridge fdb` with its device. */
export const fdb = (verb: string, mac: string, words = '') =>
  `fdb ${verb} ${mac} dev ${DEVICE} ${words}`.trim();
