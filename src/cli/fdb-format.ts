/** FDB entries in the form of `bridge [-j] [-s] fdb` (iproute2 7.1), byte by byte: scripts read this. */
import type { FdbEntry } from '../types.ts';

export interface FdbForm {
  /** Entries of one device: bridge then leaves its name out. */
  oneDevice: boolean;
  /** Show the ages (-s). */
  ages: boolean;
}

const named = (name: string, value: string | number | undefined) =>
  value === undefined ? [] : [name, String(value)];

/** Each field is followed by a blank, the state by a newline: a dynamic entry, whose state is empty, ends in a blank. */
export function fdbText(entries: readonly FdbEntry[], { oneDevice, ages }: FdbForm): string {
  return entries
    .map((entry) =>
      [
        entry.mac,
        ...(oneDevice ? [] : ['dev', entry.ifname]),
        ...named('dst', entry.dst),
        ...named('port', entry.port),
        ...named('vni', entry.vni),
        ...named('src_vni', entry.src_vni),
        ...named('via', viaOf(entry)),
        ...named('nhid', entry.nhid),
        ...(ages ? ['used', `${entry.used}/${entry.updated}`] : []),
        ...entry.flags,
        `${stateText(entry.state)}\n`,
      ].join(' '),
    )
    .join('');
}

/** As iproute2 names an interface that has gone; "via ifindex" it says of another namespace's only. */
function viaOf({ viaIf, viaIfIndex }: FdbEntry): string | undefined {
  return viaIf ?? (viaIfIndex === undefined ? undefined : `if${viaIfIndex}`);
}

/** A state without a name is a number, which text and JSON show differently. */
function stateText(state: string): string {
  return state.startsWith('0x') ? `state=${state}` : state;
}

/** The same keys in the same order, undefined where bridge has none. */
export function fdbObjects(entries: readonly FdbEntry[], { oneDevice, ages }: FdbForm): object[] {
  return entries.map((entry) => ({
    mac: entry.mac,
    ifname: oneDevice ? undefined : entry.ifname,
    dst: entry.dst,
    port: entry.port,
    vni: entry.vni,
    src_vni: entry.src_vni,
    viaIf: viaOf(entry),
    nhid: entry.nhid,
    used: ages ? entry.used : undefined,
    updated: ages ? entry.updated : undefined,
    flags: entry.flags,
    state: entry.state,
  }));
}
