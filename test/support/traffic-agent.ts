/**
 * A process that lives in one namespace and does there what the test asks for over its IPC channel: captures,
 * injections, devices, echo servers and clients, transfers, offload switches. It ends when the channel closes, so a killed
 * test leaves none behind.
 */
import { Capture, type CaptureOptions } from './capture.ts';
import { addVxlan } from './differential-netlink.ts';
import { features, setOffloads } from './ethtool.ts';
import { type Datagram, type DatagramOptions, injectFrames, type Pace, sendDatagrams } from './inject.ts';
import { vxlanLink } from './kernel-link.ts';
import { injectSuperFrames, type SuperFrame } from './super-frames.ts';
import {
  tcpEchoClient,
  tcpEchoServer,
  udpArrivals,
  udpEchoServer,
  udpReceiver,
  udpSweep,
} from './traffic-echo.ts';
import { tcpHeldEcho, tcpHold, tcpRelease } from './traffic-held.ts';
import { icmpSweep } from './traffic-icmp.ts';
import { receiveTransfer, sendTransfer, transferResult } from './traffic-transfer.ts';

const captures = new Map<number, Capture>();
let nextCapture = 1;

function capture(id: number): Capture {
  const found = captures.get(id);
  if (!found) throw new Error(`no capture ${id}`);
  return found;
}

const operations = {
  ready: () => process.pid,
  captureStart(ifname: string, options: CaptureOptions): number {
    captures.set(nextCapture, new Capture(ifname, options));
    return nextCapture++;
  },
  captureTake: (id: number) => capture(id).take(),
  captureSettle: (id: number, frames: number, quietMs: number, withinMs: number) =>
    capture(id).settle(frames, quietMs, withinMs),
  captureStop(id: number) {
    const result = capture(id).stop();
    captures.delete(id);
    return result;
  },
  inject: (ifname: string, frames: Uint8Array[], pace: Pace) => injectFrames(ifname, frames, pace),
  superFrames: (ifname: string, frames: SuperFrame[]) => injectSuperFrames(ifname, frames),
  datagrams: (datagrams: Datagram[], options: DatagramOptions) => sendDatagrams(datagrams, options),
  offloads: (ifname: string, wanted: Record<string, boolean>) => setOffloads(ifname, wanted),
  features: (ifname: string) => features(ifname),
  vxlanLink,
  addVxlan,
  tcpEchoServer,
  tcpEchoClient,
  tcpHold,
  tcpHeldEcho,
  tcpRelease,
  udpEchoServer,
  udpSweep,
  udpReceiver,
  udpArrivals,
  icmpSweep,
  receiveTransfer,
  sendTransfer,
  transferResult,
};

/** What an agent can be asked, by name. */
export type Operations = typeof operations;

export interface Request {
  id: number;
  operation: keyof Operations;
  args: unknown[];
}

export interface Reply {
  id: number;
  result?: unknown;
  error?: string;
}

async function answer({ id, operation, args }: Request): Promise<void> {
  const reply: Reply = { id };
  try {
    const run = operations[operation] as (...args: unknown[]) => unknown;
    reply.result = await run(...args);
  } catch (error) {
    reply.error = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  if (process.connected) process.send?.(reply);
}

process.on('message', (request: Request) => void answer(request));
process.on('disconnect', () => process.exit(0));
