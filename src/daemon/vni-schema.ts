/**
 * Requests for VNIs, their VLANs and group policies as they come in from outside, checked for shape. What numbers
 * may be and what goes together is the dataplane's to say: its sentences are the kernel's.
 */
import * as v from 'valibot';
import { VtepError } from '../errors.ts';
import type { NumberRange, PolicyRequest, VniRequest } from '../types.ts';
import { flag, maybe, parse, strict, word } from './shapes.ts';
import * as values from './values.ts';

function refuse(why: string): never {
  throw new VtepError('USAGE', why);
}

/** "100", "100,200-205", or a number. */
function ranges(text: values.Value, why: string): NumberRange[] {
  return String(text)
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const [, first, last] = /^(\d{1,9})(?:-(\d{0,9}))?$/.exec(part) ?? refuse(why);
      return [Number(first), Number(last || first)];
    });
}

/** `bridge vni` reads what is no number as 0, which the kernel refuses with this sentence. */
export const vniList: values.Reader<NumberRange[]> = (text) => {
  const why = 'vni start nor end found in vni entry. Give VNIs as in 100,200-205';
  const list = ranges(text, why);
  return list.length === 0 ? refuse(why) : list;
};

/** "10" or "10-12" */
export const vlanRange: values.Reader<NumberRange> = (text) => {
  const why = `Invalid VLAN ID "${text}": VLANs are 1 to 4094`;
  const list = ranges(text, why);
  const [first, last] = list.length === 1 ? list[0]! : refuse(why);
  if (first >= 4096) refuse(why);
  if (last >= 4096 || first > last || (String(text).includes('-') && first === last))
    refuse(`Invalid VLAN range "${text}": give the lower VLAN first`);
  return [first, last];
};

export const policyIds: values.Reader<NumberRange[]> = (text) => {
  const why = 'invalid id: policy ids are 0 to 65535, as in 5,10-20';
  const list = ranges(text, why);
  return list.length === 0 ? refuse(why) : list;
};

export const policyId = values.within(0, 0xffff, 'invalid id: a policy id is a number from 0 to 65535');

const range = v.strictTuple([v.number(), v.number()], 'two numbers are expected: [FIRST, LAST]');
/** Text as on the command line, a number, or the ranges themselves. */
const rangesOf = (read: values.Reader<NumberRange[]>) => v.union([v.array(range), word(read)]);

const vniSchema = v.pipe(
  v.unknown(),
  strict({
    op: v.picklist(['add', 'del'], 'add or del is expected'),
    dev: word(values.deviceName),
    vni: rangesOf(vniList),
    remote: maybe(values.dst),
    group: maybe(values.dst),
    vlan: v.exactOptional(v.union([range, word(vlanRange)])),
    pvid: flag,
    untagged: flag,
  }),
);

const OPS = ['add', 'del', 'refuse', 'allow'] as const;

const policySchema = v.pipe(
  v.unknown(),
  strict({
    op: v.picklist(OPS, 'add, del, refuse or allow is expected'),
    dev: word(values.deviceName),
    id: v.exactOptional(v.union([v.array(range), word(policyIds)])),
    vni: maybe(values.fdbVni),
    mac: maybe(values.mac),
    dontlearn: flag,
    applied: flag,
  }),
);

export function parseVni(input: unknown): VniRequest {
  return parse(vniSchema, input) as VniRequest;
}

export function parsePolicy(input: unknown): PolicyRequest {
  const { op, dev, id, vni, mac, dontlearn, applied } = parse(policySchema, input);
  if (op !== 'del' && id === undefined) refuse('id: missing');
  if (op === 'refuse' || op === 'allow') return { op, dev, id: id! };
  const of = { dev, ...(vni !== undefined && { vni }), ...(mac !== undefined && { mac }) };
  if (op === 'del') return { op, ...of };
  const [first, last] = id!.length === 1 ? id![0]! : refuse('id: one id is expected');
  if (first !== last) refuse('id: one id is expected');
  return { op, ...of, id: first, ...(dontlearn && { dontlearn }), ...(applied && { applied }) };
}
