/** `vxlane vlan ...`: the words of `bridge vlan ... tunnel_info`, carried out by the daemon. */
import * as values from '../daemon/values.ts';
import { vlanRange } from '../daemon/vni-schema.ts';
import { VtepError } from '../errors.ts';
import type { NumberRange, VniRequest } from '../types.ts';
import type { Command } from './command.ts';
import { toJson } from './json.ts';
import { vlanObjects, vlanText } from './vni-format.ts';
import { DEV, exact, firstMatch, type Keyword, parseWords, unknownVerb, usage } from './words.ts';

/** In the order in which `bridge vlan` tries them. */
const VERBS = ['add', 'delete', 'show', 'lst', 'list', 'tunnelshow'];

const VID = exact('vid', vlanRange);
const flag = (names: string): Keyword => ({ names, exact: true, key: names });

function refuse(why: string): never {
  throw new VtepError('USAGE', why);
}

const idWord: values.Reader<string> = (value) =>
  'id'.startsWith(String(value)) ? 'id' : refuse('tunnel id expected: "tunnel_info id VNI"');

const tunnelId = values.within(
  0,
  values.VNI_MAX,
  `invalid tun id: a VNI is a number from 1 to ${values.VNI_MAX}`,
);

/** "10010" or "10010-10019" */
const tunnelIds: values.Reader<NumberRange> = (value) => {
  const [first, last] = String(value).split('-', 2).map(tunnelId) as [number, number?];
  return [first, last ?? first];
};

interface Found {
  dev?: string;
  vid?: NumberRange;
  tunnel_info?: [id: string, vnis: NumberRange];
  pvid?: true;
  untagged?: true;
}

export function parseChange(op: VniRequest['op'], words: readonly string[]): VniRequest {
  const { dev, vid, tunnel_info, pvid, untagged }: Found = parseWords(words, {
    keywords: [
      DEV,
      VID,
      { names: 'self', exact: true, ignored: true },
      { names: 'master', exact: true, ignored: true },
      flag('pvid'),
      flag('untagged'),
      { names: 'tunnel_info', exact: true, key: 'tunnel_info', read: [idWord, tunnelIds] },
    ],
    unknown: (word) => `unknown word "${word}": "vxlane vlan help" lists the words of "vlan ${op}"`,
  }).values;
  if (dev === undefined || vid === undefined)
    throw usage(
      `Device and VLAN ID are required arguments. As in "vlan ${op} dev NAME vid VLAN tunnel_info id VNI"`,
    );
  if (op === 'del') return { op, dev, vlan: vid, vni: [] };
  if (tunnel_info === undefined)
    throw usage(
      '"tunnel_info id VNI" is missing: a VLAN of the interface itself is no business of the tunnel',
    );
  return {
    op,
    dev,
    vlan: vid,
    vni: [tunnel_info[1]],
    ...(pvid && { pvid }),
    ...(untagged && { untagged }),
  };
}

export function parseShow(words: readonly string[]): { dev?: string; vid?: NumberRange } {
  return parseWords(words, {
    keywords: [DEV, VID],
    unknown: (word) => `unknown word "${word}": "vxlane vlan show [dev NAME] [vid VLAN]" is what there is`,
  }).values;
}

export async function vlan({
  words: [word = 'show', ...words],
  client,
  flags,
  outside,
}: Command): Promise<void> {
  switch (firstMatch(word, VERBS)) {
    case 'add':
      return client.vniChange(parseChange('add', words));
    case 'delete':
      return client.vniChange(parseChange('del', words));
    case undefined:
      throw unknownVerb('vlan', word);
    default: {
      const { dev, vid } = parseShow(words);
      const entries = await client.vnis(dev);
      const { details, json, pretty } = flags;
      outside.out(
        json ? toJson(vlanObjects(entries, details, vid?.[0]), pretty) : vlanText(entries, details, vid?.[0]),
      );
    }
  }
}
