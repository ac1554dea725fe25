/**
 * `vxlane -batch FILE`: commands, one a line, in order, until one fails or, with -force, to the end. Lines are read
 * as iproute2 reads them: `#` begins a comment, a backslash at the end continues the line, quotes hold words together.
 *
 * Exit code 1 when a command failed, whatever its own was. iproute2 leaves the whole batch at an argument that it
 * can't read, even with -force; here such a line is one that failed, like any other.
 */
import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { VtepError } from '../errors.ts';
import { usage } from './words.ts';

const FAILED = 1;

export interface BatchLine {
  /** Of the last line, when it was continued; the first one of a file is 1. */
  number: number;
  words: string[];
}

export interface Batch {
  file: string;
  force: boolean;
  /** Carries a command out, says itself what is wrong, and returns the exit code. */
  run(words: string[]): Promise<number>;
  err(text: string): void;
  /** Instead of standard input, for "-". */
  input?: NodeJS.ReadableStream;
}

export async function runBatch({ file, force, run, err, input }: Batch): Promise<number> {
  if (file !== '-' && !existsSync(file))
    throw new VtepError(
      'NOT_FOUND',
      `Cannot open file "${file}" for reading: No such file or directory`,
      FAILED,
    );
  let code = 0;
  for await (const { number, words } of linesOf(
    file === '-' ? (input ?? process.stdin) : createReadStream(file),
  )) {
    if ((await run(words)) === 0) continue;
    err(`Command failed ${file}:${number}\n`);
    code = FAILED;
    if (!force) break;
  }
  return code;
}

/** Lines that hold a word. @throws VtepError for a quote that is not closed, and for half a line at the end */
export async function* linesOf(input: NodeJS.ReadableStream): AsyncGenerator<BatchLine> {
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  let number = 0;
  let begun: string | undefined;
  for await (const line of lines) {
    number++;
    const text: string = (begun ?? '') + line.replace(/#.*/, '');
    begun = text.endsWith('\\') ? text.slice(0, -1) : undefined;
    if (begun !== undefined) continue;
    const words = wordsOf(text);
    if (words.length > 0) yield { number, words };
  }
  if (begun !== undefined) throw usage('Missing continuation line: the last line ends in a backslash');
}

/** A word that begins with a quote goes on to the next one of its kind. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(["'].*)|\S+/g)].map(([word, double, single, open]) => {
    if (open !== undefined) throw usage(`Unterminated quoted string: ${open}`);
    return double ?? single ?? word;
  });
}
