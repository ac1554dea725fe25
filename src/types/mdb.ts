/** Multicast groups, with the words of `bridge mdb`. */

/** `bridge mdb add|replace|del dev D port D grp G ...` */
export interface MdbRequest {
  op: 'add' | 'replace' | 'del';
  dev: string;
  /** Multicast group, or 0.0.0.0 / :: for all that have no entry of their own. */
  grp: string;
  /** Absent: any. */
  src?: string;
  filter_mode?: 'include' | 'exclude';
  source_list?: readonly string[];
  /** Who made the entry: a routing protocol's number or name; static. */
  proto?: string;
  dst: string;
  dst_port?: number;
  vni?: number;
  src_vni?: number;
  via?: string;
}

/** One remote of one MDB entry, with the keys of `bridge -j -d mdb`. */
export interface MdbEntry {
  /** Interface index of `dev`. */
  index: number;
  dev: string;
  grp: string;
  src?: string;
  filter_mode: 'include' | 'exclude';
  source_list: readonly string[];
  protocol: string;
  /** A source that an exclude list names. */
  blocked: boolean;
  dst: string;
  dst_port?: number;
  vni?: number;
  src_vni?: number;
  via?: string;
}

/** Filters of `bridge mdb flush`; all given ones must hold. */
export interface MdbFlush {
  dev: string;
  src_vni?: number;
  proto?: string;
  permanent?: boolean;
  dst?: string;
  dst_port?: number;
  vni?: number;
}
