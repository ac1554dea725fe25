/**
 * A played kernel for one worker's io_uring: queues in the memory, and submissions read back byte for byte by the
 * offsets of linux/io_uring.h. Whatever the engine does not use must be zero. What the operations do is the test's.
 */
import assert from 'node:assert/strict';
import {
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
import type { Views } from '../../src/dataplane/memory.ts';

const READ = 22;
const WRITEV = 2;
const NO_POSITION = 0xffffffffffffffffn;
const NOWAIT = 8;

export interface Submission {
  operation: 'read' | 'writev';
  fd: number;
  /** As the kernel is told it. */
  address: number;
  /** Bytes, or iovecs. */
  length: number;
}

/** Bytes moved, or an error below 0. */
export type Perform = (submission: Submission) => number;

export class NaiveUring {
  readonly #view: DataView;
  readonly #submissions: number;
  readonly #queues: number;
  readonly #perform: Perform;

  /** @param cursor where both queues begin to count, e.g. just below the end of 32 bits */
  constructor({ view }: Views, base: number, cursor: number, perform: Perform) {
    this.#view = view;
    this.#perform = perform;
    this.#submissions = base + URING_OFFSET;
    this.#queues = base + URING_QUEUES_OFFSET;
    const tell = (where: number, what: number) => view.setUint32(base + where, what, true);
    // Not where Linux has them: the engine must look.
    tell(WORKER_SQ_HEAD_OFFSET, this.#queues + 128);
    tell(WORKER_SQ_TAIL_OFFSET, this.#queues + 132);
    tell(WORKER_CQ_HEAD_OFFSET, this.#queues + 136);
    tell(WORKER_CQ_TAIL_OFFSET, this.#queues + 140);
    tell(WORKER_CQES_OFFSET, this.#queues + 256);
    tell(WORKER_CQ_MASK_OFFSET, 2 * URING_ENTRIES - 1);
    for (let at = 128; at < 144; at += 4) view.setUint32(this.#queues + at, cursor, true);
  }

  /** io_uring_enter that takes no more than `limit` of the submissions. */
  enter(count: number, limit = count): number {
    const view = this.#view;
    const head = view.getUint32(this.#queues + 128, true);
    const tail = view.getUint32(this.#queues + 132, true);
    assert.equal((tail - head) >>> 0, count, 'as many are submitted as are announced');
    assert.ok(count <= URING_ENTRIES);
    const taken = Math.min(count, limit);
    for (let index = 0; index < taken; ++index) {
      const at = this.#submissions + (((head + index) >>> 0) % URING_ENTRIES) * 64;
      this.#complete(view.getBigUint64(at + 32, true), this.#perform(this.#read(at)));
    }
    view.setUint32(this.#queues + 128, head + taken, true);
    return taken;
  }

  /** Completions that nobody has taken. */
  get waiting(): number {
    const view = this.#view;
    return (view.getUint32(this.#queues + 140, true) - view.getUint32(this.#queues + 136, true)) >>> 0;
  }

  #read(at: number): Submission {
    const view = this.#view;
    const opcode = view.getUint8(at);
    assert.ok(opcode === READ || opcode === WRITEV, `opcode ${opcode}`);
    assert.equal(view.getUint8(at + 1), 0, 'flags');
    assert.equal(view.getUint16(at + 2, true), 0, 'ioprio');
    assert.equal(view.getBigUint64(at + 8, true), NO_POSITION);
    assert.equal(view.getUint32(at + 28, true), NOWAIT, 'nothing may be left to be done later');
    for (let byte = 40; byte < 64; ++byte) assert.equal(view.getUint8(at + byte), 0, `byte ${byte}`);
    return {
      operation: opcode === READ ? 'read' : 'writev',
      fd: view.getInt32(at + 4, true),
      address: Number(view.getBigUint64(at + 16, true)),
      length: view.getUint32(at + 24, true),
    };
  }

  #complete(data: bigint, result: number): void {
    const view = this.#view;
    assert.ok(this.waiting < 2 * URING_ENTRIES, 'the completion queue overflows');
    const tail = view.getUint32(this.#queues + 140, true);
    const at = this.#queues + 256 + (tail % (2 * URING_ENTRIES)) * 16;
    view.setBigUint64(at, data, true);
    view.setInt32(at + 8, result, true);
    view.setUint32(at + 12, 0xffff0000, true);
    view.setUint32(this.#queues + 140, tail + 1, true);
  }
}
