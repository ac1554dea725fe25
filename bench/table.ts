/** Samples in, rows out: medians, spreads, ratios round by round, and the floors that they are held against. */
import { BARE, BASELINE, type Result, type Round, type Summary, summary } from './samples.ts';

interface Floor {
  /** What is held against the bound: candidate / kernel, or the candidate's own value. */
  of: 'ratio' | 'value';
  is: 'least' | 'most';
  bound: number;
  /** Where the road is to lead. */
  aim: number;
}

const atLeast = (bound: number, aim: number): Floor => ({ of: 'ratio', is: 'least', bound, aim });
const atMost = (bound: number, aim: number): Floor => ({ of: 'ratio', is: 'most', bound, aim });

/** By row; a row without an entry is for information. */
export const FLOORS: Record<string, Floor> = {
  tcp1: atLeast(0.85, 1.2),
  'tcp1-plain': atLeast(1.1, 2),
  tcp4: atLeast(0.35, 1),
  'tcp4-plain': atLeast(1, 2),
  bidir: atLeast(0.35, 1),
  'bidir-plain': atLeast(1, 2),
  udp64: atLeast(1.5, 3),
  'udp-mix': atLeast(0.7, 1),
  'rtt-p50': atMost(3, 1.5),
  'rtt-p99': atMost(5, 1.5),
  'rtt-2ms-p50': atMost(8, 2),
  cpu: atMost(2, 1.2),
  idle: { of: 'value', is: 'most', bound: 0.5, aim: 0.1 },
};

/** More than this much of a core taken by others before a trial, and its figures are not the tunnel's. */
const QUIET_CORES = 0.1;
const STOLEN_CORES = 0.02;
/** A baseline whose best is this many times its worst has changed its way of working between rounds. */
const STEADY = 1.5;

/** Fewer interleaved rounds say nothing about a ratio. */
export const LEAST_PAIRS = 5;

/** What a reader must know before believing a result. */
export function notes({ trial, metrics, rounds, background, stolen }: Result): string[] {
  const said: string[] = [];
  const times = rounds.filter((round) => round[BASELINE]).length;
  if (times > 0 && times < LEAST_PAIRS) said.push(`${times} of ${LEAST_PAIRS} rounds: a look, not a result`);
  if (background > QUIET_CORES) said.push(`${background.toFixed(2)} cores were busy before it began`);
  if (stolen > STOLEN_CORES) said.push(`the hypervisor kept ${stolen.toFixed(2)} cores back`);
  const steady = summary(values(rounds, BASELINE, metrics[0]!.key));
  if (steady && steady.max > STEADY * steady.min) {
    said.push('the kernel itself is unsteady: other load, or programs moved between cores (--pin)');
  }
  const who = (key: string) => {
    const names = rounds.flatMap((round) => Object.keys(round).filter((name) => round[name]![key]));
    return [...new Set(names)].join(', ');
  };
  const say = (key: string, what: string) => {
    const names = who(key);
    if (names) said.push(`${what}: see "${key}" in the JSON (${names})`);
  };
  say('overrun', 'the receiving socket overflowed');
  say('reordered', 'datagrams of one flow were reordered');
  say('lost', 'echoes were lost');
  return said.map((what) => `${trial}: ${what}`);
}

/** "aim" = the floor and what lies beyond it. */
export type Verdict = 'aim' | 'pass' | 'below' | 'failed';

export interface Entry {
  of?: Summary;
  /** Of the ratios to the kernel round by round, not the ratio of the medians. */
  ratio?: Summary;
  /** Busy cores of the whole machine, median. */
  cores?: number;
  verdict?: Verdict;
}

export interface Row {
  row: string;
  title: string;
  unit: string;
  digits: number;
  floor?: string;
  entries: Record<string, Entry>;
}

const values = (rounds: Round[], name: string, key: string) =>
  rounds.flatMap((round) => round[name]?.[key] ?? []);

/** @param judged the contestants that are held against the floors */
export function rows({ metrics, rounds, failures }: Result, judged: string[]): Row[] {
  const names = new Set([...rounds.flatMap((round) => Object.keys(round)), ...Object.keys(failures)]);
  return metrics.map(({ key, row: name, title, unit, digits }) => {
    const floor = judged.length > 0 ? FLOORS[name] : undefined;
    const row: Row = { row: name, title, unit, digits, entries: {} };
    if (floor) row.floor = floorText(floor, unit);
    for (const contestant of names) {
      const entry: Entry = {};
      const of = summary(values(rounds, contestant, key));
      const cores = summary(values(rounds, contestant, 'cores'));
      if (of) entry.of = of;
      if (cores) entry.cores = cores.median;
      if (contestant !== BASELINE) {
        const ratio = summary(ratios(rounds, contestant, key));
        if (ratio) entry.ratio = ratio;
      }
      const judge = floor && judged.includes(contestant) ? floor : undefined;
      const verdict = failures[contestant] === undefined ? judge && judgement(judge, entry) : 'failed';
      if (verdict) entry.verdict = verdict;
      row.entries[contestant] = entry;
    }
    return row;
  });
}

function ratios(rounds: Round[], name: string, key: string): number[] {
  return rounds.flatMap((round) => {
    const [under, over] = [round[BASELINE]?.[key], round[name]?.[key]];
    return under === undefined || over === undefined || under === 0 ? [] : [over / under];
  });
}

function judgement(floor: Floor, { of, ratio }: Entry): Verdict | undefined {
  const value = (floor.of === 'ratio' ? ratio : of)?.median;
  if (value === undefined) return undefined;
  const reaches = (bound: number) => (floor.is === 'least' ? value >= bound : value <= bound);
  if (reaches(floor.aim)) return 'aim';
  return reaches(floor.bound) ? 'pass' : 'below';
}

function floorText({ of, is, bound, aim }: Floor, unit: string): string {
  const suffix = of === 'ratio' ? 'x' : ` ${unit}`;
  return `${is === 'least' ? '>=' : '<='} ${bound}${suffix} (${aim})`;
}

export function spread(of: Summary | undefined, digits: number): string {
  if (!of) return '-';
  const [median, min, max] = [of.median, of.min, of.max].map((value) => value.toFixed(digits));
  return min === max ? median! : `${median} (${min}..${max})`;
}

export const mean = (of: Summary | undefined, digits: number) => of?.median.toFixed(digits) ?? '-';

/** A line a row and contestant, beside the kernel. `only` leaves the others out. */
export function endToEndCells(all: Row[], only?: string[]): string[][] {
  const head = [
    'row: median (min..max)',
    'unit',
    'kernel',
    'who',
    'measured',
    'ratio',
    'cores',
    BARE,
    'floor (aim)',
    '',
  ];
  const body = all.flatMap((row) => {
    const { row: name, title, unit, digits, entries, floor } = row;
    const kernel = entries[BASELINE];
    const others = Object.entries(entries).filter(
      ([who]) => who !== BASELINE && who !== BARE && (only?.includes(who) ?? true),
    );
    return others.map(([who, entry]) => [
      `${name}: ${title.trim()}`,
      unit,
      spread(kernel?.of, digits),
      who,
      spread(entry.of, digits),
      spread(entry.ratio, 2),
      [kernel, entry].map((side) => side?.cores?.toFixed(2) ?? '-').join(' / '),
      mean(entries[BARE]?.of, digits),
      entry.verdict ? (floor ?? '') : '',
      entry.verdict ?? '',
    ]);
  });
  return [head, ...body];
}

/** Columns padded to their widest cell, first one to the left. */
export function columns(lines: string[][]): string {
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const text = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
  return [text[0], widths.map((width) => '-'.repeat(width)).join('  '), ...text.slice(1)].join('\n');
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
