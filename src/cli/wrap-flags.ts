/**
 * The global options of `ip` and `bridge`, as far as the wrappers must know them: which take a value, which change
 * the form of what is printed, and where the words begin.
 */
export type Tool = 'ip' | 'bridge';

export interface ToolFlags {
  json: boolean;
  pretty: boolean;
  details: number;
  statistics: number;
  oneline: boolean;
  brief: boolean;
  /** Network namespace by name (-n). */
  namespace?: string;
  /** File of commands, "-" for stdin. */
  batch?: string;
  /** With a batch: go on after an error. */
  force: boolean;
}

export interface ToolCall {
  flags: ToolFlags;
  /** Options to give to the real tool for a part of this command: as they came, without the batch. */
  options: string[];
  words: string[];
}

/** Option names in the order in which the tools try a prefix, and whether a value follows. */
const OPTIONS: readonly (readonly [name: string, value?: true])[] = [
  ['loops', true],
  ['family', true],
  ['4'],
  ['6'],
  ['0'],
  ['M'],
  ['B'],
  ['stats'],
  ['statistics'],
  ['details'],
  ['resolve'],
  ['oneline'],
  ['timestamp'],
  ['force'],
  ['batch', true],
  ['brief'],
  ['json'],
  ['pretty'],
  ['rcvbuf', true],
  ['color'],
  ['netns', true],
];

export function splitCall(argv: readonly string[]): ToolCall {
  const flags: ToolFlags = {
    json: false,
    pretty: false,
    details: 0,
    statistics: 0,
    oneline: false,
    brief: false,
    force: false,
  };
  const options: string[] = [];
  let at = 0;
  for (; at < argv.length && argv[at]!.startsWith('-') && argv[at] !== '-'; at++) {
    const typed = argv[at]!.replace(/^--?/, '');
    const found = typed === '' ? undefined : OPTIONS.find(([name]) => name.startsWith(typed));
    const name = found?.[0];
    const value = found?.[1] ? (argv[++at] ?? '') : undefined;
    if (name === 'batch') {
      flags.batch = value ?? '';
      continue;
    }
    options.push(argv[at - (value === undefined ? 0 : 1)]!, ...(value === undefined ? [] : [value]));
    if (name === 'netns') flags.namespace = value ?? '';
    else if (name === 'stats' || name === 'statistics') flags.statistics++;
    else if (name === 'details') flags.details++;
    else if (name === 'json') flags.json = true;
    else if (name === 'pretty') flags.pretty = true;
    else if (name === 'oneline') flags.oneline = true;
    else if (name === 'brief') flags.brief = true;
    else if (name === 'force') flags.force = true;
  }
  return { flags, options, words: argv.slice(at) };
}
