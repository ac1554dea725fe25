/**
 * `vxlane sink`: flags to options, Ctrl-C and SIGUSR1, totals at the end. Standard output belongs to the capture when
 * it is written there; everything said goes to standard error then.
 */
import { isatty } from 'node:tty';
import { VtepError } from '../errors.ts';
import { ROTATION_MIN_BYTES, type Rotation } from '../sink/file-output.ts';
import { vniRanges } from '../sink/filter.ts';
import { createSink } from '../sink/sink.ts';
import type { SinkStats } from '../sink/stats.ts';
import type { Flags, Outside } from './command.ts';
import { toJson } from './json.ts';
import { sinkObject, sinkText, sinkTotals } from './sink-format.ts';
import { stopSignal } from './stop.ts';

/** As commander reads them. */
export interface SinkFlags {
  port?: string;
  address?: string;
  vni?: string;
  write?: string;
  snaplen?: string;
  rotate?: string;
  filter?: string;
  tap?: string;
  stats?: true;
}

const STDOUT = 1;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
};

export async function sink(given: SinkFlags, flags: Flags, outside: Outside): Promise<number> {
  const { address, filter, tap, write } = given;
  if (write === undefined && tap === undefined && given.stats === undefined)
    throw new VtepError('USAGE', 'sink: nothing to do with the packets: --write FILE, --tap NAME or --stats');
  if (write === '-' && isatty(STDOUT))
    throw new VtepError(
      'USAGE',
      'sink: --write -: standard output is a terminal: "| wireshark -k -i -" reads it',
    );
  const vnis = given.vni === undefined || given.vni === 'any' ? undefined : vniRanges(given.vni);
  if (vnis === undefined && given.vni !== undefined && given.vni !== 'any')
    throw wrong('vni', given.vni, '"any", or VNIs such as 5,7-9');
  const open = await createSink({
    ports: (given.port ?? '4789').split(',').map((port) => decimal('port', port)),
    ...(address === undefined ? {} : { address }),
    ...(vnis === undefined ? {} : { vnis }),
    ...(filter === undefined ? {} : { filter }),
    ...(tap === undefined ? {} : { tap }),
    ...(write === undefined ? {} : { write }),
    ...(given.snaplen === undefined ? {} : { snaplen: decimal('snaplen', given.snaplen) }),
    ...(given.rotate === undefined ? {} : { rotation: rotationOf(given.rotate) }),
  });
  const say = write === '-' ? outside.err : outside.out;
  const show = (stats: SinkStats) =>
    say(flags.json ? toJson(sinkObject(stats), flags.pretty) : sinkText(stats));
  const tell = () => {
    open.stats().then(show, () => {});
  };
  process.on('SIGUSR1', tell);
  const stop = stopSignal(outside.stop);
  // Whoever reads this may send signals.
  outside.err(`vxlane sink: receives on UDP ${open.ports.join(', ')}\n`);
  try {
    stop.promise.then(() => open.close()).catch(() => {});
    const last = await open.ended;
    if (given.stats || flags.json) show(last);
    outside.err(`vxlane sink: ${sinkTotals(last)}\n`);
    return 0;
  } finally {
    stop.forget();
    process.off('SIGUSR1', tell);
  }
}

/** "size=100M,seconds=3600,files=24" */
function rotationOf(text: string): Rotation {
  const rotation: Rotation = { size: 0, seconds: 0, files: 0 };
  for (const part of text.split(',')) {
    const [key = '', value = ''] = part.split('=', 2);
    if (key === 'size') rotation.size = bytesOf(value);
    else if (key === 'seconds' || key === 'files') rotation[key] = decimal('rotate', value);
    else throw wrong('rotate', part, 'size=BYTES, seconds=N and files=N, separated by commas');
  }
  if (rotation.size === 0 && rotation.seconds === 0) throw wrong('rotate', text, 'a size or seconds');
  return rotation;
}

function bytesOf(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,12})([kMG]i?)?$/.exec(text) ?? [];
  const bytes = digits === undefined ? 0 : Number(digits) * UNITS[unit]!;
  if (bytes < ROTATION_MIN_BYTES)
    throw wrong('rotate', `size=${text}`, 'a size from 1Mi, such as 100M or 1Gi');
  return bytes;
}

function decimal(flag: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw wrong(flag, text, 'a number');
}

function wrong(flag: string, text: string, expected: string): VtepError {
  return new VtepError('USAGE', `argument "${text}" is wrong: --${flag} takes ${expected}`);
}
