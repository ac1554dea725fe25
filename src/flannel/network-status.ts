/** What a flannel network says of itself: GET /v1/flannel, and `vxlane flannel status`. */
import type { Lease, NetConfig, SourceState } from './lease.ts';

/** What it waits for; "running" when for nothing. */
export type NetworkPhase = 'configuration' | 'underlay' | 'lease' | 'running';

export interface OverlayStatus {
  name: string;
  mac: string;
  mtu: number;
  up: boolean;
  /** Outer address of ours, and the interface it goes by. */
  local: string;
  dev: string;
}

export interface NetworkStatus {
  name: string;
  phase: NetworkPhase;
  source: SourceState;
  config?: NetConfig;
  /** Ours. */
  lease?: Lease;
  overlays: OverlayStatus[];
  /** What is not as it should be, in sentences. */
  problems: string[];
}

export interface FlannelStatus {
  networks: NetworkStatus[];
}
