// Stands in until the Reconciler is merged.
import { ipBatch } from '../netlink/ip.ts';
import type { Vtep } from '../types.ts';
import type { Lease } from './lease.ts';

export class Simple {
  readonly #vtep: Vtep;
  #overlay = '';
  #leases = new Map<string, Lease>();
  constructor(vtep: Vtep) {
    this.#vtep = vtep;
  }
  async setOverlays(name: string): Promise<void> {
    this.#overlay = name;
    await this.reconcile();
  }
  async snapshot(leases: readonly Lease[]): Promise<void> {
    this.#leases = new Map(leases.map((lease) => [lease.key, lease]));
    await this.reconcile();
  }
  async reconcile(): Promise<void> {
    const dev = this.#overlay;
    if (dev === '') return;
    const lines: string[] = [];
    for (const { subnet, backend, publicIp } of this.#leases.values()) {
      const gateway = subnet!.split('/')[0]!;
      lines.push(`neigh replace ${gateway} lladdr ${backend!.mac} dev ${dev} nud permanent`);
      this.#vtep.fdb({ op: 'replace', dev, mac: backend!.mac, dst: publicIp! });
      lines.push(`route replace ${subnet} via ${gateway} dev ${dev} onlink`);
    }
    await ipBatch(lines);
  }
}

import { networkInterfaces } from 'node:os';
import { indexOf, stateOf } from '../io/interface.ts';

export interface Underlay {
  ifname: string;
  ifindex: number;
  mtu: number;
  address?: string;
  addressV6?: string;
  publicIp?: string;
  publicIpV6?: string;
}

export function chooseUnderlay({ iface }: { iface?: readonly string[] }): Underlay {
  const ifname = iface![0]!;
  const state = stateOf(ifname);
  const list = networkInterfaces()[ifname];
  const address = list?.find(({ family }) => family === 'IPv4')?.address;
  if (state === undefined || address === undefined) throw new Error(`${ifname} has no address`);
  return { ifname, ifindex: indexOf(ifname), mtu: state.mtu, address };
}
