/** One run as it is kept in JSON, and several runs as one. */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import type { Result } from './samples.ts';
import { type KernelRow, notes, type Row, rows } from './table.ts';
import { ROOT } from './testbed.ts';
import { TRIALS } from './trials.ts';

/** What a figure is worth nothing without. */
export interface About {
  date: string;
  command: string;
  commit: string;
  cpu: string;
  cores: number;
  memory: string;
  kernel: string;
  node: string;
}

export interface Contestant {
  name: string;
  title: string;
  /** Held against the floors. */
  judged: boolean;
}

export interface RunRecord {
  about: About;
  contestants: Contestant[];
  kernels: KernelRow[];
  rows: Row[];
  results: Result[];
  /** Of the run as a whole; those of a row come from its samples. */
  notes: string[];
  failures: string[];
}

export function about(began: Date, command: string): About {
  return {
    date: began.toISOString(),
    command,
    commit: commit(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    kernel: release(),
    node: process.version,
  };
}

function commit(): string {
  try {
    const git = (...words: string[]) =>
      execFileSync('git', words, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return (
      git('rev-parse', '--short=12', 'HEAD') + (git('status', '--porcelain') ? ' with local changes' : '')
    );
  } catch {
    return 'unknown';
  }
}

/**
 * Runs that were made one after the other. A row that was measured twice has the rounds of both, unless they
 * are of different builds: then those of the later one.
 *
 * @throws Error when they come from different machines
 */
export function merged(records: RunRecord[]): { abouts: About[] } & Omit<RunRecord, 'about'> {
  const abouts = records.map(({ about }) => about);
  for (const key of ['cpu', 'cores', 'kernel', 'node'] as const) {
    const found = new Set(abouts.map((about) => about[key]));
    if (found.size > 1) throw new Error(`the runs differ in ${key}: ${[...found].join(', ')}`);
  }
  const last = <T>(lists: T[][], key: (item: T) => string) => [
    ...new Map(lists.flat().map((item) => [key(item), item])).values(),
  ];
  const contestants = last(
    records.map((record) => record.contestants),
    ({ name }) => name,
  );
  const results = joined(records);
  const judged = contestants.filter((contestant) => contestant.judged).map(({ name }) => name);
  return {
    abouts,
    contestants,
    kernels: last(
      records.map(({ kernels }) => kernels),
      ({ name, implementation, bytes }) => `${name} ${implementation} ${bytes}`,
    ),
    rows: results.flatMap((result) => rows(result, judged)),
    results,
    notes: [...new Set([...records.flatMap((record) => record.notes), ...results.flatMap(notes)])],
    failures: [...new Set(records.flatMap(({ failures }) => failures))],
  };
}

/** One result a row, in the order of the table. */
function joined(records: RunRecord[]): Result[] {
  const found = new Map<string, { commit: string; result: Result }>();
  for (const { about, results } of records) {
    for (const result of results) {
      const before = found.get(result.trial);
      const isMore = before?.commit === about.commit;
      found.set(result.trial, {
        commit: about.commit,
        result: isMore ? more(before.result, result) : result,
      });
    }
  }
  const place = ({ trial }: Result) => TRIALS.findIndex(({ name }) => name === trial);
  return [...found.values()].map(({ result }) => result).sort((one, other) => place(one) - place(other));
}

function more(one: Result, other: Result): Result {
  return {
    ...other,
    rounds: [...one.rounds, ...other.rounds],
    background: Math.max(one.background, other.background),
    stolen: Math.max(one.stolen, other.stolen),
    failures: { ...one.failures, ...other.failures },
  };
}
