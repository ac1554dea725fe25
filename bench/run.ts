/**
 * `npm run bench`: the kernels of the hot path, then end to end against the kernel's device. Progress goes to
 * stderr, tables to stdout, and everything that was measured to a JSON file.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endToEnd, type Options, TRIAL_NAMES } from './end-to-end.ts';
import { endToEndTable, type KernelRow, kernelTable, LEAST_PAIRS, type Result, rows } from './table.ts';
import { busySeconds, machine, missing, type Testbed } from './testbed.ts';

const KERNELS = 'kernels';
const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** More than this much of a core taken by others before a trial, and its figures are not the tunnel's. */
const QUIET_CORES = 0.1;

const say = (line: string) => process.stderr.write(`${line}\n`);

function usage(message: string): never {
  say(`bench: ${message}
usage: npm run bench -- [--pairs 5] [--seconds 5] [--only NAME,...] [--all] [--quick] [--json FILE]
names: ${[KERNELS, ...TRIAL_NAMES].join(' ')}`);
  process.exit(1);
}

function options(): Options & { json?: string } {
  let values: ReturnType<typeof parse>;
  try {
    values = parse();
  } catch (error) {
    usage((error as Error).message);
  }
  const number = (word: 'pairs' | 'seconds', otherwise: number) => {
    const value = Number(values[word] ?? otherwise);
    if (!Number.isInteger(value) || value < 1) usage(`--${word} takes a whole number, 1 or more`);
    return value;
  };
  const quick = values.quick ?? false;
  const only = values.only?.split(',') ?? [];
  for (const name of only) if (![KERNELS, ...TRIAL_NAMES].includes(name)) usage(`there is no row "${name}"`);
  const candidate = values.candidate ?? 'vxlane';
  if (candidate !== 'vxlane' && candidate !== 'kernel') usage('--candidate takes vxlane or kernel');
  return {
    pairs: number('pairs', quick ? 1 : LEAST_PAIRS),
    seconds: number('seconds', quick ? 1 : 5),
    quick,
    all: values.all ?? false,
    only,
    candidate,
    ...(values.json === undefined ? {} : { json: values.json }),
  };
}

function parse() {
  const word = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  return parseArgs({
    options: { pairs: word, seconds: word, only: word, json: word, candidate: word, all: flag, quick: flag },
  }).values;
}

/** The benchmark of single kernels, if this tree has it. */
async function kernels(): Promise<KernelRow[]> {
  const file = new URL('./kernels.bench.ts', import.meta.url);
  if (!existsSync(file)) {
    say('bench: no bench/kernels.bench.ts here; the kernels of the hot path are left out');
    return [];
  }
  say('kernels of the hot path ...');
  return (await import(file.href)).kernels();
}

function commit(): string {
  try {
    const git = (...words: string[]) => execFileSync('git', words, { cwd: ROOT, encoding: 'utf8' }).trim();
    return (
      git('rev-parse', '--short=12', 'HEAD') + (git('status', '--porcelain') ? ' with local changes' : '')
    );
  } catch {
    return 'unknown';
  }
}

const asked = options();
let bed: Testbed | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    say('bench: cleaning up');
    await bed?.close();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
}

const failures: string[] = [];
let kernelRows: KernelRow[] = [];
if (asked.only.length === 0 || asked.only.includes(KERNELS)) {
  try {
    kernelRows = await kernels();
  } catch (error) {
    failures.push(`${KERNELS}: ${(error as Error).message}`);
  }
}

let results: Result[] = [];
const before = busySeconds();
if (asked.only.length === 0 || asked.only.some((name) => name !== KERNELS)) {
  const why = missing(['kernel', asked.candidate]);
  try {
    if (why) throw new Error(why);
    const only = asked.only.filter((name) => name !== KERNELS);
    results = await endToEnd(
      { ...asked, only },
      (made) => {
        bed = made;
      },
      say,
    );
  } catch (error) {
    failures.push(`end to end: ${(error as Error).message}`);
  }
}
const after = busySeconds();
const stolen = (after.stolen - before.stolen) / Math.max(0.001, after.at - before.at);

const judged = asked.candidate === 'vxlane';
const table = results.flatMap((result) => rows(result, judged));
for (const { trial, failure } of results) if (failure) failures.push(`${trial}: ${failure}`);
const notes = results
  .filter(({ background }) => background > QUIET_CORES)
  .map(({ trial, background }) => `${trial}: ${background.toFixed(2)} cores were busy before it began`);
if (stolen > 0.02) notes.push(`the hypervisor kept ${stolen.toFixed(2)} cores back`);
if (asked.pairs < LEAST_PAIRS) notes.push(`fewer than ${LEAST_PAIRS} pairs: a look, not a result`);
if (!judged) notes.push('the kernel against itself: the spread is the noise of bench and machine');
const overrun = results.some(({ samples }) =>
  samples.some(({ candidate, baseline }) => candidate?.overrun || baseline?.overrun),
);
if (overrun) notes.push('a receiving socket overflowed in a UDP trial: see "overrun" in the JSON');
const reordered = results.some(({ samples }) => samples.some(({ candidate }) => candidate?.reordered));
if (reordered) notes.push('datagrams of one UDP flow were reordered: see "reordered" in the JSON');

const about = {
  date: new Date().toISOString(),
  ...machine(),
  commit: commit(),
  command: process.argv.slice(2).join(' '),
};
const facts = Object.entries(about).map(([key, value]) => `${key}: ${value}`);
const out = [facts.join(', ')];
if (kernelRows.length > 0) out.push('', kernelTable(kernelRows));
if (table.length > 0) out.push('', endToEndTable(table));
if (notes.length > 0) out.push('', ...notes.map((note) => `note: ${note}`));
if (failures.length > 0) out.push('', ...failures.map((failure) => `failed: ${failure}`));
process.stdout.write(`${out.join('\n')}\n`);

const file = asked.json ?? `${ROOT}bench/results/${about.date.replace(/[:.]/g, '-')}.json`;
mkdirSync(dirname(file), { recursive: true });
writeFileSync(
  file,
  `${JSON.stringify({ ...about, options: asked, kernels: kernelRows, rows: table, results, notes, failures }, null, 2)}\n`,
);
say(`written: ${file}`);
process.exitCode = failures.length > 0 ? 1 : 0;
