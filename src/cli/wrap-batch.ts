/**
 * `ip -batch FILE` and `bridge -batch FILE`, where some lines are ours: in order, line by line. Lines in a row that
 * are not ours go to the real tool together, behind empty ones so that it counts the lines as they are counted here.
 */
import { readFileSync } from 'node:fs';
import type { Wrapped } from './wrap-context.ts';

const STDIN = 0;

export async function runBatch(
  context: Wrapped,
  file: string,
  run: (words: readonly string[]) => Promise<number | undefined>,
): Promise<number> {
  const { real, outside, flags, options } = context;
  let text: string;
  try {
    text = readFileSync(file === '-' ? STDIN : file, 'utf8');
  } catch (error) {
    const known =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'No such file or directory' : undefined;
    outside.err(`Cannot open file "${file}" for reading: ${known ?? (error as Error).message}\n`);
    return 1;
  }
  const lines = text.split('\n');
  let worst = 0;
  let pending: { first: number; lines: string[] } | undefined;

  const hand = (): number => {
    if (pending === undefined) return 0;
    const input = `${'\n'.repeat(pending.first)}${pending.lines.join('\n')}\n`;
    pending = undefined;
    const force = flags.force ? ['-force'] : [];
    const { code, out, err } = real.capture([...options, ...force, '-batch', '-'], input);
    outside.out(out);
    outside.err(err.replaceAll('Command failed -:', `Command failed ${file}:`));
    return code;
  };

  for (const [index, line] of lines.entries()) {
    const words = wordsOf(line);
    if (words.length > 0 && concerns(context, words)) {
      const before = hand();
      if (before !== 0) worst = before;
      if (worst !== 0 && !flags.force) return worst;
      const code = await run(words);
      if (code !== undefined) {
        if (code === 0) continue;
        outside.err(`Command failed ${file}:${index + 1}\n`);
        worst = 1;
        if (!flags.force) return worst;
        continue;
      }
    }
    pending ??= { first: index, lines: [] };
    pending.lines.push(line);
  }
  return hand() || worst;
}

/** As the front decides for a single command. */
function concerns({ tool, names }: Wrapped, words: readonly string[]): boolean {
  const devices = names();
  if (words.some((word) => word === 'vxlan' || devices.includes(word))) return true;
  return devices.length > 0 && (tool === 'bridge' || /^(l|a)/.test(words[0] ?? ''));
}

/** Words of a line; quotes hold words together and `#` begins a comment, as the tools read them. */
function wordsOf(line: string): string[] {
  const found = line.matchAll(/"([^"]*)"|'([^']*)'|#.*|[^\s"'#]\S*/g);
  return [...found]
    .filter(([whole]) => !whole.startsWith('#'))
    .map(([whole, double, single]) => double ?? single ?? whole);
}
