/** The shapes of what is measured, and the few statistics over them. */

/** One measurement of one contestant: metric -> value. `cores` = busy cores of the whole machine meanwhile. */
export type Metrics = Record<string, number>;

/** Contestant -> what it did, seconds apart from the others. */
export type Round = Record<string, Metrics>;

export interface Metric {
  key: string;
  /** Name of the table's row, on the command line and in FLOORS. */
  row: string;
  title: string;
  unit: string;
  digits: number;
}

export interface Result {
  trial: string;
  metrics: Metric[];
  rounds: Round[];
  /** Busy cores just before the trial, when nothing of the bench ran. */
  background: number;
  /** Cores that the hypervisor kept back during the trial. */
  stolen: number;
  /** Why a contestant has no more rounds: its name -> the reason. */
  failures: Record<string, string>;
}

/** The contestant that the others are held against. */
export const BASELINE = 'kernel';
/** The bare underlay without any tunnel, for orientation. */
export const BARE = 'veth';

export interface Summary {
  median: number;
  min: number;
  max: number;
}

/** Undefined without values. */
export function summary(values: readonly number[]): Summary | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Of at least one value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
