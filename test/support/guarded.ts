/** Memory that packets must leave alone, whatever they are. */
import assert from 'node:assert/strict';
import {
  DECAP_BYTES,
  ENCAP_BYTES,
  FDB_BUCKETS_BASE,
  LISTENERS_BASE,
  WORKER_BYTES,
} from '../../assembly/layout.ts';
import { DECAP_WORKER, ENCAP_WORKER, type HotPath } from './hot-path.ts';

const CANARY = 0x5a;

/** Memory that nobody owns is filled; @returns a check that it, and what `idle` owns, is as it was. */
export function guarded(path: HotPath, idle: number): () => void {
  const { bytes } = path.engine;
  const gaps: [number, number][] = [
    [ENCAP_WORKER + ENCAP_BYTES, ENCAP_WORKER + WORKER_BYTES],
    [DECAP_WORKER + DECAP_BYTES, DECAP_WORKER + WORKER_BYTES],
  ];
  for (const [from, to] of gaps) bytes.fill(CANARY, from, to);
  const ranges = [
    ...gaps,
    [0, 65536],
    [LISTENERS_BASE, FDB_BUCKETS_BASE],
    [idle, idle + WORKER_BYTES],
  ] as const;
  const before = ranges.map(([from, to]) => bytes.slice(from, to));
  return () => {
    for (const [i, [from, to]] of ranges.entries()) {
      const same = Buffer.from(bytes.buffer, from, to - from).equals(before[i]!);
      assert.ok(same, `nothing is written between ${from} and ${to}`);
    }
  };
}
