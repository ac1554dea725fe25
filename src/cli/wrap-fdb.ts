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
  // Without a bridge above, the kernel's driver keeps "master" beside "self", and shows it; else it is the bridge's.
  const toBridge = master && verb !== 'get' && isPort(context, name);
  const own = verb === 'get' || toBridge ? rest.filter((word) => word !== 'master') : rest;
  if (toBridge) {
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
  const filter = parseShow(words);
  if (filter.dev !== undefined && !context.isOurs(filter.dev)) return undefined;
  const plain = options.filter((option) => !/^-(o|j|p|c)/.test(option));
  const { code, out, err } = real.capture([...plain, ...(flags.json ? ['-j'] : []), 'fdb', 'show', ...words]);
  if (code !== 0) {
    outside.out(out);
    outside.err(err);
    return code;
  }
  const entries = select(await client.fdb(filter.dev), filter, portsOf(context, filter.br));
  const form = { oneDevice: filter.dev !== undefined, ages: flags.statistics > 0 };
  const deviceOf = (entry: { ifname?: string }) => entry.ifname ?? filter.dev;
  if (flags.json) {
    const kernel = (JSON.parse(out || '[]') as KernelEntry[]).filter(
      (entry) =>
        entry.master !== undefined || !(entry.flags?.includes('self') && context.isOurs(deviceOf(entry))),
    );
    const ours = fdbObjects(entries, form) as KernelEntry[];
    outside.out(toJson(merged(kernel, ours, deviceOf), flags.pretty));
    return 0;
  }
  const lineDevice = (line: string) => valueBehind(line.split(' '), 'dev') ?? filter.dev;
  const kernel = linesOf(out).filter((line) => {
    const fields = line.split(' ');
    return fields.includes('master') || !fields.includes('self') || !context.isOurs(lineDevice(line));
  });
  outside.out(
    merged(kernel, linesOf(fdbText(entries, form)), lineDevice)
      .map((line) => `${line}\n`)
      .join(''),
  );
  return 0;
}

interface KernelEntry {
  ifname?: string;
  flags?: string[];
  master?: string;
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** Each device's own entries behind those that the bridge has of it, as the kernel lists them. */
function merged<T>(
  kernel: readonly T[],
  ours: readonly T[],
  deviceOf: (entry: T) => string | undefined,
): T[] {
  const last = new Map(kernel.map((entry, at) => [deviceOf(entry), at]));
  const known = kernel.flatMap((entry, at) => {
    const device = deviceOf(entry);
    return last.get(device) === at ? [entry, ...ours.filter((one) => deviceOf(one) === device)] : [entry];
  });
  return [...known, ...ours.filter((one) => !last.has(deviceOf(one)))];
}

/** Names of the bridge's ports; undefined: no bridge was named. */
function portsOf(context: Wrapped, bridge: string | undefined): string[] | undefined {
  if (bridge === undefined) return undefined;
  return allPorts(context)
    .filter(({ master }) => master === bridge)
    .map(({ ifname }) => ifname);
}

function isPort(context: Wrapped, name: string | undefined): boolean {
  return allPorts(context).some(({ ifname, master }) => ifname === name && master !== undefined);
}

interface Port {
  ifname: string;
  master?: string;
}

function allPorts({ real, options }: Wrapped): Port[] {
  const { out } = real.capture([
    ...options.filter((option) => !/^-(o|j|p|c|s|d)/.test(option)),
    '-j',
    'link',
  ]);
  return JSON.parse(out || '[]') as Port[];
}
