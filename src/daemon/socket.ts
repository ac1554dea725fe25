/**
 * Takes a Unix socket for a server: nobody but its owner can reach it at any moment, the leftover of a
 * dead daemon gives way, a living daemon does not, and nothing stays behind at the end.
 */
import { existsSync, lstatSync, mkdirSync, rmSync, type Stats } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { VtepError } from '../errors.ts';
import { createClient } from './client.ts';

/** sun_path is 108 bytes and ends in a zero. */
const SOCKET_PATH_BYTES_MAX = 107;
const PROBE_TIMEOUT_MS = 1000;

/** Listens at `path`; the returned function stops listening and removes the socket. */
export async function listenAt(server: Server, path: string): Promise<() => Promise<void>> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX)
    throw new VtepError('USAGE', `socket ${path}: the path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  try {
    makeDirectory(dirname(path));
    await clear(path);
  } catch (error) {
    throw error instanceof VtepError ? error : refused(error as NodeJS.ErrnoException, path);
  }
  await listen(server, path);
  const { ino } = lstatSync(path);
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      // Closing unlinks the name as well; this covers a name that could not be unlinked just then. A
      // different inode is somebody else's socket by now.
      if (look(path)?.ino === ino) rmSync(path, { force: true });
    });
}

/** Not mkdir's `recursive`: under /proc, where nothing can be made, that one never comes back. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

function look(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function refused(error: NodeJS.ErrnoException, path: string): VtepError {
  if (error.code === 'EADDRINUSE')
    return new VtepError('IN_USE', `socket ${path} is already in use by a running daemon`);
  if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS')
    return new VtepError('PERMISSION', `socket ${path}: no right to create it, name another with --socket`);
  return new VtepError(
    'SYSTEM',
    `socket ${path}: ${error.code ?? error.message}, name another with --socket`,
  );
}

async function clear(path: string): Promise<void> {
  const found = look(path);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new VtepError('EXISTS', `${path} exists and is no socket: remove it or name another with --socket`);
  if (await answers(path)) {
    const pid = await createClient(path, PROBE_TIMEOUT_MS)
      .status()
      .then((status) => ` (pid ${status.pid})`)
      .catch(() => '');
    throw new VtepError('IN_USE', `socket ${path} is already in use by a running daemon${pid}`);
  }
  // Another daemon may have cleared and taken the name while we asked: then it is a new socket.
  if (look(path)?.ino === found.ino) rmSync(path, { force: true });
}

/** Only a refused connection proves that nobody is there; a full backlog or a missing right does not. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(refused(error, path));
    server.once('error', fail);
    // bind() happens inside listen(), so the socket is born with mode 0600: no chmod comes too late.
    const umask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', fail);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}
