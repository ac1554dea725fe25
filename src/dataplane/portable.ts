/**
 * `vxlane/dataplane` for browsers and whatever else runs JavaScript: it imports no module of a runtime's and does
 * nothing until it is called.
 */
import { VtepError } from '../errors.ts';
import { create, type DataplaneOptions, type OpenOptions, open } from './doors.ts';
import type { EmbeddedDataplane } from './embedded-types.ts';

export * from './exported.ts';

/**
 * A dataplane of its own, in this thread, from an engine that is at hand: `{ bytes: engineBytes() }` with
 * `engineBytes` of `vxlane/dataplane/wasm`. Where the engine has to come first, `openDataplane`.
 * (The options may only be left out under Node, Bun and Deno, which find the engine themselves.)
 * @throws VtepError USAGE
 */
export function createDataplane(options: DataplaneOptions = {}): EmbeddedDataplane {
  return create(options, () => {
    throw new VtepError('USAGE', 'dataplane: give it "bytes" or a "module", or use openDataplane');
  });
}

/** The same; an engine that is not given comes from `vxlane/dataplane/wasm`, loaded when it is needed. */
export function openDataplane(options: OpenOptions = {}): Promise<EmbeddedDataplane> {
  return open(options, async () => (await import('./wasm.ts')).engineBytes());
}
