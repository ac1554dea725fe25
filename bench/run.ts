/**
 * `npm run bench`: the kernels of the hot path, then end to end against the kernel's device. Progress goes to
 * stderr, tables to stdout, and everything that was measured to a JSON file.
 *
 * Both sides stay up in namespaces of their own, idle while the other one is measured, so that a pair of
 * measurements is seconds apart and a drift of the machine hits both. The order within a pair alternates.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { busyCores, Probe, type ProbeOptions, type Subject, TRIALS, type Trial } from './end-to-end.ts';
import { kernels as measureKernels } from './kernels.bench.ts';
import {
  endToEndTable,
  type KernelRow,
  kernelTable,
  LEAST_PAIRS,
  notes,
  type Result,
  rows,
  type Sample,
} from './table.ts';
import { busySeconds, type Kind, Testbed, VXLANE } from './testbed.ts';
import { walks } from './walk.bench.ts';

const KERNELS = 'kernels';
const NAMES = [KERNELS, ...TRIALS.map(({ name }) => name)];
const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Options extends ProbeOptions {
  pairs: number;
  /** Optional trials, too. */
  all: boolean;
  only: string[];
  /** 'kernel' measures the kernel against itself: the noise of bench and machine. */
  candidate: Kind;
  json?: string;
}

const say = (line: string) => process.stderr.write(`${line}\n`);

/** @param message what was wrong; absent: it was asked for */
function usage(message?: string): never {
  if (message !== undefined) say(`bench: ${message}`);
  say(
    'usage: npm run bench -- [--pairs 5] [--seconds 5] [--only NAME,...] [--all] [--quick] [--pin] [--json FILE]',
  );
  say(`names: ${NAMES.join(' ')}`);
  process.exit(message === undefined ? 0 : 1);
}

function parse() {
  const word = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const words = { pairs: word, seconds: word, only: word, json: word, candidate: word };
  try {
    return parseArgs({ options: { ...words, all: flag, quick: flag, pin: flag, help: flag } }).values;
  } catch (error) {
    usage((error as Error).message);
  }
}

function options(): Options {
  const values = parse();
  if (values.help) usage();
  const { quick, all, pin, json, candidate = 'vxlane' } = values;
  const number = (word: 'pairs' | 'seconds', otherwise: number) => {
    const value = Number(values[word] ?? otherwise);
    if (!Number.isInteger(value) || value < 1) usage(`--${word} takes a whole number, 1 or more`);
    return value;
  };
  const only = values.only?.split(',') ?? [];
  for (const name of only) if (!NAMES.includes(name)) usage(`there is no row "${name}"`);
  if (candidate !== 'vxlane' && candidate !== 'kernel') usage('--candidate takes vxlane or kernel');
  const pairs = number('pairs', quick ? 1 : LEAST_PAIRS);
  const seconds = number('seconds', quick ? 1 : 5);
  return { pairs, seconds, quick, all, pin, only, candidate, ...(json === undefined ? {} : { json }) };
}

/** What keeps end to end from running here, with the remedy; undefined when nothing does. */
function missing(candidate: Kind): string | undefined {
  if (process.platform !== 'linux') return 'Linux is needed (network namespaces and its vxlan device)';
  if (process.getuid?.() !== 0) return 'root is needed (network namespaces): sudo npm run bench';
  const path = (process.env.PATH ?? '').split(':');
  const lacks = (tool: string) => !path.some((directory) => existsSync(join(directory, tool)));
  const packages = {
    iperf3: 'iperf3',
    ethtool: 'ethtool',
    ip: 'iproute2',
    sysctl: 'procps',
    taskset: 'util-linux',
  };
  const wanted = Object.entries(packages).flatMap(([tool, name]) => (lacks(tool) ? [name] : []));
  if (wanted.length > 0) return `programs are missing: apt-get install ${wanted.join(' ')}`;
  if (candidate === 'vxlane' && !existsSync(VXLANE)) return `${VXLANE} is not built: npm run build`;
  return undefined;
}

/** Single kernels of the hot path, then both walks, in memory. */
async function kernels(): Promise<KernelRow[]> {
  say('kernels of the hot path ...');
  return [...(await measureKernels()), ...(await walks())];
}

async function endToEnd(bed: Testbed, options: Options): Promise<Result[]> {
  const why = missing(options.candidate);
  if (why) throw new Error(why);
  const { candidate, only, all } = options;
  const trials = TRIALS.filter(({ name, optional }) =>
    only.length > 0 ? only.includes(name) : all || !optional,
  );
  if (trials.length === 0) return [];
  say('setting up ...');
  const kernelPair = await bed.pair('kernel', 'kernel', 'kernel');
  const candidatePair = await bed.pair('candidate', candidate, candidate);
  const isMixed = trials.some(({ against }) => against);
  const mixedPair = isMixed ? await bed.pair('mixed', candidate, 'kernel') : undefined;
  const probe = new Probe(bed, options);
  const results: Result[] = [];
  for (const trial of trials) {
    for (const pair of [kernelPair, candidatePair, mixedPair]) {
      if (pair) bed.offloads(pair, trial.offloads !== false);
    }
    const pair = trial.against ? mixedPair! : candidatePair;
    const result = await interleave(probe, trial, options, {
      baseline: { pair: kernelPair, reverse: false, bare: false },
      candidate: { pair, reverse: trial.against === 'from-kernel', bare: false },
      veth: { pair: kernelPair, reverse: false, bare: true },
    });
    results.push(result);
  }
  return results;
}

async function interleave(
  probe: Probe,
  trial: Trial,
  options: Options,
  subjects: Record<keyof Sample, Subject>,
): Promise<Result> {
  const { name, metrics } = trial;
  const result: Result = {
    trial: name,
    metrics,
    samples: [],
    background: await busyCores(500, 1000),
    stolen: 0,
  };
  const before = busySeconds();
  const times = trial.alone ? 1 : options.pairs;
  try {
    for (let i = 0; i < times; i++) {
      const sample: Sample = {};
      result.samples.push(sample);
      const sides: (keyof Sample)[] = i % 2 ? ['candidate', 'baseline'] : ['baseline', 'candidate'];
      if (trial.veth) sides.push('veth');
      for (const side of trial.alone ? (['candidate'] as const) : sides) {
        const measured = await trial.measure(probe, subjects[side]);
        sample[side] = measured;
        const values = metrics.map(
          ({ key, digits, unit }) => `${measured[key]?.toFixed(digits) ?? '-'} ${unit}`,
        );
        say(`${name} ${i + 1}/${times} ${side === 'baseline' ? 'kernel' : side}: ${values.join(', ')}`);
      }
    }
  } catch (error) {
    result.failure = (error as Error).message;
    say(`${name}: ${result.failure}`);
  }
  const after = busySeconds();
  result.stolen = (after.stolen - before.stolen) / (after.at - before.at);
  await probe.dismiss();
  return result;
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
const bed = new Testbed();
let stopping = false;
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) {
  process.on(signal, async () => {
    if (stopping) return;
    stopping = true;
    say('bench: cleaning up');
    await bed.close();
    process.exit(code);
  });
}

const began = new Date();
const failures: string[] = [];
/** A part that can't be measured costs that part, not the others. */
async function part<T>(name: string, work: () => Promise<T[]>): Promise<T[]> {
  try {
    return await work();
  } catch (error) {
    failures.push(`${name}: ${(error as Error).message}`);
    return [];
  }
}
const wantsKernels = asked.only.length === 0 || asked.only.includes(KERNELS);
const kernelRows = wantsKernels ? await part(KERNELS, kernels) : [];
const results = await part('end to end', () => endToEnd(bed, asked));
// What a signal cut short is no result: its handler ends the process.
if (stopping) await new Promise(() => {});
await bed.close();

for (const { trial, failure } of results) if (failure) failures.push(`${trial}: ${failure}`);
const remarks = results.flatMap(notes);
if (asked.pairs < LEAST_PAIRS || asked.quick)
  remarks.push(`quick or under ${LEAST_PAIRS} pairs: a look, not a result`);
if (asked.candidate === 'kernel')
  remarks.push('the kernel against itself: the spread is the noise of the bench');

const machine = {
  cpu: cpus()[0]?.model,
  cores: availableParallelism(),
  kernel: release(),
  node: process.version,
};
const command = ['npm run bench --', ...process.argv.slice(2)].join(' ');
const about = { date: began.toISOString(), ...machine, commit: commit(), command };
const table = results.flatMap((result) => rows(result, asked.candidate === 'vxlane'));
const out = [
  Object.entries(about)
    .map(([key, value]) => `${key}: ${value}`)
    .join('\n'),
];
if (kernelRows.length > 0) out.push('', kernelTable(kernelRows));
if (table.length > 0) out.push('', endToEndTable(table), '');
out.push(...remarks.map((remark) => `note: ${remark}`), ...failures.map((failure) => `failed: ${failure}`));
process.stdout.write(`${out.join('\n')}\n`);

const file = asked.json ?? join(ROOT, 'bench/results', `${about.date.replace(/[:.]/g, '-')}.json`);
const record = {
  ...about,
  options: asked,
  kernels: kernelRows,
  rows: table,
  results,
  notes: remarks,
  failures,
};
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
say(`written: ${file}`);
process.exitCode = failures.length > 0 ? 1 : 0;
