/**
 * Files of hooks. A module in WebAssembly is bytes, whoever reads them: it is confined by what is done to it before it
 * runs. A module in JavaScript runs with all rights of the daemon, so it must be as much the daemon's own as its
 * program is: whoever could write to it, or put another one in its place, could run what they like.
 */
import { lstatSync, readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { basename, dirname, extname } from 'node:path';
import { VtepError } from '../errors.ts';

/** In base64 and with `rules` it fits into a request. */
export const HOOK_BYTES_MAX = 512 << 10;
export const RULES_BYTES_MAX = 64 << 10;

const GROUP_AND_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

export function tooLarge(limit: number): string {
  return `File too large: ${limit >>> 10} KiB is the most`;
}

export interface HookProgramFile {
  file: string;
  /** Absent: JavaScript. */
  wasm?: Uint8Array;
}

/** A program by its path, for whoever may read it. @throws VtepError USAGE, NOT_FOUND, PERMISSION */
export function readHook(path: string): HookProgramFile {
  switch (extname(path)) {
    case '.wasm':
      return { file: basename(path), wasm: readLimited(path, HOOK_BYTES_MAX) };
    case '.js':
    case '.mjs':
      return { file: realPath(path) };
    default:
      throw new VtepError('USAGE', `hook ${path}: a file that ends in .wasm, .js or .mjs is expected`);
  }
}

export function readRules(path: string): Uint8Array {
  return readLimited(path, RULES_BYTES_MAX);
}

function readLimited(path: string, limit: number): Uint8Array {
  const found = look(path);
  if (!found.isFile()) throw new VtepError('USAGE', `hook ${path}: Not a regular file: name a file`);
  if (found.size > limit) throw new VtepError('USAGE', `hook ${path}: ${tooLarge(limit)}`);
  try {
    const bytes = readFileSync(path);
    if (bytes.length > limit) throw new VtepError('USAGE', `hook ${path}: ${tooLarge(limit)}`);
    return new Uint8Array(bytes);
  } catch (error) {
    throw error instanceof VtepError ? error : refused(path, error as NodeJS.ErrnoException);
  }
}

function look(path: string, stat: (path: string) => Stats = statSync): Stats {
  try {
    return stat(path);
  } catch (error) {
    throw refused(path, error as NodeJS.ErrnoException);
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw refused(path, error as NodeJS.ErrnoException);
  }
}

function refused(path: string, { code, message }: NodeJS.ErrnoException): VtepError {
  if (code === 'ENOENT')
    return new VtepError('NOT_FOUND', `hook ${path}: No such file or directory: give its path`);
  if (code === 'EACCES')
    return new VtepError('PERMISSION', `hook ${path}: Permission denied: the file must be readable`);
  return new VtepError('SYSTEM', `hook ${path}: ${code ?? message}`);
}

/**
 * Nobody but this process's user and root may have a say in what the module is: not through the file, nor through any
 * folder above it. A folder where everybody may make files, but only owners may replace them (/tmp), will do.
 * @returns the path to import: the one that was looked at, for a link to it may lead elsewhere by then
 * @throws VtepError PERMISSION, NOT_FOUND
 */
export function checkModule(path: string): string {
  const real = realPath(path);
  // No link is followed: what has become one since then is its owner's.
  if (!look(real, lstatSync).isFile())
    throw new VtepError('USAGE', `hook ${path}: Not a regular file: name a module`);
  const user = process.geteuid?.();
  for (let at = real; ; at = dirname(at)) {
    const { uid, mode } = look(at, lstatSync);
    const sticky = at !== real && (mode & STICKY) !== 0;
    if ((uid !== user && uid !== 0) || ((mode & GROUP_AND_OTHERS_WRITE) !== 0 && !sticky))
      throw new VtepError(
        'PERMISSION',
        `hook ${path}: Operation not permitted: others than the daemon's user may write to ${at}: take that right away`,
      );
    if (at === dirname(at)) return real;
  }
}
