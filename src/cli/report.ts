/** What went wrong, as one line on stderr and an exit code. */
import { NoDaemonError, Refusal } from '../daemon/client.ts';
import { VtepError } from '../errors.ts';
import type { Exits, Outside } from './command.ts';

const NO_DAEMON = 3;
/** Of what is no object of iproute2, and of words that no object gets to see. */
export const OWN: Exits = { usage: 1, refused: 2 };

/** Says what is wrong; returns the exit code. */
export function report(error: unknown, exits: Exits, outside: Outside): number {
  const known = error instanceof VtepError || error instanceof NoDaemonError;
  const message = error instanceof Error ? error.message : String(error);
  outside.err(`vxlane: ${known ? '' : 'internal error: '}${oneLine(message)}\n`);
  if (error instanceof NoDaemonError) return NO_DAEMON;
  if (!(error instanceof VtepError)) return exits.refused;
  const own = error.code === 'USAGE' && !(error instanceof Refusal);
  return error.exit ?? (own ? exits.usage : exits.refused);
}

/** One line, and no control character in it that a terminal would obey. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\p{Cc}/gu, '?');
}

/** Commander says what is wrong; this adds what to do. */
export function remedy(text: string): string {
  const object = /^unknown command '(.*)'/.exec(text)?.[1];
  if (object !== undefined) return `object "${object}" is unknown, try "vxlane --help"`;
  return `${text.trim().replace(/\.$/, '')}, try --help`;
}
