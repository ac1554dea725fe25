/**
 * Entry of the sink's thread: receive, walk, write, and nothing else, so that neither a slow callback nor the event
 * loop costs a datagram. It never returns to its own event loop; CONTROL_STOP and the poller's eventfd end it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { VtepError } from '../errors.ts';
import { dropsOf } from '../io/udp.ts';
import { FileOutput } from './file-output.ts';
import { type Output, SinkEnded } from './output.ts';
import { PacketOutput, type Piece } from './packet-output.ts';
import { openReceiver } from './receiver.ts';
import { Recorder } from './recorder.ts';
import { type SinkStats, statsOf } from './stats.ts';
import { TapOutput } from './tap-output.ts';
import {
  CONTROL_ASKED,
  CONTROL_PIECES,
  CONTROL_STOP,
  PIECES_MAX,
  type ThreadStart,
  type Told,
} from './thread-start.ts';

const WAIT_MS = 100;

const start = workerData as ThreadStart;
const { control, poller, sockets } = start;
const stopped = () => Atomics.load(control, CONTROL_STOP) !== 0;
const kernelDrops = () => sockets.reduce((sum, fd) => sum + dropsOf(fd), 0);
const tell = (told: Told) => parentPort?.postMessage(told);

let file: FileOutput | undefined;
let recorder: Recorder | undefined;
const stats = (): SinkStats => statsOf(recorder!, kernelDrops(), file?.files ?? 0);

try {
  record();
  tell({ kind: 'ended', stats: stats() });
} catch (error) {
  const code = error instanceof VtepError ? error.code : 'SYSTEM';
  const message = error instanceof VtepError ? error.message : `sink: ${(error as Error).stack}`;
  tell({ kind: 'failed', code, message, ...(recorder === undefined ? {} : { stats: stats() }) });
}

function record(): void {
  const outputs: Output[] = [];
  if (start.write !== undefined) {
    file = new FileOutput(start.write, start.rotation, stopped);
    outputs.push(file);
  }
  const tap = start.tap < 0 ? undefined : new TapOutput(start.tap);
  if (tap !== undefined) outputs.push(tap);
  if (start.packets) outputs.push(new PacketOutput(hand));
  try {
    recorder = new Recorder(start.recorder, outputs, kernelDrops);
    if (tap !== undefined) tap.counters = recorder.walk.view;
    // A reader of standard output sees the file's beginning at once.
    recorder.flush();
    const receiver = openReceiver(recorder, sockets, poller);
    tell({ kind: 'ready' });
    let answered = 0;
    while (!stopped()) {
      const due = Math.min(...outputs.map((output) => output.dueIn(Date.now())));
      receiver.receive(Math.max(0, due));
      recorder.flush();
      const asked = Atomics.load(control, CONTROL_ASKED);
      if (asked !== answered) tell({ kind: 'stats', stats: stats() });
      answered = asked;
    }
    // What has come until now is in the socket.
    receiver.receive(0);
    recorder.finish();
  } catch (error) {
    if (!(error instanceof SinkEnded)) throw error;
  } finally {
    for (const output of outputs) output.close();
  }
}

function hand(piece: Piece): void {
  while (Atomics.load(control, CONTROL_PIECES) >= PIECES_MAX && !stopped()) {
    Atomics.wait(control, CONTROL_PIECES, PIECES_MAX, WAIT_MS);
  }
  Atomics.add(control, CONTROL_PIECES, 1);
  parentPort?.postMessage({ kind: 'piece', piece } satisfies Told, [piece.blocks.buffer]);
}
