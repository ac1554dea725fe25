/**
 * A bulk TCP transfer hashed on both ends. Each block differs from the last, so that a block lost, doubled or
 * swapped changes the hash. Runs inside the namespace (see traffic-agent.ts).
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { pattern } from './traffic-frames.ts';

const BLOCK_BYTES = 256 << 10;

export interface TransferResult {
  bytes: number;
  /** SHA-256, hexadecimal. */
  hash: string;
}

const results = new Map<number, Promise<TransferResult>>();

/** Listens for one transfer; returns the port, which stands for it until its result has been asked for. */
export async function receiveTransfer(host: string): Promise<number> {
  const server = createServer();
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // The same number may be free on another address of this host.
  if (results.has(port)) {
    server.close();
    return receiveTransfer(host);
  }
  const result = new Promise<TransferResult>((done, failed) => {
    server.once('connection', (socket) => {
      server.close();
      const hash = createHash('sha256');
      let bytes = 0;
      socket.on('data', (chunk) => {
        hash.update(chunk);
        bytes += chunk.length;
      });
      socket.once('end', () => done({ bytes, hash: hash.digest('hex') }));
      socket.once('error', failed);
    });
  });
  // Asked for later: until then a failure must not count as unhandled.
  result.catch(() => undefined);
  results.set(port, result);
  return port;
}

/** What the listener on `port` received, once the sender has closed. */
export async function transferResult(port: number): Promise<TransferResult> {
  const result = results.get(port);
  if (!result) throw new Error(`nothing listens on port ${port}`);
  return result.finally(() => results.delete(port));
}

/** Sends `bytes` to a listener and returns what was sent; fails when nothing moves for thirty seconds. */
export async function sendTransfer(host: string, port: number, bytes: number): Promise<TransferResult> {
  const socket = connect({ host, port, timeout: 30_000 });
  const hash = createHash('sha256');
  const failure = new Promise<never>((_, failed) => {
    socket.once('error', failed);
    socket.once('timeout', () => failed(new Error('the transfer stalled for thirty seconds')));
  });
  failure.catch(() => undefined);
  await Promise.race([once(socket, 'connect'), failure]);
  const block = Buffer.from(pattern(BLOCK_BYTES));
  for (let left = bytes, number = 0; left > 0; number++) {
    // The socket may still hold the last block: each write needs bytes of its own.
    const next = Buffer.from(block.subarray(0, Math.min(left, BLOCK_BYTES)));
    if (next.length >= 4) next.writeUInt32BE(number);
    hash.update(next);
    left -= next.length;
    if (!socket.write(next)) await Promise.race([once(socket, 'drain'), failure]);
  }
  socket.end();
  await Promise.race([once(socket, 'close'), failure]);
  return { bytes, hash: hash.digest('hex') };
}
