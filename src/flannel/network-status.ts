/** What flannel networks say of themselves: GET /v1/flannel, and `vxlane flannel status`. */
import type { Lease, NetConfig, SourceState } from './lease.ts';

/** What it waits for; "running" when for nothing. */
export type NetworkPhase = 'configuration' | 'underlay' | 'lease' | 'running';

export interface OverlayStatus {
  family: 4 | 6;
  name: string;
  ifindex: number;
  mac: string;
  /** Bytes. */
  mtu: number;
  up: boolean;
  /** Outer address of ours, and the interface it goes by. */
  local: string;
  dev: string;
}

/** One family of one lease. */
export interface PeerStatus {
  /** Of its lease. */
  key: string;
  family: 4 | 6;
  subnet: string;
  publicIp: string;
  mac: string;
  /** Through the tunnel; without it (DirectRouting); or not at all, and why. */
  state: 'tunnel' | 'direct' | 'error';
  error?: string;
  /** When its lease runs out, as Date.now() counts. */
  expires?: number;
  /** What probing has found. */
  reachability?: {
    state: 'unknown' | 'answers' | 'silent';
    /** Smoothed, milliseconds. */
    rttMs?: number;
    fullSize: 'passes' | 'lost' | 'unknown';
    /** Bytes; 0: there is no way to its public address. */
    pathMtu?: number;
  };
  /** Seconds since the last frame that was taken from it; absent: none yet, or sources are not validated. */
  last?: number;
  /** Frames; absent where sources are not validated. */
  stats?: {
    rx: { packets: number; bytes: number; address_drops: number; subnet_drops: number };
    tx: { packets: number; bytes: number };
  };
}

export interface NetworkStatus {
  name: string;
  phase: NetworkPhase;
  source: SourceState;
  config?: NetConfig;
  /** Ours. */
  lease?: Lease;
  overlays: OverlayStatus[];
  /** What is not as it should be: sentences, with remedies. */
  problems: string[];
  peers: PeerStatus[];
}

export interface FlannelStatus {
  networks: NetworkStatus[];
}
