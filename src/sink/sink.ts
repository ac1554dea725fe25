/**
 * A sink for mirrored traffic: receives VXLAN of any VNI on UDP ports, without a device and without rights, and hands
 * the inner packets to a pcapng file, a TAP or a callback.
 */
import { openBatched } from './batched.ts';
import { openPortable } from './portable.ts';
import { type SinkOptions, settingsOf } from './settings.ts';
import type { SinkStats } from './stats.ts';

/** A sink that receives. */
export interface Sink {
  /** UDP ports that it receives on. */
  readonly ports: readonly number[];
  /** How it receives: batches of system calls, or Node's own sockets. */
  readonly engine: 'batched' | 'portable';
  /** Resolves when the sink has ended: by `close`, its signal, or the reader of its output. @throws VtepError */
  readonly ended: Promise<SinkStats>;
  /** What it has counted since it began. */
  stats(): Promise<SinkStats>;
  /** Receives what is still in its sockets, writes statistics and closes the output. */
  close(): Promise<SinkStats>;
  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens a sink; when the promise resolves, it receives.
 *
 * @throws VtepError USAGE (a filter or number that can't be right), IN_USE (a port), PERMISSION (a TAP, a file, a port
 *   below 1024), SYSTEM
 */
export async function createSink(options: SinkOptions): Promise<Sink> {
  const settings = settingsOf(options);
  const batched = settings.engine === 'batched';
  const engine = await (batched ? openBatched(settings) : openPortable(settings));
  const close = () => {
    engine.stop();
    return engine.ended;
  };
  const { signal } = options;
  const abort = () => engine.stop();
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  const forget = () => signal?.removeEventListener('abort', abort);
  engine.ended.then(forget, forget);
  return {
    ports: engine.ports,
    engine: settings.engine,
    ended: engine.ended,
    stats: () => engine.stats(),
    close,
    [Symbol.asyncDispose]: async () => {
      await close();
    },
  };
}
