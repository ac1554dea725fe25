/** `vxlane mdb ...`: the words of `bridge mdb`, carried out by the daemon. */
import type { MdbEntry } from '../types.ts';
import { type Command, refusedWith } from './command.ts';
import { toJson } from './json.ts';
import { mdbObjects, mdbText } from './mdb-format.ts';
import { parseChange, parseFlush, parseGet, parseShow } from './mdb-words.ts';
import { firstMatch, NOTHING_FOUND_EXIT, unknownVerb } from './words.ts';

/** In the order in which `bridge mdb` tries them; those that take no abbreviation stand apart. */
const VERBS = ['add', 'delete', 'show', 'lst', 'list'];
const WHOLE_VERBS = ['replace', 'get', 'flush'];

export async function mdb({ words: [word, ...words], client, flags, outside }: Command): Promise<void> {
  const form = { details: flags.details, timers: flags.statistics > 0 };
  const verb = word === undefined ? 'show' : WHOLE_VERBS.includes(word) ? word : firstMatch(word, VERBS);
  switch (verb) {
    case 'add':
    case 'replace':
      return client.mdbChange(parseChange(verb, words));
    case 'delete':
      return client.mdbChange(parseChange('del', words));
    case 'flush':
      await client.mdbFlush(parseFlush(words));
      return;
    case 'get': {
      const { dev, grp, src, src_vni } = parseGet(words);
      const entries = await client.mdbGet(dev, grp, src, src_vni).catch(async (error) => {
        // That there is no such device, bridge finds out itself.
        await client.mdb(dev);
        // Whatever the kernel refuses it for.
        return refusedWith(NOTHING_FOUND_EXIT, Promise.reject<MdbEntry[]>(error));
      });
      outside.out(flags.json ? toJson(mdbObjects(entries, form), flags.pretty) : mdbText(entries, form));
      return;
    }
    case undefined:
      throw unknownVerb('mdb', word);
    default: {
      const entries = await client.mdb(parseShow(words));
      // What a bridge would list beside its groups: the ports behind which routers are. Here there are none.
      const all = [{ mdb: mdbObjects(entries, form), router: {} }];
      outside.out(flags.json ? toJson(all, flags.pretty) : mdbText(entries, form));
    }
  }
}
