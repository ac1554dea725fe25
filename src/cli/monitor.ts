/** `vxlane monitor`: what `bridge monitor` and `ip monitor neigh` print of VXLAN devices, of those of the daemon. */
import type { Command } from './command.ts';
import { labelOf, monitorText } from './monitor-format.ts';
import { stopSignal } from './stop.ts';
import { firstMatch, invalid } from './words.ts';

/** `neigh` is what `ip monitor neigh` shows: MACs and addresses that nobody knows. */
const KINDS = { link: 'link', fdb: 'fdb', mdb: 'mdb', vni: 'vni', neigh: 'miss', hook: 'hook' } as const;
const WORDS = [...Object.keys(KINDS), 'dev', 'all'] as const;

interface Wanted {
  /** Empty: every kind. */
  kinds: Set<string>;
  /** Say of each line what kind it is. */
  labels: boolean;
  dev?: string;
}

export function parseMonitor(words: readonly string[]): Wanted {
  const wanted: Wanted = { kinds: new Set(), labels: false };
  for (let at = 0; at < words.length; at++) {
    const word = firstMatch(words[at]!, WORDS);
    if (word === undefined)
      throw invalid(
        `argument "${words[at]}" is unknown: link, fdb, vni, mdb, neigh, hook, dev NAME and all are known`,
      );
    if (word === 'all') wanted.labels = true;
    else if (word === 'dev') {
      const dev = words[++at];
      if (dev === undefined) throw invalid('Command line is not complete: "dev" needs a value');
      wanted.dev = dev;
    } else wanted.kinds.add(KINDS[word as keyof typeof KINDS]);
  }
  // Everything is everything, whatever else is named.
  if (wanted.labels) wanted.kinds.clear();
  return wanted;
}

export async function monitor({ words, flags, client, outside }: Command): Promise<void> {
  const { kinds, labels, dev } = parseMonitor(words);
  const stop = stopSignal(outside.stop);
  const ended = new AbortController();
  stop.promise.then(() => ended.abort());
  const form = { details: flags.details, statistics: flags.statistics > 0 };
  try {
    await client.follow((event) => {
      if (event.event === 'lost') {
        outside.err(`vxlane: ${event.lost} events were lost: there were more than could be told in time\n`);
        if (flags.json) outside.out(`${JSON.stringify(event)}\n`);
        return;
      }
      if (kinds.size > 0 && !kinds.has(event.event)) return;
      if (dev !== undefined && deviceOf(event) !== dev) return;
      if (flags.json) outside.out(`${JSON.stringify(event)}\n`);
      else outside.out(`${labels ? labelOf(event) : ''}${monitorText(event, form)}\n`);
    }, ended.signal);
  } finally {
    stop.forget();
  }
}

function deviceOf(event: Parameters<typeof monitorText>[0]): string {
  switch (event.event) {
    case 'fdb':
    case 'vni':
      return event.entry.ifname;
    case 'mdb':
      return event.entry.dev;
    default:
      return event.ifname;
  }
}
