/** `vxlane policy ...`: group policy ids. The kernel has no words for them, so these are ours, in its grammar. */
import * as values from '../daemon/values.ts';
import { policyId, policyIds } from '../daemon/vni-schema.ts';
import type { NumberRange, PolicyInfo, PolicyRequest } from '../types.ts';
import type { Command } from './command.ts';
import { toJson } from './json.ts';
import { DEV, exact, firstMatch, type Keyword, parseShown, parseWords, unknownVerb, usage } from './words.ts';

const VERBS = ['add', 'delete', 'refuse', 'allow', 'show', 'lst', 'list'];

const OF = [exact('vni', values.fdbVni), exact('mac', values.mac)];
const FLAGS: Keyword[] = [
  { names: 'dontlearn', key: 'dontlearn' },
  { names: 'applied', key: 'applied' },
];

const KEYWORDS: Readonly<Record<PolicyRequest['op'], readonly Keyword[]>> = {
  add: [DEV, exact('id', policyId), ...OF, ...FLAGS],
  del: [DEV, ...OF],
  refuse: [DEV, exact('id', policyIds)],
  allow: [DEV, exact('id', policyIds)],
};

export function parseChange(op: PolicyRequest['op'], words: readonly string[]): PolicyRequest {
  const found: { dev?: string; id?: unknown; vni?: number; mac?: string } = parseWords(words, {
    keywords: KEYWORDS[op],
    unknown: (word) => `unknown word "${word}": "vxlane policy help" lists the words of "policy ${op}"`,
  }).values;
  if (found.dev === undefined) throw usage(`Device is a required argument. As in "policy ${op} dev NAME"`);
  if (op !== 'del' && found.id === undefined)
    throw usage(`a policy id is missing. As in "policy ${op} dev NAME id 5"`);
  if (found.vni !== undefined && found.mac !== undefined)
    throw usage('either "vni" or "mac": a policy is of one of them');
  return { op, ...found } as PolicyRequest;
}

export async function policy({
  words: [word = 'show', ...words],
  client,
  flags,
  outside,
}: Command): Promise<void> {
  const verb = firstMatch(word, VERBS);
  switch (verb) {
    case 'add':
    case 'refuse':
    case 'allow':
      return client.policyChange(parseChange(verb, words));
    case 'delete':
      return client.policyChange(parseChange('del', words));
    case undefined:
      throw unknownVerb('policy', word);
    default: {
      const shown = await client.policies(parseShown('policy', words));
      outside.out(flags.json ? toJson(policyObjects(shown), flags.pretty) : policyText(shown));
    }
  }
}

/** One line for each, below its device. */
function policyText(devices: readonly PolicyInfo[]): string {
  return devices
    .map(({ ifname, sent, refused, received }) =>
      [
        ifname,
        ...sent.map(({ id, vni, mac, dontlearn, applied }) =>
          [
            `    send id ${id}`,
            ...(vni === undefined ? [] : [`vni ${vni}`]),
            ...(mac === undefined ? [] : [`mac ${mac}`]),
            ...(dontlearn ? ['dontlearn'] : []),
            ...(applied ? ['applied'] : []),
          ].join(' '),
        ),
        ...refused.map(([first, last]) => `    refuse id ${first === last ? first : `${first}-${last}`}`),
        ...received.map(({ id, packets }) => `    received id ${id} packets ${packets}`),
        '',
      ].join('\n'),
    )
    .join('');
}

function policyObjects(devices: readonly PolicyInfo[]): object[] {
  const rangeObject = ([id, last]: NumberRange) => ({ id, idEnd: last === id ? undefined : last });
  return devices.map((device) => ({ ...device, refused: device.refused.map(rangeObject) }));
}
