/** The engine as a file beside this package, for Node and those that do as it does. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { VtepError } from '../errors.ts';
import { type EngineBuild, fittingBuild } from './engine.ts';

/** The build that the environment asks for (`VXLANE_WASM=scalar`), or that fits. */
export function preferredBuild(): EngineBuild {
  return process.env.VXLANE_WASM === 'scalar' ? 'scalar' : fittingBuild();
}

/** A compiled engine: cheap to post to a worker thread. @throws VtepError SYSTEM */
export function compileEngine(build: EngineBuild = preferredBuild()): WebAssembly.Module {
  return new WebAssembly.Module(readEngine(build));
}

/** @throws VtepError SYSTEM */
export function readEngine(build: EngineBuild): Uint8Array<ArrayBuffer> {
  return readFile(import.meta.resolve(`#engine/${build}.wasm`));
}

/** @param url of a file. @throws VtepError SYSTEM */
export function readFile(url: string | URL): Uint8Array<ArrayBuffer> {
  const path = fileURLToPath(url);
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new VtepError('SYSTEM', `engine: cannot read ${path} (${String(cause)}): run "npm run build"`);
  }
}
