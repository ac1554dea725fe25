/**
 * All tests, which is what `npm test` runs: first, two files at a time, those that mostly wait for packets, programs and
 * clocks in namespaces of their own; then, one at a time, all others, which lean on how fast the machine is, or are short.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIRECTORY = fileURLToPath(new URL('.', import.meta.url));
/** Long ones first, so that none is left over at the end. */
const TOGETHER = [
  /^(interop|selftest|replay|wire|wrap)\b/,
  /^(peers|fdb|segment|vni|sink|hook)-kernel\./,
  /^fuzz/,
  /^(examples|kubernetes|proxy|tunnel-gso-wire|unfinished|offload-combinations|real-ip|mdb)\b/,
  // These wait for other programs, or for nothing, and nothing in them is timed.
  /^(api-docs|newcomer|package)\./,
  /^hooks?-(differential|examples|guard|refusal|scribble|threads|walks)\./,
];

/** @returns whether all is well */
function ran(files: readonly string[], concurrency: number): boolean {
  const options = ['--import', 'tsx', '--test', `--test-concurrency=${concurrency}`];
  const paths = files.map((file) => join(DIRECTORY, file));
  return spawnSync(process.execPath, [...options, ...paths], { stdio: 'inherit' }).status === 0;
}

const files = readdirSync(DIRECTORY).filter((file) => file.endsWith('.test.ts'));
const rank = (file: string) => TOGETHER.findIndex((pattern) => pattern.test(file));
const together = files.filter((file) => rank(file) >= 0).sort((one, other) => rank(one) - rank(other));
const isFine = [
  ran(together, 2),
  ran(
    files.filter((file) => rank(file) < 0),
    1,
  ),
];
if (!isFine.every(Boolean)) process.exitCode = 1;
