/**
 * A refusal in the manner of the tool that the wrapper stands for: its exit code, and the kernel's words where it puts
 * them. A script that looks for "RTNETLINK answers: File exists" finds it.
 */
import { NoDaemonError, Refusal } from '../daemon/client.ts';
import { VtepError } from '../errors.ts';
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

const IP_REFUSED = 2;
const IP_USAGE = 1;
/** exit(-1), which is how both tools end on what they don't understand at all. */
const INVALID_ARGUMENT = 255;
const BRIDGE_REFUSED = 255;
const BRIDGE_NOT_FOUND = 254;

export interface Failure {
  code: number;
  message: string;
}

/** `asked`: a look-up, whose miss `bridge` tells by an exit code of its own. */
export function failureOf(tool: Tool, error: unknown, asked = false): Failure {
  if (error instanceof NoDaemonError)
    return { code: tool === 'ip' ? IP_REFUSED : BRIDGE_REFUSED, message: `Error: vxlane: ${error.message}` };
  if (!(error instanceof VtepError)) {
    const reason = error instanceof Error ? error.message : String(error);
    return { code: INVALID_ARGUMENT, message: `vxlane: internal error: ${reason}` };
  }
  return { code: exitCode(tool, error, asked), message: sentence(error) };
}

function exitCode(tool: Tool, error: VtepError, asked: boolean): number {
  if (error.exit !== undefined) return error.exit;
  if (tool === 'bridge') return asked && error.code === 'NOT_FOUND' ? BRIDGE_NOT_FOUND : BRIDGE_REFUSED;
  return error.code === 'USAGE' && !(error instanceof Refusal) ? IP_USAGE : IP_REFUSED;
}

function sentence({ code, message }: VtepError): string {
  const text = message.trim().replace(/\s*\n\s*/g, ' ');
  if (code === 'USAGE') return /^(argument|either) "/.test(text) ? `Error: ${text}` : text;
  const errno = ERRNO.find((words) => text.includes(words));
  return errno === undefined ? `Error: ${text}` : `RTNETLINK answers: ${errno}`;
}
