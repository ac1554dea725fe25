/**
 * How cost grows, and how the hot kernels stand against the same C: all in memory, in about two minutes.
 *
 *   npm run bench:growth -- [--only fdb,vnis,flows,remotes,bytes,native,million] [--out DIRECTORY]
 *
 * Tables go to stdout; for each growth NAME.json and NAME.svg, and growth.md with everything, to the directory.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeChart } from './growth/chart.ts';
import { GROWTHS, type Growth } from './growth/growths.ts';
import { growthText, kernelText, machine, millionText } from './growth/page.ts';
import { million } from './growth/targets.ts';
import { compare } from './native/contest.ts';

const PARTS = [...Object.keys(GROWTHS), 'native', 'million'];

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: PARTS.join(',') },
    out: { type: 'string', default: 'bench/results/growth' },
  },
});
const wanted = values.only.split(',');
const unknown = wanted.filter((part) => !PARTS.includes(part));
if (unknown.length > 0) {
  process.stderr.write(`bench:growth: no part "${unknown.join(', ')}"; there are ${PARTS.join(', ')}\n`);
  process.exit(1);
}

mkdirSync(values.out, { recursive: true });
const page: string[] = [];
const say = (text: string) => {
  page.push(text);
  process.stdout.write(`${text}\n`);
};
const save = (growth: Growth) => {
  writeFileSync(join(values.out, `${growth.name}.json`), `${JSON.stringify(growth, null, 1)}\n`);
  writeChart(join(values.out, `${growth.name}.svg`), growth);
};

const parts = wanted.length < PARTS.length ? ` -- --only ${values.only}` : '';
say(machine(`npm run bench:growth${parts}`));
if (wanted.includes('million')) say(millionText(million()));
if (wanted.includes('native')) say(kernelText(compare()));
for (const [name, measure] of Object.entries(GROWTHS)) {
  if (!wanted.includes(name)) continue;
  const growth = measure();
  save(growth);
  say(growthText(growth));
}
writeFileSync(join(values.out, 'growth.md'), `${page.join('\n')}\n`);
