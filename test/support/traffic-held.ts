/** A TCP connection that stays open while other things happen to the network. Runs inside the namespace. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { pattern } from './traffic-frames.ts';

const held: Socket[] = [];

/** Connects to an echo server; returns the connection's number. */
export async function tcpHold(host: string, port: number): Promise<number> {
  const socket = connect({ host, port, noDelay: true });
  // Errors reach whoever says something next.
  socket.on('error', () => undefined);
  await once(socket, 'connect', { signal: AbortSignal.timeout(15_000) });
  return held.push(socket) - 1;
}

/** Sends a message and waits for the echo; null, or what became of the connection. */
export async function tcpHeldEcho(number: number, size: number, withinMs: number): Promise<string | null> {
  const socket = held[number]!;
  const message = Buffer.from(pattern(size, size));
  if (socket.destroyed) return `the connection is closed: ${socket.errored?.message ?? 'ended'}`;
  const parts: Buffer[] = [];
  const whole = new Promise<string | null>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      parts.push(chunk);
      const back = Buffer.concat(parts);
      if (back.length >= size) resolve(back.equals(message) ? null : 'something else came back');
    });
    socket.once('close', () => resolve(`the connection was closed: ${socket.errored?.message ?? 'ended'}`));
    setTimeout(() => resolve(`${size} bytes did not come back within ${withinMs} ms`), withinMs).unref();
  });
  socket.write(message);
  const result = await whole;
  socket.removeAllListeners('data');
  socket.removeAllListeners('close');
  return result;
}

export function tcpRelease(number: number): void {
  held[number]?.destroy();
}
