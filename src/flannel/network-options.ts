/** What one flannel network is told, and what it works with. */
import type { Vtep } from '../types.ts';
import type { LeaseSource } from './lease.ts';

export type Logger = (level: 'info' | 'warn' | 'error', message: string) => void;

export interface NetworkOptions {
  /** Names its file of state, and it in the status. */
  name: string;
  /** Where the node's state is kept; /var/lib/vxlane unless told otherwise. */
  stateDirectory: string;
  /** Where CNI plugins look: /run/flannel/subnet.env. */
  subnetFile: string;
  /** What is said there of masquerading; vxlane itself makes no such rules. */
  ipMasq: boolean;
  /** Receive on our own address only. */
  bind: boolean;
  /** Take frames only from peers, from their own addresses. */
  validateSources: boolean;
  /** Seconds after which everything is looked at again. */
  reconcileInterval: number;
  /** Choice of the underlay, as flanneld's flags. */
  iface: readonly string[];
  ifaceRegex: readonly string[];
  ifaceCanReach?: string;
  publicIp?: string;
  publicIpV6?: string;
}

export interface NetworkParts {
  vtep: Vtep;
  source: LeaseSource;
  log: Logger;
}
