/**
 * Results as files: results.json, results.md with its tables, and SVG charts. Run as a program, it makes one
 * report of several runs: rows measured in parts, or a report drawn anew.
 *
 *   node --import tsx bench/report.ts --out docs/bench RESULTS.json...
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { charts, frameRow } from './charts.ts';
import { PERCENTILES } from './echo.ts';
import { merged, type RunRecord } from './record.ts';
import { BASELINE, summary } from './samples.ts';
import { endToEndCells, mean, type Row } from './table.ts';
import { FRAME_BYTES } from './trials.ts';

type Report = ReturnType<typeof merged>;

/** Writes the files. */
export function writeReport(directory: string, records: RunRecord[]): void {
  const report = merged(records);
  mkdirSync(directory, { recursive: true });
  writeFileSync(
    join(directory, 'results.json'),
    `${JSON.stringify(records.length === 1 ? records[0] : records, null, 1)}\n`,
  );
  const drawn = charts(report);
  for (const [name, svg] of drawn) writeFileSync(join(directory, name), svg);
  writeFileSync(join(directory, 'results.md'), markdown(report, [...drawn.keys()]));
}

/** The page that a person reads, with the charts that there are. */
function markdown(report: Report, drawn: string[]): string {
  const { abouts, contestants, rows, notes, failures } = report;
  const judged = contestants.filter((contestant) => contestant.judged).map(({ name }) => name);
  const [first] = abouts;
  const { cpu, cores, memory, kernel, node } = first!;
  const chart = (name: string) => (drawn.includes(`${name}.svg`) ? [`![${name}](${name}.svg)`, ''] : []);
  const out = [
    '# Benchmark results',
    '',
    ...abouts.flatMap(({ date, command, commit }) => [`    # ${date}, commit ${commit}`, `    ${command}`]),
    '',
    `${cpu}, ${cores} cores, ${memory}; Linux ${kernel}; Node ${node}. ` +
      `Medians of interleaved rounds; the ratio is the median of the ratios round by round. ` +
      `Cores: busy cores of the whole machine, kernel / measured.`,
    '',
    '## Beside the kernel',
    '',
    ...chart('throughput'),
    ...chart('udp'),
    ...table(
      endToEndCells(
        rows.filter((row) => !row.row.startsWith('frame-')),
        judged,
      ),
    ),
    ...section('## RFC 2544 frame sizes', chart('frames'), framesTable(rows, judged)),
    ...section('## The field', chart('field'), fieldTable(report)),
    ...section('## Round trips', chart('rtt'), percentileTable(report)),
  ];
  if (notes.length + failures.length > 0) out.push('## Notes', '');
  out.push(...notes.map((note) => `- ${note}`), ...failures.map((failure) => `- failed: ${failure}`));
  return `${out.join('\n').trimEnd()}\n`;
}

function section(title: string, chart: string[], cells: string[][]): string[] {
  return cells.length > 1 ? [title, '', ...chart, ...table(cells)] : [];
}

/** Numbers to the right. */
function table([head, ...body]: string[][]): string[] {
  if (body.length === 0) return ['Nothing was measured.', ''];
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head!), line(head!.map((_, i) => (i === 0 ? '---' : '---:'))), ...body.map(line), ''];
}

const rowOf = (rows: Row[], name: string) => rows.find(({ row }) => row === name);

function framesTable(rows: Row[], judged: string[]): string[][] {
  const who = [BASELINE, ...judged];
  const kinds = { '': 'NDR, kpps', '-flood': 'MRR, kpps', '-cpu': 'ns/packet' };
  const head = Object.values(kinds).flatMap((kind) => [
    ...who.map((name) => `${name} ${kind}`),
    ...(kind.startsWith('ns') ? [] : judged.map((name) => `${name} ratio`)),
  ]);
  const body = FRAME_BYTES.filter((bytes) => rowOf(rows, frameRow(bytes))).map((bytes) => [
    `${bytes}`,
    ...Object.keys(kinds).flatMap((suffix) => {
      const row = rowOf(rows, frameRow(bytes) + suffix);
      const values = who.map((name) => mean(row?.entries[name]?.of, 0));
      return suffix === '-cpu'
        ? values
        : [...values, ...judged.map((name) => mean(row?.entries[name]?.ratio, 2))];
    }),
  ]);
  return body.length < 2 ? [] : [['frame, bytes', ...head], ...body];
}

/** Everybody by the rows that everybody has; the kernel on a plain underlay from the rows that measure that. */
function fieldTable({ contestants, rows }: Report): string[][] {
  const columns = ['tcp1', 'cpu', 'tcp4', 'udp64', 'rtt-p50', 'rtt-p99'].flatMap(
    (name) => rowOf(rows, name) ?? [],
  );
  const line = (title: string, of: (row: Row) => string) => [title, ...columns.map(of)];
  const value = (row: Row | undefined, who: string) => mean(row?.entries[who]?.of, row?.digits ?? 0);
  const body = contestants.flatMap(({ name, title, judged }) => {
    const own = line(title, (row) => value(row, name));
    const plain = (row: Row) => value(rowOf(rows, `${row.row}-plain`), name);
    return name === BASELINE || judged
      ? [own, line(`${title}, underlay without tunnel offload`, plain)]
      : [own];
  });
  const said = body.filter(([, ...cells]) => cells.some((cell) => cell !== '-'));
  return contestants.length < 4 ? [] : [line('', ({ title, unit }) => `${title.trim()}, ${unit}`), ...said];
}

function percentileTable({ contestants, results }: Report): string[][] {
  const names = Object.keys(PERCENTILES);
  const body = ['rtt', 'rtt-2ms'].flatMap((name) => {
    const result = results.find(({ trial }) => trial === name);
    return contestants.flatMap(({ name: who, title }) => {
      const at = (key: string) => summary(result?.rounds.flatMap((round) => round[who]?.[key] ?? []) ?? []);
      return at('p50') ? [[`${name}: ${title}`, ...names.map((key) => mean(at(key), 1))]] : [];
    });
  });
  return [['us', ...names.map((key) => key.replace('995', '99.5').replace('999', '99.9'))], ...body];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
  if (values.out === undefined || positionals.length === 0) {
    process.stderr.write('usage: node --import tsx bench/report.ts --out DIRECTORY RESULTS.json...\n');
    process.exit(1);
  }
  // A report of several runs keeps them as a list.
  const records = positionals.flatMap((file): RunRecord[] => JSON.parse(readFileSync(file, 'utf8')));
  writeReport(values.out, records);
}
