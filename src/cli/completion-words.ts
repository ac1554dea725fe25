/**
 * All words of the command line, taken from its own tables: objects and verbs from objects.ts, the words behind a verb
 * from the grammar that it parses them by, or, where it has none, from its line of the help. Completion and the test
 * of the manual page read them here, so that a new word is in both.
 */
import type { Client } from '../daemon/client.ts';
import type { Command, Spoken } from './command.ts';
import { OBJECTS } from './objects.ts';
import { grammarsOf } from './words.ts';

export interface VerbWords {
  verb: string;
  /** Without those that are refused. */
  words: string[];
}

export interface ObjectWords {
  name: string;
  aliases: readonly string[];
  what: string;
  verbs: VerbWords[];
}

/** What makes a verb read all of its grammars. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  'link add': ['NAME', 'type', 'vxlan', 'id', '1'],
  'link set': ['NAME', 'type', 'vxlan', 'ttl', '1'],
};

/** Whatever is asked of the daemon is never answered. */
const NOBODY = new Proxy({} as Client, {
  get: () => async () => {
    throw new Error('nobody is asked');
  },
});

export async function objectWords(): Promise<ObjectWords[]> {
  const all: ObjectWords[] = [];
  for (const object of OBJECTS) {
    const verbs: VerbWords[] = [];
    for (const verb of verbsOf(object)) verbs.push({ verb, words: await wordsOf(object, verb) });
    const { name, aliases = [], what } = object;
    all.push({ name, aliases, what, verbs });
  }
  return all;
}

/** "add|set|del|show ..." */
function verbsOf({ verbs }: Spoken): string[] {
  return (verbs.split(' ')[0] ?? '').replace(/[[\]]/g, '').split('|');
}

/** Objects that are the real tool's have the real tool's words. */
const FOREIGN = ['neigh', 'nexthop', 'monitor'];

async function wordsOf(object: Spoken, verb: string): Promise<string[]> {
  if (FOREIGN.includes(object.name)) return helpWords(object.help, verb);
  const words = SAMPLES[`${object.name} ${verb}`] ?? [];
  const command: Command = {
    words: [verb, ...words],
    client: NOBODY,
    outside: { out: () => {}, err: () => {}, env: {} },
    flags: {
      json: false,
      pretty: false,
      details: false,
      everything: false,
      statistics: 0,
      oneline: false,
      brief: false,
    },
  };
  const grammars = await grammarsOf(() => object.run(command));
  const known = grammars.flatMap(({ keywords }) => keywords).filter(({ refused }) => refused === undefined);
  const names = known.flatMap(({ names }) => names.split('|'));
  return names.length > 0 ? [...new Set(names)] : helpWords(object.help, verb);
}

/** Lower-case words of a verb's syntax, which goes on where the next lines are indented further. */
function helpWords(help: string, verb: string): string[] {
  const syntax = new RegExp(`^  (?:[a-z|]+\\|)?${verb}\\b(.*(?:\\n {4,}.*)*)`, 'm').exec(help)?.[1] ?? '';
  return [...new Set(syntax.match(/(?<![A-Z\w])[a-z_]{2,}(?![A-Z\w])/g) ?? [])];
}
