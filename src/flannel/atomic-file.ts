/** Files that others read while they are written: whole before or whole after, never in between. */
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

const DIRECTORY_MODE = 0o755;

/** Makes the directory too. Modes hold whatever the umask is. @throws Error of node:fs */
export function writeWhole(path: string, text: string, mode: number): void {
  makeDirectory(dirname(path));
  const beside = `${path}.${process.pid}.new`;
  rmSync(beside, { force: true });
  try {
    const fd = openSync(beside, 'wx', mode);
    try {
      fchmodSync(fd, mode);
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

/** With those above it that are missing. */
function makeDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  // The umask may have taken rights away that whoever reads the file needs.
  for (let made = path; made.length >= first.length; made = dirname(made)) chmodSync(made, DIRECTORY_MODE);
}
