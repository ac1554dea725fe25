/** The FDB with a million entries: filled through the dataplane's own door, as a controller would, and looked at. */
import { FDB_BUCKETS_BASE, FDB_CAPACITY, REMOTES_BASE } from '../../assembly/layout.ts';
import { formatMac } from '../../src/dataplane/fdb-text.ts';
import { median } from '../samples.ts';
import { macOf, planeOf } from './walks.ts';

export interface Million {
  /** Seconds for all. */
  insertion: number;
  /** Bytes of memory that the table has at most. */
  bytes: number;
}

const ROUNDS = 3;
const CHUNK = 10_000;

/** @param entries how many */
export function million(entries = FDB_CAPACITY): Million {
  const runs = Array.from({ length: ROUNDS }, () => fill(entries));
  return {
    insertion: median(runs),
    bytes: REMOTES_BASE - FDB_BUCKETS_BASE,
  };
}

/** @returns seconds. The requests are texts; a chunk of them is made before the clock runs. */
function fill(entries: number): number {
  const plane = planeOf();
  let seconds = 0;
  for (let first = 0; first < entries; first += CHUNK) {
    const requests = Array.from({ length: Math.min(CHUNK, entries - first) }, (_, n) => ({
      op: 'add' as const,
      dev: 'vx0',
      mac: formatMac(macOf(first + n)),
      dst: `10.${((first + n) >> 16) & 255}.${((first + n) >> 8) & 255}.${(first + n) & 255}`,
    }));
    const start = performance.now();
    for (const request of requests) plane.fdb.apply(request);
    seconds += (performance.now() - start) / 1000;
  }
  if (plane.entries !== entries) throw new Error(`${plane.entries} of ${entries} entries`);
  return seconds;
}
