/** `vxlane/dataplane/wasm`: the engine as text in a module, for bundles and runtimes without files. */
import { release, scalar } from '../../build/engines.ts';
import { fittingBuild } from './engine.ts';

/**
 * The engine's bytes, about 40 KB: for `createDataplane({ bytes })`.
 * @param build absent: the one that fits. `release` needs 128-bit SIMD, `scalar` does not
 */
export function engineBytes(build?: 'release' | 'scalar'): Uint8Array<ArrayBuffer> {
  const text = (build ?? fittingBuild()) === 'scalar' ? scalar : release;
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
