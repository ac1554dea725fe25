/**
 * The two engines, as far as they differ: how frames cross the border between a TAP and the memory. `batched` makes a
 * call for each, `uring` one for many. Both serve the same walks, in the same order, with the same counters.
 */
import {
  PAGE_BYTES,
  URING_ENTRIES,
  URING_OFFSET,
  URING_QUEUES_OFFSET,
  WORKER_CQ_HEAD_OFFSET,
  WORKER_CQ_MASK_OFFSET,
  WORKER_CQ_TAIL_OFFSET,
  WORKER_CQES_OFFSET,
  WORKER_SQ_HEAD_OFFSET,
  WORKER_SQ_TAIL_OFFSET,
  WORKER_URING_ERROR_OFFSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { EAGAIN } from '../io/errno.ts';
import { syscalls } from '../io/syscalls.ts';
import { openUring, refusal } from '../io/uring.ts';
import { BatchedReader, type TapReader } from './tap-reader.ts';
import { BatchedWriter, type TapWriter } from './tap-writer.ts';
import { UringReader } from './uring-reader.ts';
import { UringWriter } from './uring-writer.ts';
import type { WorkerContext } from './worker-context.ts';

export type IoEngine = 'batched' | 'uring';
export type EngineChoice = 'auto' | IoEngine;
const ENGINES: Readonly<Record<EngineChoice, IoEngine>> = {
  /*
   * io_uring carries an eighth more of many mixed flows and is no worse elsewhere, as long as frames of one flow are
   * merged before they are written: hundreds written in one long call keep their receiver from the core meanwhile.
   */
  auto: 'uring',
  batched: 'batched',
  uring: 'uring',
};

export interface Transfers {
  readonly reader: TapReader;
  readonly writer: TapWriter;
  /** Why io_uring was wanted and is not used; '' = it is, or was not wanted. */
  readonly refused: string;
  /** Descriptor of its ring, -1 = none. */
  readonly ring: number;
  close(): void;
}

/** What was asked for, else what VXLANE_ENGINE says. @throws VtepError USAGE when that is no engine */
export function engineOf(given: EngineChoice | undefined): IoEngine {
  const choice = given ?? process.env.VXLANE_ENGINE ?? 'auto';
  if (Object.hasOwn(ENGINES, choice)) return ENGINES[choice as EngineChoice];
  throw new VtepError('USAGE', `engine: argument "${choice}" is wrong: auto, batched or uring`);
}

/** By the thread that will use them. */
export function openTransfers(context: WorkerContext, engine: IoEngine): Transfers {
  const batched = { reader: new BatchedReader(context), writer: new BatchedWriter(context), close() {} };
  if (engine === 'batched') return { ...batched, refused: '', ring: -1 };
  const ring = openRing(context);
  if (typeof ring === 'string') return { ...batched, refused: ring, ring: -1 };
  return {
    reader: new UringReader(context, ring),
    writer: new UringWriter(context, ring),
    refused: '',
    ring,
    close: () => syscalls().close(ring),
  };
}

/** Makes the ring in the worker's block and tells the engine where its parts are. Returns its descriptor, or why not. */
function openRing(context: WorkerContext): number | string {
  const { address, base, bytes, u32 } = context;
  const queues = base + URING_QUEUES_OFFSET;
  bytes.fill(0, base + URING_OFFSET, queues + PAGE_BYTES);
  const uring = openUring(URING_ENTRIES, address + base + URING_OFFSET, address + queues);
  if (uring === undefined) return refusal();
  u32[(base + WORKER_SQ_HEAD_OFFSET) >>> 2] = queues + uring.sqHead;
  u32[(base + WORKER_SQ_TAIL_OFFSET) >>> 2] = queues + uring.sqTail;
  u32[(base + WORKER_CQ_HEAD_OFFSET) >>> 2] = queues + uring.cqHead;
  u32[(base + WORKER_CQ_TAIL_OFFSET) >>> 2] = queues + uring.cqTail;
  u32[(base + WORKER_CQES_OFFSET) >>> 2] = queues + uring.cqes;
  u32[(base + WORKER_CQ_MASK_OFFSET) >>> 2] = uring.cqEntries - 1;
  if (works(context, uring.fd)) return uring.fd;
  syscalls().close(uring.fd);
  return 'a read through io_uring does not do what it should';
}

/** A read of the poller's eventfd, which is empty: answered in the call itself, through the queues in the memory. */
function works({ base, exports, i32, poller, sys }: WorkerContext, ring: number): boolean {
  exports.uringReads(base, poller.wake, 0, 1);
  if (sys.io_uring_enter(ring, 1) !== 1 || exports.uringNextFailure(base) !== 0) return false;
  return i32[(base + WORKER_URING_ERROR_OFFSET) >>> 2] === -EAGAIN;
}
