/** FDB entries in the form of `bridge [-j] [-s] fdb`, byte by byte: scripts read this. */
import type { FdbEntry } from '../types.ts';

export interface FdbForm {
  /** Entries of one device: bridge then leaves its name out. */
  oneDevice: boolean;
  /** Show the ages (-s). */
  ages: boolean;
}

/** Each field is followed by a blank, the state by a newline: a dynamic entry, whose state is empty, ends in a blank. */
export function fdbText(entries: readonly FdbEntry[], { oneDevice, ages }: FdbForm): string {
  return entries
    .map(({ mac, ifname, dst, port, vni, viaIf, used, updated, flags, state }) =>
      [
        mac,
        ...(oneDevice ? [] : ['dev', ifname]),
        'dst',
        dst,
        ...(port === undefined ? [] : ['port', port]),
        ...(vni === undefined ? [] : ['vni', vni]),
        ...(viaIf === undefined ? [] : ['via', viaIf]),
        ...(ages ? ['used', `${used}/${updated}`] : []),
        ...flags,
        `${state}\n`,
      ].join(' '),
    )
    .join('');
}

/** The same keys in the same order, undefined where bridge has none. */
export function fdbObjects(entries: readonly FdbEntry[], { oneDevice, ages }: FdbForm): object[] {
  return entries.map(({ mac, ifname, dst, port, vni, viaIf, used, updated, flags, state }) => ({
    mac,
    ifname: oneDevice ? undefined : ifname,
    dst,
    port,
    vni,
    viaIf,
    used: ages ? used : undefined,
    updated: ages ? updated : undefined,
    flags,
    state,
  }));
}
