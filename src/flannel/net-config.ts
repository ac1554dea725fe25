// Stands in until the real one is merged.
import type { NetConfig } from './lease.ts';

export function parseNetConfig(text: string, _: { where: string }): NetConfig {
  const input = JSON.parse(text) as { Network: string; Backend?: { VNI?: number; Port?: number } };
  return {
    enableIpv4: true,
    enableIpv6: false,
    network: input.Network,
    subnetLen: 24,
    ipv6SubnetLen: 64,
    backend: {
      type: 'vxlan',
      vni: input.Backend?.VNI ?? 1,
      port: input.Backend?.Port ?? 8472,
      gbp: false,
      learning: false,
      directRouting: false,
    },
  };
}
