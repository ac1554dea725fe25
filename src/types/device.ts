/** Devices: as they are asked for, changed and shown. Words and defaults are those of `ip link`. */

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

/** A device as programs ask for it: what is left out is as `ip link add type vxlan` has it. */
export type DeviceRequest = Pick<DeviceConfig, 'name'> & Partial<Omit<DeviceConfig, 'name'>>;

/** What `link set` may change; each word is as in `DeviceConfig`. */
export interface DeviceChange extends Partial<Pick<DeviceConfig, Changeable>> {
  up?: boolean;
  /** The underlay interface; the default destination keeps the way it had, as in the kernel. */
  dev?: string;
  ttl?: number;
}

type Changeable =
  | ('name' | 'address' | 'mtu' | 'remote' | 'group' | 'local')
  | ('learning' | 'ageing' | 'tos' | 'df' | 'flowlabel' | 'localbypass')
  | ('policy' | 'proxyforward' | 'latelearning' | 'honourdontlearn' | 'knownsenders' | 'knownpeers')
  | ('gso' | 'gro' | 'uso');

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
