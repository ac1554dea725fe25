/** The demonstration as lines of text: the table, its one-line form for logs, header and footer. */
import type { Sample, Tour } from './lab.ts';
import { percentile, type Rates, withUnit } from './rates.ts';

const LABEL_WIDTH = 11;
const FDB_LINES_MAX = 5;
const DROP_LINES_MAX = 5;

/** Words that a terminal may show in colour. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  green(text: string): string;
  red(text: string): string;
}

export function header(tour: Tour, { bold }: Paint): string[] {
  return [bold(tour.header[0]), tour.header[1]];
}

export function footer(tour: Tour, { dim }: Paint): string[] {
  return [
    'Try next, in another terminal (Ctrl-C here ends it all and cleans up):',
    ...tour.commands.map((line) => dim(`  ${line}`)),
  ];
}

export function table(tour: Tour, sample: Sample, rates: Rates, paint: Paint): string[] {
  const { transfers, echoes } = sample;
  const rows: [string, string][] = [
    ['TUNNEL', direction('out', rates.tx, true)],
    ['', direction('in', rates.rx, true)],
    [tour.transfers, `${rates.transfers.toFixed(0)}/s, ${transferred(sample)}`],
    ['', verdict(transfers.corrupt, transfers.failed, paint, transfers.lastFailure)],
    ['RTT', `${roundTrips(echoes.rtts)}, ${echoes.received} of ${echoes.sent} echoes back`],
    ...labelled('FDB', sample.fdb.length > 0 ? cut(sample.fdb, FDB_LINES_MAX) : ['no entries']),
    ...labelled('DROPS', drops(sample, paint)),
    ['ENGINE', sample.engine],
    ...labelled('OFFLOADS', offloads(sample.offloads)),
  ];
  return rows.map(([label, text]) => `  ${paint.bold(label.padEnd(LABEL_WIDTH))}${text}`);
}

/** One line of a log. */
export function logLine(tour: Tour, seconds: number, sample: Sample, rates: Rates): string {
  const dropped = sample.drops.reduce((sum, { count }) => sum + count, 0);
  return [
    `${seconds.toFixed(0).padStart(3)} s`,
    direction('out', rates.tx),
    direction('in', rates.rx),
    `${tour.transfers} ${transferred(sample)}`,
    `RTT ${roundTrips(sample.echoes.rtts)}`,
    `FDB ${sample.fdb.length}`,
    `drops ${dropped}`,
  ].join('  ');
}

export function roundTrips(rtts: readonly number[]): string {
  const show = (value: number | undefined) => (value === undefined ? '-' : `${value.toFixed(2)} ms`);
  return `p50 ${show(percentile(rtts, 50))}  p99 ${show(percentile(rtts, 99))}`;
}

export function transferred({ transfers }: Sample): string {
  return `${transfers.done} bodies, ${withUnit(transfers.bytesOut, 'B')} out, ${withUnit(transfers.bytesIn, 'B')} in`;
}

export function dropLine({ side, reason, count }: Sample['drops'][number]): string {
  return `${count} ${side}: ${reason}`;
}

/** The size tells super-frames, which count as one packet, from single ones. */
function direction(name: string, rate: { packets: number; bits: number }, withSize = false): string {
  const [packets, bits] = [withUnit(rate.packets, 'pkt/s'), withUnit(rate.bits, 'bit/s')];
  const size =
    withSize && rate.packets > 0 ? ` ${withUnit(rate.bits / 8 / rate.packets, 'B/pkt').padStart(12)}` : '';
  return `${name.padEnd(3)} ${packets.padStart(11)} ${bits.padStart(11)}${size}`;
}

function verdict(corrupt: number, failed: number, paint: Paint, last?: string): string {
  if (corrupt + failed === 0) return paint.green('every SHA-256 as it was sent');
  return paint.red(`${corrupt} with another SHA-256, ${failed} not arrived${last ? ` (${last})` : ''}`);
}

function drops(sample: Sample, paint: Paint): string[] {
  if (sample.drops.length === 0) return [paint.green('none')];
  return cut(sample.drops.map(dropLine), DROP_LINES_MAX).map(paint.red);
}

/** Those in use on one line, the others with their reason. */
function offloads(all: Record<string, string>): string[] {
  const on = Object.keys(all).filter((name) => all[name] === 'on');
  const off = Object.entries(all).filter(([, use]) => use !== 'on');
  return [on.join(', ') || 'none', ...off.map(([name, use]) => `${name} ${use}`)];
}

function cut(lines: readonly string[], most: number): string[] {
  if (lines.length <= most) return [...lines];
  return [...lines.slice(0, most - 1), `and ${lines.length - most + 1} more`];
}

function labelled(label: string, lines: readonly string[]): [string, string][] {
  return lines.map((line, index) => [index === 0 ? label : '', line]);
}
