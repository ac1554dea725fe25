/**
 * Requests for peers as they come in from outside, checked for shape. What an address and a prefix may be is the
 * dataplane's to say.
 */
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { PeerRequest } from '../types.ts';
import { maybe, parse, strict, word } from './shapes.ts';
import * as values from './values.ts';

export const peerSource = values.dst;

/** "10.244.2.0/24,fd00:2::/64" */
export const prefixList: values.Reader<string[]> = (value) => {
  const list = String(value).split(',');
  if (list.every((part) => part !== '')) return list;
  throw new VtepError('USAGE', `any valid prefix is expected rather than "${value}": as in 10.244.2.0/24`);
};

const prefixes = v.exactOptional(
  v.union([v.array(v.string()), word(prefixList)], 'a list of networks is expected'),
);

/** Of a peer in the configuration file. */
export const peerEntries = { mac: word(values.mac), src: word(peerSource), prefixes };

const peerSchema = v.pipe(
  v.unknown(),
  strict({
    op: v.picklist(['set', 'del'], 'set or del is expected'),
    dev: word(values.deviceName),
    ...peerEntries,
    src: maybe(peerSource),
  }),
);

export function parsePeer(input: unknown): PeerRequest {
  const { op, dev, mac, src, prefixes } = parse(peerSchema, input);
  if (op === 'del') return { op, dev, mac };
  if (src === undefined) throw new VtepError('USAGE', 'src: missing: the address that the peer sends from');
  return { op, dev, mac, src, ...(prefixes !== undefined && { prefixes }) };
}
