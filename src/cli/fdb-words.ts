/**
 * The words of `bridge fdb`. `self` may be said and is always meant: these are entries of the VXLAN device,
 * not of the bridge above it.
 */
import * as values from '../daemon/values.ts';
import type { FdbFlush, FdbRequest } from '../types.ts';
import { type Grammar, type Keyword, parseWords, usage } from './words.ts';

const DEV: Keyword = { names: 'dev', exact: true, key: 'dev', read: [values.deviceName] };
const SELF: Keyword = { names: 'self', exact: true, ignored: true };
const anything: values.Reader<unknown> = (value) => value;

const STATES = {
  local: 'permanent',
  permanent: 'permanent',
  temp: 'static',
  static: 'static',
  dynamic: 'dynamic',
};

const exact = (names: string, read: values.Reader<unknown>): Keyword => ({
  names,
  exact: true,
  key: names,
  read: [read],
});
const flag = (names: string): Keyword => ({ names, key: names, is: true });
const refused = (names: string): Keyword => ({ names, exact: true, refused: true });
const state = (names: string, is: string): Keyword => ({ names, key: 'state', is });

/** In the order of `bridge fdb add`. */
const CHANGE: Grammar = {
  keywords: [
    DEV,
    exact('dst', values.dst),
    refused('nhid'),
    exact('port', values.fdbPort),
    exact('vni', values.fdbVni),
    exact('via', values.deviceName),
    refused('src_vni'),
    SELF,
    { names: 'master', refused: true },
    flag('router'),
    state('local|permanent', STATES.local),
    state('temp|static', STATES.temp),
    state('dynamic', STATES.dynamic),
    { names: 'vlan', ignored: true, read: [anything] },
    flag('use'),
    flag('extern_learn'),
    flag('sticky'),
    ...['activity_notify', 'inactive', 'norefresh'].map((names) => ({ names, ignored: true as const })),
    { ...exact('to', values.mac), key: 'mac' },
  ],
  positional: { key: 'mac', read: [values.mac], called: 'to' },
};

const ADDRESS = 'device and address are required, as in "fdb add 02:00:00:00:00:01 dev NAME dst ADDR"';

export function parseChange(op: FdbRequest['op'], words: readonly string[]): FdbRequest {
  const request = parseWords(words, CHANGE).values;
  if (request.dev === undefined || request.mac === undefined) throw usage(ADDRESS);
  if (op !== 'del' && request.dst === undefined)
    throw usage(
      `"dst" is missing: name the far VTEP, as in "fdb ${op} ${request.mac} dev ${request.dev} dst ADDR"`,
    );
  return { op, ...request } as unknown as FdbRequest;
}

export interface ShowFilter {
  dev?: string;
  /** As an entry prints it; "" is dynamic. */
  state?: string;
  /** Everything but permanent entries. */
  dynamic?: boolean;
}

function shownState(value: values.Value): string {
  if (value === 'reachable') return '';
  if (value === 'permanent' || value === 'static' || value === 'stale') return value;
  throw usage('invalid state: permanent, static, stale or reachable is expected');
}

export function parseShow(words: readonly string[]): ShowFilter {
  return parseWords(words, {
    keywords: [
      { ...DEV, names: 'dev|brport' },
      refused('br'),
      { names: 'vlan', exact: true, refused: 'entries of a VXLAN device have no VLAN' },
      exact('state', shownState),
      flag('dynamic'),
      SELF,
    ],
    unknown: (word) =>
      `unknown word "${word}": "vxlane fdb show [dev NAME] [state STATE] [dynamic]" is what there is`,
  }).values as ShowFilter;
}

export function parseGet(words: readonly string[]): { dev: string; mac: string } {
  const found = parseWords(words, {
    keywords: [
      { ...DEV, names: 'dev|brport' },
      { ...exact('to', values.mac), key: 'mac' },
      refused('br'),
      { names: 'vni', exact: true, refused: 'a device has one VNI, "dev" chooses it' },
      { names: 'vlan', exact: true, refused: 'entries of a VXLAN device have no VLAN' },
      SELF,
      { names: 'master', exact: true, refused: true },
      { names: 'dynamic', exact: true, ignored: true },
    ],
    positional: { key: 'mac', read: [values.mac], called: 'to' },
  }).values;
  if (found.dev === undefined || found.mac === undefined)
    throw usage(`device and address are required, as in "fdb get ${values.ZERO_MAC} dev NAME"`);
  return { dev: found.dev as string, mac: found.mac as string };
}

export function parseFlush(words: readonly string[]): FdbFlush {
  const switches = ['permanent', 'static', 'dynamic', 'extern_learn', 'router'].flatMap((key): Keyword[] => [
    { names: key, exact: true, key, is: true },
    { names: `no${key}`, exact: true, key, is: false },
  ]);
  const found = parseWords(words, {
    keywords: [
      DEV,
      exact('dst', values.dst),
      exact('port', values.fdbPort),
      exact('vni', values.fdbVni),
      ...switches,
      SELF,
      { names: 'nooffloaded|noadded_by_user|nosticky', exact: true, ignored: true },
      refused('nhid'),
      refused('src_vni'),
      refused('master'),
      ...['offloaded', 'added_by_user', 'sticky', 'vlan', 'brport'].map((names) => ({
        names,
        exact: true,
        refused: 'the kernel does not flush a VXLAN device by it either',
      })),
    ],
    unknown: (word) => `unknown word "${word}": "vxlane fdb help" lists the filters of "fdb flush"`,
  }).values;
  if (found.dev === undefined) throw usage('device is required, as in "fdb flush dev NAME"');
  return found as unknown as FdbFlush;
}
