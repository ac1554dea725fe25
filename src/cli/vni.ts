/** `vxlane vni ...`: the words of `bridge vni`, carried out by the daemon. */
import * as values from '../daemon/values.ts';
import { vniList } from '../daemon/vni-schema.ts';
import { VtepError } from '../errors.ts';
import type { VniRequest } from '../types.ts';
import type { Command } from './command.ts';
import { toJson } from './json.ts';
import { vniObjects, vniText } from './vni-format.ts';
import { DEV, exact, parseShown, parseWords, unknownVerb, usage } from './words.ts';

/** `bridge` finds out in the middle of its output, and leaves with this. */
const DUMP_EXIT = 1;

export function parseChange(op: VniRequest['op'], words: readonly string[]): VniRequest {
  const found = parseWords(words, {
    keywords: [DEV, exact('vni', vniList), exact('group', group), exact('remote', values.dst)],
    unknown: (word) => `unknown word "${word}": "vxlane vni help" lists the words of "vni ${op}"`,
  }).values as Partial<VniRequest>;
  if (found.dev === undefined || found.vni === undefined)
    throw usage(`Device and VNI ID are required arguments. As in "vni ${op} vni 100,200-205 dev NAME"`);
  if (found.group !== undefined && found.remote !== undefined)
    throw usage('argument "remote" is wrong: duplicate destination: give a group or a remote');
  return { op, ...found } as VniRequest;
}

function group(value: values.Value): string {
  const address = values.dst(value);
  if (/^(22[4-9]|23\d)\.|^ff/i.test(address)) return address;
  throw new VtepError('USAGE', 'invalid group address: a multicast address is expected');
}

/** Verbs take no abbreviation, as in `bridge vni`. */
export async function vni({
  words: [verb = 'show', ...words],
  client,
  flags,
  outside,
}: Command): Promise<void> {
  switch (verb) {
    case 'add':
      return client.vniChange(parseChange('add', words));
    case 'del':
    case 'delete':
      return client.vniChange(parseChange('del', words));
    case 'show':
    case 'lst':
    case 'list': {
      const dev = parseShown('vni', words);
      if (dev !== undefined && !(await client.link(dev)).config.vnifilter)
        throw new VtepError(
          'UNSUPPORTED',
          `Invalid argument. Dump terminated: ${dev} has no VNI table; add it with "external vnifilter"`,
          DUMP_EXIT,
        );
      const entries = (await client.vnis(dev)).filter(({ listed }) => listed);
      const statistics = flags.statistics > 0;
      outside.out(
        flags.json ? toJson(vniObjects(entries, statistics), flags.pretty) : vniText(entries, statistics),
      );
      return;
    }
    default:
      throw unknownVerb('vni', verb);
  }
}
