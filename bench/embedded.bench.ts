/**
 * The embeddable dataplane, through its public doors alone: nanoseconds per packet for encap and decap in batches of
 * 64, for 64 to 9000 bytes, on one thread and on two; what an instance costs; whether anything is collected while
 * packets are carried; and what hooks add.
 *
 *   in place   the frame lies in its slot already: length and device are set, every datagram is asked for its bytes,
 *              address and port (decap: bytes and device)
 *   filled     the same, and the frame (the datagram) is copied into the slot first
 *   simple     the door that copies in and out, one packet a call
 *
 *   node --import tsx bench/embedded.bench.ts [packets for the collection runs, 10 million]
 */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import {
  attachDataplane,
  createDataplane,
  type DataplaneQueue,
  type HookBatch,
  type HookFunction,
  type SharedDataplane,
} from '../src/dataplane/index.ts';
import { ethernet, ipv4 } from '../test/support/frames.ts';
import { udp } from '../test/support/messages.ts';
import { median } from './samples.ts';

const BATCH = 64;
const FRAME_BYTES = [64, 128, 256, 512, 1024, 1500, 9000];
const PORT = 4789;
const SENDER = '192.0.2.2';
const ROUND_MS = 40;
const ROUNDS = 9;

type Burst = () => number;

function macOf(number: number): string {
  return `02:00:00:00:01:${number.toString(16).padStart(2, '0')}`;
}

function frameOf(bytes: number, number: number): Uint8Array {
  const addresses = { source: macOf(number), destination: macOf(number) };
  return ethernet(addresses, ipv4({}, udp({ sourcePort: 1024 + number }, new Uint8Array(bytes - 42))));
}

function datagramOf(bytes: number, number: number): Uint8Array {
  return Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0, ...frameOf(bytes, number));
}

/** A device that learns, as devices do, and an entry for each of the MACs. */
function planeOf(queues = 1) {
  const plane = createDataplane({ queues });
  const device = plane.addDevice({ name: 'a', vni: 42, address: '02:00:00:00:00:ff', port: PORT });
  for (let number = 0; number < BATCH; ++number) {
    plane.fdb.apply({ op: 'add', dev: 'a', mac: macOf(number), dst: SENDER, state: 'dynamic' });
  }
  return { plane, device };
}

function encapBurst(queue: DataplaneQueue, device: number, bytes: number, fills: boolean): Burst {
  const batch = queue.frames(BATCH, bytes);
  const frames = batch.slots.map((slot, number) => {
    slot.write(frameOf(bytes, number));
    return frameOf(bytes, number);
  });
  return () => {
    for (let index = 0; index < BATCH; ++index) {
      const slot = batch.slots[index]!;
      if (fills) slot.bytes.set(frames[index]!);
      slot.length = bytes;
      slot.device = device;
    }
    const sent = queue.encap(batch);
    let sum = 0;
    let count = 0;
    while (sent.next()) {
      sum += sent.bytes.length + sent.port + sent.address.length;
      ++count;
    }
    if (count !== BATCH) throw new Error(`encap: ${count} datagrams of ${BATCH}`);
    return sum;
  };
}

function decapBurst(queue: DataplaneQueue, bytes: number, fills: boolean): Burst {
  const batch = queue.datagrams(BATCH, bytes + 8);
  const datagrams = batch.slots.map((slot, number) => {
    slot.write(datagramOf(bytes, number), SENDER);
    return datagramOf(bytes, number);
  });
  return () => {
    for (let index = 0; index < BATCH; ++index) {
      const slot = batch.slots[index]!;
      if (fills) slot.bytes.set(datagrams[index]!);
      slot.length = bytes + 8;
      slot.sender = SENDER;
    }
    const arrived = queue.decap(batch, PORT);
    let sum = 0;
    let count = 0;
    while (arrived.next()) {
      sum += arrived.bytes.length + arrived.device;
      ++count;
    }
    if (count !== BATCH) throw new Error(`decap: ${count} frames of ${BATCH}`);
    return sum;
  };
}

/** Median over rounds, in ns per packet. */
function time(burst: Burst, packets = BATCH): number {
  const round = () => {
    const start = performance.now();
    let bursts = 0;
    let now = start;
    for (; now - start < ROUND_MS; now = performance.now(), bursts += 16)
      for (let i = 0; i < 16; ++i) burst();
    return ((now - start) * 1e6) / (bursts * packets);
  };
  round();
  round();
  return median(Array.from({ length: ROUNDS }, round));
}

function oneThread(): void {
  console.log('ns per packet, one thread    in place           filled             simple');
  console.log('frame, bytes                 encap    decap     encap    decap     encap    decap');
  for (const bytes of FRAME_BYTES) {
    const { plane, device } = planeOf();
    const far = planeOf().plane;
    const frame = frameOf(bytes, 1);
    const datagram = datagramOf(bytes, 1);
    const figures = [
      time(encapBurst(plane.queue, device, bytes, false)),
      time(decapBurst(plane.queue, bytes, false)),
    ];
    plane.close();
    const filled = planeOf();
    figures.push(
      time(encapBurst(filled.plane.queue, filled.device, bytes, true)),
      time(decapBurst(filled.plane.queue, bytes, true)),
      time(() => far.encap('a', frame).length, 1),
      time(() => far.decap(datagram, SENDER, PORT).length, 1),
    );
    console.log(String(bytes).padEnd(29) + figures.map((figure) => figure.toFixed(1).padEnd(9)).join(''));
  }
}

/** A thread does not inherit what reads TypeScript. */
const THREAD = `
const { workerData } = require('node:worker_threads');
import('tsx/esm/api').then(({ register }) => (register(), import(workerData.script)));
`;

interface Task {
  shared: SharedDataplane;
  device: number;
  bytes: number;
}

/** Encap, then decap, in a thread of its own, both at once in all threads. */
function work({ shared, device, bytes }: Task): void {
  const queue = attachDataplane(shared);
  const bursts = { encap: encapBurst(queue, device, bytes, false), decap: decapBurst(queue, bytes, false) };
  parentPort!.on('message', (kind: 'encap' | 'decap' | 'end') => {
    if (kind === 'end') process.exit();
    parentPort!.postMessage(time(bursts[kind]));
  });
  parentPort!.postMessage(0);
}

async function twoThreads(): Promise<void> {
  console.log('\nmillion packets per second, in place    one thread         two threads on one memory');
  console.log('frame, bytes                            encap    decap     encap    decap');
  for (const bytes of [64, 1500, 9000]) {
    const { plane, device } = planeOf(3);
    const row: number[] = [];
    for (const threads of [1, 2]) {
      const workerData = {
        script: import.meta.url,
        shared: plane.share(),
        device,
        bytes,
      };
      const workers = Array.from({ length: threads }, () => new Worker(THREAD, { eval: true, workerData }));
      const answers = () =>
        Promise.all(workers.map((one) => new Promise<number>((done) => one.once('message', done))));
      await answers();
      for (const kind of ['encap', 'decap']) {
        const answered = answers();
        for (const one of workers) one.postMessage(kind);
        row.push((await answered).reduce((sum, ns) => sum + 1e3 / ns, 0));
      }
      for (const [index, one] of workers.entries()) {
        await one.terminate();
        plane.reclaim(index + 1);
      }
    }
    console.log(String(bytes).padEnd(40) + row.map((figure) => figure.toFixed(1).padEnd(9)).join(''));
  }
}

function residentMiB(): number {
  return process.memoryUsage.rss() / 2 ** 20;
}

/** Planes that are made and kept, each with a device; and what carrying packets adds. */
function instances(): void {
  planeOf();
  const count = 16;
  const before = residentMiB();
  const start = performance.now();
  const planes = Array.from({ length: count }, () => createDataplane());
  const created = (performance.now() - start) / count;
  const made = (residentMiB() - before) / count;
  const { memoryBytes } = planes[0]!;
  const { plane, device } = planeOf();
  const [encap, decap] = [encapBurst(plane.queue, device, 64, false), decapBurst(plane.queue, 64, false)];
  const idle = residentMiB();
  for (let i = 0; i < 1000; ++i) encap();
  for (let i = 0; i < 1000; ++i) decap();
  const used = residentMiB() - idle;
  console.log(
    `\nan instance: ${created.toFixed(2)} ms, ${made.toFixed(2)} MiB resident of ${(memoryBytes / 2 ** 20).toFixed(0)} MiB reserved; ${used.toFixed(2)} MiB more once packets of 64 bytes have gone both ways`,
  );
}

/** Carries packets both ways and counts what the collector does meanwhile. */
async function collections(packets: number, hook?: HookFunction): Promise<void> {
  const { plane, device } = planeOf();
  for (const direction of ['encap', 'decap'] as const) plane.queue.setHook(device, direction, hook);
  const bursts = [encapBurst(plane.queue, device, 64, true), decapBurst(plane.queue, 64, true)];
  const seen: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      seen.push((entry as unknown as { detail: { kind: number } }).detail.kind);
  });
  for (let i = 0; i < 20_000; ++i) for (const burst of bursts) burst();
  (globalThis as { gc?: () => void }).gc?.();
  observer.observe({ entryTypes: ['gc'] });
  await new Promise((done) => setTimeout(done, 100));
  seen.length = 0;
  const start = performance.now();
  let carried = 0;
  for (; carried < packets; carried += BATCH * bursts.length) for (const burst of bursts) burst();
  const seconds = (performance.now() - start) / 1000;
  await new Promise((done) => setTimeout(done, 100));
  observer.disconnect();
  const minor = seen.filter((kind) => kind === constants.NODE_PERFORMANCE_GC_MINOR).length;
  console.log(
    `\n${(carried / 1e6).toFixed(1)} million packets, half of them encap and half decap, filled${hook === undefined ? '' : ', through a hook'}, in ${seconds.toFixed(2)} s: ${seen.length} collections (${minor} minor)`,
  );
}

/** By protocol and port, as firewalls do; none of these packets is dropped. */
function firewall(batch: HookBatch): void {
  while (batch.next()) {
    const { bytes, l3 } = batch;
    if (l3 !== 0 && bytes[l3 + 9] === 6 && bytes[l3 + 22] === 0 && bytes[l3 + 23] === 23) batch.drop();
    else batch.pass();
  }
}

/** Modules in WebAssembly are measured by hooks.bench.ts. */
function hooks(): void {
  const kinds: [string, HookFunction | undefined][] = [
    ['none', undefined],
    [
      'a function that passes',
      (batch) => {
        while (batch.next()) batch.pass();
      },
    ],
    ['a function that looks', firewall],
  ];
  const bursts = kinds.map(([name, hook]) => {
    const { plane, device } = planeOf();
    for (const direction of ['encap', 'decap'] as const) plane.queue.setHook(device, direction, hook);
    return {
      name,
      encap: encapBurst(plane.queue, device, 64, false),
      decap: decapBurst(plane.queue, 64, false),
    };
  });
  console.log('\nns per packet of 64 bytes, in place    encap    decap');
  for (const { name, encap, decap } of bursts)
    console.log(name.padEnd(39) + [encap, decap].map((burst) => time(burst).toFixed(1).padEnd(9)).join(''));
}

if (!isMainThread) work(workerData as Task);
else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  instances();
  await collections(Number(process.argv[2] ?? 10e6));
  await collections(Number(process.argv[2] ?? 10e6), firewall);
  hooks();
  oneThread();
  await twoThreads();
}
