/** Flannel networks of this node, any number in one process: each has its VNI, port and source of leases. */
import type { Vtep } from '../types.ts';
import { Network } from './network.ts';
import type { Logger, NetworkOptions } from './network-options.ts';
import type { FlannelStatus } from './network-status.ts';
import { openSource, type SourceSetup } from './sources.ts';

export interface NetworkSetup extends NetworkOptions {
  source: SourceSetup;
}

export interface Flannel {
  status(): FlannelStatus;
  /** Takes the devices down; leases stay. Safe to call twice. */
  close(): Promise<void>;
}

/** Networks come up by themselves, as their sources allow. @throws VtepError for a source that can never be had */
export async function startFlannel(
  setups: readonly NetworkSetup[],
  vtep: Vtep,
  log: Logger,
): Promise<Flannel> {
  const networks: Network[] = [];
  for (const { source, ...options } of setups)
    networks.push(new Network(options, { vtep, log, source: await openSource(source, log) }));
  for (const network of networks) network.start();
  let closing: Promise<unknown> | undefined;
  return {
    status: () => ({ networks: networks.map((network) => network.status()) }),
    async close() {
      closing ??= Promise.all(networks.map((network) => network.close()));
      await closing;
    },
  };
}
