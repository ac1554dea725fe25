/**
 * A portable VTEP as a program drives it: frames per second from one memory port through encap, an underlay and decap
 * to another memory port, both VTEPs on this one thread, none lost.
 *
 *   node --import tsx bench/portable.bench.ts
 */
import {
  createMemoryNetwork,
  createMemoryPort,
  createVtep,
  dgramUnderlay,
  type Underlay,
} from '../src/index.ts';

const BURST = 64;
const SECONDS = 1.5;
const SIZES = [64, 1400];

async function rate(
  near: Underlay,
  far: Underlay,
  addresses: [string, string],
  bytes: number,
): Promise<number> {
  const [mine, its] = createMemoryPort();
  const [yours, theirs] = createMemoryPort();
  const from = await createVtep({ underlay: near });
  const to = await createVtep({ underlay: far });
  await from.addDevice({ name: 'vx0', id: 1, dstport: 24800, remote: addresses[1], port: its });
  await to.addDevice({ name: 'vx0', id: 1, dstport: 24800, remote: addresses[0], port: theirs });
  let heard = 0;
  yours.start({
    frames: (batch) => {
      heard += batch.length;
    },
    closed() {},
    warn() {},
  });
  const frame = new Uint8Array(bytes);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  const burst = Array.from({ length: BURST }, () => frame);
  const began = performance.now();
  let sent = 0;
  while (performance.now() - began < SECONDS * 1000) {
    mine.write(burst);
    sent += BURST;
    for (
      const end = performance.now() + 1000;
      heard < sent;
      await new Promise((resolve) => setImmediate(resolve))
    )
      if (performance.now() > end) throw new Error(`${sent - heard} of ${sent} frames were lost`);
  }
  const seconds = (performance.now() - began) / 1000;
  await from.close();
  await to.close();
  return heard / seconds;
}

for (const bytes of SIZES) {
  const network = createMemoryNetwork();
  const inMemory = await rate(
    network.host('192.0.2.1'),
    network.host('192.0.2.2'),
    ['192.0.2.1', '192.0.2.2'],
    bytes,
  );
  const overDgram = await rate(
    dgramUnderlay({ address: '127.0.0.1' }),
    dgramUnderlay({ address: '127.0.0.2' }),
    ['127.0.0.1', '127.0.0.2'],
    bytes,
  );
  const thousands = (value: number) => `${Math.round(value / 1000)} k frames/s`;
  console.log(`${bytes} bytes: in memory ${thousands(inMemory)}, over dgram ${thousands(overDgram)}`);
}
