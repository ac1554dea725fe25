/** Stable codes of everything a VTEP refuses, and what they mean. */
export const ERROR_CODES = {
  USAGE: 'a word or value that cannot be right',
  EXISTS: 'a device, VNI or FDB entry is already there',
  NOT_FOUND: 'no such device or FDB entry',
  UNSUPPORTED: 'known to the kernel’s driver, not to this one, or not to this machine',
  IN_USE: 'a port or name that somebody else holds',
  NO_SPACE: 'a table is full',
  PERMISSION: 'a right is missing',
  SYSTEM: 'a system call failed; the message names it',
} as const;

export type VtepErrorCode = keyof typeof ERROR_CODES;

/**
 * A bad set-up: one class, a stable code, a message of one line that names the operation, the key and
 * the remedy. Bad packets never become errors; they are counted.
 */
export class VtepError extends Error {
  readonly code: VtepErrorCode;
  /** The command line's exit code, where it isn't the one that the object gives to errors of this kind. */
  readonly exit: number | undefined;
  constructor(code: VtepErrorCode, message: string, exit?: number) {
    super(message);
    this.name = 'VtepError';
    this.code = code;
    this.exit = exit;
  }
}
