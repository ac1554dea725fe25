/**
 * The engine in each of its builds, on a memory of its own: what the hot-path tests drive.
 */
import { WORKERS_BASE } from '../../assembly/layout.ts';
import { type EngineBuild, instantiateEngine } from '../../src/dataplane/engine.ts';
import { compileEngine } from '../../src/dataplane/engine-file.ts';
import type { EngineExports } from '../../src/dataplane/exports.ts';
import { createMemory, type Views, viewsOf } from '../../src/dataplane/memory.ts';

export const BUILDS: readonly EngineBuild[] = ['release', 'scalar', 'debug'];

export interface TestEngine extends Views {
  readonly exports: EngineExports;
  /** Address of memory that only the test uses: two worker blocks, about 10 MiB. */
  readonly scratch: number;
}

export async function loadEngine(build: EngineBuild, workers = 2): Promise<TestEngine> {
  const memory = createMemory(workers);
  const exports = instantiateEngine(compileEngine(build), memory);
  return { ...viewsOf(memory), exports, scratch: WORKERS_BASE };
}
