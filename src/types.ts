/**
 * What a VTEP is asked to do and what it answers: plain data, so that the same shapes serve the public
 * API, the control socket and the command line. Words and defaults are iproute2's.
 */

/** A VXLAN device, every default filled in. See `ip link add NAME type vxlan help`. */
export interface DeviceConfig {
  /** Interface name, 1 to 15 characters. */
  name: string;
  /** MAC as `aa:bb:cc:dd:ee:ff`; absent: random, locally administered. */
  address?: string;
  /** Bytes; absent: MTU of `dev` less 50 (IPv4 underlay) or 70 (IPv6), or 1500 without `dev`. */
  mtu?: number;
  /** VNI, 0 to 16777215. */
  id: number;
  /** Source address of what is sent; absent: the route's choice. */
  local?: string;
  /** Default destination (the all-zeros FDB entry); absent: none. */
  remote?: string;
  /** Underlay interface: default MTU, and the way out to `remote`. It does not restrict reception. */
  dev?: string;
  /** UDP port listened on and sent to; 8472 unless given. */
  dstport: number;
  /** Half-open range of source ports; [0, 0] = net.ipv4.ip_local_port_range. */
  srcport: readonly [number, number];
  /** Learn source MACs from what is received. */
  learning: boolean;
  /** Seconds after which a learned entry goes; 300 unless given. */
  ageing: number;
  /** Most entries; 0 = no limit. */
  maxaddress: number;
  /** Outer TTL: 0 = the route's hop limit ("auto"), 1 to 255, or the inner packet's. */
  ttl: number | 'inherit';
  /** Outer TOS (its two ECN bits are ignored), or the inner packet's. */
  tos: number | 'inherit';
  /** The outer DF bit (IPv4 underlay only). */
  df: 'unset' | 'set' | 'inherit';
  /** Outer UDP checksum over IPv4. */
  udpcsum: boolean;
  /** Send zero UDP checksums over IPv6, and accept them. */
  udp6zerocsumtx: boolean;
  udp6zerocsumrx: boolean;
}

/** What `link set` may change. */
export interface DeviceChange {
  name?: string;
  address?: string;
  mtu?: number;
  up?: boolean;
  remote?: string;
  local?: string;
  learning?: boolean;
  ageing?: number;
  ttl?: number;
  tos?: number | 'inherit';
  df?: 'unset' | 'set' | 'inherit';
}

/** `bytes` leave the inner Ethernet header out, as the kernel's driver counts. */
export interface DirectionStats {
  bytes: number;
  packets: number;
  errors: number;
  dropped: number;
  /** rx: frame errors (reserved bits, ECN) and length errors; tx: no route. */
  frame_errors?: number;
  length_errors?: number;
  carrier_errors?: number;
}

export interface DeviceInfo {
  /** With `address` and `mtu` filled in. */
  config: DeviceConfig & { address: string; mtu: number };
  ifindex: number;
  up: boolean;
  stats: { rx: DirectionStats; tx: DirectionStats };
}

/** The state words of `bridge fdb`: permanent (default; also "local"), static (also "temp"), dynamic. */
export type FdbStateWord = 'permanent' | 'static' | 'dynamic';

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
  state?: FdbStateWord;
  router?: boolean;
  extern_learn?: boolean;
  sticky?: boolean;
  /** Only refresh the entry's age. */
  use?: boolean;
}

/** One remote of one entry, as `bridge -j fdb` prints it: same keys, same order, absent when default. */
export interface FdbEntry {
  mac: string;
  ifname: string;
  dst: string;
  port?: number;
  vni?: number;
  viaIf?: string;
  /** Seconds since last used for sending, and since learned or changed. */
  used: number;
  updated: number;
  flags: string[];
  /** permanent, static, stale, or "" (dynamic). */
  state: string;
}

/** Filters of `bridge fdb flush`; all given ones must hold. */
export interface FdbFlush {
  dev: string;
  dst?: string;
  port?: number;
  vni?: number;
  permanent?: boolean;
  static?: boolean;
  dynamic?: boolean;
  extern_learn?: boolean;
  router?: boolean;
}

export interface WorkerStatus {
  /** "encap 0", "decap 0" ... */
  name: string;
  packets: number;
  bytes: number;
  batches: number;
  syscalls: number;
  sleeps: number;
}

export interface VtepStatus {
  version: string;
  pid: number;
  /** Seconds since the VTEP started. */
  uptime: number;
  engine: {
    /** "batched" or "portable". */
    io: string;
    /** "simd" or "scalar". */
    wasm: string;
    memoryBytes: number;
  };
  /** In use ("on"), or why not. E.g. { "udp-segment": "on", "tap-uso": "off: Linux 6.2 or newer is needed" } */
  offloads: Record<string, string>;
  workers: WorkerStatus[];
  listeners: { family: 'inet' | 'inet6'; port: number; devices: string[] }[];
  devices: DeviceInfo[];
  /** device name ("" = no device: unknown VNI and the like) -> counter -> value, only those that are not zero. */
  counters: Record<string, Record<string, number>>;
  /** Entries in all FDBs, and how many there may be. */
  fdb: { entries: number; capacity: number };
}

/** What the daemon, the command line and embedders drive. Every refusal is a VtepError. */
export interface Vtep {
  addDevice(config: DeviceConfig): Promise<DeviceInfo>;
  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo>;
  deleteDevice(name: string): Promise<void>;
  devices(): DeviceInfo[];
  fdb(request: FdbRequest): void;
  /** Newest entry first, as the kernel dumps. `dev` absent: all devices. */
  fdbShow(dev?: string): FdbEntry[];
  fdbGet(dev: string, mac: string): FdbEntry;
  fdbFlush(filter: FdbFlush): number;
  status(): VtepStatus;
  /** Takes every device down and frees all. Safe to call twice. */
  close(): Promise<void>;
}
