/**
 * One request for each size of a range, a few under way at a time, each reply checked against what was sent. What
 * was lost or came back different is named by its size, which is what one needs to find a boundary error.
 */
import { pattern } from './traffic-frames.ts';

export interface SweepOptions {
  /** Payload bytes of the first and the last request. */
  first: number;
  last: number;
  /** Distance between sizes; 1 unless given. */
  step?: number;
  /** Requests under way at a time; 16 unless given. */
  window?: number;
  /** Most milliseconds without any reply before the missing ones count as lost; 4000 unless given. */
  patienceMs?: number;
}

export interface SweepResult {
  sent: number;
  /** Sizes that never came back. */
  lost: number[];
  /** Sizes that came back with other bytes. */
  corrupt: number[];
  /** Sizes that came back more than once. */
  duplicate: number[];
}

export interface SweepTransport {
  send(sequence: number, size: number): void;
  /** Hands over what has arrived. */
  drain(arrived: (sequence: number, payload: Uint8Array) => void): void;
}

/** Losses after which the sweep gives up, as it does when nothing came at all: the rest would only cost time. */
const HOPELESS = 64;

const tick = () => new Promise((done) => setImmediate(done));

export async function runSweep(options: SweepOptions, transport: SweepTransport): Promise<SweepResult> {
  const { first, last, step = 1, window = 16, patienceMs = 4000 } = options;
  const sizes: number[] = [];
  for (let size = first; size <= last; size += step) sizes.push(size);
  const waiting = new Set<number>();
  const result: SweepResult = { sent: 0, lost: [], corrupt: [], duplicate: [] };
  let lastNews = performance.now();
  let anyNews = false;

  const arrived = (sequence: number, payload: Uint8Array) => {
    const size = sizes[sequence];
    if (size === undefined) return;
    lastNews = performance.now();
    anyNews = true;
    if (!waiting.delete(sequence)) result.duplicate.push(size);
    const expected = pattern(size, sequence);
    if (payload.length !== size || !expected.every((byte, i) => byte === payload[i]))
      result.corrupt.push(size);
  };

  while (result.sent < sizes.length || waiting.size > 0) {
    while (result.sent < sizes.length && waiting.size < window) {
      const sequence = result.sent++;
      waiting.add(sequence);
      transport.send(sequence, sizes[sequence] ?? 0);
      lastNews = performance.now();
    }
    await tick();
    transport.drain(arrived);
    if (performance.now() - lastNews > patienceMs) {
      for (const sequence of waiting) result.lost.push(sizes[sequence] ?? 0);
      waiting.clear();
      if (result.lost.length >= HOPELESS || !anyNews) break;
    }
  }
  // A late second copy must not go unnoticed.
  await new Promise((done) => setTimeout(done, 5));
  transport.drain(arrived);
  return result;
}
