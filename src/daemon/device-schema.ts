/**
 * A device as it comes in from outside, through the control API and the configuration file. Keys are iproute2's
 * words: `nolearning: true` is as good as `learning: false`, `vni` as good as `id`. What leaves here is complete:
 * defaults are filled in, addresses and MACs are canonical, and nothing contradicts anything (device-rules.ts).
 */
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { DeviceChange, DeviceConfig, DeviceRequest } from '../types.ts';
import { ADD_AGAIN } from '../vtep/rules.ts';
import { cannotChange, objectionTo } from './device-rules.ts';
import { flag, maybe, parse, step, strict, word } from './shapes.ts';
import { isUnsupported, notSupported, restatesDefault } from './unsupported.ts';
import * as values from './values.ts';

const SWITCHES: readonly string[] = [
  ...['learning', 'proxy', 'rsc', 'l2miss', 'l3miss', 'udpcsum', 'udp6zerocsumtx', 'udp6zerocsumrx'],
  ...['remcsumtx', 'remcsumrx', 'localbypass', 'external', 'vnifilter'],
  ...['proxyforward', 'latelearning', 'honourdontlearn', 'knownsenders', 'knownpeers'],
];

/** iproute2's other names. */
const ALIASES: Readonly<Record<string, string>> = {
  vni: 'id',
  hoplimit: 'ttl',
  dsfield: 'tos',
  label: 'flowlabel',
  port: 'srcport',
};

/** Rewrites aliases and `no` forms and refuses, by name, what is known and not done. */
export const knownWords = v.rawTransform<unknown, unknown>(({ dataset, addIssue, NEVER }) => {
  const input = dataset.value;
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return input;
  const output: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(input)) {
    const opposite = key.startsWith('no') ? key.slice(2) : '';
    if (isUnsupported(key) && value !== false) {
      addIssue({ message: notSupported(key).message, path: [step(input, key)] });
      return NEVER;
    }
    if (isUnsupported(key) || restatesDefault(key)) continue;
    const alias = ALIASES[key];
    if (SWITCHES.includes(opposite) && typeof value === 'boolean') output[opposite] = !value;
    else output[alias !== undefined && !(alias in input) ? alias : key] = value;
  }
  return output;
});

const portRange = v.tuple(
  [word(values.sourcePortMin), word(values.sourcePortMax)],
  'two ports are expected: [MIN, MAX]',
);

const ports = v.union(
  [
    word(values.listen),
    v.pipe(
      v.array(word(values.listenPort)),
      v.transform((list) => values.listen(list.join(','))),
    ),
  ],
  'a list of UDP ports is expected',
);

/** true and false, or the words of the command line. */
const onOff = v.exactOptional(
  v.union([v.boolean(), word(values.onOff)], 'on, off, true or false is expected'),
);

export const deviceEntries = {
  name: word(values.deviceName),
  id: maybe(values.vni),
  address: maybe(values.unicastMac),
  mtu: maybe(values.mtu),
  local: maybe(values.local),
  remote: maybe(values.remote),
  group: maybe(values.group),
  dev: maybe(values.deviceName),
  dstport: maybe(values.dstport),
  srcport: v.exactOptional(portRange),
  learning: flag,
  ageing: maybe(values.ageing),
  maxaddress: maybe(values.maxaddress),
  ttl: maybe(values.ttl),
  tos: maybe(values.tos),
  df: maybe(values.df),
  flowlabel: maybe(values.flowlabel),
  udpcsum: flag,
  udp6zerocsumtx: flag,
  udp6zerocsumrx: flag,
  proxy: flag,
  rsc: flag,
  l2miss: flag,
  l3miss: flag,
  remcsumtx: flag,
  remcsumrx: flag,
  localbypass: flag,
  external: flag,
  vnifilter: flag,
  gbp: flag,
  gpe: flag,
  reserved_bits: maybe(values.reservedBits),
  bind: flag,
  listen: v.exactOptional(ports),
  policy: maybe(values.policy),
  proxyforward: flag,
  latelearning: flag,
  honourdontlearn: flag,
  knownsenders: flag,
  knownpeers: flag,
  gso: maybe(values.gso),
  gro: onOff,
  uso: onOff,
};

type DeviceInput = v.InferOutput<v.StrictObjectSchema<typeof deviceEntries, undefined>>;

/** Fills in every default. */
export function completeDevice({ id, local, remote, dstport, ...given }: DeviceRequest): DeviceConfig {
  const { external = false, gpe = false } = given;
  // "::" and "0.0.0.0" are no addresses, but the first one says that the underlay is IPv6.
  const from = local ?? (remote === '::' ? remote : undefined);
  return {
    id: id ?? 0,
    dstport: dstport || (gpe ? values.DSTPORT_GPE : values.DSTPORT_DEFAULT),
    srcport: [0, 0],
    // Nobody can be learned who has no MAC; who learns for many VNIs says so.
    learning: !external && !gpe,
    ageing: values.AGEING_DEFAULT_SECONDS,
    maxaddress: 0,
    ttl: 0,
    tos: 0,
    df: 'unset',
    udpcsum: true,
    udp6zerocsumtx: false,
    udp6zerocsumrx: false,
    flowlabel: 0,
    proxy: false,
    rsc: false,
    l2miss: false,
    l3miss: false,
    remcsumtx: false,
    remcsumrx: false,
    localbypass: true,
    external,
    vnifilter: false,
    gbp: false,
    gpe,
    ...given,
    ...(from === undefined || from === '0.0.0.0' ? {} : { local: from }),
    ...(remote === undefined || values.isAny(remote) ? {} : { remote }),
  };
}

/** What one key alone can't show. */
export function contradictions<Input extends DeviceInput>(): v.RawCheckAction<Input> {
  return v.rawCheck<Input>(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const input = dataset.value;
    const missing = input.id === undefined && !input.external;
    const [key, message] = missing
      ? ['id', 'missing virtual network identifier']
      : (objectionTo(completeDevice(input)) ?? []);
    if (key !== undefined) addIssue({ message: message!, path: [step(input, key)] });
  });
}

const deviceSchema = v.pipe(v.unknown(), knownWords, strict(deviceEntries), contradictions());

const changeSchema = v.pipe(
  v.unknown(),
  knownWords,
  strict({
    id: deviceEntries.id,
    name: maybe(values.deviceName),
    address: maybe(values.unicastMacChange),
    mtu: maybe(values.mtuChange),
    up: flag,
    remote: deviceEntries.remote,
    group: deviceEntries.group,
    local: deviceEntries.local,
    dev: deviceEntries.dev,
    learning: flag,
    ageing: deviceEntries.ageing,
    ttl: deviceEntries.ttl,
    tos: deviceEntries.tos,
    df: deviceEntries.df,
    flowlabel: deviceEntries.flowlabel,
    localbypass: flag,
    policy: deviceEntries.policy,
    proxyforward: flag,
    latelearning: flag,
    honourdontlearn: flag,
    knownsenders: flag,
    knownpeers: flag,
    gso: deviceEntries.gso,
    gro: onOff,
    uso: onOff,
  }),
  v.forward(
    v.check(
      ({ remote, group }) => remote === undefined || group === undefined,
      'both group and remote cannot be specified',
    ),
    ['group'],
  ),
);

export function parseDevice(input: unknown): DeviceConfig {
  return completeDevice(parse(deviceSchema, input));
}

/** `id` may be repeated, as the kernel allows; the caller compares it with the device's. */
export function parseChange(input: unknown): { id?: number; change: DeviceChange } {
  for (const key of Object.keys(input ?? {})) {
    const positive = key.startsWith('no') ? key.slice(2) : key;
    const sentence = cannotChange(ALIASES[positive] ?? positive);
    if (sentence !== undefined) throw new VtepError('UNSUPPORTED', sentence);
  }
  const { id, ttl, ...given } = parse(changeSchema, input);
  if (ttl === 'inherit')
    throw new VtepError('UNSUPPORTED', `vxlan: cannot change TTL_INHERIT flag: ${ADD_AGAIN}`);
  const change = { ...given, ...(ttl === undefined ? {} : { ttl }) };
  return id === undefined ? { change } : { id, change };
}
