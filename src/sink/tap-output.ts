/** Packets into a TAP, one at a time, cut ones as they are. The TAP takes a virtio header before each. */
import { VIRTIO_HEADER_BYTES } from '../../assembly/layout.ts';
import { SINK_DROP_TAP_WRITE } from '../../assembly/sink-layout.ts';
import { type Syscalls, syscalls } from '../io/syscalls.ts';
import { bump } from './counters.ts';
import type { Output } from './output.ts';
import { packetsIn } from './pcapng.ts';

export class TapOutput implements Output {
  readonly #fd: number;
  readonly #sys: Syscalls = syscalls();
  /** Where losses are counted: the memory of the walk. */
  counters: DataView | undefined;
  #staging = new Uint8Array(VIRTIO_HEADER_BYTES + 65536);

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(blocks: Uint8Array): void {
    for (const { at, bytes } of packetsIn(blocks)) {
      // No offload is asked for: the header is all zeroes.
      this.#staging.set(blocks.subarray(at, at + bytes), VIRTIO_HEADER_BYTES);
      const written = this.#sys.writeBytes(this.#fd, this.#staging, VIRTIO_HEADER_BYTES + bytes);
      if (written < 0 && this.counters !== undefined) bump(this.counters, SINK_DROP_TAP_WRITE);
    }
  }

  room(): number {
    return Number.POSITIVE_INFINITY;
  }

  wantsSection(): boolean {
    return false;
  }

  nextSection(): void {}

  dueIn(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {}
}
