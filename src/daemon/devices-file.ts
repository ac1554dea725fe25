/**
 * The list of a daemon's devices in a file beside its socket, one name a line, so that a shell script or a shell's
 * completion can read it without asking the daemon: the wrappers of `ip` and `bridge` decide by it whether a command
 * is theirs. The first line, a comment, is the network namespace that the names belong to.
 *
 * It is replaced as a whole and goes with the daemon.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { networkNamespace } from './socket-path.ts';

const NAMESPACE_MARK = '# netns ';

export interface DevicesList {
  /** As in socket-path.ts; absent: the file does not say. */
  namespace?: string;
  names: string[];
}

export function devicesPath(socket: string): string {
  return `${socket.replace(/\.sock$/, '')}.devices`;
}

/** An empty list where there is no such file. */
export function readDevices(socket: string): DevicesList {
  let text = '';
  try {
    text = readFileSync(devicesPath(socket), 'utf8');
  } catch {
    return { names: [] };
  }
  const lines = text.split('\n').filter((line) => line !== '');
  const mark = lines.find((line) => line.startsWith(NAMESPACE_MARK));
  const names = lines.filter((line) => !line.startsWith('#'));
  return mark === undefined ? { names } : { namespace: mark.slice(NAMESPACE_MARK.length), names };
}

/** Keeps the file of one daemon. */
export class DevicesFile {
  readonly #path: string;
  readonly #mark: string;
  #text: string | undefined;

  constructor(socket: string) {
    this.#path = devicesPath(socket);
    this.#mark = `${NAMESPACE_MARK}${networkNamespace() ?? 'unknown'}\n`;
  }

  write(names: readonly string[]): void {
    const text = this.#mark + names.map((name) => `${name}\n`).join('');
    if (text === this.#text) return;
    const fresh = `${this.#path}.${process.pid}`;
    writeFileSync(fresh, text, { mode: 0o644 });
    renameSync(fresh, this.#path);
    this.#text = text;
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}
