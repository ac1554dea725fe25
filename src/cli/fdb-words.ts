/**
 * The words of `bridge fdb`. `self` may be said and is always meant: these are entries of the VXLAN device,
 * not of the bridge above it.
 */
import * as values from '../daemon/values.ts';
import { VtepError } from '../errors.ts';
import type { FdbFlush, FdbRequest } from '../types.ts';
import { DEV, exact, type Grammar, type Keyword, parseWords, usage } from './words.ts';

const SELF: Keyword = { names: 'self', exact: true, ignored: true };
const MASTER_REMEDY = 'entries of the bridge above the device are the kernel\'s: "bridge fdb" has them';
const anything: values.Reader<unknown> = (value) => value;

const flag = (names: string): Keyword => ({ names, key: names, is: true });

/** In the order of `bridge fdb add`. */
const CHANGE: Grammar = {
  keywords: [
    DEV,
    exact('dst', values.dst),
    exact('nhid', values.nhid),
    exact('port', values.fdbPort),
    exact('vni', values.fdbVni),
    exact('via', values.deviceName),
    exact('src_vni', values.srcVni),
    { names: 'self', exact: true, key: 'self' },
    flag('master'),
    flag('router'),
    { names: 'local|permanent', key: 'permanent' },
    { names: 'temp|static', key: 'static' },
    flag('dynamic'),
    { names: 'vlan', ignored: true, read: [anything] },
    flag('use'),
    flag('extern_learn'),
    flag('sticky'),
    ...['activity_notify', 'inactive', 'norefresh'].map((names) => ({ names, ignored: true as const })),
    { ...exact('to', values.mac), key: 'mac' },
  ],
  positional: { key: 'mac', read: [values.mac], called: 'to' },
};

const REQUIRED = 'Device and address are required arguments.';

interface ChangeWords {
  mac?: string;
  dev?: string;
  dst?: string;
  port?: number;
  vni?: number;
  nhid?: number;
  self?: true;
  master?: true;
  permanent?: true;
  static?: true;
  dynamic?: true;
}

export function parseChange(op: FdbRequest['op'], words: readonly string[]): FdbRequest {
  const {
    nhid,
    self,
    permanent,
    static: temporary,
    dynamic,
    ...given
  }: ChangeWords = parseWords(words, CHANGE).values;
  const { mac, dev, dst, port, vni, master } = given;
  if (dev === undefined || mac === undefined)
    throw usage(`${REQUIRED} "fdb ${op} 02:00:00:00:00:01 dev NAME dst ADDR" has both`);
  if (nhid && (dst !== undefined || port || vni !== undefined))
    throw usage('dst, port, vni are mutually exclusive with nhid: the group names the remotes');
  if (master && !self) throw new VtepError('UNSUPPORTED', `Operation not supported: ${MASTER_REMEDY}`);
  if (op !== 'del' && dst === undefined && !nhid)
    throw new VtepError(
      'USAGE',
      `Invalid argument: "dst" is missing: name the far VTEP, as in "fdb ${op} ${mac} dev ${dev} dst ADDR"`,
    );
  // Of several state words the one that lasts longest counts but for "static", which "dynamic" takes back.
  const state = permanent ? 'permanent' : dynamic ? 'dynamic' : temporary ? 'static' : undefined;
  return { op, ...given, ...(nhid && { nhid }), ...(state && { state }) } as FdbRequest;
}

export interface GetWords {
  dev: string;
  mac: string;
  vni?: number;
}

export function parseGet(words: readonly string[]): GetWords {
  const found = parseWords(words, {
    keywords: [
      { ...DEV, names: 'dev|brport' },
      { ...exact('to', values.mac), key: 'mac' },
      { names: 'br', exact: true, refused: MASTER_REMEDY },
      exact('vni', values.fdbVni),
      SELF,
      { names: 'master', key: 'master' },
      { names: 'vlan', ignored: true, read: [anything] },
      { names: 'dynamic', ignored: true },
    ],
    positional: { key: 'mac', read: [values.mac], called: 'to' },
  }).values;
  if (found.dev === undefined || found.mac === undefined)
    throw usage(
      `Device or master and address are required arguments. "fdb get ${values.ZERO_MAC} dev NAME" has both`,
    );
  if (found.master) throw new VtepError('UNSUPPORTED', `Operation not supported: ${MASTER_REMEDY}`);
  return found as unknown as GetWords;
}

/** What the kernel refuses to choose entries of a VXLAN device by, and its words for it. */
const UNFLUSHABLE: Readonly<Record<string, string>> = {
  added_by_user: 'Unsupported fdb flush ndm flag bits set.',
  sticky: 'Unsupported fdb flush ndm flag bits set.',
  vlan: 'Unsupported attribute.',
  brport: 'Unsupported attribute.',
};

export function parseFlush(words: readonly string[]): FdbFlush {
  const choice = (key: string): Keyword[] => [
    { names: key, exact: true, key, is: true },
    { names: `no${key}`, exact: true, key, is: false },
  ];
  const { self, master, added_by_user, brport, vlan, ...found } = parseWords(words, {
    keywords: [
      DEV,
      { names: 'master', exact: true, key: 'master' },
      { names: 'self', exact: true, key: 'self' },
      ...['permanent', 'static', 'dynamic', 'added_by_user'].flatMap(choice),
      ...['extern_learn', 'sticky', 'offloaded', 'router'].flatMap(choice),
      exact('brport', anything),
      exact('vlan', anything),
      exact('src_vni', values.srcVni),
      exact('nhid', values.nhid),
      exact('vni', values.fdbVni),
      exact('port', values.fdbPort),
      exact('dst', values.dst),
    ],
    unknown: (word) =>
      `bridge fdb: unknown command "${word}"?: "vxlane fdb help" lists the filters of "fdb flush"`,
  }).values;
  if (found.dev === undefined) throw usage('Device is a required argument. "fdb flush dev NAME" has it');
  for (const [word, given] of Object.entries({ added_by_user, sticky: found.sticky, vlan, brport })) {
    if (given !== undefined && given !== false)
      throw new VtepError('UNSUPPORTED', `${UNFLUSHABLE[word]}: leave out "${word}"`);
  }
  if (master && !self) throw new VtepError('UNSUPPORTED', `Operation not supported: ${MASTER_REMEDY}`);
  return found as unknown as FdbFlush;
}
