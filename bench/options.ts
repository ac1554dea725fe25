/** The command line of the benchmark. */
import { parseArgs } from 'node:util';
import type { ProbeOptions } from './probe.ts';
import { LEAST_PAIRS } from './table.ts';
import { GROUPS, TRIALS, type Trial } from './trials.ts';
import { type Candidate, KERNEL, parseCandidate } from './tunnels.ts';

export const KERNELS = 'kernels';
/** Every row end to end; kernels of the hot path are in memory. */
const END_TO_END = 'e2e';

export interface Options extends ProbeOptions {
  pairs: number;
  /** Rows end to end, in the table's order. */
  trials: Trial[];
  kernels: boolean;
  /** Other tunnels, too, and the kernel without GSO. */
  field: boolean;
  profile: boolean;
  candidates: Candidate[];
  out?: string;
}

export const USAGE = `usage: npm run bench -- [OPTION...]

  --pairs N          interleaved rounds a row (5)
  --seconds N        length of a TCP trial (5)
  --only NAME,...    rows or groups
  --all              optional rows, too
  --field            other tunnels, too, and the kernel without GSO
  --candidate SPEC   a vxlane to measure, again for one more: NAME or
                     "NAME: [WORD...] [KEY=VALUE...] [@DIRECTORY] [-- FLAG...]"; "kernel" is the kernel once more
  --vxlane "WORDS"   words after those of every candidate's device
  --daemon "FLAGS"   flags of every candidate's daemon
  --pin              sending programs on core 0, receiving ones on core 1
  --profile          where the time goes, by worker thread, instead of the table
  --quick            one short round a row: does it work at all?
  --out DIRECTORY    where results go (bench/results/DATE)

groups: ${[KERNELS, END_TO_END, ...Object.keys(GROUPS)].join(' ')}
rows: ${TRIALS.map(({ name }) => name).join(' ')}`;

/** @throws Error that says what is wrong with the words; undefined when help was asked for */
export function parseOptions(argv: string[]): Options | undefined {
  const word = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const single = { pairs: word, seconds: word, only: word, out: word, vxlane: word, daemon: word };
  const flags = { all: flag, field: flag, quick: flag, pin: flag, profile: flag, help: flag };
  const candidate = { type: 'string', multiple: true } as const;
  const { values } = parseArgs({ args: joined(argv), options: { ...single, ...flags, candidate } });
  if (values.help) return undefined;
  const { quick, all, pin, field, profile, out } = values;
  const number = (name: 'pairs' | 'seconds', otherwise: number) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} takes a whole number, 1 or more`);
    return value;
  };
  const only = values.only?.split(',') ?? [];
  const candidates = (values.candidate ?? ['vxlane']).map(parseCandidate);
  for (const { name, words, flags } of candidates) {
    if (candidates.filter((other) => other.name === name).length > 1)
      throw new Error(`two candidates are "${name}"`);
    if (name === KERNEL) continue;
    words.push(...(values.vxlane?.split(' ').filter(Boolean) ?? []));
    flags.push(...(values.daemon?.split(' ').filter(Boolean) ?? []));
  }
  return {
    pairs: number('pairs', quick ? 1 : LEAST_PAIRS),
    seconds: number('seconds', quick ? 1 : 5),
    trials: trialsOf(only, all, profile),
    kernels: (only.length === 0 && !profile) || only.includes(KERNELS),
    quick,
    pin,
    field,
    profile,
    candidates,
    ...(out === undefined ? {} : { out }),
  };
}

/** What a profile looks at when no row is named: each of them says something else. */
const PROFILED = 'tcp1,tcp4,udp64,rtt'.split(',');

function trialsOf(only: string[], all: boolean, profile: boolean): Trial[] {
  if (only.length === 0 && profile) return trialsOf(PROFILED, false, false);
  if (only.length === 0) return TRIALS.filter(({ optional }) => all || !optional);
  const wanted = new Set<string>();
  for (const name of only) {
    const isRow = TRIALS.some((trial) => trial.name === name);
    const rows = name === KERNELS ? [] : isRow ? [name] : GROUPS[name];
    if (rows) for (const row of rows) wanted.add(row);
    else if (name !== END_TO_END) throw new Error(`there is no row or group "${name}"`);
  }
  const isEndToEnd = only.includes(END_TO_END);
  return TRIALS.filter(({ name, optional }) => wanted.has(name) || (isEndToEnd && (all || !optional)));
}

/** parseArgs takes no value that begins with a dash but behind "=". */
function joined(argv: string[]): string[] {
  const words: string[] = [];
  for (const word of argv) {
    if (words.at(-1) === '--daemon') words[words.length - 1] = `--daemon=${word}`;
    else words.push(word);
  }
  return words;
}
