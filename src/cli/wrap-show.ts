/**
 * `ip link show` and `ip address show` with devices of vxlane in it: what the real tool prints of the interface, with
 * the driver's options in place of the TAP's and the driver's counters in place of the interface's.
 */
import type { DeviceInfo } from '../types.ts';
import { toJson } from './json.ts';
import { type LinkForm, linkObjects, linkText } from './link-format.ts';
import type { Wrapped } from './wrap-context.ts';

export function showLinks(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  return show(context, 'link', words);
}

export function showAddresses(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  return show(context, 'address', words);
}

async function show(context: Wrapped, object: string, words: readonly string[]): Promise<number | undefined> {
  const { real, flags, options, outside, client } = context;
  const verb = words.includes('help') ? undefined : 'show';
  const kind = words.indexOf('type');
  const wanted = kind >= 0 ? words[kind + 1] : undefined;
  const byKind = wanted === 'vxlan';
  if (verb === undefined || (!byKind && flags.details + flags.statistics === 0)) return undefined;
  // Without a daemon the interface is what it is.
  const devices = await client.links().catch(() => [] as DeviceInfo[]);
  if (devices.length === 0) return undefined;

  const form = { details: flags.details > 0, statistics: flags.statistics };
  const plain = options.filter((option) => !/^-(o|j|p|c)/.test(option));
  const style = flags.json ? ['-j'] : [];
  const ask = (more: readonly string[]) => real.capture([...plain, ...style, object, 'show', ...more]);
  const asked = ask(words);
  if (asked.code !== 0) {
    outside.out(asked.out);
    outside.err(asked.err);
    return asked.code;
  }
  const texts = [asked.out];
  if (byKind) {
    const others = [...words.slice(0, kind), ...words.slice(kind + 2)];
    const named = others.some((word) => devices.some(({ config }) => config.name === word));
    for (const { config } of devices) {
      if (named && !others.includes(config.name)) continue;
      const rest = others.filter((word) => word !== config.name && word !== 'dev');
      texts.push(ask([...rest, 'dev', config.name]).out);
    }
  }
  if (flags.json) {
    const records = texts.flatMap((text) => JSON.parse(text || '[]') as LinkRecord[]);
    outside.out(toJson(byIndex(patchObjects(records, devices, form)), flags.pretty));
  } else {
    const records = texts.flatMap(recordsOf).sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    const text = records.map((record) => patchText(record, devices, form, flags.brief)).join('');
    outside.out(flags.oneline ? oneLine(text) : text);
  }
  return 0;
}

interface LinkRecord {
  ifindex?: number;
  ifname?: string;
  max_mtu?: number;
  linkinfo?: object;
  stats64?: object;
}

/** Empty objects stand for interfaces that a filter left out. */
function byIndex(records: LinkRecord[]): LinkRecord[] {
  return records
    .filter(({ ifname }) => ifname !== undefined)
    .sort((a, b) => (a.ifindex ?? 0) - (b.ifindex ?? 0));
}

function patchObjects(
  records: readonly LinkRecord[],
  devices: readonly DeviceInfo[],
  form: LinkForm,
): LinkRecord[] {
  return records.map((record) => {
    const device = devices.find(({ config }) => config.name === record.ifname);
    if (device === undefined) return record;
    const [ours] = linkObjects([device], form) as LinkRecord[];
    return {
      ...record,
      ...(record.max_mtu === undefined ? {} : { max_mtu: 65535 }),
      ...(record.linkinfo === undefined ? {} : { linkinfo: { ...record.linkinfo, ...ours?.linkinfo } }),
      ...(record.stats64 === undefined ? {} : { stats64: ours?.stats64 ?? record.stats64 }),
    };
  });
}

/** Each begins with "INDEX: NAME". */
function recordsOf(text: string): string[] {
  return text.split(/^(?=\d+: )/m).filter((record) => record !== '');
}

function patchText(record: string, devices: readonly DeviceInfo[], form: LinkForm, brief = false): string {
  const name = /^\d+: ([^:@\s]+)/.exec(record)?.[1];
  const device = devices.find(({ config }) => config.name === name);
  if (device === undefined || brief) return record;
  const ours = linkText([device], form).split('\n');
  const kind = ours.find((line) => line.startsWith('    vxlan ')) ?? '';
  const counters = ours.filter((_, at) => at >= ours.findIndex((line) => /^ {4}RX:/.test(line)));
  const lines = record.split('\n');
  const rows = 4 * Math.min(2, form.statistics);
  const first = lines.findIndex((line) => /^ {4}RX:/.test(line));
  if (first >= 0) lines.splice(first, rows, ...counters.slice(0, rows));
  return lines
    .map((line) => line.replace(/^ {4}tun type t[au][pn] .*?(?=addrgenmode|$)/, kind))
    .join('\n')
    .replace(/maxmtu \d+/, 'maxmtu 65535');
}

/** `-o`: the lines of a record on one, their ends marked. */
function oneLine(text: string): string {
  return recordsOf(text)
    .map((record) => `${record.replace(/\n$/, '').replaceAll('\n', '\\')}\n`)
    .join('');
}
