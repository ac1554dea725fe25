/** `vxlane wrap`: a command that finds our `ip` and `bridge` before the system's. See wrap/vxlane-front. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VtepError } from '../errors.ts';
import type { Outside } from './command.ts';

const MARK = 'vxlane-front';
const NOT_FOUND = 127;

/** The folder of the wrappers, from the sources as from the compiled files. */
function wrapFolder(): string {
  for (const up of ['../../wrap', '../../../wrap']) {
    const folder = fileURLToPath(new URL(up, import.meta.url));
    if (existsSync(join(folder, MARK))) return folder;
  }
  throw new VtepError('SYSTEM', 'the folder of the wrappers is missing: install vxlane again');
}

/** A PATH in which no wrapper is found, of this version or another. */
export function withoutWrappers(path: string | undefined): string {
  return (path ?? '')
    .split(delimiter)
    .filter((folder) => folder === '' || !existsSync(join(folder, MARK)))
    .join(delimiter);
}

/** Resolves to the command's exit code. */
export async function wrap(
  words: readonly string[],
  pathOnly: boolean,
  socket: string | undefined,
  outside: Outside,
): Promise<number> {
  const folder = wrapFolder();
  if (pathOnly) {
    outside.out(`${folder}\n`);
    return 0;
  }
  const [command, ...parameters] = words;
  if (command === undefined)
    throw new VtepError('USAGE', 'what is to be run? As in "vxlane wrap -- ./script.sh"');
  const env = {
    ...outside.env,
    PATH: [folder, withoutWrappers(outside.env.PATH)].join(delimiter),
    VXLANE_NODE: process.execPath,
    ...(socket === undefined ? {} : { VXLANE_SOCKET: socket }),
  };
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, { stdio: 'inherit', env });
    // The terminal sends its signals to the command as well; it decides.
    const ignore = () => {};
    const pass = () => child.kill('SIGTERM');
    process.on('SIGINT', ignore);
    process.on('SIGTERM', pass);
    const done = () => {
      process.off('SIGINT', ignore);
      process.off('SIGTERM', pass);
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      done();
      if (error.code !== 'ENOENT') reject(new VtepError('SYSTEM', `${command}: ${error.message}`));
      else {
        outside.err(`vxlane: ${command}: not found\n`);
        resolve(NOT_FOUND);
      }
    });
    child.on('exit', (code, signal) => {
      done();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
