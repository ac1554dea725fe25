/** Forwarding entries, with the words of `bridge fdb`. */

/** The state words of `bridge fdb`: permanent (default; also "local"), static (also "temp"), dynamic. */
export type FdbStateWord = 'permanent' | 'static' | 'dynamic';

/** `bridge fdb add|append|replace|del`. */
export interface FdbRequest {
  op: 'add' | 'append' | 'replace' | 'del';
  /** Device name. */
  dev: string;
  /** `aa:bb:cc:dd:ee:ff`; all zeros: the default destinations. */
  mac: string;
  /** Needed but for `del`; `0.0.0.0` or `::` marks a MAC that is not tunnelled. */
  dst?: string;
  /** UDP port of the remote; absent: the device's. */
  port?: number;
  /** VNI on the wire; absent: the device's. */
  vni?: number;
  /** Name of the interface to leave through. */
  via?: string;
  /** VNI whose table the entry belongs to, on an external device; absent: 0. Elsewhere the device's. */
  src_vni?: number;
  /** Nexthop group instead of `dst`. */
  nhid?: number;
  state?: FdbStateWord;
  router?: boolean;
  extern_learn?: boolean;
  sticky?: boolean;
  /** "self master": only kept and shown; entries of a bridge are the kernel's. */
  master?: boolean;
  /** Only refresh the entry's age. */
  use?: boolean;
}

/** One remote of one entry, as `bridge -j fdb` prints it: same keys, same order, absent when default. */
export interface FdbEntry {
  mac: string;
  ifname: string;
  /** Absent for an entry with a nexthop group. */
  dst?: string;
  port?: number;
  vni?: number;
  /** External devices: the VNI whose table it is in. */
  src_vni?: number;
  /** One of the two; the index when the interface has gone. */
  viaIf?: string;
  viaIfIndex?: number;
  nhid?: number;
  /** Seconds since last used for sending, and since learned or changed. */
  used: number;
  updated: number;
  flags: string[];
  /** permanent, static, stale, or "" (dynamic). */
  state: string;
}

/** Filters of `bridge fdb flush`; all given ones must hold. A number that is 0 is no filter, as in the kernel. */
export interface FdbFlush {
  dev: string;
  dst?: string;
  port?: number;
  vni?: number;
  src_vni?: number;
  nhid?: number;
  permanent?: boolean;
  static?: boolean;
  dynamic?: boolean;
  extern_learn?: boolean;
  router?: boolean;
  /** Only false: the kernel refuses to flush by it. */
  sticky?: boolean;
  /** No entry is. */
  offloaded?: boolean;
}
