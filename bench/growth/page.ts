/** Results as Markdown: a table each, and a sentence on every curve. */
import { arch, cpus, release } from 'node:os';
import type { KernelResult } from '../native/contest.ts';
import type { Growth } from './growths.ts';
import { shapeOf } from './shape.ts';
import type { Million } from './targets.ts';

/** At least this much of C's speed. */
const NATIVE_FLOOR = 0.8;
const MIB = 2 ** 20;

export function machine(command: string): string {
  const [cpu] = cpus();
  const date = new Date().toISOString().slice(0, 10);
  return [
    '# How cost grows',
    '',
    `\`${command}\`: ${cpu?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${arch()}, Linux ${release()}, Node ${process.versions.node}, ${date}.`,
    'Medians, in memory, one thread, tables in huge pages where the kernel gives them; nanoseconds.',
    '',
  ].join('\n');
}

export function millionText({ insertion, bytes }: Million): string {
  return [
    '## 1,000,000 FDB entries',
    '',
    `${insertion.toFixed(2)} s to add them one by one as texts, ${(bytes / MIB).toFixed(1)} MiB for the table.`,
    '',
  ].join('\n');
}

export function kernelText(results: readonly KernelResult[]): string {
  const ns = (value: number | undefined) => (value === undefined ? '-' : value.toFixed(1));
  const lines = [
    '## Hot kernels against the same C',
    '',
    '| kernel, ns | WASM | WASM without SIMD | `cc -O3` | `cc -O3 -march=native` | WASM / `cc -O3` in speed | at least |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...results.map(({ name, wasm, scalar, native, tuned, ratio }) => {
      const verdict = ratio === undefined ? ['-', '-'] : [ratio.toFixed(2), judged(ratio)];
      return `| ${[name, ns(wasm), ns(scalar), ns(native), ns(tuned), ...verdict].join(' | ')} |`;
    }),
    '',
  ];
  if (results.every(({ native }) => native === undefined))
    lines.push('No C compiler (`cc`), or no koffi to call what it makes: the WASM stands alone.', '');
  return lines.join('\n');
}

function judged(ratio: number): string {
  return `${NATIVE_FLOOR} ${ratio >= NATIVE_FLOOR ? 'met' : 'missed'}`;
}

/** x as rows, curves as columns, then what each looks like. */
export function growthText({ title, xLabel, series, unit, name }: Growth): string {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))];
  const cell = (points: Growth['series'][number]['points'], x: number) =>
    points.find(([at]) => at === x)?.[1].toFixed(1) ?? '-';
  return [
    `## ${title}`,
    '',
    `| ${[xLabel, ...series.map((of) => of.name)].join(' | ')} |`,
    `| ${Array(series.length + 1)
      .fill('---:')
      .join(' | ')} |`,
    ...xs.map(
      (x) => `| ${[x.toLocaleString('en'), ...series.map(({ points }) => cell(points, x))].join(' | ')} |`,
    ),
    '',
    ...series.map((of) => `${of.name}: ${shapeOf(of.points, unit)}.`),
    '',
    `![${title}](${name}.svg)`,
    '',
  ].join('\n');
}
