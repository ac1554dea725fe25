/**
 * A refusal in the manner of the tool that the wrapper stands for: its exit code, and the kernel's words where it puts
 * them. A script that looks for "RTNETLINK answers: File exists" finds it.
 */
import { NoDaemonError, Refusal } from '../daemon/client.ts';
import { VtepError } from '../errors.ts';
import { BRIDGE, IP, OBJECTS } from './objects.ts';
import type { Tool } from './wrap-flags.ts';

/** Texts of errno that the kernel's driver answers without a sentence of its own. */
const ERRNO = [
  'File exists',
  'No such file or directory',
  'No such device',
  'Operation not supported',
  'Operation not permitted',
  'No space left on device',
  'Invalid argument',
  'Address already in use',
  'Address family not supported by protocol',
  'Cannot assign requested address',
  'Numerical result out of range',
  'Network is unreachable',
  'Device or resource busy',
];

/** As a shell sees exit(-1), which is how the tools end on what should not happen. */
const INTERNAL_EXIT = 255;

export interface Failure {
  code: number;
  message: string;
}

/** @param object of the tool, as typed out: "link", "fdb" */
export function failureOf(tool: Tool, object: string, error: unknown): Failure {
  const { exits = tool === 'ip' ? IP : BRIDGE } = OBJECTS.find(({ name }) => name === object) ?? {};
  if (error instanceof NoDaemonError)
    return { code: exits.refused, message: `Error: vxlane: ${error.message}` };
  if (!(error instanceof VtepError)) {
    const reason = error instanceof Error ? error.message : String(error);
    return { code: INTERNAL_EXIT, message: `vxlane: internal error: ${reason}` };
  }
  const own = error.code === 'USAGE' && !(error instanceof Refusal);
  return { code: error.exit ?? (own ? exits.usage : exits.refused), message: sentence(error) };
}

function sentence({ code, message }: VtepError): string {
  const text = message.trim().replace(/\s*\n\s*/g, ' ');
  if (code === 'USAGE') return /^(argument|either) "/.test(text) ? `Error: ${text}` : text;
  const errno = ERRNO.find((words) => text.includes(words));
  return errno === undefined ? `Error: ${text}` : `RTNETLINK answers: ${errno}`;
}
