/** gRPC over HTTP/2 against servers that do as they like. */
import assert from 'node:assert/strict';
import { createServer as createHttp1Server } from 'node:http';
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { EtcdClient } from '../src/flannel/etcd-client.ts';
import { GrpcConnection, type GrpcError, UNAVAILABLE } from '../src/flannel/grpc.ts';

const framed = (message: Buffer) => {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
};

describe('gRPC', () => {
  let server: Http2Server | undefined;
  const sessions = new Set<ServerHttp2Session>();
  let connection: GrpcConnection | undefined;

  /** A server whose every stream is handed over, once its request has been read. */
  async function serve(answer: (stream: ServerHttp2Stream, request: Buffer) => void): Promise<string> {
    server = createServer();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => {});
    });
    server.on('stream', (stream) => {
      const chunks: Buffer[] = [];
      stream.on('error', () => {});
      stream.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
      stream.on('end', () => answer(stream, Buffer.concat(chunks)));
    });
    return listen(server);
  }

  async function listen(one: Server | Http2Server): Promise<string> {
    await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(one.address() as AddressInfo).port}`;
  }

  /** Headers, bytes in pieces of a size, and a status. */
  async function send(stream: ServerHttp2Stream, bytes: Buffer, piece: number, status = 0, message = '') {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status, 'grpc-message': message }));
    for (let at = 0; at < bytes.length; at += piece) {
      stream.write(bytes.subarray(at, at + piece));
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
  }

  const open = async (origin: string) => {
    connection = await GrpcConnection.open(origin, {}, 1000);
    return connection;
  };

  afterEach(async () => {
    connection?.close();
    for (const session of sessions) session.destroy();
    sessions.clear();
    if (server !== undefined) await new Promise((resolve) => server!.close(resolve));
    server = undefined;
  });

  const streamed = async (one: GrpcConnection) => {
    const heard: string[] = [];
    const ended = one.stream('/x', Buffer.from('q'), {
      metadata: {},
      onMessage: (message) => void heard.push(message.toString()),
      signal: AbortSignal.timeout(10_000),
      pingMs: 1000,
      pingTimeoutMs: 500,
    });
    return { heard, ended };
  };

  it('sends a request in a frame, and takes messages in whatever pieces they come', async () => {
    const messages = ['', 'a', 'bc'.repeat(300), 'd'];
    const bytes = Buffer.concat(messages.map((text) => framed(Buffer.from(text))));
    for (const piece of [1, 5, 6, 4096, bytes.length]) {
      const origin = await serve((stream, request) => {
        assert.equal(request.toString('latin1'), '\0\0\0\0\x03abc');
        void send(stream, bytes, piece);
      });
      const one = await open(origin);
      assert.equal(
        (await one.unary('/x', Buffer.from('abc'), {}, 5000)).toString(),
        'd',
        `pieces of ${piece}`,
      );
      one.close();
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server!.close(resolve));
      server = undefined;
    }
  });

  it('tells the status and its message', async () => {
    const one = await open(
      await serve((stream) => void send(stream, Buffer.alloc(0), 1, 7, 'no%20right%3A 100%')),
    );
    await assert.rejects(one.unary('/x', Buffer.alloc(0), {}, 10_000), (error: GrpcError) => {
      assert.equal(error.code, 7);
      assert.equal(error.message, 'no%20right%3A 100%', 'what is no encoding stays as it is');
      return true;
    });
    server!.removeAllListeners('stream');
    server!.on('stream', (stream) =>
      stream.respond(
        { ':status': 200, 'grpc-status': '5', 'grpc-message': 'not%20here' },
        { endStream: true },
      ),
    );
    await assert.rejects(one.unary('/x', Buffer.alloc(0), {}, 10_000), { code: 5, message: 'not here' });
  });

  it('says so when no gRPC server answers', async () => {
    const one = await open(
      await serve((stream) => {
        stream.respond({ ':status': 404 });
        stream.end('<html>');
      }),
    );
    await assert.rejects(one.unary('/x', Buffer.alloc(0), {}, 10_000), {
      code: UNAVAILABLE,
      message: /HTTP status 404/,
    });
    const old = createHttp1Server((_, response) => response.end('hello'));
    const origin = await listen(old);
    await assert.rejects(GrpcConnection.open(origin, {}, 1000), { code: UNAVAILABLE });
    old.closeAllConnections();
    old.close();
  });

  it('ends every call when the connection breaks, and opens no new one', async () => {
    const one = await open(await serve(() => {}));
    const call = one.unary('/x', Buffer.alloc(0), {}, 5000);
    const { ended } = await streamed(one);
    setTimeout(() => {
      for (const session of sessions) session.destroy();
    }, 50);
    await assert.rejects(call, { code: UNAVAILABLE });
    await assert.rejects(ended, { code: UNAVAILABLE });
    assert.ok(!one.isOpen);
    await assert.rejects(one.unary('/x', Buffer.alloc(0), {}, 10_000), { code: UNAVAILABLE });
  });

  it('gives up what is not answered in time', async () => {
    const one = await open(await serve(() => {}));
    await assert.rejects(one.unary('/x', Buffer.alloc(0), {}, 50), { message: 'no answer within 50 ms' });
    assert.ok(one.isOpen);
  });

  it('takes nonsense for a failure of the call, not of the process', async () => {
    const times = { dialMs: 1000, staggerMs: 100, callMs: 5000, pingMs: 1000, pingTimeoutMs: 500 };
    const origin = await serve((stream) => void send(stream, framed(Buffer.from([0x0a, 0xff, 0x01])), 3));
    const client = new EtcdClient({ endpoints: [origin], times });
    await assert.rejects(client.range({ key: 'a' }), /breaks off/);
    server!.removeAllListeners('stream');
    server!.on('stream', (stream) => {
      stream.on('error', () => {});
      void send(stream, framed(Buffer.from([0x0a, 0xff, 0x01])), 3);
    });
    const watch = client.watch('a', 1, () => {}, AbortSignal.timeout(10_000));
    await assert.rejects(watch, /an answer that can't be read/);
    client.close();
  });
});
