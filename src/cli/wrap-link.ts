/**
 * `ip link` and `ip address` on devices of vxlane. Such a device is an interface of the host, so that most words are
 * the real tool's: to the daemon goes what the kernel's driver would do, and up, down, name, address and MTU, which
 * the daemon must know of before the next command runs.
 */
import { parseAdd } from './device-words.ts';
import { link } from './link.ts';
import { firstMatch, usage } from './words.ts';
import { commandOf, type Wrapped } from './wrap-context.ts';
import { showAddresses, showLinks } from './wrap-show.ts';

/** In the order in which `ip link` tries them. */
const VERBS = ['add', 'set', 'change', 'replace', 'delete', 'show', 'lst', 'list'];
const ADDRESS_VERBS = ['add', 'change', 'replace', 'delete', 'show', 'lst', 'list', 'flush', 'save'];

/** Exit code, or undefined: not ours. */
export async function wrapLink(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [word, ...rest] = words;
  const verb = word === undefined ? 'show' : firstMatch(word, VERBS);
  if (verb === 'add') return add(context, rest);
  if (verb === 'set' || verb === 'change') return set(context, rest);
  if (verb === 'delete') return remove(context, rest);
  return verb === 'show' || verb === 'lst' || verb === 'list' ? showLinks(context, rest) : undefined;
}

export async function wrapAddress(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const [word, ...rest] = words;
  const verb = word === undefined ? 'show' : firstMatch(word, ADDRESS_VERBS);
  return verb === 'show' || verb === 'lst' || verb === 'list' ? showAddresses(context, rest) : undefined;
}

interface Split {
  name?: string;
  /** Words of the daemon, in its order. */
  ours: string[];
  up?: boolean;
  /** Words that any interface takes. */
  theirs: string[];
  type?: string;
  typed: string[];
}

const OURS = ['name', 'address', 'mtu'];
const ALIASES: Readonly<Record<string, string>> = { addr: 'address', lladdr: 'address' };
const WITHOUT_VALUE = ['nomaster'];
/** A TAP brings its own queues. */
const MEANINGLESS = ['numtxqueues', 'numrxqueues', 'index'];
const THEIRS = [
  ...['txqueuelen', 'txqlen', 'qlen', 'broadcast', 'brd', 'netns', 'multicast', 'allmulticast', 'promisc'],
  ...[
    'trailers',
    'arp',
    'carrier',
    'dynamic',
    'master',
    'nomaster',
    'vrf',
    'alias',
    'group',
    'mode',
    'state',
  ],
  ...['addrgenmode', 'link-netns', 'link-netnsid', 'protodown', 'protodown_reason', 'gso_max_size'],
  ...['gso_max_segs', 'gro_max_size', 'gso_ipv4_max_size', 'gro_ipv4_max_size'],
];

function split(words: readonly string[], naming: 'dev' | 'name'): Split {
  const found: Split = { ours: [], theirs: [], typed: [] };
  for (let at = 0; at < words.length; at++) {
    const word = ALIASES[words[at]!] ?? words[at]!;
    const value = () => {
      const next = words[++at];
      if (next === undefined) throw usage(`command line is not complete: "${word}" needs a value`);
      return next;
    };
    if (word === 'type') {
      found.type = value();
      found.typed = words.slice(at + 1);
      break;
    }
    if (word === 'up' || word === 'down') found.up = word === 'up';
    else if (word === 'dev' || (word === 'name' && naming === 'name')) found.name = value();
    else if (OURS.includes(word)) found.ours.push(word, value());
    else if (word === 'link') found.theirs.unshift(word, value());
    else if (MEANINGLESS.includes(word)) value();
    else if (THEIRS.includes(word))
      found.theirs.push(word, ...(WITHOUT_VALUE.includes(word) ? [] : [value()]));
    else if (found.name === undefined) found.name = word;
    // A word that this table does not know is for the real tool to judge.
    else found.theirs.push(words[at]!);
  }
  return found;
}

async function add(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const found = split(words, 'name');
  if (found.type !== 'vxlan') return undefined;
  const { name, ours, typed, up } = found;
  let { theirs } = found;
  if (theirs[0] === 'link') {
    // Of no meaning to a VXLAN device, but it must be there.
    const { code, err } = context.real.capture([...context.options, 'link', 'show', 'dev', theirs[1]!]);
    if (code !== 0) {
      context.outside.err(err.replace(/^Device (".*") does not exist\.$/m, 'Cannot find device $1'));
      return 1;
    }
    theirs = theirs.slice(2);
  }
  const named = name === undefined ? { name: await freeName(context), given: false } : { name, given: true };
  // Its words are checked first: nothing is made of a command that can't be read.
  const own = [named.name, ...ours, 'type', 'vxlan', ...typed];
  if (typed.at(-1) !== 'help') parseAdd(own);
  await link(commandOf(context, ['add', ...own]));
  try {
    const code = theirs.length === 0 ? 0 : setInterface(context, named.name, theirs);
    if (code !== 0) {
      await context.client.deleteLink(named.name);
      return code;
    }
    if (up !== undefined && !theirs.includes('netns')) await context.client.setLink(named.name, { up });
    return 0;
  } catch (error) {
    await context.client.deleteLink(named.name).catch(() => undefined);
    throw error;
  }
}

/** As the kernel names a device that was given no name. */
async function freeName({ real, options }: Wrapped): Promise<string> {
  const { out } = real.capture([
    ...options.filter((option) => !option.startsWith('-j')),
    '-o',
    'link',
    'show',
  ]);
  for (let number = 0; ; number++) {
    if (!new RegExp(`^\\d+: vxlan${number}[:@]`, 'm').test(out)) return `vxlan${number}`;
  }
}

async function set(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const found = split(words, 'dev');
  const { name, ours, theirs, type, typed, up } = found;
  if (!context.isOurs(name)) return undefined;
  if (type !== undefined && type !== 'vxlan') return undefined;
  if (theirs.length > 0) {
    const code = setInterface(context, name!, theirs);
    if (code !== 0) return code;
  }
  const state = up === undefined ? [] : [up ? 'up' : 'down'];
  if (ours.length + state.length + typed.length > 0) {
    const kind = type === undefined ? [] : ['type', 'vxlan', ...typed];
    await link(commandOf(context, ['set', 'dev', name!, ...state, ...ours, ...kind]));
  }
  return 0;
}

function setInterface({ real, options }: Wrapped, name: string, words: readonly string[]): number {
  return real.run([...options, 'link', 'set', 'dev', name, ...words]);
}

async function remove(context: Wrapped, words: readonly string[]): Promise<number | undefined> {
  const { name } = split(words, 'dev');
  if (!context.isOurs(name)) return undefined;
  await context.client.deleteLink(name!);
  return 0;
}
