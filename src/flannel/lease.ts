/**
 * What a member of a flannel network publishes of itself, and where such records come from. The three sources (etcd,
 * Kubernetes, a file) speak this and nothing else, so that whatever programs the kernel knows none of them.
 *
 * A source keeps itself alive: it reconnects, renews and re-acquires for ever. That it can't be reached is a state
 * (`state()`), never an exception and never a reason to forget what was known.
 */

/** The object `Backend` of flannel's configuration; keys are read without regard to case. */
export interface BackendConfig {
  /** Lower case; "vxlan" is the only one that is taken. */
  type: string;
  /** 1 unless given. */
  vni: number;
  /** 8472 unless given. */
  port: number;
  /** MTU of the underlay, before the tunnel's headers are taken off; absent: the interface's. */
  mtu?: number;
  gbp: boolean;
  learning: boolean;
  directRouting: boolean;
}

/** flannel's configuration of a network (`<prefix>/config` in etcd, `net-conf.json`), defaults filled in. */
export interface NetConfig {
  enableIpv4: boolean;
  enableIpv6: boolean;
  /** "10.244.0.0/16" */
  network?: string;
  ipv6Network?: string;
  /** Sizes and range of the members' subnets; only etcd allocates by them. Addresses of networks. */
  subnetLen: number;
  subnetMin?: string;
  subnetMax?: string;
  ipv6SubnetLen: number;
  ipv6SubnetMin?: string;
  ipv6SubnetMax?: string;
  backend: BackendConfig;
}

/** What a member's VTEP of one family is, `BackendData` on the wire: `{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}`. */
export interface BackendData {
  vni: number;
  /** `aa:bb:cc:dd:ee:ff`, lower case. */
  mac: string;
  /** UDP port where it differs from the network's: our own addition, which flannel ignores. */
  port?: number;
  /** Bytes, of its overlay device: our own addition, which flannel ignores. */
  mtu?: number;
}

/** What a member says of itself. At least one family is whole: address, subnet, backend. */
export interface MemberRecord {
  /** The outer address that others send to. */
  publicIp?: string;
  publicIpV6?: string;
  /** "vxlan"; others are listed and not programmed. */
  backendType: string;
  backend?: BackendData;
  backendV6?: BackendData;
}

/** Subnets of a member, "10.244.1.0/24" and "fd00:1::/64". */
export interface Subnets {
  subnet?: string;
  subnetV6?: string;
}

/** What a source holds of us before we have said anything. */
export interface Stored extends Partial<MemberRecord>, Subnets {
  /** Addresses that the administrator set for us at the source, as `--public-ip` and `--public-ipv6` do. */
  wantedPublicIp?: string;
  wantedPublicIpV6?: string;
}

export interface Lease extends MemberRecord, Subnets {
  /** How its source knows it: key in etcd, name of the node, name in the file. One of a kind within the source. */
  readonly key: string;
  /** When it runs out, as Date.now() counts; absent: never. */
  readonly expires?: number;
}

/** A record that could not be read: left out, counted and shown. */
export interface SkippedRecord {
  key: string;
  /** What is wrong with it, e.g. `BackendData.VtepMAC "xx": six octets are expected`. */
  reason: string;
}

export interface SourceState {
  kind: 'etcd' | 'kubernetes' | 'file';
  /** Where: endpoints, the API server, the file's path. Never a password. */
  where: string;
  /** A whole snapshot has been seen. */
  synced: boolean;
  connected: boolean;
  /** Since when it is so, as Date.now() counts. */
  since: number;
  /** Why it isn't connected, or what the last attempt was refused for. */
  error?: string;
  skipped: readonly SkippedRecord[];
  /** Counts of what happened, by name: "reconnects", "resyncs", "renewals", "reacquired", "malformed" ... */
  counters: Readonly<Record<string, number>>;
}

export interface LeaseListener {
  /** Every member but us; who is not in it is gone. Also after a gap in which changes may have been missed. */
  snapshot(leases: readonly Lease[]): void;
  /** What changed since, in one batch; `removed` are keys. */
  change(changed: readonly Lease[], removed: readonly string[]): void;
  /** Our own lease has become another one (it was lost and the subnet with it). */
  own(lease: Lease): void;
}

export interface LeaseSource {
  /**
   * The network's configuration. Waits for the source as long as it takes, or until the signal.
   * @throws VtepError USAGE for a configuration that can't be right: it names the key and the remedy
   */
  config(signal: AbortSignal): Promise<NetConfig>;
  /** What the source still holds of us from an earlier life; `{}` when nothing. */
  stored(signal: AbortSignal): Promise<Stored>;
  /**
   * Our subnet, the one from before where that is possible, and our record published under it. Waits as `config` does.
   * The source renews it from then on, and gets it again should it be lost.
   * @throws VtepError NO_SPACE when every subnet is taken; USAGE when the subnet we have to take is not in the network
   */
  acquire(self: MemberRecord, previous: Subnets, signal: AbortSignal): Promise<Lease>;
  /** Publishes what has changed of us under the same subnet; what can't be sent now is sent later. */
  publish(self: MemberRecord): void;
  /** Tells of the others, until the signal: first a snapshot. Resolves when it has stopped. */
  follow(listener: LeaseListener, signal: AbortSignal): Promise<void>;
  state(): SourceState;
  /** Lets go of connections. The lease stays: a restart is to find it. */
  close(): Promise<void>;
}
