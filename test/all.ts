/**
 * All tests, which is what `npm test` runs: first, two files at a time, those that mostly wait for packets, programs and
 * clocks in namespaces of their own; then, one at a time, all others, which lean on how fast the machine is, or are short.
 * To the reporter both are one run: one numbering, one closing line, before which every test that failed is named again.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { run } from 'node:test';
import { spec, tap } from 'node:test/reporters';
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
/** A count that closes a run of the runner: `pass 987`. */
const COUNT = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/;

interface Event {
  readonly type: string;
  readonly data: {
    name?: string;
    nesting: number;
    message?: string;
    file?: string;
    count?: number;
    testNumber?: number;
  };
}

const files = readdirSync(DIRECTORY).filter((file) => file.endsWith('.test.ts'));
const rank = (file: string) => TOGETHER.findIndex((pattern) => pattern.test(file));
const together = files.filter((file) => rank(file) >= 0).sort((one, other) => rank(one) - rank(other));
const alone = files.filter((file) => rank(file) < 0);

const out = new PassThrough({ objectMode: true });
const counts = new Map<string, number>();
const failed: string[] = [];
let plan = 0;

/** Puts a run's events into the stream of all, and keeps what closes it. */
async function pass(names: readonly string[], concurrency: number): Promise<void> {
  const before = plan;
  for await (const event of run({
    files: names.map((name) => join(DIRECTORY, name)),
    concurrency,
  }) as AsyncIterable<Event>) {
    const { type, data } = event;
    const count = type === 'test:diagnostic' && data.nesting === 0 ? COUNT.exec(data.message ?? '') : null;
    if (count !== null) {
      counts.set(String(count[1]), (counts.get(String(count[1])) ?? 0) + Number(count[2]));
      continue;
    }
    if (type === 'test:plan' && data.nesting === 0) {
      plan += data.count ?? 0;
      continue;
    }
    if (type === 'test:fail') failed.push(`${data.file ?? ''}: ${data.name ?? ''}`);
    if (data.nesting === 0 && data.testNumber !== undefined) data.testNumber += before;
    out.write(event);
  }
}

function diagnostic(message: string): void {
  out.write({ type: 'test:diagnostic', data: { nesting: 0, message } });
}

const report = process.stdout.isTTY ? (out.compose(new spec()) as Readable) : out.compose(tap);
report.pipe(process.stdout);
await pass(together, 2);
await pass(alone, 1);
out.write({ type: 'test:plan', data: { nesting: 0, count: plan } });
for (const line of failed) diagnostic(`failed: ${line}`);
for (const [name, count] of counts) diagnostic(`${name} ${count}`);
out.end();
// In CI, where everything that a test may need is installed, a skipped test is a failure too.
const isFine = failed.length === 0 && counts.get('pass') && !counts.get('fail') && !counts.get('cancelled');
if (!isFine || (process.env.CI && counts.get('skipped'))) process.exitCode = 1;
