/** Flannel networks of this node, any number in one process: each has its VNI, port and source of leases. */
import { setFlagsFromString } from 'node:v8';
import type { Vtep } from '../types.ts';
import { goPattern } from './go-pattern.ts';
import { type Health, startHealth } from './health.ts';
import type { LeaseSource } from './lease.ts';
import { Network } from './network.ts';
import type { Logger, NetworkOptions } from './network-options.ts';
import type { FlannelStatus } from './network-status.ts';
import { membersPath } from './node-state.ts';
import { RememberingSource } from './remembering.ts';
import { openSource, type SourceSetup } from './sources.ts';

/** A source may take as long as it likes; who waits is not to be slower for it. */
const SPARING_MS_MOST = 60_000;
const SPARING_MS_AFTER = 1000;

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
      networks.push(new Network(options, { vtep, log, source: await sourceOf(source, options, log) }));
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
  const sparing = spareMemory(networks.map(({ programmed }) => programmed));
  for (const network of networks) network.start();
  let closing: Promise<void> | undefined;
  return {
    status: () => ({ networks: networks.map((network) => network.status()) }),
    summary() {
      const all = networks.map((network) => network.summary());
      return { serving: all.every(({ serving }) => serving), text: all.map(({ text }) => text).join('; ') };
    },
    close() {
      closing ??= close().finally(sparing);
      return closing;
    },
  };
}

/** A file is there when this machine is; any other source may be away when the node is started. */
async function sourceOf(
  setup: SourceSetup,
  { name, stateDirectory }: NetworkOptions,
  logger: Logger,
): Promise<LeaseSource> {
  const source = await openSource(setup, logger);
  if (setup.kind === 'file') return source;
  return new RememberingSource(source, { path: membersPath(stateDirectory, name), logger });
}

/**
 * Thousands of leases that arrive at once leave 100 MB of heap behind, unless V8 is told to collect rather than to grow
 * meanwhile. No longer than that: it also compiles differently then, and round trips are a fifth longer.
 * @returns what ends it
 */
function spareMemory(programmed: readonly Promise<void>[]): () => void {
  setFlagsFromString('--optimize-for-size');
  const end = () => {
    clearTimeout(latest);
    setFlagsFromString('--no-optimize-for-size');
  };
  const latest = setTimeout(end, SPARING_MS_MOST).unref();
  void Promise.all(programmed).then(() => setTimeout(end, SPARING_MS_AFTER).unref());
  return end;
}
