/** `vxlane fdb ...`: the words of `bridge fdb`, carried out by the daemon. */
import { readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { VtepError } from '../errors.ts';
import type { FdbEntry } from '../types.ts';
import type { Command } from './command.ts';
import { parseShow, select } from './fdb-filter.ts';
import { type FdbForm, fdbObjects, fdbText } from './fdb-format.ts';
import { parseChange, parseFlush, parseGet } from './fdb-words.ts';
import { toJson } from './json.ts';
import { firstMatch, NOTHING_FOUND_EXIT, unknownVerb } from './words.ts';

/** `bridge fdb get` tells an entry that is not there from a device that is not there. */
const NOTHING_FOUND = 'Fdb entry not found.';

async function nothingFound<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof VtepError) || !error.message.includes(NOTHING_FOUND)) throw error;
    throw new VtepError(error.code, error.message, NOTHING_FOUND_EXIT);
  }
}

/** In the order in which `bridge fdb` tries them. */
const VERBS = ['add', 'append', 'replace', 'delete', 'get', 'show', 'lst', 'list'];

export async function fdb({ words: [word, ...words], client, flags, outside }: Command): Promise<void> {
  const print = (entries: FdbEntry[], oneDevice: boolean) => {
    const form: FdbForm = { oneDevice, ages: flags.statistics > 0 };
    outside.out(flags.json ? toJson(fdbObjects(entries, form), flags.pretty) : fdbText(entries, form));
  };
  // bridge takes no abbreviation of "flush", so that "f" can never empty a table.
  const verb = word === undefined ? 'show' : word === 'flush' ? word : firstMatch(word, VERBS);
  switch (verb) {
    case 'add':
    case 'append':
    case 'replace':
      return client.fdbChange(parseChange(verb, words));
    case 'delete':
      return client.fdbChange(parseChange('del', words));
    case 'flush':
      await client.fdbFlush(parseFlush(words));
      return;
    case 'get': {
      const { dev, mac, vni } = parseGet(words);
      return print([await nothingFound(client.fdbGet(dev, mac, vni))], false);
    }
    case undefined:
      throw unknownVerb('fdb', word);
    default: {
      const filter = parseShow(words);
      if (filter.br !== undefined) checkBridge(filter.br);
      const entries = await client.fdb(filter.dev);
      const ports =
        filter.br && entries.map(({ ifname }) => ifname).filter((name) => bridgeOf(name) === filter.br);
      return print(select(entries, filter, ports || undefined), filter.dev !== undefined);
    }
  }
}

const INTERFACES = '/sys/class/net';

function checkBridge(name: string): void {
  if (statSync(`${INTERFACES}/${name}`, { throwIfNoEntry: false })) return;
  throw new VtepError('NOT_FOUND', `Cannot find bridge device "${name}": "ip link" shows what there is`);
}

/** The bridge that an interface is a port of; undefined: none. */
function bridgeOf(name: string): string | undefined {
  try {
    return basename(readlinkSync(`${INTERFACES}/${name}/master`));
  } catch {
    return undefined;
  }
}
