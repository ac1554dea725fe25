/**
 * The words of `ip link add|set ... type vxlan`. They come out as the body of the control API's request,
 * whose keys are the same words; defaults and what concerns several words at once are the daemon's affair.
 */
import * as values from '../daemon/values.ts';
import { VtepError } from '../errors.ts';
import { type Grammar, invalid, type Keyword, parseWords, usage } from './words.ts';

const on = (names: string, key: string): Keyword => ({ names, key, is: true });
const off = (names: string, key: string): Keyword => ({ names, key, is: false });
const value = (names: string, key: string, ...read: values.Reader<unknown>[]): Keyword => ({
  names,
  key,
  read,
});
/** `noX` before `X`, the order in which iproute2 looks. */
const noOr = (key: string): Keyword[] => [off(`no${key}`, key), on(key, key)];
/** `X` before `noX`. */
const orNo = (key: string): Keyword[] => [on(key, key), off(`no${key}`, key)];
const exactly = (keywords: Keyword[]): Keyword[] => keywords.map((keyword) => ({ ...keyword, exact: true }));

/** What is merged and split on the way, ours: words of a device that is there, too, as ethtool's are. */
const OFFLOADS: readonly Keyword[] = exactly([
  value('gso', 'gso', values.gso),
  // "gro ADDR" is iproute2's "group ADDR", cut short.
  { ...value('gro', 'gro', values.onOff), before: ['on', 'off'] },
  value('uso', 'uso', values.onOff),
]);

/** In iproute2's order: `d` is dev, `p` is port, `no` is nolearning. What it takes uncut, and our own words, where they can't be mistaken. */
const VXLAN: readonly Keyword[] = [
  ...OFFLOADS,
  value('id|vni', 'id', values.vni),
  value('group', 'group', values.group),
  value('remote', 'remote', values.remote),
  value('local', 'local', values.local),
  value('dev', 'dev', values.deviceName),
  value('ttl|hoplimit', 'ttl', values.ttl),
  value('tos|dsfield', 'tos', values.tos),
  value('df', 'df', values.df),
  value('label|flowlabel', 'flowlabel', values.flowlabel),
  value('ageing', 'ageing', values.ageing),
  value('maxaddress', 'maxaddress', values.maxaddress),
  value('port|srcport', 'srcport', values.sourcePortMin, values.sourcePortMax),
  value('dstport', 'dstport', values.dstport),
  ...['learning', 'proxy', 'rsc', 'l2miss', 'l3miss'].flatMap(noOr),
  ...['udpcsum', 'udp6zerocsumtx', 'udp6zerocsumrx', 'remcsumtx', 'remcsumrx'].flatMap(orNo),
  ...exactly([...orNo('localbypass'), value('reserved_bits', 'reserved_bits', values.reservedBits)]),
  ...orNo('external'),
  on('gbp', 'gbp'),
  on('gpe', 'gpe'),
  ...exactly([
    ...orNo('vnifilter'),
    { names: 'mcroute', refused: true },
    { names: 'nomcroute', ignored: true },
    on('bind', 'bind'),
    value('listen', 'listen', values.listen),
    value('policy', 'policy', values.policy),
    ...['proxyforward', 'latelearning', 'honourdontlearn', 'knownsenders', 'knownpeers'].flatMap(orNo),
  ]),
];

const BY_IP_LINK = 'the device is an interface of this host, set it with "ip link set dev NAME ..."';

const NO_LINK = 'name the underlay interface behind "type vxlan": dev IF';

/** What every link has. A device that is there is refused in other words than one to be. */
function common(mac: values.Reader<string>, mtu: values.Reader<number>): Keyword[] {
  return [
    { names: 'up', exact: true, key: 'up', is: true, again: true },
    { names: 'down', exact: true, key: 'up', is: false, again: true },
    value('address', 'address', mac),
    { ...value('mtu', 'mtu', mtu), exact: true },
    { names: 'type', key: 'type', read: [deviceType], last: true },
    { names: 'link', exact: true, refused: NO_LINK },
    ...OF_THE_INTERFACE.map((names) => ({ names, exact: true, refused: BY_IP_LINK })),
  ];
}

/** Words of `ip link` that are no affair of a tunnel. */
const OF_THE_INTERFACE = [
  ...['txqueuelen|txqlen|qlen', 'broadcast|brd', 'index', 'numtxqueues', 'numrxqueues', 'netns', 'master'],
  ...['nomaster', 'alias', 'group', 'arp', 'multicast', 'allmulticast', 'promisc', 'addrgenmode', 'trailers'],
  ...['gso_max_size', 'gso_max_segs', 'gro_max_size', 'protodown', 'vrf', 'xdp', 'carrier', 'mode', 'state'],
];

const NAME = { key: 'name', read: [values.deviceName], called: 'dev' };

const ADD: Grammar = {
  keywords: [
    { ...value('dev|name', 'name', values.deviceName), exact: true },
    ...common(values.unicastMac, values.mtu),
  ],
  positional: NAME,
};

const SET: Grammar = {
  keywords: [
    { ...value('dev', 'dev', values.deviceName), exact: true },
    { ...value('name', 'name', values.deviceName), exact: true },
    ...OFFLOADS,
    ...common(values.unicastMacChange, values.mtuChange),
  ],
  positional: { ...NAME, key: 'dev' },
};

const TYPED: Grammar = {
  keywords: VXLAN,
  unknown: (word) =>
    word === 'mtu' || word === 'address'
      ? `vxlan: unknown command "${word}"? It is a word of every link and goes in front of "type vxlan"`
      : `vxlan: unknown command "${word}"? "vxlane link help" lists the words`,
};

const RUN: Grammar = {
  keywords: [
    ...VXLAN,
    { ...value('address', 'address', values.unicastMac), exact: true },
    { ...value('mtu', 'mtu', values.mtu), exact: true },
  ],
  unknown: (word) => `vxlan: unknown command "${word}"? "vxlane run --help" lists the words`,
};

/** Where iproute2 leaves the refusal to the kernel. */
const KERNEL_EXIT = 2;

function deviceType(word: values.Value): string {
  if (word === 'vxlan') return word;
  throw new VtepError('USAGE', 'Unknown device type: vxlan is the only one there is', KERNEL_EXIT);
}

type Typed = Record<string, unknown>;

/** What iproute2 itself sees in the words of `type vxlan` before it asks the kernel. */
function typed(words: readonly string[], grammar: Grammar, isNew: boolean): Typed {
  const { values: found } = parseWords(words, grammar);
  const { local, remote, group } = found as Record<string, string | undefined>;
  const far = remote ?? group;
  if (remote !== undefined && group !== undefined)
    throw usage('vxlan: both group and remote cannot be specified');
  if (local !== undefined && far !== undefined && values.family(local) !== values.family(far)) {
    const keys = Object.keys(found);
    const isLocalFirst = keys.indexOf('local') < Math.max(keys.indexOf('remote'), keys.indexOf('group'));
    const [first, second] = isLocalFirst ? [local, far] : [far, local];
    throw usage(
      `${values.family(first)} address is expected rather than "${second}": local and remote are of one family`,
    );
  }
  if (found.vnifilter === true && found.external !== true)
    throw usage(`vxlan: vnifilter is valid only when 'external' is set`);
  if (found.external === true && found.id !== undefined)
    throw usage(`vxlan: both 'external' and vni cannot be specified`);
  if (isNew && found.id === undefined && found.external !== true)
    throw usage('vxlan: missing virtual network identifier: give it as "id VNI"');
  if (group !== undefined && found.dev === undefined)
    throw usage(`vxlan: 'group' requires 'dev' to be specified`);
  return found;
}

const NO_OPTIONS = new VtepError(
  'USAGE',
  'Required attributes not provided to perform the operation: "type vxlan" is followed by "id VNI" or "external"',
  KERNEL_EXIT,
);

export interface Addition {
  /** Without `name`: the caller finds one. */
  device: Record<string, unknown>;
  up: boolean;
  /** iproute2 prints a notice when nobody chose a port. */
  portChosen: boolean;
}

/** @param family -4 or -6: of what underlay a device without addresses is */
export function parseAdd(words: readonly string[], family?: 'inet' | 'inet6'): Addition {
  const { values: common, rest } = parseWords(words, ADD);
  const { type, up = false, ...named } = common;
  if (type === undefined)
    throw usage(
      'Not enough information: "type" argument is required, as in "link add NAME type vxlan id VNI"',
    );
  if (rest.length === 0) throw NO_OPTIONS;
  const options = typed(rest, TYPED, true);
  const addressed = ['local', 'remote', 'group'].some((key) => key in options);
  return {
    device: { ...named, ...options, ...(family === 'inet6' && !addressed && { local: '::' }) },
    up: up === true,
    portChosen: options.dstport !== undefined || options.gpe === true,
  };
}

export function parseSet(words: readonly string[]): { name: string; change: Record<string, unknown> } {
  const { values: common, rest } = parseWords(words, SET);
  const { type, dev, ...named } = common;
  if (dev === undefined)
    throw invalid('Not enough information: "dev" argument is required, as in "link set NAME up"');
  if (type !== undefined && rest.length === 0) throw NO_OPTIONS;
  const { dstport, srcport, ...options } = typed(rest, TYPED, false);
  // Zeros ask for the default: iproute2 doesn't pass them on.
  const [low, high] = (srcport ?? [0, 0]) as [number, number];
  const ports = { ...(dstport ? { dstport } : {}), ...(low || high ? { srcport } : {}) };
  return { name: dev as string, change: { ...named, ...options, ...ports } };
}

/** `run NAME id VNI ...`: the words in any order, `type vxlan` may be there or not. */
export function parseRun(words: readonly string[]): Record<string, unknown> {
  const [first, ...others] = words;
  if (first === undefined) throw usage('not enough information: name the device, as in "run flannel.1 id 1"');
  const head = first === 'dev' || first === 'name' ? others.splice(0, 1) : [first];
  const type = others.indexOf('type');
  if (type >= 0) deviceType(others.splice(type, 2)[1] ?? '');
  const { name } = parseWords(head, { keywords: [], positional: NAME }).values;
  return { name, ...typed(others, RUN, true) };
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
