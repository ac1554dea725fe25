/** The sink on batches of system calls (Linux, koffi): sockets, the thread that reads them, and talking with it. */
import { EventEmitter } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { VtepError, type VtepErrorCode } from '../errors.ts';
import { closePoller, openPoller, wake, watch } from '../io/poller.ts';
import { closeTap, openTap, type Tap } from '../io/tap.ts';
import { portOf } from '../io/udp.ts';
import { PieceReader } from './packet-output.ts';
import type { Engine, Settings } from './settings.ts';
import { closeSockets, openSockets } from './sockets.ts';
import type { SinkStats } from './stats.ts';
import {
  CONTROL_ASKED,
  CONTROL_PIECES,
  CONTROL_STOP,
  CONTROL_WORDS,
  type ThreadStart,
  type Told,
} from './thread-start.ts';

export async function openBatched(settings: Settings): Promise<Engine> {
  const { address, bufferBytes, onPackets, recorder, rotation, tap: tapName, write } = settings;
  const sockets = openSockets(settings.ports, address, bufferBytes);
  const poller = openPoller();
  let tap: Tap | undefined;
  const release = () => {
    closeSockets(sockets);
    closePoller(poller);
    if (tap !== undefined) closeTap(tap);
  };
  try {
    sockets.forEach((fd, index) => {
      watch(poller, fd, index + 1);
    });
    if (tapName !== undefined) tap = openTap(tapName, 1, { uso: false });
  } catch (error) {
    release();
    throw error;
  }
  const ports = [...new Set(sockets.map(portOf))];
  const control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  const start: ThreadStart = {
    recorder: { ...recorder, ports },
    sockets,
    poller,
    ...(write === undefined ? {} : { write }),
    ...(rotation === undefined ? {} : { rotation }),
    tap: tap?.queues[0] ?? -1,
    packets: onPackets !== undefined,
    control,
  };
  const entry = fileURLToPath(import.meta.resolve('#sink-thread'));
  const worker = new Worker(entry, { workerData: start, name: 'vxlane sink', execArgv: [] });
  const told = new EventEmitter();
  const reader = new PieceReader();
  let last: SinkStats | undefined;
  const ended = new Promise<SinkStats>((resolve, reject) => {
    worker.on('message', (message: Told) => {
      if (message.kind === 'piece') {
        try {
          onPackets?.(reader.packets(message.piece));
        } finally {
          Atomics.sub(control, CONTROL_PIECES, 1);
          Atomics.notify(control, CONTROL_PIECES);
        }
      } else if (message.kind === 'ready' || message.kind === 'stats') told.emit(message.kind, message);
      else if (message.kind === 'ended') last = message.stats;
      else reject(new VtepError(message.code as VtepErrorCode, message.message));
    });
    worker.once('error', (error) => reject(new VtepError('SYSTEM', `sink: ${error.message}`)));
    worker.once('exit', () => {
      release();
      told.emit('gone');
      if (last === undefined) reject(new VtepError('SYSTEM', 'sink: the thread has ended'));
      else resolve(last);
    });
  });
  // Whoever waits for it hears of it; nobody has to.
  ended.catch(() => {});
  await Promise.race([new Promise((resolve) => told.once('ready', resolve)), ended]);
  const stop = () => {
    if (last !== undefined) return;
    Atomics.store(control, CONTROL_STOP, 1);
    Atomics.notify(control, CONTROL_PIECES);
    wakeUp();
  };
  let gone = false;
  told.once('gone', () => {
    gone = true;
  });
  const wakeUp = () => {
    if (!gone) wake(poller);
  };
  return {
    ports,
    ended,
    stop,
    stats: () => {
      if (gone) return ended;
      return new Promise((resolve, reject) => {
        told.once('stats', ({ stats }: { stats: SinkStats }) => resolve(stats));
        ended.then(resolve, reject);
        Atomics.add(control, CONTROL_ASKED, 1);
        wakeUp();
      });
    },
  };
}
