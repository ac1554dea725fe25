/**
 * The one shared memory of a dataplane: made here, never grown, laid out by assembly/layout.ts.
 * Every thread sees it through a `Views` of its own.
 */
import {
  HEADER_BASE,
  HEADER_HASH_SEED_OFFSET,
  HEADER_VERSION_OFFSET,
  LAYOUT_VERSION,
  WASM_PAGE_BYTES,
  WORKER_BYTES,
  WORKER_MAX,
  WORKERS_BASE,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { EngineMemory } from './wasm-types.ts';

export interface Views {
  readonly memory: EngineMemory;
  readonly bytes: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly view: DataView;
}

/**
 * @param workers blocks to reserve, 1 to WORKER_MAX; one for each thread that runs the engine
 * @param shared false: for one thread, as an ArrayBuffer
 */
export function createMemory(workers: number, shared = true): EngineMemory {
  if (!Number.isInteger(workers) || workers < 1 || workers > WORKER_MAX) {
    throw new VtepError('USAGE', `workers: ${workers} is not between 1 and ${WORKER_MAX}`);
  }
  const pages = Math.ceil(memoryBytes(workers) / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  const { view } = viewsOf(memory);
  view.setUint32(HEADER_BASE + HEADER_VERSION_OFFSET, LAYOUT_VERSION, true);
  view.setUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, Math.floor(Math.random() * 2 ** 32), true);
  return memory;
}

export function memoryBytes(workers: number): number {
  return workerBase(workers);
}

/** Address of a worker's block. */
export function workerBase(index: number): number {
  return WORKERS_BASE + index * WORKER_BYTES;
}

export function viewsOf(memory: EngineMemory): Views {
  const { buffer } = memory;
  return {
    memory,
    bytes: new Uint8Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    view: new DataView(buffer),
  };
}
