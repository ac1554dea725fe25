/** What a program under Node may write against every entry; the compiler is what runs it. */
import { once } from 'node:events';
import {
  attachDataplane,
  createMemoryNetwork,
  createMemoryPort,
  createSink,
  createVtep,
  type DeviceInfo,
  dgramUnderlay,
  type FdbEntry,
  type FramePort,
  fromDuplex,
  type PortableVtep,
  type SinkPacket,
  type Underlay,
  type Vtep,
  VtepError,
  type VtepErrorCode,
} from 'vxlane';
import { createDataplane, type EmbeddedDataplane } from 'vxlane/dataplane';
import { engineBytes } from 'vxlane/dataplane/wasm';

const bytes: Uint8Array = engineBytes('scalar');
const plane: EmbeddedDataplane = createDataplane();
const number: number = createDataplane({ bytes: engineBytes(), queues: 2 }).addDevice({
  name: 'a',
  vni: 42,
  address: '02:00:00:00:00:01',
});
for (const { bytes, address, port } of plane.encap('a', new Uint8Array(60)))
  console.log(bytes.byteLength, address.length, port.toFixed());
const queue = attachDataplane(plane.share());
const frames = queue.frames(64);
for (const slot of frames.slots) slot.device = number;
const sent = queue.encap(frames);
while (sent.next()) console.log(sent.bytes, sent.flow);

const underlay: Underlay = dgramUnderlay({ sources: 0 });
await using vtep = await createVtep({ underlay, logger: (level, message) => console.log(level, message) });
const portable: PortableVtep = vtep;
const [mine, its] = createMemoryPort({ queue: 10 });
const info: DeviceInfo = await portable.addDevice({ name: 'vx0', id: 42, port: its });
mine.start({ frames: (batch) => console.log(batch.length) });
vtep.on('learned', (entry: FdbEntry) => console.log(entry.mac, entry.dst));
vtep.on('miss', ({ ifname, lladdr }) => {
  if (lladdr !== undefined) vtep.fdb({ op: 'add', dev: ifname, mac: lladdr, dst: '192.0.2.2' });
});
await once(vtep, 'drop');
// @ts-expect-error: a VTEP on ports wants one
await vtep.addDevice({ name: 'vx1', id: 43 });
// @ts-expect-error: no such operation
vtep.fdb({ op: 'remove', dev: 'vx0', mac: '02:00:00:00:00:01' });

const batched: Vtep = await createVtep({ signal: AbortSignal.timeout(1000) });
await batched.addDevice({ name: 'vx0', id: 42, remote: '192.0.2.2', dev: 'eth0' });

const other: FramePort = fromDuplex({ on: () => {}, write: () => true });
createMemoryNetwork({ delay: 1 }).host('192.0.2.1', '2001:db8::1');
await using sink = await createSink({
  onPackets: (packets: SinkPacket[]) => console.log(packets[0]?.timestamp),
});
try {
  await sink.close();
} catch (error) {
  const code: VtepErrorCode | undefined = error instanceof VtepError ? error.code : undefined;
  console.log(code, other.kind, info.config.mtu, bytes);
}
