/** The sink on Node's own sockets: any system, one datagram per call, on the thread that it was opened on. */
import {
  AF_INET6,
  CMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  SO_TIMESTAMPNS,
  SOL_SOCKET,
} from '../../assembly/layout.ts';
import {
  SINK_BUFFERS_BASE,
  SINK_RECEIPT_CONTROL_OFFSET,
  SINK_RECEIPTS_BASE,
  SINK_RECEIVES_BASE,
} from '../../assembly/sink-layout.ts';
import { VtepError } from '../errors.ts';
import { openPortablePort, type PortablePort } from '../io/portable.ts';
import { FileOutput } from './file-output.ts';
import { type Output, SinkEnded } from './output.ts';
import { PacketOutput, PieceReader } from './packet-output.ts';
import { Recorder } from './recorder.ts';
import type { Engine, Settings } from './settings.ts';
import { sourceBytes } from './source.ts';
import { type SinkStats, statsOf } from './stats.ts';
import type { Walk } from './walk.ts';

/** Headers of struct cmsghdr and struct timespec. */
const TIME_BYTES = CMSGHDR_BYTES + 16;
/** A file may be too old though nothing comes. */
const TICK_MS = 500;

export async function openPortable(settings: Settings): Promise<Engine> {
  if (settings.tap !== undefined)
    throw new VtepError(
      'UNSUPPORTED',
      'sink: a TAP needs Linux and the optional dependency koffi: npm install koffi',
    );
  const { onPackets, write } = settings;
  let received = (_datagram: Uint8Array, _sender: string): void => {};
  const sockets = await openPorts(settings, (datagram, sender) => received(datagram, sender));
  const closeAll = () => Promise.all(sockets.map((socket) => socket.close()));
  const ports = [...new Set(sockets.map(({ port }) => port))];
  const outputs: Output[] = [];
  let recorder: Recorder;
  try {
    if (write !== undefined) outputs.push(new FileOutput(write, settings.rotation));
    if (onPackets !== undefined) {
      const reader = new PieceReader();
      outputs.push(new PacketOutput((piece) => callBack(onPackets, reader.packets(piece))));
    }
    recorder = new Recorder({ ...settings.recorder, ports }, outputs, () => 0);
    recorder.flush();
  } catch (error) {
    for (const output of outputs) output.close();
    await closeAll();
    throw error;
  }

  const files = () => (outputs[0] instanceof FileOutput ? outputs[0].files : 0);
  const stats = (): SinkStats => statsOf(recorder, undefined, files());
  let settle: { resolve(stats: SinkStats): void; reject(error: unknown): void } | undefined;
  const ended = new Promise<SinkStats>((resolve, reject) => {
    settle = { resolve, reject };
  });
  ended.catch(() => {});
  let flushing: NodeJS.Immediate | undefined;

  /** Whatever fails ends the sink. */
  function attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      end(error);
    }
  }
  function flush(): void {
    flushing = undefined;
    attempt(() => recorder.flush());
  }
  const tick = setInterval(flush, TICK_MS);
  function end(error?: unknown): void {
    if (settle === undefined) return;
    const { reject, resolve } = settle;
    settle = undefined;
    received = () => {};
    clearInterval(tick);
    if (flushing !== undefined) clearImmediate(flushing);
    let failure = error;
    try {
      if (failure === undefined) recorder.finish();
      for (const output of outputs) output.close();
    } catch (another) {
      failure ??= another;
    }
    const last = stats();
    const settled = () =>
      failure === undefined || failure instanceof SinkEnded ? resolve(last) : reject(failure);
    closeAll().then(settled, settled);
  }
  received = (datagram, sender) => {
    if (settle === undefined) return;
    attempt(() => {
      give(recorder.walk, datagram, sender);
      flushing ??= setImmediate(flush);
    });
  };
  return { ports, ended, stop: () => end(), stats: async () => (settle === undefined ? ended : stats()) };
}

type Received = (datagram: Uint8Array, sender: string) => void;

async function openPorts(
  { address, bufferBytes, ports }: Settings,
  received: Received,
): Promise<PortablePort[]> {
  const open: PortablePort[] = [];
  try {
    for (const port of ports) open.push(await openPort(address, port, bufferBytes, received));
    return open;
  } catch (error) {
    for (const socket of open) await socket.close();
    throw error;
  }
}

async function openPort(
  address: string,
  port: number,
  bytes: number,
  received: Received,
): Promise<PortablePort> {
  try {
    // "::" hears both families, where the system has IPv6.
    return await openPortablePort(address === '' ? '::' : address, port, received, bytes);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (address === '' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'))
      return openPort('0.0.0.0', port, bytes, received);
    if (code === 'EADDRINUSE')
      throw new VtepError('IN_USE', `sink: UDP port ${port}: EADDRINUSE: another program has it`);
    throw new VtepError(code === 'EACCES' ? 'PERMISSION' : 'SYSTEM', `sink: UDP port ${port}: ${message}`);
  }
}

/** A callback's own mistake is the process's to hear of, and not the end of the sink. */
function callBack<T>(callback: (packets: T[]) => void, packets: T[]): void {
  if (packets.length === 0) return;
  try {
    callback(packets);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Lays a datagram out as recvmmsg would, and walks it. */
function give(walk: Walk, datagram: Uint8Array, sender: string): void {
  const { bytes, view } = walk;
  bytes.set(datagram, SINK_BUFFERS_BASE);
  // struct sockaddr_in6
  view.setUint16(SINK_RECEIPTS_BASE, AF_INET6, true);
  bytes.set(sourceBytes(sender), SINK_RECEIPTS_BASE + 8);
  const now = (performance.timeOrigin + performance.now()) * 1000;
  const control = SINK_RECEIPTS_BASE + SINK_RECEIPT_CONTROL_OFFSET;
  view.setBigUint64(control, BigInt(TIME_BYTES), true);
  view.setUint32(control + 8, SOL_SOCKET, true);
  view.setUint32(control + 12, SO_TIMESTAMPNS, true);
  view.setBigUint64(control + CMSGHDR_BYTES, BigInt(Math.floor(now / 1e6)), true);
  view.setBigUint64(control + CMSGHDR_BYTES + 8, BigInt(Math.floor(now % 1e6) * 1000), true);
  view.setUint32(SINK_RECEIVES_BASE + MMSGHDR_CONTROL_LENGTH_OFFSET, TIME_BYTES, true);
  view.setUint32(SINK_RECEIVES_BASE + MMSGHDR_LENGTH_OFFSET, datagram.length, true);
  walk.run(1);
}
