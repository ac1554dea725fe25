/** MDB entries in the form of `bridge [-j] [-d] [-s] mdb`, byte by byte: scripts read this. */
import type { MdbEntry } from '../types.ts';

export interface MdbForm {
  /** Show filter mode, sources and protocol (-d). */
  details: boolean;
  /** Show timers (-s), which never run: every entry is permanent. */
  timers: boolean;
}

const TIMER = '0.00';
/** Aligned, as a column. */
const TIMER_OF_ENTRY = '   0.00';

/** One line for each remote. */
export function mdbText(entries: readonly MdbEntry[], form: MdbForm): string {
  return entries.map((entry) => `${mdbLine(entry, form)}\n`).join('');
}

export function mdbLine(entry: MdbEntry, { details, timers }: MdbForm): string {
  const { dev, grp, src, filter_mode, source_list, protocol, blocked, dst, dst_port, vni, src_vni, via } =
    entry;
  const sources = source_list.map((address) => `${address}/${TIMER}`).join();
  return [
    ...['dev', dev, 'port', dev, 'grp', grp],
    ...(src === undefined ? [] : ['src', src]),
    'permanent',
    ...(details ? ['filter_mode', filter_mode] : []),
    ...(details && sources !== '' ? ['source_list', sources] : []),
    ...(details ? ['proto', protocol] : []),
    ...(blocked ? ['blocked'] : []),
    ...['dst', dst],
    ...(dst_port === undefined ? [] : ['dst_port', dst_port]),
    ...(vni === undefined ? [] : ['vni', vni]),
    ...(src_vni === undefined ? [] : ['src_vni', src_vni]),
    ...(via === undefined ? [] : ['via', via]),
    ...(timers ? [TIMER_OF_ENTRY] : []),
  ].join(' ');
}

/** The same keys in the same order, undefined where bridge has none. */
export function mdbObjects(entries: readonly MdbEntry[], form: MdbForm): object[] {
  return entries.map((entry) => mdbObject(entry, form));
}

function mdbObject(entry: MdbEntry, { details, timers }: MdbForm): object {
  const { index, dev, grp, src, filter_mode, source_list, protocol, blocked } = entry;
  const { dst, dst_port, vni, src_vni, via } = entry;
  const sources = source_list.map((address) => ({ address, timer: TIMER }));
  return {
    index,
    dev,
    port: dev,
    grp,
    src,
    state: 'permanent',
    filter_mode: details ? filter_mode : undefined,
    source_list: details && sources.length > 0 ? sources : undefined,
    protocol: details ? protocol : undefined,
    flags: blocked ? ['blocked'] : [],
    dst,
    dst_port,
    vni,
    src_vni,
    via,
    timer: timers ? TIMER_OF_ENTRY : undefined,
  };
}
