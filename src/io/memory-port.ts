/** Ports without a device: two ends, and what one is given comes out of the other. For tests, labs and programs. */
import { VtepError } from '../errors.ts';
import type { FramePort, FrameSink } from './frame-port.ts';

const QUEUE_FRAMES = 1024;

export interface MemoryPortOptions {
  /** Frames that may wait in each direction, 1 or more; 1024. Those beyond are refused, and counted. */
  queue?: number;
}

/** One end of a pair. */
export interface MemoryPort extends FramePort {
  /** Frames that `write` took and refused, and frames that came out here. */
  readonly written: number;
  readonly refused: number;
  readonly received: number;
  /** Frames begin to come out here. Of what a sink is told, `frames` is enough for a program. @throws VtepError IN_USE, USAGE */
  start(sink: Pick<FrameSink, 'frames'> & Partial<FrameSink>): void;
  /** Resolves when the other end has had all that was written here, or is closed: for senders that must not lose any. */
  drained(): Promise<void>;
  /** Closes both ends. */
  close(): void;
}

/**
 * A pair of ports: one for a device (`addDevice({ ..., port })`), one for the program, which hears frames by `start`
 * and sends by `write`. Frames are copied in and handed on in a later turn of the event loop, in order.
 *
 * @example
 * const [mine, its] = createMemoryPort();
 * mine.start({ frames: (batch) => console.log(batch.length) });
 * mine.write([frame]);
 *
 * @throws VtepError USAGE
 */
export function createMemoryPort({ queue = QUEUE_FRAMES }: MemoryPortOptions = {}): [MemoryPort, MemoryPort] {
  if (!(Number.isInteger(queue) && queue > 0))
    throw new VtepError('USAGE', `memory port: queue ${queue}: give a whole number from 1`);
  const [one, other] = [new End(queue), new End(queue)];
  one.join(other);
  other.join(one);
  return [one, other];
}

class End implements MemoryPort {
  readonly kind = 'memory';
  readonly #limit: number;
  #other!: End;
  #sink: Parameters<MemoryPort['start']>[0] | undefined;
  /** On their way to this end. */
  #waiting: Uint8Array[] = [];
  #isScheduled = false;
  #isClosed = false;
  #drained: (() => void)[] = [];
  written = 0;
  refused = 0;
  received = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  join(other: End): void {
    this.#other = other;
  }

  start(sink: Parameters<MemoryPort['start']>[0]): void {
    if (this.#isClosed) throw new VtepError('USAGE', 'memory port: it has been closed: make another pair');
    if (this.#sink !== undefined)
      throw new VtepError('IN_USE', 'memory port: somebody listens here already: use the other end');
    this.#sink = sink;
    this.#schedule();
  }

  /** @throws VtepError USAGE when that is no array of frames; then none is taken */
  write(frames: readonly Uint8Array[]): number {
    if (!Array.isArray(frames) || !frames.every((frame) => frame instanceof Uint8Array))
      throw new VtepError(
        'USAGE',
        'memory port: write: an array of Uint8Array is expected, one for each frame',
      );
    const taken = this.#isClosed ? 0 : this.#other.#take(frames);
    this.written += taken;
    this.refused += frames.length - taken;
    return taken;
  }

  drained(): Promise<void> {
    const other = this.#other;
    if (other.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => other.#drained.push(resolve));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#end();
    this.#other.#end();
  }

  #take(frames: readonly Uint8Array[]): number {
    const count = Math.min(frames.length, this.#limit - this.#waiting.length);
    for (let index = 0; index < count; ++index) this.#waiting.push(new Uint8Array(frames[index]!));
    this.#schedule();
    return count;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#sink === undefined || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#isScheduled = false;
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length > 0) {
      this.received += batch.length;
      this.#sink?.frames(batch);
    }
    if (this.#waiting.length === 0) this.#tellDrained();
  }

  #tellDrained(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  #end(): void {
    this.#isClosed = true;
    this.#waiting = [];
    this.#tellDrained();
    this.#sink?.closed?.();
  }
}
