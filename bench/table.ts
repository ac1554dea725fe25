/** Samples in, table out: medians, spreads, ratios pair by pair, and the floors that they are held against. */

/** One measurement of one kind: metric -> value. `cores` = busy cores while it ran, the whole machine's. */
export type Metrics = Record<string, number>;

export interface Sample {
  baseline?: Metrics;
  candidate?: Metrics;
  /** The bare veth without any tunnel, for orientation. */
  veth?: Metrics;
}

export interface Metric {
  key: string;
  /** Name of the table's row, on the command line and in FLOORS. */
  row: string;
  title: string;
  unit: string;
  digits: number;
}

export interface Result {
  trial: string;
  metrics: Metric[];
  samples: Sample[];
  /** Busy cores just before the trial, when nothing of the bench ran. */
  background: number;
  /** Cores that the hypervisor kept back during the trial. */
  stolen: number;
  /** Why the trial could not be finished. */
  failure?: string;
}

interface Floor {
  /** What is held against the bound: candidate / baseline, or the candidate's own value. */
  of: 'ratio' | 'value';
  is: 'least' | 'most';
  bound: number;
}

/** To reach with the first tunnel, by row; a row without an entry is for information. */
export const FLOORS: Record<string, Floor> = {
  tcp1: { of: 'ratio', is: 'least', bound: 0.5 },
  'tcp1-plain': { of: 'ratio', is: 'least', bound: 0.8 },
  udp64: { of: 'ratio', is: 'least', bound: 0.4 },
  'rtt-p50': { of: 'ratio', is: 'most', bound: 10 },
  idle: { of: 'value', is: 'most', bound: 1 },
};

/** More than this much of a core taken by others before a trial, and its figures are not the tunnel's. */
const QUIET_CORES = 0.1;
const STOLEN_CORES = 0.02;
/** A baseline whose best is this many times its worst has changed its way of working between pairs. */
const STEADY = 1.5;

/** What a reader must know before believing a result. */
export function notes({ trial, metrics, samples, background, stolen }: Result): string[] {
  const said: string[] = [];
  if (background > QUIET_CORES) said.push(`${background.toFixed(2)} cores were busy before it began`);
  if (stolen > STOLEN_CORES) said.push(`the hypervisor kept ${stolen.toFixed(2)} cores back`);
  const steady = summary(samples.flatMap(({ baseline }) => baseline?.[metrics[0]!.key] ?? []));
  if (steady && steady.max > STEADY * steady.min) {
    said.push('the kernel itself is unsteady: other load, or programs moved between cores (--pin)');
  }
  const any = (key: string) => samples.some(({ baseline, candidate }) => baseline?.[key] || candidate?.[key]);
  if (any('overrun')) said.push('the receiving socket overflowed: see "overrun" in the JSON');
  if (any('reordered')) said.push('datagrams of one flow were reordered: see "reordered" in the JSON');
  if (any('lost')) said.push('echoes were lost: see "lost" in the JSON');
  return said.map((what) => `${trial}: ${what}`);
}

/** Fewer interleaved pairs say nothing about a ratio. */
export const LEAST_PAIRS = 5;

export interface Summary {
  median: number;
  min: number;
  max: number;
}

/** Undefined without values. */
export function summary(values: number[]): Summary | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** Nearest rank; `values` need not be sorted. */
export function percentile(values: number[], percent: number): number {
  const sorted = [...values].sort((x, y) => x - y);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export interface Row {
  row: string;
  title: string;
  unit: string;
  digits: number;
  baseline?: Summary;
  candidate?: Summary;
  veth?: Summary;
  /** Of the ratios of the pairs, not the ratio of the medians. */
  ratio?: Summary;
  baselineCores?: number;
  candidateCores?: number;
  floor?: string;
  verdict: 'pass' | 'below' | 'failed' | '';
}

export function rows(result: Result, judged: boolean): Row[] {
  return result.metrics.map((metric) => {
    const of = (side: keyof Sample, key = metric.key) =>
      summary(result.samples.flatMap((sample) => sample[side]?.[key] ?? []));
    const ratios = result.samples.flatMap(({ baseline, candidate }) => {
      const [under, over] = [baseline?.[metric.key], candidate?.[metric.key]];
      return under === undefined || over === undefined || under === 0 ? [] : [over / under];
    });
    const row: Row = {
      row: metric.row,
      title: metric.title,
      unit: metric.unit,
      digits: metric.digits,
      verdict: result.failure === undefined ? '' : 'failed',
    };
    const set = <K extends keyof Row>(key: K, value: Row[K] | undefined) => {
      if (value !== undefined) row[key] = value;
    };
    set('baseline', of('baseline'));
    set('candidate', of('candidate'));
    set('veth', of('veth'));
    set('ratio', summary(ratios));
    set('baselineCores', of('baseline', 'cores')?.median);
    set('candidateCores', of('candidate', 'cores')?.median);
    const floor = judged ? FLOORS[metric.row] : undefined;
    if (!floor) return row;
    row.floor = `${floor.is === 'least' ? '>=' : '<='} ${floor.bound}${floor.of === 'ratio' ? 'x' : ` ${metric.unit}`}`;
    const value = (floor.of === 'ratio' ? row.ratio : row.candidate)?.median;
    if (row.verdict === '' && value !== undefined) {
      row.verdict = (floor.is === 'least' ? value >= floor.bound : value <= floor.bound) ? 'pass' : 'below';
    }
    return row;
  });
}

function spread(of: Summary | undefined, digits: number): string {
  if (!of) return '-';
  const [median, min, max] = [of.median, of.min, of.max].map((value) => value.toFixed(digits));
  return min === max ? median! : `${median} (${min}..${max})`;
}

/** Columns padded to their widest cell, first one to the left. */
export function columns(lines: string[][]): string {
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const text = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
  return [text[0], widths.map((width) => '-'.repeat(width)).join('  '), ...text.slice(1)].join('\n');
}

export function endToEndTable(all: Row[]): string {
  const head = [
    'row: median (min..max)',
    'unit',
    'kernel',
    'candidate',
    'ratio',
    'cores',
    'veth',
    'floor',
    '',
  ];
  const body = all.map((row) => [
    `${row.row}: ${row.title}`,
    row.unit,
    spread(row.baseline, row.digits),
    spread(row.candidate, row.digits),
    spread(row.ratio, 2),
    [row.baselineCores, row.candidateCores].map((cores) => cores?.toFixed(2) ?? '-').join(' / '),
    spread(row.veth && { ...row.veth, min: row.veth.median, max: row.veth.median }, row.digits),
    row.floor ?? '',
    row.verdict,
  ]);
  return columns([head, ...body]);
}

export interface KernelRow {
  name: string;
  implementation: string;
  bytes: number;
  nsPerOp: number;
}

/** One line a kernel and frame size, implementations side by side. */
export function kernelTable(all: KernelRow[]): string {
  const implementations = [...new Set(all.map(({ implementation }) => implementation))];
  const lines = new Map<string, Map<string, number>>();
  for (const { name, implementation, bytes, nsPerOp } of all) {
    const key = `${name}, ${bytes} bytes`;
    if (!lines.has(key)) lines.set(key, new Map());
    lines.get(key)!.set(implementation, nsPerOp);
  }
  const head = ['kernel of the hot path, ns per operation', ...implementations];
  const body = [...lines].map(([key, line]) => [
    key,
    ...implementations.map((i) => line.get(i)?.toFixed(1) ?? '-'),
  ]);
  return columns([head, ...body]);
}
