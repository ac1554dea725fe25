/**
 * The words of `ip link add|set ... type vxlan`. They come out as the body of the control API's request,
 * whose keys are the same words; defaults and what concerns several words at once are the daemon's affair.
 */
import * as values from '../daemon/values.ts';
import { type Grammar, invalid, type Keyword, parseWords, usage } from './words.ts';

const on = (names: string, key: string): Keyword => ({ names, key, is: true });
const off = (names: string, key: string): Keyword => ({ names, key, is: false });
const value = (names: string, key: string, ...read: values.Reader<unknown>[]): Keyword => ({
  names,
  key,
  read,
});
const refused = (names: string): Keyword => ({ names, refused: true });
const restated = (names: string): Keyword => ({ names, ignored: true });

/** In iproute2's order: `d` is dev, `p` is port, `no` is nolearning. */
const VXLAN: readonly Keyword[] = [
  value('id|vni', 'id', values.vni),
  refused('group'),
  value('remote', 'remote', values.remote),
  value('local', 'local', values.local),
  value('dev', 'dev', values.deviceName),
  value('ttl|hoplimit', 'ttl', values.ttl),
  value('tos|dsfield', 'tos', values.tos),
  value('df', 'df', values.df),
  refused('label|flowlabel'),
  value('ageing', 'ageing', values.ageing),
  value('maxaddress', 'maxaddress', values.maxaddress),
  value('port|srcport', 'srcport', values.sourcePortMin, values.sourcePortMax),
  value('dstport', 'dstport', values.dstport),
  off('nolearning', 'learning'),
  on('learning', 'learning'),
  restated('noproxy'),
  refused('proxy'),
  restated('norsc'),
  refused('rsc'),
  restated('nol2miss'),
  refused('l2miss'),
  restated('nol3miss'),
  refused('l3miss'),
  on('udpcsum', 'udpcsum'),
  off('noudpcsum', 'udpcsum'),
  on('udp6zerocsumtx', 'udp6zerocsumtx'),
  off('noudp6zerocsumtx', 'udp6zerocsumtx'),
  on('udp6zerocsumrx', 'udp6zerocsumrx'),
  off('noudp6zerocsumrx', 'udp6zerocsumrx'),
  refused('remcsumtx'),
  restated('noremcsumtx'),
  refused('remcsumrx'),
  restated('noremcsumrx'),
  refused('external'),
  restated('noexternal'),
  refused('gbp'),
  refused('gpe'),
  ...['localbypass', 'nolocalbypass', 'reserved_bits', 'vnifilter', 'mcroute'].map((names) => ({
    ...refused(names),
    exact: true,
  })),
  ...['novnifilter', 'nomcroute'].map((names) => ({ ...restated(names), exact: true })),
];

const BY_IP_LINK = 'the device is an interface of this host, set it with "ip link set dev NAME ..."';

const MTU: Keyword = { ...value('mtu', 'mtu', values.mtu), exact: true };

const COMMON: readonly Keyword[] = [
  { names: 'up', exact: true, key: 'up', is: true },
  { names: 'down', exact: true, key: 'up', is: false },
  value('address', 'address', values.unicastMac),
  MTU,
  { names: 'type', key: 'type', read: [deviceType], last: true },
  { names: 'link', exact: true, refused: 'name the underlay interface behind "type vxlan": dev IF' },
  ...[
    'txqueuelen|txqlen|qlen',
    'broadcast|brd',
    'index',
    'numtxqueues',
    'numrxqueues',
    'netns',
    'master',
    'nomaster',
    'alias',
    'group',
    'arp',
    'multicast',
    'allmulticast',
    'promisc',
    'addrgenmode',
  ].map((names) => ({ names, exact: true, refused: BY_IP_LINK })),
];

const NAME = { key: 'name', read: [values.deviceName], called: 'dev' };

const ADD: Grammar = {
  keywords: [{ ...value('dev|name', 'name', values.deviceName), exact: true }, ...COMMON],
  positional: NAME,
};

const SET: Grammar = {
  keywords: [
    { ...value('dev', 'dev', values.deviceName), exact: true },
    { ...value('name', 'name', values.deviceName), exact: true },
    ...COMMON,
  ],
  positional: { ...NAME, key: 'dev' },
};

const TYPED: Grammar = {
  keywords: VXLAN,
  unknown: (word) =>
    word === 'mtu' || word === 'address'
      ? `"${word}" is a word of every link: it goes in front of "type vxlan"`
      : `unknown command "${word}"? "vxlane link help" lists the words`,
};

const RUN: Grammar = {
  keywords: [...VXLAN, { ...value('address', 'address', values.unicastMac), exact: true }, MTU],
  unknown: (word) => `unknown command "${word}"? "vxlane run --help" lists the words`,
};

function deviceType(word: values.Value): string {
  if (word === 'vxlan') return word;
  throw usage('vxlan is the only type there is');
}

const NO_VNI = 'missing virtual network identifier: give it as "id VNI"';

export interface Addition {
  device: Record<string, unknown>;
  up: boolean;
  /** iproute2 prints a notice when nobody chose a port. */
  portChosen: boolean;
}

export function parseAdd(words: readonly string[]): Addition {
  const { values: common, rest } = parseWords(words, ADD);
  const { type, up = false, ...named } = common;
  if (named.name === undefined)
    throw usage(
      'not enough information: "dev" argument is required, as in "link add NAME type vxlan id VNI"',
    );
  if (type === undefined)
    throw usage(
      'not enough information: "type" argument is required, as in "link add NAME type vxlan id VNI"',
    );
  const { values: typed } = parseWords(rest, TYPED);
  if (typed.id === undefined) throw usage(NO_VNI);
  return { device: { ...named, ...typed }, up: up === true, portChosen: typed.dstport !== undefined };
}

export function parseSet(words: readonly string[]): { name: string; change: Record<string, unknown> } {
  const { values: common, rest } = parseWords(words, SET);
  const { type: _, dev, ...named } = common;
  if (dev === undefined)
    throw invalid('not enough information: "dev" argument is required, as in "link set NAME up"');
  const change = { ...named, ...parseWords(rest, TYPED).values };
  if (Object.keys(change).length === 0)
    throw usage(`nothing to change: say what, as in "link set ${dev} up" or "link set ${dev} mtu 1450"`);
  return { name: dev as string, change };
}

/** `run NAME id VNI ...`: the words in any order, `type vxlan` may be there or not. */
export function parseRun(words: readonly string[]): Record<string, unknown> {
  const [first, ...others] = words;
  if (first === undefined) throw usage('not enough information: name the device, as in "run flannel.1 id 1"');
  const head = first === 'dev' || first === 'name' ? others.splice(0, 1) : [first];
  const type = others.indexOf('type');
  if (type >= 0) deviceType(others.splice(type, 2)[1] ?? '');
  const { name } = parseWords(head, { keywords: [], positional: NAME }).values;
  const { values: typed } = parseWords(others, RUN);
  if (typed.id === undefined) throw usage(NO_VNI);
  return { name, ...typed };
}

/** `link show [dev] NAME`, `link del [dev] NAME`: `type vxlan` is no news. */
export function parseName(words: readonly string[]): { name?: string; up: boolean } {
  const { values: found } = parseWords(words, {
    keywords: [
      { ...value('dev', 'name', values.deviceName), exact: true },
      { names: 'up', exact: true, key: 'up', is: true },
      { names: 'type', exact: true, key: 'type', read: [deviceType] },
    ],
    positional: NAME,
  });
  return { up: found.up === true, ...(found.name === undefined ? {} : { name: found.name as string }) };
}
