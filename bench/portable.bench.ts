/**
 * A portable VTEP as a program drives it: frames per second from one memory port through encap, an underlay and decap
 * to another memory port, none lost; over a network in memory, dgram and batched sockets (loopback), in turns. Both VTEPs
 * on this one thread, or each on a thread of its own.
 *
 *   node --import tsx bench/portable.bench.ts [BYTES ...]
 */
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import {
  batchedUnderlay,
  createMemoryNetwork,
  createMemoryPort,
  createVtep,
  dgramUnderlay,
  type MemoryPort,
  type Underlay,
} from '../src/index.ts';
import { median } from './samples.ts';

const BURST = 64;
const SECONDS = 0.4;
const ROUNDS = 3;
const SIZES = [64, 512, 1400, 9000];
const MTU = 9500;
const ADDRESSES: readonly [string, string] = ['127.0.0.1', '127.0.0.2'];
/** Bursts on their way between two threads: what a receive buffer of an ordinary user holds. */
const WINDOW_BYTES = 100_000;

type Kind = 'memory' | 'dgram' | 'batched';

const turn = () => new Promise((resolve) => setImmediate(resolve));

function socketsAt(kind: Kind, address: string): Underlay {
  return kind === 'dgram' ? dgramUnderlay({ address }) : batchedUnderlay({ address });
}

/** A VTEP with one device, and the program's end of its port. */
async function endOf(underlay: Underlay, remote: string) {
  const [mine, its] = createMemoryPort();
  const vtep = await createVtep({ underlay });
  await vtep.addDevice({ name: 'vx0', id: 1, dstport: 24800, mtu: MTU, remote, port: its });
  return { vtep, mine };
}

function counting(port: MemoryPort): () => number {
  let heard = 0;
  port.start({
    frames: (batch) => {
      heard += batch.length;
    },
    closed() {},
    warn() {},
  });
  return () => heard;
}

/** Frames per second; at most `window` are on their way. */
async function rate(from: MemoryPort, bytes: number, window: number, heard: () => number): Promise<number> {
  const frame = new Uint8Array(bytes);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  const burst = Array.from({ length: Math.min(BURST, window) }, () => frame);
  const began = performance.now();
  const first = heard();
  let sent = 0;
  while (performance.now() - began < SECONDS * 1000) {
    from.write(burst);
    sent += burst.length;
    const most = sent + burst.length - window;
    for (const end = performance.now() + 1000; heard() - first < most; await turn())
      if (performance.now() > end) throw new Error(`${most - heard() + first} of ${sent} frames were lost`);
  }
  while (heard() - first < sent) await turn();
  return (sent / (performance.now() - began)) * 1000;
}

async function oneThread(kind: Kind, bytes: number): Promise<number> {
  const network = createMemoryNetwork();
  const [one, other] = ADDRESSES.map((address) =>
    kind === 'memory' ? network.host(address) : socketsAt(kind, address),
  );
  const near = await endOf(one!, ADDRESSES[1]);
  const far = await endOf(other!, ADDRESSES[0]);
  const figure = await rate(near.mine, bytes, BURST, counting(far.mine));
  await near.vtep.close();
  await far.vtep.close();
  return figure;
}

/** A thread does not inherit what reads TypeScript. */
const THREAD = `
const { workerData } = require('node:worker_threads');
import('tsx/esm/api').then(({ register }) => (register(), import(workerData.script)));
`;

interface Task {
  script: string;
  kind: Kind;
  heard: Int32Array;
}

async function farThread({ kind, heard }: Task): Promise<void> {
  const { vtep, mine } = await endOf(socketsAt(kind, ADDRESSES[1]), ADDRESSES[0]);
  mine.start({
    frames: (batch) => void Atomics.add(heard, 0, batch.length),
    closed() {},
    warn() {},
  });
  parentPort!.once('message', () => vtep.close());
  parentPort!.postMessage('ready');
}

async function twoThreads(kind: Kind, bytes: number): Promise<number> {
  const heard = new Int32Array(new SharedArrayBuffer(4));
  const task: Task = { script: import.meta.url, kind, heard };
  const worker = new Worker(THREAD, { eval: true, workerData: task });
  await new Promise((resolve) => worker.once('message', resolve));
  const near = await endOf(socketsAt(kind, ADDRESSES[0]), ADDRESSES[1]);
  const window = Math.max(2, Math.min(2 * BURST, Math.floor(WINDOW_BYTES / (bytes + 800))));
  const figure = await rate(near.mine, bytes, window, () => Atomics.load(heard, 0));
  worker.postMessage('end');
  await new Promise((resolve) => worker.once('exit', resolve));
  await near.vtep.close();
  return figure;
}

async function table(sizes: readonly number[]): Promise<void> {
  console.log('thousand frames per second          one thread                 two threads');
  console.log('frame, bytes               memory    dgram   batched        dgram   batched');
  for (const bytes of sizes) {
    const ways = [
      ...(['memory', 'dgram', 'batched'] as const).map((kind) => () => oneThread(kind, bytes)),
      ...(['dgram', 'batched'] as const).map((kind) => () => twoThreads(kind, bytes)),
    ];
    const figures: number[][] = ways.map(() => []);
    for (let round = 0; round < ROUNDS; ++round)
      for (const [index, way] of ways.entries()) figures[index]!.push((await way()) / 1000);
    const cells = figures.map((some) => median(some).toFixed(0).padStart(10));
    console.log(`${String(bytes).padEnd(23)}${cells.slice(0, 3).join('')}   ${cells.slice(3).join('')}`);
  }
}

if (!isMainThread) await farThread(workerData as Task);
else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sizes = process.argv.slice(2).map(Number);
  await table(sizes.length === 0 ? SIZES : sizes);
}
