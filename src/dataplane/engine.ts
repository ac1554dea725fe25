/**
 * Finds, compiles and instantiates the engine. One module, one instance per thread, all on one memory.
 * `VXLANE_WASM=scalar` picks the build without SIMD.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { instantiateSync } from '@assemblyscript/loader';
import { HEADER_BASE, HEADER_VERSION_OFFSET, LAYOUT_VERSION } from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { EngineExports } from './exports.ts';

export type EngineBuild = 'release' | 'scalar' | 'debug';

/** The build that the environment asks for. */
export function preferredBuild(): EngineBuild {
  return process.env.VXLANE_WASM === 'scalar' ? 'scalar' : 'release';
}

/** A compiled engine: cheap to post to a worker thread. */
export function compileEngine(build: EngineBuild = preferredBuild()): WebAssembly.Module {
  const path = fileURLToPath(import.meta.resolve(`#engine/${build}.wasm`));
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new VtepError('SYSTEM', `engine: cannot read ${path} (${String(cause)}): run "npm run build"`);
  }
  return new WebAssembly.Module(bytes);
}

/**
 * @returns the module's own exports, without the loader's wrappers, which cost 10 ns a call
 * @throws VtepError SYSTEM when module and memory are of different layouts
 */
export function instantiateEngine(module: WebAssembly.Module, memory: WebAssembly.Memory): EngineExports {
  const { instance } = instantiateSync(module, { env: { memory } });
  const exports = instance.exports as unknown as EngineExports;
  const version = new DataView(memory.buffer).getUint32(HEADER_BASE + HEADER_VERSION_OFFSET, true);
  if (version !== LAYOUT_VERSION || exports.layoutVersion() !== LAYOUT_VERSION) {
    throw new VtepError(
      'SYSTEM',
      `engine: layout ${exports.layoutVersion()} on a memory of layout ${version}, ${LAYOUT_VERSION} expected: run "npm run build"`,
    );
  }
  return exports;
}
