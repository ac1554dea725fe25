/**
 * `ip -batch FILE` and `bridge -batch FILE`, where some lines are ours: in order, line by line. Lines in a row that
 * are not ours go to the real tool together, behind empty ones so that it counts the lines as they are counted here.
 */
import { readFileSync } from 'node:fs';
import { wordsOf } from './batch.ts';
import type { Wrapped } from './wrap-context.ts';
import { failureOf } from './wrap-errors.ts';

const STDIN = 0;
const FAILED = 1;

/** A command of the file, with the lines it stands on: the last one counted from 1, as the tools count. */
interface Command {
  lines: string[];
  number: number;
}

export async function runBatch(
  context: Wrapped,
  file: string,
  run: (words: readonly string[]) => Promise<number | undefined>,
): Promise<number> {
  const { outside, flags } = context;
  let text: string;
  try {
    text = readFileSync(file === '-' ? STDIN : file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'No such file or directory' : message;
    outside.err(`Cannot open file "${file}" for reading: ${reason}\n`);
    return FAILED;
  }
  let worst = 0;
  let theirs: Command[] = [];
  const failed = (code: number) => {
    if (code !== 0) worst = code;
    return code !== 0 && !flags.force;
  };
  for (const command of commandsOf(text)) {
    let words: string[];
    try {
      words = wordsOf(command.lines.join(' ').replace(/#.*/, ''));
    } catch (error) {
      outside.err(`${failureOf(context.tool, '', error).message}\n`);
      return FAILED;
    }
    if (words.length > 0 && concerns(context, words)) {
      if (failed(hand(context, file, theirs))) return worst;
      theirs = [];
      const code = await run(words);
      if (code !== undefined) {
        if (code !== 0) outside.err(`Command failed ${file}:${command.number}\n`);
        if (failed(code === 0 ? 0 : FAILED)) return worst;
        continue;
      }
    }
    theirs.push(command);
  }
  failed(hand(context, file, theirs));
  return worst;
}

/** A backslash at the end of a line continues it. */
function* commandsOf(text: string): Generator<Command> {
  let lines: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const isContinued = line.replace(/#.*/, '').endsWith('\\');
    lines.push(isContinued ? line.slice(0, line.lastIndexOf('\\')) : line);
    if (isContinued) continue;
    yield { lines, number: index + 1 };
    lines = [];
  }
}

/** Gives commands to the real tool, each on the line on which it ends. */
function hand(
  { real, outside, options, flags }: Wrapped,
  file: string,
  commands: readonly Command[],
): number {
  if (commands.length === 0) return 0;
  const lines: string[] = [];
  for (const command of commands) lines[command.number - 1] = command.lines.join(' ');
  const input = `${Array.from(lines, (line) => line ?? '').join('\n')}\n`;
  const force = flags.force && !options.includes('-force') ? ['-force'] : [];
  const { code, out, err } = real.capture([...options, ...force, '-batch', '-'], input);
  outside.out(out);
  outside.err(err.replaceAll('Command failed -:', `Command failed ${file}:`));
  return code;
}

/** As the front decides for a single command. */
function concerns({ tool, names }: Wrapped, words: readonly string[]): boolean {
  const devices = names();
  if (words.some((word) => word === 'vxlan' || devices.includes(word))) return true;
  return devices.length > 0 && (tool === 'bridge' || /^(l|a)/.test(words[0] ?? ''));
}
