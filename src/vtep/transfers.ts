/** How a worker's frames cross the border between TAP and memory, by the engine that was chosen. */
import { syscalls } from '../io/syscalls.ts';
import { BatchedReader, type TapReader } from './tap-reader.ts';
import { BatchedWriter, type TapWriter } from './tap-writer.ts';
import { openWorkerUring } from './uring.ts';
import { UringReader } from './uring-reader.ts';
import { UringWriter } from './uring-writer.ts';
import type { IoEngine, WorkerContext } from './worker-context.ts';

export interface Transfers {
  readonly reader: TapReader;
  readonly writer: TapWriter;
  close(): void;
}

export function openTransfers(context: WorkerContext, engine: IoEngine): Transfers {
  const ring = engine === 'uring' ? openWorkerUring(context) : -1;
  if (ring < 0) return { reader: new BatchedReader(context), writer: new BatchedWriter(context), close() {} };
  return {
    reader: new UringReader(context, ring),
    writer: new UringWriter(context, ring),
    close: () => syscalls().close(ring),
  };
}
