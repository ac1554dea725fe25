/** Times of short bursts, taken in turns, so that a machine that changes its pace changes it for all of them. */

/** `ops` operations at once; what has to be made ready before each is timed apart and taken off. */
export interface Burst {
  ops: number;
  prepare?: () => void;
  run: () => void;
}

const SLICE_MS = 6;
const WARMUP_MS = 40;

/** @returns nanoseconds per operation, one figure for each round */
export function inTurns<Name extends string>(
  bursts: Record<Name, Burst>,
  rounds: number,
): Record<Name, number[]> {
  const entries = Object.entries(bursts) as [Name, Burst][];
  const samples = Object.fromEntries(entries.map(([name]) => [name, [] as number[]])) as Record<
    Name,
    number[]
  >;
  for (const [, burst] of entries) slice(burst, WARMUP_MS);
  for (let round = 0; round < rounds; round++) {
    for (const [name, burst] of entries) samples[name].push(slice(burst, SLICE_MS));
  }
  return samples;
}

function slice({ ops, prepare, run }: Burst, milliseconds: number): number {
  if (!prepare) return repeat(run, milliseconds) / ops;
  const both = repeat(() => {
    prepare();
    run();
  }, milliseconds);
  return Math.max(0, both - repeat(prepare, milliseconds / 4)) / ops;
}

/** Nanoseconds of one call. */
function repeat(call: () => void, milliseconds: number): number {
  let calls = 0;
  const start = performance.now();
  let now = start;
  for (; now - start < milliseconds; now = performance.now()) {
    for (let i = 0; i < 4; i++) call();
    calls += 4;
  }
  return ((now - start) * 1e6) / calls;
}
