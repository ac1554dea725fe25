/**
 * `bridge fdb` on devices of vxlane: entries of the device itself (`self`, which is meant where nothing is said) are
 * the daemon's, entries of the bridge above it (`master`) the kernel's. A list shows both. The addresses that the
 * kernel keeps as "self" for a TAP are of no meaning to a tunnel and left out.
 */
import { fdb } from './fdb.ts';
import { parseShow, select } from './fdb-filter.ts';
import { fdbObjects, fdbText } from './fdb-format.ts';
import { toJson } from './json.ts';
import { firstMatch } from './words.ts';
import { commandOf, type Wrapped } from './wrap-context.ts';

/** In the order in which `bridge fdb` tries them; "flush" takes no abbreviation. */
const VERBS = ['add', 'append', 'replace', 'delete', 'get', 'show', 'lst', 'list'];
/** Words with a value that say something of the tunnel alone. */
const TUNNEL = ['dst', 'nhid', 'port', 'vni', 'via', 'src_vni'];

/** Exit code, or undefined: not ours. */
export async function wrapFdb(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [word, ...rest] = words;
  const verb = word === undefined ? 'show' : word === 'flush' ? word : firstMatch(word, VERBS);
  if (verb === undefined) return undefined;
  if (verb === 'show' || verb === 'lst' || verb === 'list') return show(context, rest);
  const name = valueBehind(rest, 'dev') ?? valueBehind(rest, 'brport');
  if (!context.isOurs(name)) return undefined;
  const self = rest.includes('self');
  const master = rest.includes('master');
  if (verb === 'get') {
    if (!self) return undefined;
  } else if (master && !self) return undefined;
  // The kernel's driver keeps "master" beside "self", and shows it.
  const own = verb === 'get' ? rest.filter((word) => word !== 'master') : rest;
  if (master && verb !== 'get') {
    const code = context.real.run([...context.options, 'fdb', word!, ...bridgeWords(rest)]);
    if (code !== 0) return code;
  }
  await fdb(commandOf(context, [verb, ...own]));
  return 0;
}

function valueBehind(words: readonly string[], keyword: string): string | undefined {
  const at = words.indexOf(keyword);
  return at < 0 ? undefined : words[at + 1];
}

/** The bridge's part of an entry that is to be in both tables. */
function bridgeWords(words: readonly string[]): string[] {
  return words.filter(
    (word, at) => word !== 'self' && !TUNNEL.includes(word) && !TUNNEL.includes(words[at - 1] ?? ''),
  );
}

async function show(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const { real, flags, options, outside, client } = context;
  const device = valueBehind(words, 'dev') ?? valueBehind(words, 'brport');
  if (device !== undefined && !context.isOurs(device)) return undefined;
  const plain = options.filter((option) => !/^-(o|j|p|c)/.test(option));
  const { code, out, err } = real.capture([...plain, '-j', 'fdb', 'show', ...words]);
  if (code !== 0) {
    outside.out(out);
    outside.err(err);
    return code;
  }
  const ports = portsOf(context, valueBehind(words, 'br'));
  const entries = (await client.fdb(device)).filter(
    ({ ifname }) => ports === undefined || ports.includes(ifname),
  );
  const oneDevice = device !== undefined;
  const form = { oneDevice, ages: flags.statistics > 0 };
  const chosen = select(entries, parseShow(words));
  if (flags.json) {
    const kernel = (JSON.parse(out || '[]') as KernelEntry[]).filter(
      (entry) => !isTapOwn(context, entry, device),
    );
    outside.out(toJson([...kernel, ...fdbObjects(chosen, form)], flags.pretty));
    return 0;
  }
  const text = real.capture([...plain, 'fdb', 'show', ...words]).out;
  const kernel = text
    .split('\n')
    .filter((line) => line !== '' && !isTapLine(context, line, device))
    .map((line) => `${line}\n`);
  outside.out(kernel.join('') + fdbText(chosen, form));
  return 0;
}

interface KernelEntry {
  ifname?: string;
  flags?: string[];
  master?: string;
}

function isTapOwn(context: Wrapped, { ifname, flags, master }: KernelEntry, device?: string): boolean {
  const name = ifname ?? device;
  return context.isOurs(name) && master === undefined && (flags ?? []).includes('self');
}

function isTapLine(context: Wrapped, line: string, device?: string): boolean {
  const words = line.split(' ');
  const name = valueBehind(words, 'dev') ?? device;
  return context.isOurs(name) && !words.includes('master') && words.includes('self');
}

/** Names of the bridge's ports; undefined: no bridge was named. */
function portsOf({ real, options }: Wrapped, bridge: string | undefined): string[] | undefined {
  if (bridge === undefined) return undefined;
  const { out } = real.capture([...options.filter((option) => !/^-(o|p|c|s|d)/.test(option)), '-j', 'link']);
  return (JSON.parse(out || '[]') as { ifname: string; master?: string }[])
    .filter(({ master }) => master === bridge)
    .map(({ ifname }) => ifname);
}
