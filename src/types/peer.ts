/** Who devices with `knownpeers` take frames from. */

/**
 * Who a device with `knownpeers` takes frames from. May be said before that is switched on. A peer is named by device
 * and MAC; `set` makes it or changes it, and its counters go on.
 */
export type PeerRequest =
  | {
      op: 'set';
      /** Device name. */
      dev: string;
      /** Source MAC of its frames, `aa:bb:cc:dd:ee:ff`, unicast. */
      mac: string;
      /** Outer source address, of the underlay's family. */
      src: string;
      /** Where sources inside may lie: at most one IPv4 and one IPv6 network. A family without one is refused. */
      prefixes?: readonly string[];
    }
  | { op: 'del'; dev: string; mac: string };

/** A peer of a device with `knownpeers`, and what has been exchanged with it. */
export interface PeerInfo {
  ifname: string;
  mac: string;
  src: string;
  /** IPv4 first. */
  prefixes: string[];
  /** Seconds since the last frame that was taken from it; absent: none yet. */
  last?: number;
  /** `bytes` leave the inner Ethernet header out, as those of the device. */
  stats: {
    rx: {
      packets: number;
      bytes: number;
      /** Refused with its MAC: another outer source; a source inside that is not its own. */
      address_drops: number;
      subnet_drops: number;
    };
    /** What was handed on for it, as the device counts. */
    tx: { packets: number; bytes: number };
  };
}
