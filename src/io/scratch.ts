/** Memory for a few system calls that take addresses: it stays where it is as long as the object is held. */
import { IOVEC_BYTES, IOVEC_LENGTH_OFFSET } from '../../assembly/layout.ts';
import type { Syscalls } from './syscalls.ts';

export class Scratch {
  // WebAssembly memory is not moved by the collector.
  readonly #memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  readonly bytes = new Uint8Array(this.#memory.buffer);
  readonly view = new DataView(this.#memory.buffer);
  readonly address: number;
  #used = 0;

  constructor(sys: Pick<Syscalls, 'addressOf'>) {
    this.address = sys.addressOf(this.bytes);
  }

  /** Offset of zeroed bytes, aligned for any record. */
  claim(bytes: number): number {
    const at = this.#used;
    this.#used = (at + bytes + 15) & ~15;
    if (this.#used > this.bytes.length) throw new RangeError('scratch: 64 KiB are all there is');
    return at;
  }

  /** Offset of a copy of `data`. */
  put(data: Uint8Array): number {
    const at = this.claim(data.length);
    this.bytes.set(data, at);
    return at;
  }

  /** Offset of an array of struct iovec for [offset, length] of each part. */
  iovecs(parts: readonly (readonly [at: number, bytes: number])[]): number {
    const first = this.claim(parts.length * IOVEC_BYTES);
    for (const [index, [at, bytes]] of parts.entries()) {
      this.view.setBigUint64(first + index * IOVEC_BYTES, BigInt(this.address + at), true);
      this.view.setBigUint64(first + index * IOVEC_BYTES + IOVEC_LENGTH_OFFSET, BigInt(bytes), true);
    }
    return first;
  }
}
