/**
 * A TAP object of somebody else's as a port: anything that emits frames and takes them, such as the `Tap` of the
 * package tuntap2. That one's ways are all minded here: getters and setters that throw strings, an interface that has
 * to be up before it answers, no cork, a release that may never come back, frames only while it flows.
 */
import { VtepError } from '../errors.ts';
import type { FramePort, FrameSink } from './frame-port.ts';

const QUEUE_FRAMES = 256;
const RELEASE_MS = 1000;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The surface that is used of it; `Duplex` streams that carry one frame a chunk fit as well. */
export interface DuplexTapLike {
  /** Name of the interface. */
  readonly name?: string;
  /** Bytes. */
  readonly mtu?: number;
  readonly mac?: string;
  isUp?: boolean;
  /** Frames (Buffer, one each) come as `data`; `error`, `close` and `end` end the port. */
  // biome-ignore lint/suspicious/noExplicitAny: each event has a listener of its own shape
  on(event: 'data' | 'close' | 'error' | 'end', listener: (argument?: any) => void): unknown;
  /** Where it is there, the port stops listening when it is closed. */
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  removeListener?(event: string, listener: (argument?: any) => void): unknown;
  /** Takes one frame; `written` when it has gone, or not. */
  write(frame: Uint8Array, written?: (error?: Error | null) => void): boolean;
  /** Gives the interface back: tuntap2's word. It is waited for, for a second. */
  release?(done?: () => void): void;
  /** Ends a stream. */
  destroy?(): unknown;
}

/** Of `fromDuplex`. */
export interface DuplexPortOptions {
  /** Frames that may be on their way into it; 256. Those beyond are lost, and counted (drop_tap_write). */
  queue?: number;
}

/**
 * A TAP object of another package, or a stream of frames, as a device's port. The object is known by its shape alone: no such
 * package is imported or named as a dependency.
 * @param tap becomes the port's: it is taken up (`isUp`), and released when the device goes
 * @throws VtepError USAGE (no such object)
 */
export function fromDuplex(
  tap: DuplexTapLike,
  { queue = QUEUE_FRAMES }: DuplexPortOptions = {},
): FramePort & { readonly name: string } {
  if (typeof tap?.on !== 'function' || typeof tap.write !== 'function')
    throw new VtepError('USAGE', 'fromDuplex: an object with on() and write() is expected, as a tuntap2 Tap');
  if (!(Number.isInteger(queue) && queue > 0))
    throw new VtepError('USAGE', `fromDuplex: queue ${queue}: give a whole number from 1`);
  return new DuplexPort(tap, queue);
}

let hasWarned = false;

class DuplexPort implements FramePort {
  readonly kind = 'duplex';
  readonly name: string;
  readonly #tap: DuplexTapLike;
  readonly #limit: number;
  #pending = 0;
  #sink: FrameSink | undefined;
  #isClosed = false;
  #closing: Promise<void> | undefined;
  readonly #onData = (frame: unknown) => {
    if (frame instanceof Uint8Array) this.#sink?.frames([frame]);
  };
  readonly #onClose = () => this.#ended();
  readonly #onError = (error: unknown) => this.#ended(errorOf(error));

  constructor(tap: DuplexTapLike, limit: number) {
    this.#tap = tap;
    this.#limit = limit;
    this.name = this.#read(() => tap.name) ?? 'tap';
  }

  get address(): string | undefined {
    const mac = this.#read(() => this.#tap.mac);
    return typeof mac === 'string' && MAC.test(mac) ? mac.toLowerCase() : undefined;
  }

  get mtu(): number | undefined {
    const mtu = this.#read(() => this.#tap.mtu);
    return Number.isInteger(mtu) ? mtu : undefined;
  }

  start(sink: FrameSink): void {
    if (this.#isClosed) throw new VtepError('USAGE', `port ${this.name}: it has been closed: make another`);
    if (this.#sink !== undefined) throw new VtepError('IN_USE', `port ${this.name}: a device has it already`);
    this.raise();
    this.#sink = sink;
    this.#tap.on('close', this.#onClose);
    this.#tap.on('end', this.#onClose);
    this.#tap.on('error', this.#onError);
    // From here on it flows: frames keep their borders only then.
    this.#tap.on('data', this.#onData);
    if ('isUp' in this.#tap && !hasWarned && process.env.UV_THREADPOOL_SIZE === undefined) {
      hasWarned = true;
      sink.warn(
        `port ${this.name}: a waiting read may hold one of the 4 threads that files and DNS need: set UV_THREADPOOL_SIZE`,
      );
    }
  }

  /** It answers about itself only once it is up. @throws VtepError SYSTEM */
  raise(): void {
    const tap = this.#tap;
    if (!('isUp' in tap)) return;
    try {
      // What it says of itself may be older than this object.
      tap.isUp = true;
    } catch (error) {
      throw new VtepError('SYSTEM', `port ${this.name}: isUp: ${errorOf(error).message}`);
    }
  }

  write(frames: readonly Uint8Array[]): number {
    let taken = 0;
    for (const frame of frames) {
      if (this.#isClosed || this.#pending >= this.#limit) break;
      ++this.#pending;
      try {
        // It keeps the bytes until they are written.
        this.#tap.write(new Uint8Array(frame), () => {
          --this.#pending;
        });
        ++taken;
      } catch (error) {
        --this.#pending;
        this.#ended(errorOf(error));
      }
    }
    return taken;
  }

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  /** A read that waits may hold up the release until the next frame, which may never come. */
  #release(): Promise<void> {
    this.#isClosed = true;
    const tap = this.#tap;
    this.#sink = undefined;
    tap.removeListener?.('data', this.#onData);
    return new Promise((resolve) => {
      const patience = setTimeout(resolve, RELEASE_MS);
      const done = () => {
        clearTimeout(patience);
        resolve();
      };
      try {
        if (tap.release !== undefined) return tap.release(done);
        tap.destroy?.();
      } catch {
        // It has gone already.
      }
      done();
    });
  }

  #ended(error?: Error): void {
    const sink = this.#sink;
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sink = undefined;
    sink?.closed(error);
  }

  #read<T>(value: () => T): T | undefined {
    try {
      return value();
    } catch {
      return undefined;
    }
  }
}

/** Some throw strings. */
function errorOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
