/**
 * `bridge monitor`: the real tool's lines and, of the daemon's devices, ours. What the kernel says of a TAP's own
 * addresses is of no meaning to a tunnel and left out. Misses are not told here: `ip monitor neigh` is for them.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { NoDaemonError } from '../daemon/client.ts';
import { labelOf, monitorText } from './monitor-format.ts';
import { firstMatch } from './words.ts';
import type { Wrapped } from './wrap-context.ts';

/** In the order in which `bridge monitor` tries them. */
const WORDS = ['file', 'link', 'fdb', 'mdb', 'vlan', 'vni', 'all', 'help'];
const OURS = ['fdb', 'mdb', 'vni'];

export async function wrapMonitor(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const meant = words.map((word) => firstMatch(word, WORDS));
  // A file holds what was recorded elsewhere.
  if (meant.some((word) => word === undefined || word === 'help' || word === 'file')) return undefined;
  const all = meant.includes('all');
  const kinds = meant.length === 0 || all ? OURS : OURS.filter((kind) => meant.includes(kind));
  if (kinds.length === 0) return undefined;
  return watch(context, words, kinds, all);
}

async function watch(
  { real, options, isOurs, client, outside, flags }: Wrapped,
  words: readonly string[],
  kinds: readonly string[],
  labels: boolean,
): Promise<number> {
  // A terminal or not, each line is to come at once.
  const child = spawn(real.path, [...options, 'monitor', ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    if (!isOfTap(line, isOurs)) outside.out(`${line}\n`);
  });
  const ended = new AbortController();
  const gone = new Promise<number>((resolve) => {
    child.on('error', () => resolve(127));
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
  const stop = (signal: NodeJS.Signals) => {
    ended.abort();
    child.kill(signal);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const form = { details: flags.details > 0, statistics: flags.statistics > 0 };
  const told = client.follow((event) => {
    if (event.event === 'lost' || !kinds.includes(event.event)) return;
    outside.out(`${labels ? labelOf(event) : ''}${monitorText(event, form)}\n`);
  }, ended.signal);
  // Without a daemon the kernel's lines are all there is.
  told.catch((error: unknown) => {
    if (!(error instanceof NoDaemonError)) throw error;
  });
  const code = await gone;
  ended.abort();
  return code;
}

/** "[NEIGH]Deleted 33:33:00:00:00:01 dev vx0 self permanent": an address filter of the interface. */
function isOfTap(line: string, isOurs: (name: string | undefined) => boolean): boolean {
  const words = line.replace(/^\[\w+\]/, '').split(' ');
  const device = words[words.indexOf('dev') + 1];
  return words.includes('self') && !words.includes('master') && words.includes('dev') && isOurs(device);
}
