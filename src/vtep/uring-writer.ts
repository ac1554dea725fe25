/** Hands the frames of the decap walk to their TAPs through io_uring: many in one system call. */
import { URING_ENTRIES, WORKER_URING_ERROR_OFFSET } from '../../assembly/layout.ts';
import { WORTHWHILE } from '../io/uring.ts';
import { BatchedWriter, type TapWriter } from './tap-writer.ts';
import type { WorkerContext } from './worker-context.ts';

export class UringWriter implements TapWriter {
  readonly #context: WorkerContext;
  readonly #ring: number;
  readonly #plain: BatchedWriter;

  constructor(context: WorkerContext, ring: number) {
    this.#context = context;
    this.#ring = ring;
    this.#plain = new BatchedWriter(context);
  }

  write(count: number): number {
    if (count < WORTHWHILE) return this.#plain.write(count);
    let calls = 0;
    for (let first = 0; first < count; first += URING_ENTRIES) {
      const end = Math.min(first + URING_ENTRIES, count);
      calls += this.#submit(first, end);
    }
    return calls;
  }

  #submit(first: number, end: number): number {
    const { base, exports, i32, queue, sys } = this.#context;
    exports.uringWrites(base, queue, first, end - first);
    const taken = Math.max(0, sys.io_uring_enter(this.#ring, end - first));
    for (;;) {
      const failed = exports.uringNextFailure(base);
      if (failed < 0) break;
      this.#plain.lose(failed, -i32[(base + WORKER_URING_ERROR_OFFSET) >>> 2]!);
    }
    // What the kernel had no memory to take goes after it, so that the order stays.
    if (first + taken < end) this.#plain.writeFrom(first + taken, end);
    return 1 + end - first - taken;
  }
}
