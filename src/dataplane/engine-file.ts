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
  return readFile(
    import.meta.resolve(`#engine/${build}.wasm`),
    'install vxlane anew, or run "npm run build" in a checkout',
  );
}

/** @param url of a file; @param remedy what to do without it. @throws VtepError SYSTEM */
export function readFile(
  url: string | URL,
  remedy = 'name a copy of vxlane/dataplane/release.wasm',
): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(fileURLToPath(url)));
  } catch (cause) {
    throw new VtepError('SYSTEM', `engine: ${(cause as Error).message}: ${remedy}`);
  }
}
