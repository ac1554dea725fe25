/** `vxlane hook ...`: programs on a device. Our own words, in iproute2's grammar. */
import { readHook, readRules } from '../daemon/hook-files.ts';
import { fuel, type HookMessage } from '../daemon/hook-schema.ts';
import { onstop } from '../daemon/values.ts';
import type { HookInfo, OnStop } from '../types.ts';
import type { Command } from './command.ts';
import { toJson } from './json.ts';
import { DEV, exact, firstMatch, type Keyword, parseShown, parseWords, unknownVerb, usage } from './words.ts';

const VERBS = ['add', 'replace', 'delete', 'show', 'lst', 'list'];

const DIRECTIONS: Keyword[] = ['encap', 'decap'].map((names) => ({
  ...{ names, exact: true, key: 'direction' },
  is: names,
}));
const OF_PROGRAM = [exact('rules', String), exact('fuel', fuel), exact('onstop', onstop)];
const FILE = { key: 'file', read: [String], called: 'FILE' };

interface Said {
  dev?: string;
  direction?: 'encap' | 'decap';
  file?: string;
  rules?: string;
  fuel?: number;
  onstop?: OnStop;
}

/** Reads the files that it names. */
export function parseChange(op: HookMessage['op'], words: readonly string[]): HookMessage {
  const { dev, direction, file, rules, ...settings }: Said = parseWords(words, {
    keywords: op === 'del' ? [DEV, ...DIRECTIONS] : [DEV, ...DIRECTIONS, ...OF_PROGRAM],
    ...(op === 'del' ? {} : { positional: FILE }),
    unknown: (word) => `unknown word "${word}": "vxlane hook help" lists the words of "hook ${op}"`,
  }).values;
  if (dev === undefined || direction === undefined)
    throw usage(`Device and direction are required arguments. As in "hook ${op} dev NAME encap"`);
  if (op === 'del') return { op, dev, direction };
  if (file === undefined)
    throw usage(`a file is missing: name a program, as in "hook ${op} dev ${dev} ${direction} FILE.wasm"`);
  const program = readHook(file);
  return {
    ...{ op, dev, direction, file: program.file },
    ...(program.wasm !== undefined && { wasm: base64(program.wasm) }),
    ...(rules !== undefined && { rules: base64(readRules(rules)) }),
    ...settings,
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

export async function hook({
  words: [word = 'show', ...words],
  client,
  flags,
  outside,
}: Command): Promise<void> {
  const verb = firstMatch(word, VERBS);
  switch (verb) {
    case 'add':
    case 'replace':
      return client.hookChange(parseChange(verb, words));
    case 'delete':
      return client.hookChange(parseChange('del', words));
    case undefined:
      throw unknownVerb('hook', word);
    default: {
      const hooks = await client.hooks(parseShown('hook', words));
      const counted = flags.statistics > 0;
      outside.out(flags.json ? toJson(hookObjects(hooks, counted), flags.pretty) : hookText(hooks, counted));
    }
  }
}

/** One line each; with counters one more. */
export function hookText(hooks: readonly HookInfo[], counted: boolean): string {
  return hooks
    .map(({ ifname, direction, file, generation, fuel, onstop, stopped, fault, stats, counters }) =>
      [
        [
          ...['dev', ifname, direction, file, 'generation', generation],
          ...(fuel === undefined ? [] : ['fuel', fuel]),
          ...['onstop', onstop],
          ...(stopped === undefined ? [] : [`stopped: ${stopped}`]),
        ].join(' '),
        ...(counted
          ? [
              `    packets ${stats.packets} dropped ${stats.dropped} redirected ${stats.redirected} mirrored ${stats.mirrored} faults ${stats.faults} stopped ${stats.stopped}${fault === undefined ? '' : ` last: ${fault}`}`,
              ...countersText(counters),
            ]
          : []),
        '',
      ].join('\n'),
    )
    .join('');
}

/** By number, those that have counted. */
function countersText(counters: readonly number[] = []): string[] {
  const counted = counters.flatMap((count, number) => (count === 0 ? [] : `${number}: ${count}`));
  return counted.length === 0 ? [] : [`    counters ${counted.join(' ')}`];
}

export function hookObjects(hooks: readonly HookInfo[], counted: boolean): object[] {
  return counted ? [...hooks] : hooks.map(({ stats: _, fault: __, counters: ___, ...hook }) => hook);
}
