/// <reference lib="esnext.disposable" preserve="true" />
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
  /** VNI, 0 to 16777215; 0 for an external device. */
  id: number;
  /** Source address of what is sent; absent: the route's choice. */
  local?: string;
  /** Default destination (the all-zeros FDB entry); absent: none. */
  remote?: string;
  /** Multicast group as the default destination; needs `dev`. Excludes `remote`. */
  group?: string;
  /** Underlay interface: default MTU, and the way out to `remote`. It does not restrict reception. */
  dev?: string;
  /** UDP port listened on and sent to; 8472 unless given. */
  dstport: number;
  /** Half-open range of source ports; [0, 0] = net.ipv4.ip_local_port_range. */
  srcport: readonly [number, number];
  /** Learn source MACs from what is received. */
  learning: boolean;
  /** Seconds after which a learned entry goes, 300 unless given; ours: never. */
  ageing: number | 'never';
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
  /** IPv6 flow label, 0 to 0xfffff, or the inner IPv6 packet's (which iproute2 has no word for). */
  flowlabel: number | 'inherit';
  /** Answer ARP requests and neighbour solicitations from the neighbour table, and forward none. */
  proxy: boolean;
  /** Route short circuit: frames to a router's MAC go straight to the neighbour behind it. */
  rsc: boolean;
  /** Tell of unknown destination MACs, and of unknown neighbours. */
  l2miss: boolean;
  l3miss: boolean;
  /** Leave an inner checksum to the far end; accept that. */
  remcsumtx: boolean;
  remcsumrx: boolean;
  /** A remote that is this host: hand the frame straight to the device that has the VNI and port. */
  localbypass: boolean;
  /** Many VNIs on one device, told apart by VLAN on the TAP. */
  external: boolean;
  /** Receive only VNIs that `vni add` lists; needs `external`. */
  vnifilter: boolean;
  /** Group policy extension. */
  gbp: boolean;
  /** Generic protocol extension: packets without Ethernet header, over a TUN. */
  gpe: boolean;
  /** 64 bits, hexadecimal: header bits that make a datagram be dropped; absent: all that are not in use. */
  reserved_bits?: string;
  /** Ours: receive on `local` only, not on every address of the host. */
  bind?: boolean;
  /** Ours: UDP ports listened on beside `dstport`. */
  listen?: readonly number[];
  /** Ours: the group policy id of what is sent, 0 to 65535, with `gbp`. */
  policy?: number;
  /** Ours, with `proxy`: what the proxy cannot answer goes on as any frame does. */
  proxyforward?: boolean;
  /** Ours: learn from a frame only when all checks have passed. */
  latelearning?: boolean;
  /** Ours, with `gbp`: a header with the D bit ("don't learn") teaches nothing. */
  honourdontlearn?: boolean;
  /** Ours: take datagrams only from remotes of entries that a command made, the default destination's too. */
  knownsenders?: boolean;
  /** Ours: take a frame only from the peer whose MAC it has, at that peer's address, and from that peer's prefixes. */
  knownpeers?: boolean;
  /**
   * Ours: how what leaves is handed to the kernel. `on` (unless given): datagrams that may share a message do
   * (UDP_SEGMENT); `off`: one datagram a message; `tunnel`: as `on`, and super-frames leave whole where that pays.
   * This and the next two choose within what the VTEP's own `offloads` leave on.
   */
  gso?: 'on' | 'off' | 'tunnel';
  /** Ours: merge what arrives, and have the kernel bundle it (UDP_GRO); on unless given. */
  gro?: boolean;
  /** Ours: UDP super-frames from and to the TAP; on unless given. */
  uso?: boolean;
}

/** What `link set` may change; each word is as in `DeviceConfig`. */
export interface DeviceChange {
  name?: string;
  address?: string;
  mtu?: number;
  up?: boolean;
  remote?: string;
  group?: string;
  local?: string;
  /** The underlay interface; the default destination keeps the way it had, as in the kernel. */
  dev?: string;
  learning?: boolean;
  ageing?: number | 'never';
  ttl?: number;
  tos?: number | 'inherit';
  df?: 'unset' | 'set' | 'inherit';
  flowlabel?: number | 'inherit';
  localbypass?: boolean;
  policy?: number;
  proxyforward?: boolean;
  latelearning?: boolean;
  honourdontlearn?: boolean;
  knownsenders?: boolean;
  knownpeers?: boolean;
  gso?: 'on' | 'off' | 'tunnel';
  gro?: boolean;
  uso?: boolean;
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
  /** tx: the route led back into the device; nothing could be sent at all (IPv6 underlay). */
  collisions?: number;
  aborted_errors?: number;
}

/** A device as it is now. */
export interface DeviceInfo {
  /** With `address` and `mtu` filled in. */
  config: DeviceConfig & { address: string; mtu: number };
  /** Of the interface; 0 of a device without one. */
  ifindex: number;
  /** What programs of hooks call it by, as long as it is there. */
  number: number;
  up: boolean;
  stats: { rx: DirectionStats; tx: DirectionStats };
}

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

/** A group policy as the header of the extension has it. */
export interface Policy {
  /** 0 to 65535 */
  id: number;
  /** The far end is not to learn from it. */
  dontlearn?: boolean;
  /** The policy has been applied. */
  applied?: boolean;
}

/** Group policy of a device with `gbp`: what is sent, and what is refused when it arrives. */
export type PolicyRequest =
  /** For frames from a source MAC, else of a VNI (external devices), else of the device. Replaces what was there. */
  | ({ op: 'add'; dev: string; vni?: number; mac?: string } & Policy)
  | { op: 'del'; dev: string; vni?: number; mac?: string }
  /** A datagram without the extension counts as id 0. */
  | { op: 'refuse'; dev: string; id: readonly NumberRange[] }
  | { op: 'allow'; dev: string; id: readonly NumberRange[] };

/** Group policies of one device. */
export interface PolicyInfo {
  ifname: string;
  /** The device's first, then by VNI, then by MAC. */
  sent: (Policy & { vni?: number; mac?: string })[];
  refused: NumberRange[];
  /** Ids that have arrived, refused ones too, by id. */
  received: { id: number; packets: number }[];
}

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

/**
 * Where a hook stands: `encap` sees frames of the device's interface before the FDB does, `decap` inner frames that have
 * passed all checks, before they are merged and handed over.
 */
export type HookDirection = 'encap' | 'decap';

/** What becomes of packets when their program has been stopped: they pass, or are counted `drop_hook_stopped`. */
export type OnStop = 'pass' | 'drop';

/** A program that decides on each packet of a device. One a direction; `replace` also adds. */
export type HookRequest =
  | {
      op: 'add' | 'replace';
      /** Device name. */
      dev: string;
      direction: HookDirection;
      /** WebAssembly: what it is called when it is shown. JavaScript: absolute path of the module. */
      file: string;
      /** The module's bytes; absent: `file` is JavaScript. */
      wasm?: Uint8Array;
      /** Handed to the program's `configure` before it sees a packet. */
      rules?: Uint8Array;
      /** Loops and calls that the program may make for each packet of a batch; WebAssembly only. */
      fuel?: number;
      /** Absent: JavaScript pass, WebAssembly drop. */
      onstop?: OnStop;
    }
  | { op: 'del'; dev: string; direction: HookDirection };

/** A hook as it is now: `vxlane hook show`. */
export interface HookInfo {
  ifname: string;
  direction: HookDirection;
  kind: 'wasm' | 'js';
  file: string;
  /** Counts the programs that the VTEP was ever given. */
  generation: number;
  fuel?: number;
  onstop: OnStop;
  /** Why the program was taken off its threads; absent: it runs. */
  stopped?: string;
  /** What the last fault was; absent: none yet. */
  fault?: string;
  /** Since the hook was added; `replace` lets them go on. Packets that a super-frame stands for count as one. */
  stats: HookStats;
}

/** What a hook has decided. */
export interface HookStats {
  /** What the program was shown. */
  packets: number;
  dropped: number;
  redirected: number;
  /** Copies. */
  mirrored: number;
  /** Packets dropped because the program failed before it had decided. */
  faults: number;
  /** Packets dropped because it had been stopped, with `onstop: 'drop'`. */
  stopped: number;
}

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

/** What happens, as it happens: `vxlane monitor`, and `bridge monitor` in the wrappers. */
export type VtepEvent =
  /** `reason` of a removal: command, aged, flushed, or device (it went down or away). */
  | { event: 'fdb'; deleted: boolean; entry: FdbEntry; reason?: string }
  | { event: 'vni'; deleted: boolean; entry: Omit<VniInfo, 'stats'> }
  | { event: 'mdb'; deleted: boolean; entry: MdbEntry }
  /** `l2miss`: an unknown MAC; `l3miss`: an unknown IP address. */
  | { event: 'miss'; ifname: string; lladdr?: string; dst?: string }
  | { event: 'link'; deleted: boolean; ifname: string; ifindex: number; up: boolean }
  /** `fault`: the program failed, `packets` were dropped undecided since the last such event; `stopped`: it hung. */
  | {
      event: 'hook';
      change: 'added' | 'replaced' | 'deleted' | 'fault' | 'stopped';
      ifname: string;
      direction: HookDirection;
      file: string;
      generation: number;
      reason?: string;
      packets?: number;
    }
  /** So many were not told: packets taught and missed faster than they were taken, or the daemon's client reads too slowly. */
  | { event: 'lost'; lost: number };

/** Frames of a device ("" = none: datagrams of unknown VNIs and the like) dropped since the last event, by reason. */
export interface VtepDrop {
  ifname: string;
  /** A counter's name: "drop_no_target" ... */
  reason: string;
  packets: number;
}

/** Events of a `Vtep` as an EventEmitter, with what their listeners are given. */
export type VtepEvents = {
  /** Everything that `subscribe` tells. */
  event: [event: VtepEvent];
  /** A packet has taught a MAC; or that it is behind another remote now. */
  learned: [entry: FdbEntry];
  moved: [entry: FdbEntry];
  /** Learned, and not heard of for the ageing time. */
  aged: [entry: FdbEntry];
  /**
   * With `l2miss` and `l3miss`: no entry for this MAC (`lladdr`), no neighbour of this address (`dst`). The frame is
   * dropped, or has gone to the default destinations; an entry that the listener makes serves the next one.
   */
  miss: [miss: { ifname: string; lladdr?: string; dst?: string }];
  /** At most once a second for each device and reason. */
  drop: [drop: VtepDrop];
  link: [link: { deleted: boolean; ifname: string; ifindex: number; up: boolean }];
  /** A hook was changed, has failed (at most twice a second), or was stopped. */
  hook: [hook: Omit<Extract<VtepEvent, { event: 'hook' }>, 'event'>];
};

/** A device as programs ask for it: what is left out is as `ip link add type vxlan` has it. */
export type DeviceRequest = Pick<DeviceConfig, 'name'> & Partial<Omit<DeviceConfig, 'name'>>;

/** A thread that carries packets, and what it has done since it began. */
export interface WorkerStatus {
  /** "encap 0", "decap 0" ... */
  name: string;
  packets: number;
  bytes: number;
  batches: number;
  syscalls: number;
  sleeps: number;
  /** Only with VXLANE_PROFILE in the daemon's environment. */
  profile?: WorkerProfile;
}

/** Where a worker's time goes. */
export interface WorkerProfile {
  /** Linux' number of the thread, for /proc and perf. */
  thread: number;
  /** What the stopwatch itself costs, in seconds a call; in no figure of `calls`. */
  secondsPerCall: number;
  /** By kind, the stopwatch's cost taken off: system calls by name, "wasm" = the engine, "asleep" = waits that may last. */
  calls: Record<string, { count: number; seconds: number }>;
}

/** What `vxlane status` shows. */
export interface VtepStatus {
  version: string;
  pid: number;
  /** Seconds since the VTEP started. */
  uptime: number;
  engine: {
    /** "batched", "uring" or "portable". */
    io: string;
    /** io_uring: "on", or "off: why". E.g. "off: io_uring is forbidden here (seccomp)" */
    uring: string;
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
  /** Absent where there is none. */
  hooks?: HookInfo[];
  /** Entries in all FDBs, and how many there may be. */
  fdb: { entries: number; capacity: number };
  /** Events that nobody could be told of, since it started: a thread had more than it has room for. Absent: none. */
  lostEvents?: number;
}

/** What the daemon, the command line and embedders drive. Every refusal is a VtepError. */
export interface Vtep extends AsyncDisposable {
  /** @throws VtepError USAGE, EXISTS, IN_USE, PERMISSION, UNSUPPORTED, NO_SPACE, SYSTEM; then there is no device */
  addDevice(config: DeviceRequest): Promise<DeviceInfo>;
  /** `ip link set`: what is left out stays. @throws VtepError NOT_FOUND, USAGE, EXISTS, UNSUPPORTED, SYSTEM */
  setDevice(name: string, change: DeviceChange): Promise<DeviceInfo>;
  /** Its entries go with it. @throws VtepError NOT_FOUND */
  deleteDevice(name: string): Promise<void>;
  /** In the order of their making. */
  devices(): DeviceInfo[];
  /** @throws VtepError EXISTS, NOT_FOUND, UNSUPPORTED, USAGE, NO_SPACE; then nothing has changed */
  fdb(request: FdbRequest): void;
  /** Newest entry first, as the kernel dumps. `dev` absent: all devices. */
  fdbShow(dev?: string): FdbEntry[];
  /** `vni` chooses the table of an external device; absent: 0. */
  fdbGet(dev: string, mac: string, vni?: number): FdbEntry;
  /** @returns how many remotes went. @throws VtepError NOT_FOUND, USAGE */
  fdbFlush(filter: FdbFlush): number;
  /** VNIs of an external device. @throws VtepError NOT_FOUND, EXISTS, USAGE, UNSUPPORTED; then nothing has changed */
  vni(request: VniRequest): void;
  /** By device, then by VNI. */
  vniShow(dev?: string): VniInfo[];
  /** Group policies of a device with `gbp`. @throws VtepError NOT_FOUND, USAGE, UNSUPPORTED, NO_SPACE */
  policy(request: PolicyRequest): void;
  /** Devices with `gbp`. */
  policyShow(dev?: string): PolicyInfo[];
  /** @throws VtepError NOT_FOUND, USAGE, UNSUPPORTED (`gpe`), NO_SPACE; then nothing has changed */
  peer(request: PeerRequest): void;
  /** By device; of one device in the order of their making, but for places that were free again. */
  peerShow(dev?: string): PeerInfo[];
  /**
   * Resolves when every thread runs the new program; no packet waits for that or is lost.
   * @throws VtepError NOT_FOUND, EXISTS, USAGE (the program is refused), UNSUPPORTED; then nothing has changed
   */
  hook(request: HookRequest): Promise<void>;
  /** By device, encap first. */
  hookShow(dev?: string): HookInfo[];
  /** @throws VtepError EXISTS, NOT_FOUND, USAGE, NO_SPACE; then nothing has changed */
  mdb(request: MdbRequest): void;
  /** Newest entry first, newest remote first. */
  mdbShow(dev?: string): MdbEntry[];
  /** The remotes of one entry. @throws VtepError NOT_FOUND, USAGE */
  mdbGet(dev: string, grp: string, src?: string, src_vni?: number): MdbEntry[];
  /** @returns how many remotes went. @throws VtepError NOT_FOUND, USAGE */
  mdbFlush(filter: MdbFlush): number;
  /** Hears of every change and miss until the returned function is called. */
  subscribe(listener: (event: VtepEvent) => void): () => void;
  /** Engine, offloads, threads, listening ports, devices and counters, as they are now. */
  status(): VtepStatus;
  /** Does every thread that carries frames finish a round of its loop within this time? */
  responds(milliseconds: number): Promise<boolean>;
  /** Takes every device down and frees all. Safe to call twice. */
  close(): Promise<void>;
}
