/**
 * The shapes that come in from outside, through the control API and the configuration file, checked in
 * one place. What leaves here is complete: defaults are filled in, addresses and MACs are canonical.
 * A refusal names the key that is wrong (`fdb[1].mac: invalid mac address: ...`). Keys are iproute2's words.
 */
import * as v from 'valibot';
import type { FdbFlush, FdbRequest } from '../types.ts';
import { flag, maybe, parse, strict, word } from './shapes.ts';
import * as values from './values.ts';

export {
  completeDevice,
  contradictions,
  deviceEntries,
  knownWords,
  parseChange,
  parseDevice,
} from './device-schema.ts';
export { complaint, flag, maybe, type Path, parse, step, strict, word } from './shapes.ts';

/** bridge has two words for some. */
const STATES = {
  permanent: 'permanent',
  local: 'permanent',
  static: 'static',
  temp: 'static',
  dynamic: 'dynamic',
} as const;

const state = v.pipe(
  v.picklist(
    ['permanent', 'local', 'static', 'temp', 'dynamic'],
    'invalid state: permanent, static or dynamic is expected',
  ),
  v.transform((said) => STATES[said]),
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
