/**
 * The shapes that come in from outside, through the control API and the configuration file, checked in
 * one place. What leaves here is complete: defaults are filled in, addresses and MACs are canonical.
 * A refusal names the key that is wrong (`devices[1].id: invalid id: ...`).
 *
 * Keys are iproute2's words. `nolearning: true` is as good as `learning: false`, and words of the kernel's
 * driver that this VTEP does not do are refused by name.
 */
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { DeviceChange, DeviceConfig, FdbFlush, FdbRequest } from '../types.ts';
import { ADD_AGAIN, cannotChange, isUnsupported, notSupported, restatesDefault } from './unsupported.ts';
import * as values from './values.ts';

const SWITCHES = ['learning', 'udpcsum', 'udp6zerocsumtx', 'udp6zerocsumrx'];

/** One value, read by the same reader as the word on the command line. */
export function word<T>(read: values.Reader<T>) {
  return v.pipe(
    v.union([v.string(), v.number()], 'a text or a number is expected'),
    v.rawTransform<string | number, T>(({ dataset, addIssue, NEVER }) => {
      try {
        return read(dataset.value);
      } catch (error) {
        if (!(error instanceof VtepError)) throw error;
        addIssue({ message: error.message });
        return NEVER;
      }
    }),
  );
}

export const maybe = <T>(read: values.Reader<T>) => v.exactOptional(word(read));
const flag = v.exactOptional(v.boolean('true or false is expected'));

const mapping = v.custom<Record<string, unknown>>(
  (input) => typeof input === 'object' && input !== null && !Array.isArray(input),
  'a mapping of keys to values is expected',
);

/** Mappings without unknown keys; the message says what is missing or unknown. */
export function strict<const Entries extends v.ObjectEntries>(entries: Entries) {
  const object = v.strictObject(entries, ({ expected }) => {
    if (expected === 'never') return `unknown key: ${Object.keys(entries).join(', ')} are known`;
    return expected === '"id"' ? 'missing virtual network identifier' : 'missing';
  });
  return v.pipe(mapping, object);
}

/** Rewrites aliases and `no` forms and refuses, by name, what is known and not done. */
export const knownWords = v.rawTransform<unknown, unknown>(({ dataset, addIssue, NEVER }) => {
  const input = dataset.value;
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return input;
  const output: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(input)) {
    const opposite = key.startsWith('no') ? key.slice(2) : '';
    if (isUnsupported(key) && value !== false) {
      const path: [v.IssuePathItem] = [{ type: 'unknown', origin: 'value', input, key, value }];
      addIssue({ message: notSupported(key).message, path });
      return NEVER;
    }
    if (isUnsupported(key) || restatesDefault(key)) continue;
    if (SWITCHES.includes(opposite) && typeof value === 'boolean') output[opposite] = !value;
    else output[key === 'vni' && !('id' in input) ? 'id' : key] = value;
  }
  return output;
});

const portRange = v.pipe(
  v.tuple([word(values.sourcePortMin), word(values.sourcePortMax)], 'two ports are expected: [MIN, MAX]'),
  v.check(([low, high]) => low <= high, 'Invalid source port range: MIN is greater than MAX'),
);

export const deviceEntries = {
  name: word(values.deviceName),
  id: word(values.vni),
  address: maybe(values.unicastMac),
  mtu: maybe(values.mtu),
  local: maybe(values.local),
  remote: maybe(values.remote),
  dev: maybe(values.deviceName),
  dstport: maybe(values.dstport),
  srcport: v.exactOptional(portRange),
  learning: flag,
  ageing: maybe(values.ageing),
  maxaddress: maybe(values.maxaddress),
  ttl: maybe(values.ttl),
  tos: maybe(values.tos),
  df: maybe(values.df),
  udpcsum: flag,
  udp6zerocsumtx: flag,
  udp6zerocsumrx: flag,
};

type DeviceInput = v.InferOutput<v.StrictObjectSchema<typeof deviceEntries, undefined>>;

export function oneFamily({ local, remote }: { local?: string | undefined; remote?: string }): boolean {
  return !local || !remote || values.family(local) === values.family(remote);
}
export const ONE_FAMILY = 'Local and remote address must be from the same family';

/** Fills in every default. */
export function completeDevice({ local, ...given }: DeviceInput): DeviceConfig {
  return {
    dstport: values.DSTPORT_DEFAULT,
    srcport: [0, 0],
    learning: true,
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
    external: false,
    vnifilter: false,
    gbp: false,
    gpe: false,
    ...given,
    ...(local === undefined ? {} : { local }),
  };
}

const deviceSchema = v.pipe(
  v.unknown(),
  knownWords,
  strict(deviceEntries),
  v.forward(
    v.check((device) => oneFamily(device), ONE_FAMILY),
    ['local'],
  ),
);

const changeSchema = v.pipe(
  v.unknown(),
  knownWords,
  strict({
    id: maybe(values.vni),
    name: maybe(values.deviceName),
    address: maybe(values.unicastMac),
    mtu: maybe(values.mtu),
    up: flag,
    remote: maybe(values.remote),
    local: maybe(values.local),
    learning: flag,
    ageing: maybe(values.ageing),
    ttl: maybe(values.ttl),
    tos: maybe(values.tos),
    df: maybe(values.df),
  }),
);

const state = v.picklist(
  ['permanent', 'static', 'dynamic'],
  'invalid state: permanent, static or dynamic is expected',
);

export const fdbEntries = {
  mac: word(values.mac),
  dst: maybe(values.dst),
  port: maybe(values.fdbPort),
  vni: maybe(values.fdbVni),
  via: maybe(values.deviceName),
  src_vni: maybe(values.srcVni),
  nhid: maybe(values.nhid),
  state: v.exactOptional(state),
  router: flag,
  extern_learn: flag,
  sticky: flag,
  master: flag,
  use: flag,
};

const fdbSchema = v.pipe(
  v.unknown(),
  strict({
    op: v.picklist(['add', 'append', 'replace', 'del'], 'add, append, replace or del is expected'),
    dev: word(values.deviceName),
    ...fdbEntries,
  }),
  v.forward(
    v.check(
      ({ op, dst, nhid }) => op === 'del' || dst !== undefined || Boolean(nhid),
      'missing: the address of the far VTEP',
    ),
    ['dst'],
  ),
);

const flushSchema = v.pipe(
  v.unknown(),
  strict({
    dev: word(values.deviceName),
    dst: maybe(values.dst),
    port: maybe(values.fdbPort),
    vni: maybe(values.fdbVni),
    src_vni: maybe(values.srcVni),
    nhid: maybe(values.nhid),
    permanent: flag,
    static: flag,
    dynamic: flag,
    extern_learn: flag,
    router: flag,
    sticky: flag,
    offloaded: flag,
  }),
);

export type Path = (string | number)[];

/** The first complaint, with the place it is about. */
export function complaint(issues: readonly v.BaseIssue<unknown>[]): { path: Path; error: VtepError } {
  const issue = issues[0]!;
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const key = path.map((step, depth) => (typeof step === 'number' ? `[${step}]` : depth ? `.${step}` : step));
  const code = isUnsupported(String(path.at(-1))) ? 'UNSUPPORTED' : 'USAGE';
  return { path, error: new VtepError(code, `${path.length ? `${key.join('')}: ` : ''}${issue.message}`) };
}

export function parse<Schema extends v.GenericSchema>(schema: Schema, input: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, input, { abortEarly: true });
  if (!result.success) throw complaint(result.issues).error;
  return result.output;
}

export function parseDevice(input: unknown): DeviceConfig {
  return completeDevice(parse(deviceSchema, input));
}

/** `id` may be repeated, as the kernel allows; the caller compares it with the device's. */
export function parseChange(input: unknown): { id?: number; change: DeviceChange } {
  for (const key of Object.keys(input ?? {})) {
    const sentence = cannotChange(key.startsWith('no') ? key.slice(2) : key);
    if (sentence !== undefined) throw new VtepError('UNSUPPORTED', sentence);
  }
  const { id, local, ttl, ...given } = parse(changeSchema, input);
  if (ttl === 'inherit') throw new VtepError('UNSUPPORTED', `cannot change TTL_INHERIT flag: ${ADD_AGAIN}`);
  const addressed = local === undefined ? {} : { local };
  const change = { ...given, ...addressed, ...(ttl === undefined ? {} : { ttl }) };
  return id === undefined ? { change } : { id, change };
}

/** Port 0 is the device's own, as it is to the kernel. */
export function completeFdb<T extends { port?: number }>({
  port,
  ...given
}: T): Omit<T, 'port'> & { port?: number } {
  return port ? { ...given, port } : given;
}

export function parseFdb(input: unknown): FdbRequest {
  return completeFdb(parse(fdbSchema, input)) as FdbRequest;
}

export function parseFlush(input: unknown): FdbFlush {
  return parse(flushSchema, input);
}
