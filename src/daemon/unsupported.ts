/**
 * Words of the kernel's driver that this VTEP knows and does not do: each is refused by name, with what
 * to do instead. Words that only restate the default (noproxy) are let through, so that a script which
 * spells everything out still runs.
 */
import { VtepError } from '../errors.ts';

const REMEDIES: Readonly<Record<string, string>> = {
  mcroute:
    'the host\'s multicast routing can\'t be reached from a socket: leave it out, groups go out through "dev"',
};

const DEFAULTS: ReadonlySet<string> = new Set(['nomcroute']);

export function isUnsupported(word: string): boolean {
  return Object.hasOwn(REMEDIES, word);
}

export function restatesDefault(word: string): boolean {
  return DEFAULTS.has(word);
}

export function notSupported(word: string, remedy: string = REMEDIES[word] ?? 'leave it out'): VtepError {
  return new VtepError('UNSUPPORTED', `"${word}" is not supported: ${remedy}`);
}
