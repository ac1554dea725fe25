/** The compiled walk (assembly/sink.ts) on a memory of its own: what the kernel or `dgram` gives in, blocks out. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  IOVEC_LENGTH_OFFSET,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_CONTROL_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  MMSGHDR_IOVEC_OFFSET,
  MMSGHDR_NAME_LENGTH_OFFSET,
  MMSGHDR_NAME_OFFSET,
} from '../../assembly/layout.ts';
import {
  SINK_BUFFER_BYTES,
  SINK_BUFFERS_BASE,
  SINK_DATAGRAM_MAX_BYTES,
  SINK_LAYOUT_VERSION,
  SINK_MEMORY_BYTES,
  SINK_RECEIPT_BYTES,
  SINK_RECEIPT_CONTROL_BYTES,
  SINK_RECEIPT_CONTROL_OFFSET,
  SINK_RECEIPT_IOVEC_OFFSET,
  SINK_RECEIPTS_BASE,
  SINK_RECEIVE_COUNT,
  SINK_RECEIVES_BASE,
} from '../../assembly/sink-layout.ts';
import type { EngineModule } from '../dataplane/wasm-types.ts';
import { VtepError } from '../errors.ts';

const PAGE_BYTES = 65536;
const NAME_BYTES = 28;

/** What the walk asks of its host; see assembly/sink.ts. */
export interface WalkHost {
  /** @returns SINK_KEEP, SINK_REFUSE_VNI or SINK_REFUSE_FILTER */
  accept(packet: number, bytes: number, vni: number): number;
  /** @returns the interface's number, -1 when there are too many */
  admit(source: number, vni: number): number;
  flush(): void;
}

export class Walk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly #walk: (count: number) => void;

  /** @throws VtepError SYSTEM when the module is of another layout */
  constructor(host: WalkHost, module: EngineModule = compile()) {
    const pages = Math.ceil(SINK_MEMORY_BYTES / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    const { accept, admit, flush } = host;
    const { exports } = new WebAssembly.Instance(module, {
      env: { memory },
      sink: { accept, admit, flush },
    });
    const version = (exports.layoutVersion as (() => number) | undefined)?.();
    if (version !== SINK_LAYOUT_VERSION)
      throw new VtepError(
        'SYSTEM',
        `sink: engine of layout ${version}, ${SINK_LAYOUT_VERSION} expected: run "npm run build"`,
      );
    this.#walk = exports.walk as (count: number) => void;
  }

  /** Walks the first `count` messages. */
  run(count: number): void {
    this.#walk(count);
  }

  /** Lays the messages out for recvmmsg. @param address where the memory lies in this process */
  prepare(address: number): void {
    const pointer = (at: number, to: number) => this.view.setBigUint64(at, BigInt(address + to), true);
    for (let index = 0; index < SINK_RECEIVE_COUNT; ++index) {
      const message = SINK_RECEIVES_BASE + index * MMSGHDR_BYTES;
      const receipt = SINK_RECEIPTS_BASE + index * SINK_RECEIPT_BYTES;
      const iovec = receipt + SINK_RECEIPT_IOVEC_OFFSET;
      pointer(message + MMSGHDR_NAME_OFFSET, receipt);
      pointer(message + MMSGHDR_IOVEC_OFFSET, iovec);
      this.view.setBigUint64(message + MMSGHDR_IOVEC_COUNT_OFFSET, 1n, true);
      pointer(message + MMSGHDR_CONTROL_OFFSET, receipt + SINK_RECEIPT_CONTROL_OFFSET);
      pointer(iovec, SINK_BUFFERS_BASE + index * SINK_BUFFER_BYTES);
      this.view.setBigUint64(iovec + IOVEC_LENGTH_OFFSET, BigInt(SINK_DATAGRAM_MAX_BYTES), true);
    }
    this.reset(SINK_RECEIVE_COUNT);
  }

  /** The kernel has written lengths over the room of the first `count` messages. */
  reset(count: number): void {
    for (let index = 0; index < count; ++index) {
      const message = SINK_RECEIVES_BASE + index * MMSGHDR_BYTES;
      this.view.setUint32(message + MMSGHDR_NAME_LENGTH_OFFSET, NAME_BYTES, true);
      this.view.setUint32(message + MMSGHDR_CONTROL_LENGTH_OFFSET, SINK_RECEIPT_CONTROL_BYTES, true);
      this.view.setUint32(message + MMSGHDR_FLAGS_OFFSET, 0, true);
    }
  }
}

let compiled: WebAssembly.Module | undefined;

function compile(): WebAssembly.Module {
  if (compiled !== undefined) return compiled;
  const path = fileURLToPath(import.meta.resolve('#engine/sink.wasm'));
  try {
    compiled = new WebAssembly.Module(new Uint8Array(readFileSync(path)));
  } catch (cause) {
    throw new VtepError('SYSTEM', `sink: cannot read ${path} (${String(cause)}): run "npm run build"`);
  }
  return compiled;
}
