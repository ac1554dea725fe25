/** A worker's io_uring, with its queues in the worker's block. */
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
} from '../../assembly/layout.ts';
import { openUring } from '../io/uring.ts';

interface Block {
  readonly u32: Uint32Array;
  readonly bytes: Uint8Array;
  /** Where the memory lies in the process. */
  readonly address: number;
  /** Address of the worker's block within the memory. */
  readonly base: number;
}

/**
 * Makes the ring, and tells the engine where its parts are. To be called by the thread that will use it.
 * @returns its descriptor; -1: it is refused, and `refusal` says why
 */
export function openWorkerUring({ u32, bytes, address, base }: Block): number {
  bytes.fill(0, base + URING_OFFSET, base + URING_QUEUES_OFFSET + PAGE_BYTES);
  const uring = openUring(URING_ENTRIES, address + base + URING_OFFSET, address + base + URING_QUEUES_OFFSET);
  if (uring === undefined) return -1;
  const queues = base + URING_QUEUES_OFFSET;
  u32[(base + WORKER_SQ_HEAD_OFFSET) >>> 2] = queues + uring.sqHead;
  u32[(base + WORKER_SQ_TAIL_OFFSET) >>> 2] = queues + uring.sqTail;
  u32[(base + WORKER_CQ_HEAD_OFFSET) >>> 2] = queues + uring.cqHead;
  u32[(base + WORKER_CQ_TAIL_OFFSET) >>> 2] = queues + uring.cqTail;
  u32[(base + WORKER_CQES_OFFSET) >>> 2] = queues + uring.cqes;
  u32[(base + WORKER_CQ_MASK_OFFSET) >>> 2] = uring.cqEntries - 1;
  return uring.fd;
}
