/** The engine's exports, typed by what the compiler wrote beside the module: no hand-kept list to drift. */
import type { instantiate } from '../../build/engine-exports.ts';

export type EngineExports = Omit<Awaited<ReturnType<typeof instantiate>>, 'memory'>;
