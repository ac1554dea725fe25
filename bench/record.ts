/** One run as it is kept in JSON, and several runs as one. */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import type { Result } from './samples.ts';
import type { KernelRow, Row } from './table.ts';
import { ROOT } from './testbed.ts';

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
 * Runs that were made one after the other, row by row: of a row that was measured twice, the later one.
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
  return {
    abouts,
    contestants: last(
      records.map(({ contestants }) => contestants),
      ({ name }) => name,
    ),
    kernels: last(
      records.map(({ kernels }) => kernels),
      ({ name, implementation, bytes }) => `${name} ${implementation} ${bytes}`,
    ),
    rows: last(
      records.map(({ rows }) => rows),
      ({ row }) => row,
    ),
    results: last(
      records.map(({ results }) => results),
      ({ trial }) => trial,
    ),
    notes: [...new Set(records.flatMap(({ notes }) => notes))],
    failures: [...new Set(records.flatMap(({ failures }) => failures))],
  };
}
