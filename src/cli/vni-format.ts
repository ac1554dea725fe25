/** VNIs and VLANs in the form of `bridge [-j] [-s] vni` and `bridge [-j] vlan tunnelshow` (7.1), byte by byte. */
import type { VniInfo, VniStats } from '../types.ts';

const NAME_COLUMN = 16;
const VNI_COLUMN = 17;
const VLAN_COLUMN = 9;
const GAP = '  ';

/** A run of neighbours that are printed as one. */
interface Run {
  first: VniInfo;
  last: VniInfo;
}

function runsOf(entries: readonly VniInfo[], joins: (last: VniInfo, next: VniInfo) => boolean): Run[] {
  const runs: Run[] = [];
  for (const entry of entries) {
    const run = runs.at(-1);
    if (run && run.last.ifname === entry.ifname && joins(run.last, entry)) run.last = entry;
    else runs.push({ first: entry, last: entry });
  }
  return runs;
}

/** With statistics each VNI stands alone. */
function vniRuns(entries: readonly VniInfo[], statistics: boolean): Run[] {
  return runsOf(
    entries,
    (last, next) =>
      !statistics && next.vni === last.vni + 1 && next.remote === last.remote && next.group === last.group,
  );
}

function rangeText(first: number, last: number): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** The name in the first line of its device only. */
function nameColumn(runs: readonly Run[], at: number): string {
  const { ifname } = runs[at]!.first;
  return (runs[at - 1]?.first.ifname === ifname ? '' : ifname).padEnd(NAME_COLUMN) + GAP;
}

export function vniText(entries: readonly VniInfo[], statistics: boolean): string {
  const runs = vniRuns(entries, statistics);
  const lines = runs.map(({ first, last }, at) => {
    const range = rangeText(first.vni, last.vni).padEnd(VNI_COLUMN);
    return `${nameColumn(runs, at)}${range}${GAP}${first.remote ?? first.group ?? ''}${statistics ? statisticsText(first) : ''}\n`;
  });
  return `${'dev'.padEnd(NAME_COLUMN)}${GAP}${'vni'.padEnd(VNI_COLUMN)}${GAP}group/remote\n${lines.join('')}`;
}

function statisticsText({ stats: { rx, tx } }: VniInfo): string {
  const line = (name: string, { bytes, packets, drops, errors }: VniStats) =>
    `\n${''.padEnd(NAME_COLUMN)}    ${name}: bytes ${bytes} pkts ${packets} drops ${drops} errors ${errors} `;
  return line('RX', rx) + line('TX', tx);
}

export function vniObjects(entries: readonly VniInfo[], statistics: boolean): object[] {
  return byDevice(vniRuns(entries, statistics), 'vnis', ({ first, last }) => ({
    vni: first.vni,
    vniEnd: last === first ? undefined : last.vni,
    remote: first.remote,
    group: first.group,
    stats: statistics
      ? { ...statisticsObject('rx', first.stats.rx), ...statisticsObject('tx', first.stats.tx) }
      : undefined,
  }));
}

function statisticsObject(name: string, { bytes, packets, drops, errors }: VniStats): object {
  return {
    [`${name}_bytes`]: bytes,
    [`${name}_pkts`]: packets,
    [`${name}_drops`]: drops,
    [`${name}_errors`]: errors,
  };
}

function byDevice(runs: readonly Run[], key: string, objectOf: (run: Run) => object): object[] {
  const devices = new Map<string, object[]>();
  for (const run of runs) {
    const { ifname } = run.first;
    devices.set(ifname, [...(devices.get(ifname) ?? []), objectOf(run)]);
  }
  return [...devices].map(([ifname, objects]) => ({ ifname, [key]: objects }));
}

/** By VLAN; with details, what differs in its flags stands alone. @param vid only the run that this VLAN is in */
function vlanRuns(entries: readonly VniInfo[], details: boolean, vid: number | undefined): Run[] {
  const mapped = entries.filter(({ vlan }) => vlan !== undefined);
  const names = [...new Set(mapped.map(({ ifname }) => ifname))];
  const ordered = names.flatMap((name) =>
    mapped.filter(({ ifname }) => ifname === name).sort((one, other) => one.vlan! - other.vlan!),
  );
  return runsOf(
    ordered,
    (last, next) =>
      next.vlan === last.vlan! + 1 &&
      next.vni === last.vni + 1 &&
      (!details || String(flagsOf(last)) === String(flagsOf(next))),
  ).filter(({ first, last }) => vid === undefined || (first.vlan! <= vid && last.vlan! >= vid));
}

/** In the words of `bridge vlan show`. */
function flagsOf({ pvid, untagged }: VniInfo): string[] {
  return [...(pvid ? ['PVID'] : []), ...(untagged ? ['Egress Untagged'] : [])];
}

export function vlanText(entries: readonly VniInfo[], details: boolean, vid?: number): string {
  const runs = vlanRuns(entries, details, vid);
  const lines = runs.map(({ first, last }, at) => {
    const vlans = rangeText(first.vlan!, last.vlan!).padEnd(VLAN_COLUMN);
    const flags = details ? flagsOf(first).map((flag) => ` ${flag}`) : [];
    return `${nameColumn(runs, at)}${vlans}${GAP}${rangeText(first.vni, last.vni)}${flags.join('')}\n`;
  });
  return `${'port'.padEnd(NAME_COLUMN)}${GAP}${'vlan-id'.padEnd(VLAN_COLUMN)}${GAP}tunnel-id\n${lines.join('')}`;
}

export function vlanObjects(entries: readonly VniInfo[], details: boolean, vid?: number): object[] {
  return byDevice(vlanRuns(entries, details, vid), 'tunnels', ({ first, last }) => ({
    vlan: first.vlan,
    vlanEnd: last === first ? undefined : last.vlan,
    tunid: first.vni,
    tunidEnd: last === first ? undefined : last.vni,
    flags: details ? flagsOf(first) : undefined,
  }));
}
