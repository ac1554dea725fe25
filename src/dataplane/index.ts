/** `vxlane/dataplane` for Node: the embeddable module, which finds its engine as a file. */
import { create, type DataplaneOptions, type OpenOptions, open } from './doors.ts';
import type { EmbeddedDataplane } from './embedded-types.ts';
import { preferredBuild, readEngine, readFile } from './engine-file.ts';

export * from './exported.ts';

/**
 * A dataplane of its own, in this thread.
 *
 * @example
 * const dataplane = createDataplane();
 * dataplane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:01', remote: '192.0.2.2' });
 * for (const { bytes, address, port } of dataplane.encap('a', frame)) socket.send(bytes, port, address);
 *
 * @throws VtepError USAGE
 */
export function createDataplane(options: DataplaneOptions = {}): EmbeddedDataplane {
  return create(options, () => readEngine(preferredBuild()));
}

/** The same, without a thread that waits for the compiler. @throws VtepError USAGE, SYSTEM */
export function openDataplane(options: OpenOptions = {}): Promise<EmbeddedDataplane> {
  return open(
    options,
    () => readEngine(preferredBuild()),
    (url) => (url.protocol === 'file:' ? readFile(url) : undefined),
  );
}
