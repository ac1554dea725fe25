/**
 * What iproute2 lets a person type that commander does not know: long flags behind one dash (-json) and
 * objects cut short (`vxlane f show`). Everything else passes through as it is.
 */
import { firstMatch } from './words.ts';

/** The first one that begins with what was typed is meant. */
export const OBJECTS = ['link', 'fdb', 'status', 'daemon', 'run', 'demo', 'wrap', 'help'] as const;

const LONG_FLAGS = ['json', 'pretty', 'details', 'statistics', 'stats'];
const WITH_VALUE = ['--socket', '--config', '--seconds'];

export function normalise(argv: readonly string[]): string[] {
  // What stands behind "--" is somebody else's command line.
  const end = argv.indexOf('--');
  if (end >= 0) return [...normalise(argv.slice(0, end)), ...argv.slice(end)];
  const words = argv.map((word) => {
    const long = /^-[a-z]{2,}$/.test(word) ? firstMatch(word.slice(1), LONG_FLAGS) : undefined;
    return long === undefined ? word : `-${long[0]}`;
  });
  const object = words.findIndex(
    (word, at) => !word.startsWith('-') && !WITH_VALUE.includes(words[at - 1] ?? ''),
  );
  if (object >= 0) words[object] = firstMatch(words[object]!, OBJECTS) ?? words[object]!;
  return words;
}
