/** How a program comes by a dataplane: options -> a compiled engine -> the dataplane, or a queue on one of another thread. */
import { DEVICE_QUEUE_MAX } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { DataplaneQueue } from './batch.ts';
import { Embedded } from './embedded.ts';
import type { EmbeddedDataplane, SharedDataplane } from './embedded-types.ts';
import { instantiateEngine, withMemory } from './engine.ts';
import { viewsOf } from './memory.ts';
import { Queue } from './queue.ts';
import { checkShape } from './shape.ts';
import type { EngineBytes, EngineModule } from './wasm-types.ts';

/** Threads that one dataplane can have. */
export const QUEUES_MAX = DEVICE_QUEUE_MAX;

/** Of `createDataplane`. */
export interface DataplaneOptions {
  /** The engine's bytes (`vxlane/dataplane/wasm`, or a file of `vxlane/dataplane/*.wasm`); absent: what is at hand. */
  bytes?: EngineBytes;
  /** The engine, compiled already: from `share().module` or `WebAssembly.compile`. Excludes `bytes`. */
  module?: EngineModule;
  /** Threads that may use the dataplane at a time, this one included, 1 to 8; 1. Each reserves 16 MiB. */
  queues?: number;
  /**
   * Whether the memory can be handed to other threads; default: where the runtime allows it. A `module` must be of that
   * kind; as they come, the builds are for shared memory.
   */
  shared?: boolean;
}

/** Of `openDataplane`. */
export interface OpenOptions extends DataplaneOptions {
  /** Where to fetch the engine's bytes. Excludes `bytes` and `module`. */
  url?: string | URL;
}

/** @throws VtepError USAGE */
export function create(options: DataplaneOptions, atHand: () => EngineBytes): EmbeddedDataplane {
  const { shared, queues } = settled(options, ['bytes', 'module']);
  const module = options.module ?? new WebAssembly.Module(withMemory(options.bytes ?? atHand(), shared));
  return new Embedded(module, queues, shared);
}

/**
 * As `create`, without a thread that waits for the compiler.
 * @param local reads what is not to be fetched; undefined: fetch it
 * @throws VtepError USAGE, SYSTEM (nothing to be had at the address)
 */
export async function open(
  options: OpenOptions,
  atHand: () => EngineBytes | Promise<EngineBytes>,
  local: (url: URL) => EngineBytes | undefined = () => undefined,
): Promise<EmbeddedDataplane> {
  const { shared, queues } = settled(options, ['bytes', 'module', 'url']);
  if (options.module !== undefined) return new Embedded(options.module, queues, shared);
  const { url } = options;
  const bytes = options.bytes ?? (url === undefined ? await atHand() : await read(url, local));
  return new Embedded(await WebAssembly.compile(withMemory(bytes, shared)), queues, shared);
}

/**
 * In another thread: a queue of its own on a dataplane that `share()` was posted from. Devices, FDB and all else stay
 * with the thread that made it.
 * @throws VtepError USAGE, NO_SPACE when there are as many threads as the dataplane was created for
 */
export function attachDataplane(shared: SharedDataplane): DataplaneQueue {
  if (!(shared?.memory instanceof WebAssembly.Memory && shared.module instanceof WebAssembly.Module))
    throw new VtepError('USAGE', 'attach: give what share() gave');
  return new Queue(viewsOf(shared.memory), instantiateEngine(shared.module, shared.memory));
}

/** @param sources keys that say where the engine comes from */
function settled(given: OpenOptions, sources: readonly string[]): { shared: boolean; queues: number } {
  checkShape('dataplane', given, {}, { queues: 'number', shared: 'flag' }, sources);
  const { bytes, module, queues = 1, ...options } = given;
  if ([bytes, module, options.url].filter((source) => source !== undefined).length > 1)
    throw new VtepError('USAGE', 'dataplane: give one of "bytes", "module" and "url"');
  if (!(Number.isInteger(queues) && queues >= 1 && queues <= QUEUES_MAX))
    throw new VtepError('USAGE', `dataplane: queues ${queues}: give a number from 1 to ${QUEUES_MAX}`);
  if (bytes !== undefined && !(bytes instanceof ArrayBuffer || ArrayBuffer.isView(bytes)))
    throw new VtepError('USAGE', 'dataplane: bytes: an ArrayBuffer or a view of one is expected');
  if (module !== undefined && !(module instanceof WebAssembly.Module))
    throw new VtepError('USAGE', 'dataplane: module: a WebAssembly.Module is expected');
  // Pages that may not share memory do not have the name.
  return { queues, shared: options.shared ?? typeof SharedArrayBuffer !== 'undefined' };
}

async function read(url: string | URL, local: (url: URL) => EngineBytes | undefined): Promise<EngineBytes> {
  // What is relative to a page only a page can fetch.
  const known = URL.canParse(url) ? local(new URL(url)) : undefined;
  if (known !== undefined) return known;
  const refuse = (why: string) =>
    new VtepError('SYSTEM', `engine: ${String(url)}: ${why}: serve vxlane/dataplane/release.wasm there`);
  try {
    const response = await fetch(url);
    if (response.ok) return await response.arrayBuffer();
    throw refuse(`${response.status} ${response.statusText}`);
  } catch (error) {
    if (error instanceof VtepError) throw error;
    // Node says more in the cause than in "fetch failed".
    const { message, cause } = error as Error;
    throw refuse(cause instanceof Error && cause.message !== '' ? cause.message : message);
  }
}
