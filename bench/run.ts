/**
 * `npm run bench`: the kernels of the hot path, then end to end beside the kernel's device. Progress goes to
 * stderr, tables to stdout, and everything that was measured to files.
 */
import { join } from 'node:path';
import { Contest, nameOf, WITHOUT_GSO } from './contest.ts';
import { kernels as measureKernels } from './kernels.bench.ts';
import { type Options, parseOptions, USAGE } from './options.ts';
import { PEERS } from './peers.ts';
import { Probe } from './probe.ts';
import { profile } from './profile.ts';
import { about, type Contestant } from './record.ts';
import { writeReport } from './report.ts';
import { installedPeers, missing } from './requirements.ts';
import { BARE, BASELINE, type Result } from './samples.ts';
import { columns, endToEndCells, type KernelRow, kernelTable, notes, rows } from './table.ts';
import { ROOT, Testbed } from './testbed.ts';
import { KERNEL } from './tunnels.ts';
import { walks } from './walk.bench.ts';

const say = (line: string) => process.stderr.write(`${line}\n`);
const print = (text: string) => process.stdout.write(`${text}\n`);

function options(): Options {
  try {
    const parsed = parseOptions(process.argv.slice(2));
    if (parsed) return parsed;
    say(USAGE);
    process.exit(0);
  } catch (error) {
    say(`bench: ${(error as Error).message}\n${USAGE}`);
    process.exit(1);
  }
}

const asked = options();
const began = new Date();
const bed = new Testbed();
const failures: string[] = [];
const remarks: string[] = [];
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

/** Single kernels of the hot path, then both walks, in memory. */
async function kernels(): Promise<KernelRow[]> {
  if (!asked.kernels) return [];
  say('kernels of the hot path ...');
  return [...(await measureKernels()), ...(await walks())];
}

async function endToEnd(): Promise<Result[]> {
  if (asked.trials.length === 0) return [];
  const why = missing(asked);
  if (why) throw new Error(why);
  const probe = new Probe(bed, asked);
  if (asked.profile) {
    await profile(bed, probe, asked, print);
    return [];
  }
  say('setting up ...');
  const contest = new Contest(bed, probe, asked, (line) => {
    if (!stopping) say(line);
  });
  const { peers, absent } = installedPeers();
  if (asked.field) remarks.push(...absent);
  await contest.open(peers);
  const results: Result[] = [];
  for (const trial of asked.trials) results.push(await contest.run(trial));
  return results;
}

/** A part that can't be measured costs that part, not the others. */
async function part<T>(name: string, work: () => Promise<T[]>): Promise<T[]> {
  try {
    return await work();
  } catch (error) {
    failures.push(`${name}: ${(error as Error).message}`);
    return [];
  }
}

/** In the order of the tables: the kernel, vxlane, others. */
function contestants(): Contestant[] {
  const judged = asked.candidates.map((candidate) => ({
    name: nameOf(candidate),
    title: candidate.name === KERNEL ? 'Linux vxlan once more' : candidate.name,
    judged: candidate.name !== KERNEL,
  }));
  const others = PEERS.map(({ name, title }) => ({ name, title, judged: false }));
  return [
    { name: BASELINE, title: 'Linux vxlan', judged: false },
    ...judged,
    { name: WITHOUT_GSO, title: 'Linux vxlan, no GSO/GRO', judged: false },
    ...others,
    { name: BARE, title: 'bare veth, no tunnel', judged: false },
  ];
}

const kernelRows = await part('kernels', kernels);
const results = await part('end to end', endToEnd);
// What a signal cut short is no result: its handler ends the process.
if (stopping) await new Promise(() => {});
await bed.close();

for (const { trial, failures: of } of results) {
  for (const [who, why] of Object.entries(of)) failures.push(`${trial}: ${who}: ${why}`);
}
if (asked.quick) remarks.push('quick: does it work, not how fast');

const everybody = contestants();
const judged = everybody.filter((contestant) => contestant.judged).map(({ name }) => name);
const table = results.flatMap((result) => rows(result, judged));
const command = ['npm run bench --', ...process.argv.slice(2).map(quoted)].join(' ');
const facts = about(began, command);
print(
  Object.entries(facts)
    .map(([key, value]) => `${key}: ${value}`)
    .join('\n'),
);
if (kernelRows.length > 0) print(`\n${kernelTable(kernelRows)}`);
if (table.length > 0) print(`\n${columns(endToEndCells(table))}\n`);
for (const remark of [...remarks, ...results.flatMap(notes)]) print(`note: ${remark}`);
for (const failure of failures) print(`failed: ${failure}`);

if (table.length + kernelRows.length > 0) {
  const present = everybody.filter(({ name }) => table.some(({ entries }) => entries[name]?.of));
  const directory = asked.out ?? join(ROOT, 'bench/results', facts.date.replace(/[:.]/g, '-'));
  const measured = { contestants: present, kernels: kernelRows, rows: table, results };
  writeReport(directory, [{ about: facts, ...measured, notes: remarks, failures }]);
  say(`written: ${directory}`);
}
process.exitCode = failures.length > 0 ? 1 : 0;

function quoted(word: string): string {
  return /^[\w./,=@+-]+$/.test(word) ? word : `'${word}'`;
}
