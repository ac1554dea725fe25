/** What a page or a worker may write against the dataplane: no types of a runtime's are there. */
import { createDataplane, type Datagram, openDataplane, VtepError } from 'vxlane/dataplane';
import { engineBytes } from 'vxlane/dataplane/wasm';

const plane = await openDataplane({ url: new URL('/release.wasm', location.href) });
const other = createDataplane({ bytes: engineBytes(), shared: false });
const datagrams: Datagram[] = plane.encap('a', new Uint8Array(60));
for (const { bytes } of datagrams) new Blob([bytes]).size.toFixed();
other.subscribe((event) => {
  if (event.event === 'miss') console.log(event.lladdr, event.dst);
});
try {
  other.fdb.apply({ op: 'add', dev: 'a', mac: '02:00:00:00:00:01', dst: '192.0.2.2' });
} catch (error) {
  if (error instanceof VtepError && error.code === 'NOT_FOUND') console.log(error.message);
}
