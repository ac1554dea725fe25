/**
 * What the hooks of a decap worker send into tunnels: its own thread encapsulates it, in a block of its own, so that no
 * other thread's ring is written to and nothing waits for another thread. The frames lie where they were received.
 */
import {
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_PATH_WANTED_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
} from '../../assembly/layout.ts';
import { inject } from './encap-loop.ts';
import { Paths } from './paths.ts';
import { Sender } from './sender.ts';
import type { WorkerContext } from './worker-context.ts';

export class Forwarding {
  readonly #context: WorkerContext;
  readonly #sender: Sender;
  readonly #own: (...descriptors: number[]) => void;
  /** Opened when there is something to send. */
  #paths: Paths | undefined;

  /** @param own takes down descriptors that are opened later */
  constructor(context: WorkerContext, own: (...descriptors: number[]) => void) {
    this.#context = context;
    this.#own = own;
    this.#sender = new Sender(context);
  }

  /** Address of the block. */
  get base(): number {
    return this.#context.base;
  }

  /** Sends what stands in the ring. Returns the system calls made. */
  send(): number {
    const { base, exports, u32 } = this.#context;
    const ring = base + ENCAP_RING_OFFSET;
    const filled = (ring + RING_FILLED_OFFSET) >>> 2;
    const taken = (ring + RING_TAKEN_OFFSET) >>> 2;
    if (u32[taken] === u32[filled]) return 0;
    this.#paths ??= this.#openPaths();
    this.#paths.tick();
    const injects = (base + ENCAP_STATE_OFFSET + ENCAP_INJECTS_USED_OFFSET) >>> 2;
    const wanted = (base + ENCAP_STATE_OFFSET + ENCAP_PATH_WANTED_OFFSET) >>> 2;
    let calls = 0;
    while (u32[taken] !== u32[filled]) {
      calls += this.#sender.send(exports.encap(base));
      if (u32[injects] !== 0) calls += inject(this.#context, u32[injects]!);
      if (u32[wanted] !== 0) this.#paths.resolve();
    }
    u32[(ring + RING_FREED_OFFSET) >>> 2] = u32[taken]!;
    return calls;
  }

  #openPaths(): Paths {
    const paths = new Paths(this.#context);
    this.#own(...paths.descriptors);
    return paths;
  }

  close(): void {
    this.#paths?.close();
  }
}
