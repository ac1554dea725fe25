/** `vxlane/dataplane` for Deno: as for Node, but that the engine comes as text, so that it needs no permission. */
import { create, type DataplaneOptions, type OpenOptions, open } from './doors.ts';
import type { EmbeddedDataplane } from './embedded-types.ts';
import { engineBytes } from './wasm.ts';

export * from './exported.ts';

/** A dataplane of its own, in this thread. @throws VtepError USAGE */
export function createDataplane(options: DataplaneOptions = {}): EmbeddedDataplane {
  return create(options, () => engineBytes());
}

/** The same, without a thread that waits for the compiler. @throws VtepError USAGE, SYSTEM */
export function openDataplane(options: OpenOptions = {}): Promise<EmbeddedDataplane> {
  return open(options, () => engineBytes());
}
