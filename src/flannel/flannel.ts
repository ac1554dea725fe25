/** Flannel networks of this node, any number in one process: each has its VNI, port and source of leases. */
import type { Vtep } from '../types.ts';
import { goPattern } from './go-pattern.ts';
import { type Health, startHealth } from './health.ts';
import { Network } from './network.ts';
import type { Logger, NetworkOptions } from './network-options.ts';
import type { FlannelStatus } from './network-status.ts';
import { openSource, type SourceSetup } from './sources.ts';

export interface NetworkSetup extends NetworkOptions {
  source: SourceSetup;
}

/** Where /healthz and /readyz are answered; port 0: nowhere. */
export interface HealthSetup {
  ip: string;
  port: number;
}

export interface Flannel {
  status(): FlannelStatus;
  /** Whether pods can be made in every network, and in one line what they do. */
  summary(): { serving: boolean; text: string };
  /** Takes the devices down; leases stay. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Networks come up by themselves, as their sources allow.
 * @throws VtepError for a source that can never be had, a pattern that is none, a health endpoint that can't be
 * listened on; then nothing is left behind
 */
export async function startFlannel(
  setups: readonly NetworkSetup[],
  vtep: Vtep,
  log: Logger,
  { ip, port }: HealthSetup = { ip: '', port: 0 },
): Promise<Flannel> {
  const networks: Network[] = [];
  let health: Health | undefined;
  const close = async () => {
    await Promise.all([...networks.map((network) => network.close()), health?.close()]);
  };
  try {
    for (const { source, ...options } of setups) {
      // A pattern that is none never will be one: said now, and not when it is first tried.
      for (const pattern of options.ifaceRegex) goPattern(`--iface-regex ${pattern}`, pattern);
      networks.push(new Network(options, { vtep, log, source: await openSource(source, log) }));
    }
    const ready = () => {
      const reasons = networks.flatMap((network) => network.ready());
      return { ok: reasons.length === 0, reasons };
    };
    health = await startHealth({ ip, port, ready });
  } catch (error) {
    await close();
    throw error;
  }
  for (const network of networks) network.start();
  let closing: Promise<void> | undefined;
  return {
    status: () => ({ networks: networks.map((network) => network.status()) }),
    summary() {
      const all = networks.map((network) => network.summary());
      return { serving: all.every(({ serving }) => serving), text: all.map(({ text }) => text).join('; ') };
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}
