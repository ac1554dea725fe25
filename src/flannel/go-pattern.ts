/** Patterns as Go's `regexp` reads them (RE2), in which flanneld's users write --iface-regex. */
import { VtepError } from '../errors.ts';

const CLASSES: Record<string, string> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  digit: '0-9',
  lower: 'a-z',
  punct: '!-\\/:-@\\[-`{-~',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};
/** Letters and digits that may follow a backslash in both languages with the same meaning. */
const ESCAPES = 'dDwWsSbBtnrfvx';

/**
 * The same pattern for this machine. What reads differently here is translated or refused: never taken for something
 * else.
 * @throws VtepError USAGE
 */
export function goPattern(flag: string, text: string): RegExp {
  const refuse = (why: string) => new VtepError('USAGE', `${flag}: ${why}`);
  const options = /^\(\?([ims]+)\)/.exec(text);
  const body = text.slice(options?.[0].length ?? 0);
  if (/\(\?[imsU-]+[:)]/.test(body)) throw refuse('flags may stand at the beginning only: write (?i)PATTERN');
  if (/\(\?<?[=!]/.test(body)) throw refuse('Go has no look-around: leave it out');
  const translated = body
    .replace(/\[:(\w+):\]/g, (_, name: string) => {
      if (CLASSES[name] === undefined) throw refuse(`class [:${name}:] is not known`);
      return CLASSES[name];
    })
    .replaceAll('(?P<', '(?<')
    .replace(/\\(.)/gs, (whole, letter: string) => {
      if (letter === 'A') return '^';
      if (letter === 'z') return '$';
      if (/[0-9A-Za-z]/.test(letter) && !ESCAPES.includes(letter))
        throw refuse(`\\${letter} is not supported`);
      return whole;
    });
  try {
    return new RegExp(translated, options?.[1] ?? '');
  } catch (error) {
    throw refuse((error as Error).message);
  }
}
