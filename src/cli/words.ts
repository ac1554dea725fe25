/**
 * iproute2's grammar: keywords, some with values, in any order, each at most once, abbreviated to any
 * prefix. A table lists the keywords; where a prefix fits several, the first in the table is meant, which
 * is why the tables keep iproute2's order.
 */
import { notSupported } from '../daemon/unsupported.ts';
import { deviceName, type Reader } from '../daemon/values.ts';
import { VtepError } from '../errors.ts';

export interface Keyword {
  /** All names, separated by "|". */
  names: string;
  /** What it fills in; two keywords of one key exclude each other. */
  key?: string;
  /** Takes no abbreviation. */
  exact?: boolean;
  /** Is meant only where one of these words follows: elsewhere it is short for another keyword. */
  before?: readonly string[];
  /** One reader for each value that follows; two values become a pair. */
  read?: readonly Reader<unknown>[];
  /** A keyword without values sets its key to this. */
  is?: unknown;
  /** May be said again, in other words too: the last one counts. */
  again?: true;
  /** Known to the kernel's driver and refused here; a text is the remedy. */
  refused?: true | string;
  /** Says nothing new: let through, with its values. */
  ignored?: true;
  /** Ends this table: what follows belongs to another one. */
  last?: true;
}

/** A keyword that takes no abbreviation, with one value. @param key what it fills in */
export function exact(names: string, read: Reader<unknown>, key = names): Keyword {
  return { names, exact: true, key, read: [read] };
}

export const DEV = exact('dev', deviceName);

export interface Grammar {
  keywords: readonly Keyword[];
  /** What a word that is no keyword stands for (a device name, a MAC). */
  positional?: Required<Pick<Keyword, 'key' | 'read'>> & { called: string };
  /** The complaint about a word that is neither. */
  unknown?: (word: string) => string;
}

export interface Parsed {
  values: Record<string, unknown>;
  /** What stands behind a keyword that is `last`. */
  rest: string[];
}

/** What iproute2 leaves at once for, whatever the object: an invalid argument, one too many, one too few. */
export const INVALID_EXIT = 255;
/** What `get` of `bridge` leaves with when there is no such entry. */
export const NOTHING_FOUND_EXIT = 254;

/** A refusal of the object's own parser; the object says what its exit code is. */
export function usage(message: string): VtepError {
  return new VtepError('USAGE', message);
}

export function invalid(message: string): VtepError {
  return new VtepError('USAGE', message, INVALID_EXIT);
}

/** iproute2 leaves with the code of an invalid argument here, also where other refusals have another one. */
export function unknownVerb(object: string, word: string | undefined): VtepError {
  return invalid(`Command "${word}" is unknown, try "vxlane ${object} help"`);
}

/** The first candidate that begins with `word`, as iproute2 chooses objects and verbs. */
export function firstMatch(word: string, candidates: readonly string[]): string | undefined {
  return word === '' ? undefined : candidates.find((candidate) => candidate.startsWith(word));
}

function find(
  word: string,
  next: string | undefined,
  keywords: readonly Keyword[],
): { keyword: Keyword; name: string } | undefined {
  for (const keyword of keywords) {
    if (keyword.before && !keyword.before.includes(next ?? '')) continue;
    const names = keyword.names.split('|');
    const name = keyword.exact ? names.find((candidate) => candidate === word) : firstMatch(word, names);
    if (name !== undefined) return { keyword, name };
  }
  return undefined;
}

let heard: Grammar[] | undefined;

/** The grammars that `work` parses words by, whatever becomes of the words: for completion, and for the manual's test. */
export async function grammarsOf(work: () => unknown): Promise<Grammar[]> {
  const found: Grammar[] = [];
  heard = found;
  try {
    await work();
  } catch {
    // Nobody listens to what is said.
  } finally {
    heard = undefined;
  }
  return found;
}

export function parseWords(words: readonly string[], grammar: Grammar): Parsed {
  heard?.push(grammar);
  const values: Record<string, unknown> = {};
  let at = 0;

  /** Told before the value is looked at, as iproute2 does. */
  function once(key: string, name: string, garbage = name): void {
    if (Object.hasOwn(values, key))
      throw invalid(`either "${name}" is duplicate, or "${garbage}" is garbage: give it once`);
  }

  function take(readers: readonly Reader<unknown>[], name: string): unknown {
    const read = readers.map((reader) => {
      const word = words[at++];
      if (word === undefined) throw invalid(`Command line is not complete: "${name}" needs a value`);
      return readValue(word, reader);
    });
    return read.length === 1 ? read[0] : read;
  }

  while (at < words.length) {
    const word = words[at]!;
    const found = find(word, words[at + 1], grammar.keywords);
    if (found === undefined) {
      const { positional } = grammar;
      if (positional === undefined || Object.hasOwn(values, positional.key))
        throw grammar.unknown
          ? usage(grammar.unknown(word))
          : invalid(`either "${positional?.called}" is duplicate, or "${word}" is garbage`);
      values[positional.key] = take(positional.read, positional.called);
      continue;
    }
    at++;
    const { keyword, name } = found;
    if (keyword.refused !== undefined)
      throw notSupported(name, keyword.refused === true ? undefined : keyword.refused);
    const { key = name, read } = keyword;
    if (keyword.ignored) at += read?.length ?? 0;
    else {
      if (!keyword.again) once(key, read ? key : name, read ? words[at] : word);
      values[key] = read ? take(read, name) : (keyword.is ?? true);
    }
    if (keyword.last) return { values, rest: words.slice(at) };
  }
  return { values, rest: [] };
}

export function readValue<T>(word: string, reader: Reader<T>): T {
  try {
    return reader(word);
  } catch (error) {
    if (!(error instanceof VtepError)) throw error;
    throw new VtepError(
      error.code,
      `argument "${word}" is wrong: ${error.message}`,
      error.exit ?? INVALID_EXIT,
    );
  }
}

/** `show [dev NAME]` of an object; undefined: all devices. */
export function parseShown(object: string, words: readonly string[]): string | undefined {
  return parseWords(words, {
    keywords: [DEV],
    unknown: (word) => `unknown word "${word}": "vxlane ${object} show [dev NAME]" is what there is`,
  }).values.dev as string | undefined;
}
