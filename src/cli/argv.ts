/**
 * What iproute2 lets a person type that commander does not know: long flags behind one dash, cut to any prefix
 * (-json, -stat, -br), and objects cut short (`vxlane f show`). Everything else passes through as it is.
 */
import { OBJECTS } from './objects.ts';
import { firstMatch } from './words.ts';

/** What may be typed, and what is meant: the first one that begins with it. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ...OBJECTS.flatMap(({ name, aliases = [] }) => [name, ...aliases].map((typed) => [typed, name] as const)),
  ...['status', 'daemon', 'flannel', 'run', 'demo', 'wrap', 'completion', 'help'].map(
    (name) => [name, name] as const,
  ),
]);

/** The object that a word stands for, in full. */
export function objectNamed(word: string): string | undefined {
  return NAMES.get(firstMatch(word, [...NAMES.keys()]) ?? '');
}

/** In the order in which `ip` tries them: -b is batch, -br brief, -f family, -fo force. */
const FLAGS = [
  ...['family', 'statistics', 'stats', 'details', 'oneline', 'force', 'batch', 'brief', 'json', 'pretty'],
  'netns',
];
/** Colours, names instead of numbers, time stamps: said by scripts, without a meaning here. */
const IGNORED = ['-color', '-resolve', '-Numeric', '-human', '-iec', '-c', '-r', '-N'];
const WITH_VALUE = [
  '--socket',
  '--config',
  '--engine',
  '--threads',
  '--spin',
  '--seconds',
  '--family',
  '--batch',
  '--netns',
];

function flag(word: string): string {
  if (!/^-[a-z]+$/.test(word) || word === '-h') return word;
  const name = firstMatch(word.slice(1), FLAGS);
  return name === undefined ? word : `--${name === 'stats' ? 'statistics' : name}`;
}

/** flanneld's flags may have one dash: -iface is --iface. */
function goFlag(word: string): string {
  return /^-[a-z][\w-]/i.test(word) ? `-${word}` : word;
}

export function normalise(argv: readonly string[]): string[] {
  // What stands behind "--" is somebody else's command line.
  const end = argv.indexOf('--');
  if (end >= 0) return [...normalise(argv.slice(0, end)), ...argv.slice(end)];
  const words: string[] = [];
  let object: number | undefined;
  let isForeign = false;
  for (const word of argv) {
    // What stands behind belongs to another command.
    isForeign ||= word === '--';
    const isValue = WITH_VALUE.includes(words.at(-1) ?? '');
    if (object === undefined && !isValue && (IGNORED.includes(word) || word.startsWith('-color='))) continue;
    if (object === undefined && !isValue && !word.startsWith('-')) {
      object = words.length;
      words.push(objectNamed(word) ?? word);
    } else if (words[object ?? -1] === 'flannel' && !isValue) words.push(goFlag(word));
    else words.push(isValue || isForeign ? word : flag(word));
  }
  // A batch is told by its flag alone; commander wants a command.
  const batch = words.indexOf('--batch');
  return batch >= 0 && batch < words.length - 1 && object === undefined ? [...words, 'batch'] : words;
}
