/** `vxlane status`: two samples a second apart, and what happened in between. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '../daemon/client.ts';
import type { DirectionStats, VtepStatus, WorkerStatus } from '../types.ts';

const SAMPLE_DISTANCE_MS = 1000;

export interface Rate {
  packets_per_second: number;
  bits_per_second: number;
}

export interface Rates {
  devices: Record<string, { rx: Rate; tx: Rate }>;
  workers: Record<
    string,
    Rate & { batches_per_second: number; syscalls_per_second: number; sleeps_per_second: number }
  >;
  /** device -> counter -> per second; only what moved. */
  counters: Record<string, Record<string, number>>;
}

export async function sampleStatus(client: Client): Promise<{ status: VtepStatus; rates: Rates }> {
  const before = await client.status();
  const started = performance.now();
  await pause(SAMPLE_DISTANCE_MS);
  const status = await client.status();
  return { status, rates: ratesBetween(before, status, (performance.now() - started) / 1000) };
}

/** Whatever was not there in the first sample counts from zero. */
export function ratesBetween(before: VtepStatus, after: VtepStatus, seconds: number): Rates {
  const each = (now: number, then = 0) => Math.max(0, now - then) / seconds;
  const rate = (
    now: Pick<DirectionStats, 'packets' | 'bytes'>,
    then?: Pick<DirectionStats, 'packets' | 'bytes'>,
  ) => ({
    packets_per_second: each(now.packets, then?.packets),
    bits_per_second: each(now.bytes, then?.bytes) * 8,
  });
  const rates: Rates = { devices: {}, workers: {}, counters: {} };
  for (const { config, ifindex, stats } of after.devices) {
    const then = before.devices.find((device) => device.ifindex === ifindex)?.stats;
    rates.devices[config.name] = { rx: rate(stats.rx, then?.rx), tx: rate(stats.tx, then?.tx) };
  }
  for (const worker of after.workers) {
    const then = before.workers.find(({ name }) => name === worker.name);
    const moved = (key: Exclude<keyof WorkerStatus, 'name' | 'profile'>) => each(worker[key], then?.[key]);
    rates.workers[worker.name] = {
      ...rate(worker, then),
      batches_per_second: moved('batches'),
      syscalls_per_second: moved('syscalls'),
      sleeps_per_second: moved('sleeps'),
    };
  }
  for (const [device, counters] of Object.entries(after.counters)) {
    const moved = Object.entries(counters)
      .map(([counter, value]) => [counter, each(value, before.counters[device]?.[counter])] as const)
      .filter(([, perSecond]) => perSecond > 0);
    if (moved.length > 0) rates.counters[device] = Object.fromEntries(moved);
  }
  return rates;
}
