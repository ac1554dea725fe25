/**
 * UDP and TCP echo between pods, by node:dgram and node:net, every byte checked. Runs inside the namespace (see
 * traffic-agent.ts).
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { pattern } from './traffic-frames.ts';
import { runSweep, type SweepOptions, type SweepResult } from './traffic-sweep.ts';

const BUFFER_BYTES = 4 << 20;
const SEQUENCE_BYTES = 4;

/** Starts a UDP echo server; returns its port. It lives as long as the agent. */
export async function udpEchoServer(host: string): Promise<number> {
  const server = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: BUFFER_BYTES });
  server.on('message', (data, peer) => server.send(data, peer.port, peer.address));
  server.bind(0, host);
  await once(server, 'listening');
  return server.address().port;
}

const inboxes = new Map<number, Uint8Array[]>();

/** Keeps what arrives; returns the port. */
export async function udpReceiver(host: string): Promise<number> {
  const server = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: BUFFER_BYTES });
  const inbox: Uint8Array[] = [];
  server.on('message', (data) => inbox.push(data));
  server.bind(0, host);
  await once(server, 'listening');
  const { port } = server.address();
  inboxes.set(port, inbox);
  return port;
}

/** What has arrived since it was last asked, once there are `count` datagrams or ten seconds are over. */
export async function udpArrivals(port: number, count: number): Promise<Uint8Array[]> {
  const inbox = inboxes.get(port);
  if (!inbox) throw new Error(`nothing is received on port ${port}`);
  const end = performance.now() + 10_000;
  while (inbox.length < count && performance.now() < end) await new Promise((done) => setTimeout(done, 1));
  return inbox.splice(0);
}

/**
 * One datagram for each payload size, its sequence number in the first four bytes of `seed`-patterned content: sizes
 * start at four.
 */
export async function udpSweep(host: string, port: number, options: SweepOptions): Promise<SweepResult> {
  const client = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: BUFFER_BYTES });
  const inbox: Uint8Array[] = [];
  client.on('message', (data) => inbox.push(data));
  client.connect(port, host);
  await once(client, 'connect');
  try {
    return await runSweep(options, {
      send(sequence, size) {
        const payload = Buffer.from(pattern(size, sequence));
        payload.writeUInt32BE(sequence);
        client.send(payload);
      },
      drain(arrived) {
        for (const data of inbox.splice(0)) {
          if (data.length < SEQUENCE_BYTES) continue;
          const sequence = Buffer.from(data.buffer, data.byteOffset, data.length).readUInt32BE();
          const payload = new Uint8Array(data);
          // The sequence number stands where the pattern's first bytes were.
          payload.set(pattern(SEQUENCE_BYTES, sequence));
          arrived(sequence, payload);
        }
      },
    });
  } finally {
    client.close();
  }
}

/** Starts a TCP echo server; returns its port. It lives as long as the agent. */
export async function tcpEchoServer(host: string): Promise<number> {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function exchange(socket: Socket, message: Uint8Array): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let missing = message.length;
  return new Promise((done, failed) => {
    const finish = (error?: Error) => {
      socket.off('data', onData).off('close', onClose).off('timeout', onTimeout);
      if (error) failed(error);
      else done(Buffer.concat(parts));
    };
    const onData = (chunk: Buffer) => {
      parts.push(chunk);
      missing -= chunk.length;
      if (missing <= 0) finish();
    };
    const onClose = () => finish(new Error(`closed with ${missing} bytes still to come`));
    const onTimeout = () => finish(new Error(`nothing for 15 s with ${missing} bytes still to come`));
    socket.on('data', onData).on('close', onClose).on('timeout', onTimeout);
    socket.write(message);
  });
}

/** Sends messages of the given sizes one after the other over one connection; returns sizes that came back wrong. */
export async function tcpEchoClient(host: string, port: number, sizes: readonly number[]): Promise<number[]> {
  const socket = connect({ host, port, noDelay: true, timeout: 15_000 });
  // Errors reach the exchange as "close".
  socket.on('error', () => undefined);
  await once(socket, 'connect', { signal: AbortSignal.timeout(15_000) });
  const wrong: number[] = [];
  for (const size of sizes) {
    const message = pattern(size, size);
    const back = await exchange(socket, message);
    if (Buffer.compare(back, message) !== 0) wrong.push(size);
  }
  socket.destroy();
  return wrong;
}
