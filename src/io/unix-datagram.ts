/** Datagrams to a socket of this machine, which Node's own `dgram` has no words for. */
import { VtepError } from '../errors.ts';
import { systemError } from './errno.ts';
import { MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM } from './socket-numbers.ts';
import { syscalls } from './syscalls.ts';

const AF_UNIX = 1;
/** sun_path; a path needs its terminating zero, a name in the abstract namespace its leading one. */
const PATH_BYTES = 108;
const FAMILY_BYTES = 2;

/** Sends to one address, never waits, and needs nobody to be there yet. */
export class UnixDatagramSender {
  readonly #name: Uint8Array;
  #fd: number;

  /**
   * @param address a path, or `@name` in the abstract namespace
   * @throws VtepError USAGE for what is no such address; SYSTEM when no socket can be had; UNSUPPORTED
   */
  constructor(address: string) {
    this.#name = socketName(address);
    this.#fd = syscalls().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw systemError('unix socket');
  }

  /** @returns false when nobody listens there, or not fast enough */
  send(text: string): boolean {
    const data = new TextEncoder().encode(text);
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    return (
      syscalls().sendto(this.#fd, data, data.length, flags, this.#name, this.#name.length) === data.length
    );
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd >= 0) syscalls().close(this.#fd);
    this.#fd = -1;
  }
}

/** struct sockaddr_un as long as it has to be: the length of an abstract name is part of it. */
function socketName(address: string): Uint8Array {
  const abstract = address.startsWith('@');
  const path = new TextEncoder().encode(abstract ? address.slice(1) : address);
  const isPath = address.startsWith('/');
  if ((!abstract && !isPath) || path.length === 0 || path.length + 1 > PATH_BYTES) {
    throw new VtepError(
      'USAGE',
      `socket "${address}": an absolute path or @name of at most ${PATH_BYTES - 1} bytes is expected`,
    );
  }
  const name = new Uint8Array(FAMILY_BYTES + path.length + 1);
  new DataView(name.buffer).setUint16(0, AF_UNIX, true);
  name.set(path, FAMILY_BYTES + (abstract ? 1 : 0));
  return name;
}
