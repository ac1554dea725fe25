/**
 * Requests to the MDB as they come in from outside, checked for shape and range. Groups, sources and
 * protocols go on as they are: the MDB knows them best, and its sentences are the kernel's.
 */
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { MdbFlush, MdbRequest } from '../types.ts';
import { maybe, parse, strict, word } from './shapes.ts';
import * as values from './values.ts';

/** What an entry holds, and what it is about: one reader for each word. */
export const mdbVni = values.within(
  0,
  values.VNI_MAX,
  `integer out of range. A VNI is a number from 0 to ${values.VNI_MAX}`,
);
export const mdbPort = values.within(0, 65535, 'Invalid destination port. It is a number from 0 to 65535');
export const text: values.Reader<string> = (value) => String(value);

export const filterMode: values.Reader<'include' | 'exclude'> = (value) => {
  if (value === 'include' || value === 'exclude') return value;
  throw new VtepError('USAGE', `Invalid filter mode "${value}". It is include or exclude`);
};

/** Of an entry with one remote, in the configuration file as in a request. */
export const mdbEntries = {
  grp: word(text),
  src: maybe(text),
  filter_mode: maybe(filterMode),
  source_list: v.exactOptional(v.array(word(text), 'a list of addresses is expected')),
  proto: maybe(text),
  dst: word(text),
  dst_port: maybe(mdbPort),
  vni: maybe(mdbVni),
  src_vni: maybe(mdbVni),
  via: maybe(values.deviceName),
};

const mdbSchema = v.pipe(
  v.unknown(),
  strict({
    op: v.picklist(['add', 'replace', 'del'], 'add, replace or del is expected'),
    dev: word(values.deviceName),
    ...mdbEntries,
  }),
);

const flushSchema = v.pipe(
  v.unknown(),
  strict({
    dev: word(values.deviceName),
    src_vni: maybe(mdbVni),
    proto: maybe(text),
    permanent: v.exactOptional(v.boolean('true or false is expected')),
    dst: maybe(text),
    dst_port: maybe(mdbPort),
    vni: maybe(mdbVni),
  }),
);

export function parseMdb(input: unknown): MdbRequest {
  return parse(mdbSchema, input) as MdbRequest;
}

export function parseMdbFlush(input: unknown): MdbFlush {
  return parse(flushSchema, input) as MdbFlush;
}

/** `src` and `src_vni` of an address such as /v1/mdb/vx0/239.1.1.1?src=192.0.2.1 */
export function parseMdbQuery(
  query: URLSearchParams,
): [src: string | undefined, src_vni: number | undefined] {
  const vni = query.get('src_vni');
  return [query.get('src') ?? undefined, vni === null ? undefined : mdbVni(vni)];
}
