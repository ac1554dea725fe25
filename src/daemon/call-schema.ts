/** The readers of what programs hand in to a VTEP: requests as the control API takes them, and arguments of its methods. */
import type * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { FdbKey, MdbKey, Readers } from '../vtep/readers.ts';
import { parseChange, parseDevice } from './device-schema.ts';
import { readHookCall } from './hook-schema.ts';
import { mdbVni, parseMdb, parseMdbFlush, text } from './mdb-schema.ts';
import { parsePeer } from './peer-schema.ts';
import { parseFdb, parseFlush } from './schema.ts';
import { maybe, parse, strict, word } from './shapes.ts';
import * as values from './values.ts';
import { parsePolicy, parseVni } from './vni-schema.ts';

const devSchema = strict({ dev: word(values.deviceName) });
const fdbKeySchema = strict({
  dev: word(values.deviceName),
  mac: word(values.mac),
  vni: maybe(values.fdbVni),
});
const mdbKeySchema = strict({
  dev: word(values.deviceName),
  grp: word(text),
  src: maybe(text),
  src_vni: maybe(mdbVni),
});

export const READERS: Readers = {
  device: (input) => {
    refusePort(input);
    return parseDevice(input);
  },
  change: (input) => parseChange(input).change,
  fdb: parseFdb,
  fdbFlush: parseFlush,
  vni: parseVni,
  policy: parsePolicy,
  peer: parsePeer,
  hook: readHookCall,
  mdb: parseMdb,
  mdbFlush: parseMdbFlush,
  dev: (dev) => read(devSchema, { dev }).dev,
  fdbKey: (...[dev, mac, vni]) => {
    const key = read(fdbKeySchema, { dev, mac, vni });
    return [key.dev, key.mac, key.vni] as FdbKey;
  },
  mdbKey: (...[dev, grp, src, src_vni]) => {
    const key = read(mdbKeySchema, { dev, grp, src, src_vni });
    return [key.dev, key.grp, key.src, key.src_vni] as MdbKey;
  },
  listener: (input) => {
    if (typeof input === 'function') return input;
    throw new VtepError('USAGE', 'subscribe: listener: a function is expected');
  },
  milliseconds: (input) => {
    if (typeof input === 'number' && input >= 0) return input;
    throw new VtepError('USAGE', 'responds: milliseconds: a number from 0 is expected');
  },
};

/** Arguments that are left out are no keys. */
function read<Schema extends v.GenericSchema>(schema: Schema, given: object): v.InferOutput<Schema> {
  return parse(schema, Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));
}

/** `port` is iproute2's other word for `srcport`; who hands in a frame port has forgotten what takes one. */
function refusePort(input: unknown): void {
  const port: unknown = (input as { port?: unknown } | null | undefined)?.port;
  if (typeof (port as { start?: unknown } | null | undefined)?.start === 'function')
    throw new VtepError(
      'USAGE',
      'port: a VTEP on TAPs makes its own: createVtep({ underlay }) has devices on ports',
    );
}
