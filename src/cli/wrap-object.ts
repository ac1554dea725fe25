/**
 * `bridge mdb` and `bridge vni` on devices of vxlane: the whole command is the daemon's. A list of all devices holds
 * the kernel's entries first, then ours.
 */
import { toJson } from './json.ts';
import { OBJECTS } from './objects.ts';
import { firstMatch } from './words.ts';
import { commandOf, type Wrapped } from './wrap-context.ts';

/** Verbs that list, and those before them in the order in which the tools try a prefix. */
const VERBS = ['add', 'delete', 'replace', 'show', 'lst', 'list', 'get', 'flush'];
const LISTS = ['show', 'lst', 'list'];

/** Exit code, or undefined: not ours. */
export async function wrapObject(
  context: Wrapped,
  name: 'mdb' | 'vni',
  words: readonly string[],
): Promise<number | undefined> {
  const spoken = OBJECTS.find((object) => object.name === name);
  if (spoken === undefined) return undefined;
  const [word, ...rest] = words;
  const device = deviceOf(rest);
  const verb = word === undefined ? 'show' : firstMatch(word, VERBS);
  if (device !== undefined) {
    if (!context.isOurs(device)) return undefined;
    const code = await spoken.run(commandOf(context, [...words]));
    return typeof code === 'number' ? code : 0;
  }
  if (verb === undefined || !LISTS.includes(verb)) return undefined;
  if (context.names().length === 0) return undefined;
  return list(context, spoken.run, name, words);
}

function deviceOf(words: readonly string[]): string | undefined {
  const at = words.indexOf('dev');
  return at < 0 ? undefined : words[at + 1];
}

async function list(
  context: Wrapped,
  run: (typeof OBJECTS)[number]['run'],
  name: string,
  words: readonly string[],
): Promise<number> {
  const { real, options, flags, outside } = context;
  const plain = options.filter((option) => !/^-(j|p|c)/.test(option));
  const style = flags.json ? ['-j'] : [];
  const kernel = real.capture([...plain, ...style, name, ...words]);
  if (kernel.code !== 0) {
    outside.out(kernel.out);
    outside.err(kernel.err);
    return kernel.code;
  }
  let ours = '';
  const own = {
    ...outside,
    out: (text: string) => {
      ours += text;
    },
  };
  const command = commandOf({ ...context, outside: own, flags: { ...flags, pretty: false } }, [...words]);
  await run(command);
  if (!flags.json) outside.out(kernel.out + withoutHeader(ours, kernel.out));
  else outside.out(toJson(joined(JSON.parse(kernel.out || '[]'), JSON.parse(ours || '[]')), flags.pretty));
  return 0;
}

/** One header is enough. */
function withoutHeader(ours: string, kernel: string): string {
  const [first] = ours.split('\n');
  return kernel !== '' && first !== undefined && /^dev\s+vni/.test(first)
    ? ours.slice(first.length + 1)
    : ours;
}

interface MdbList {
  mdb: object[];
  router: object;
}

/** VNIs: a list of devices. Groups: one list in an object, with the bridges' routers beside it. */
function joined(kernel: object[], ours: object[]): object[] {
  const [theirs] = kernel as Partial<MdbList>[];
  const [mine] = ours as Partial<MdbList>[];
  if (theirs?.mdb === undefined || mine?.mdb === undefined) return [...kernel, ...ours];
  return [{ ...theirs, mdb: [...theirs.mdb, ...mine.mdb] }];
}
