/** What two samples say together: rates, the spread of round trips, and how such numbers are written. */
import type { Flow, Sample } from './lab.ts';

export interface Rates {
  tx: { packets: number; bits: number };
  rx: { packets: number; bits: number };
  /** Transfers a second. */
  transfers: number;
}

/** Per second, between two samples. */
export function ratesBetween(before: Sample, after: Sample): Rates {
  const seconds = Math.max(0.001, (after.at - before.at) / 1000);
  const flow = (then: Flow, now: Flow) => ({
    packets: (now.packets - then.packets) / seconds,
    bits: ((now.bytes - then.bytes) * 8) / seconds,
  });
  return {
    tx: flow(before.tx, after.tx),
    rx: flow(before.rx, after.rx),
    transfers: (after.transfers.done - before.transfers.done) / seconds,
  };
}

/** Nearest rank; undefined if there is none. */
export function percentile(values: readonly number[], percent: number): number | undefined {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
}

/** Three significant digits and an SI prefix: "86.2 Mbit/s". */
export function withUnit(value: number, unit: string): string {
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  const number = value / 1000 ** power;
  const digits = power === 0 || number >= 100 ? 0 : number < 10 ? 2 : 1;
  return `${number.toFixed(digits)} ${['', 'k', 'M', 'G', 'T'][power]}${unit}`;
}
