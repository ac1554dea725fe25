/**
 * gRPC over HTTP/2, the client's half, as much as etcd needs: a call with one request and one answer, and a call with
 * one request and many. One object is one connection; who owns it opens the next one when it has closed.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';

const { HTTP2_HEADER_PATH, HTTP2_HEADER_METHOD, HTTP2_HEADER_STATUS } = constants;
/** A flag (not compressed) and the length of the message. */
const FRAME_HEADER_BYTES = 5;
const WINDOW_BYTES = 4 * 1024 * 1024;
/** Status codes, of https://grpc.github.io/grpc/core/md_doc_statuscodes.html, that are acted on. */
export const DEADLINE_EXCEEDED = 4;
export const UNAVAILABLE = 14;
const UNKNOWN = 2;

/** What the server answered instead of a message, or UNAVAILABLE when it did not answer. */
export class GrpcError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Contents of PEM files. */
export interface TlsMaterial {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

export type Metadata = Readonly<Record<string, string>>;

export interface StreamOptions {
  metadata: Metadata;
  onMessage: (message: Buffer) => void;
  signal: AbortSignal;
  /** While the call lasts: how often the server is asked for a sign of life, and how long it may take. */
  pingMs: number;
  pingTimeoutMs: number;
}

export class GrpcConnection {
  /** Scheme, host and port. */
  readonly origin: string;
  readonly #session: ClientHttp2Session;
  /** Why it broke, told to every call that was under way. */
  #broken: string | undefined;

  private constructor(origin: string, session: ClientHttp2Session) {
    this.origin = origin;
    this.#session = session;
    session.on('error', (error) => this.#break(reasonOf(error)));
    session.on('goaway', (code) => this.#break(`the server is going away (code ${code})`));
  }

  /** @throws GrpcError UNAVAILABLE */
  static open(origin: string, tls: TlsMaterial, timeoutMs: number): Promise<GrpcConnection> {
    return new Promise((resolve, reject) => {
      const session = connect(origin, {
        ...tls,
        minVersion: 'TLSv1.2',
        settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
      });
      const giveUp = (reason: string) => {
        clearTimeout(timer);
        session.destroy();
        reject(new GrpcError(UNAVAILABLE, reason));
      };
      const onError = (error: Error) => giveUp(reasonOf(error));
      const timer = setTimeout(() => giveUp(`no connection within ${timeoutMs} ms`), timeoutMs);
      session.on('error', onError);
      // What a server says against our certificate comes after the handshake, and the session keeps it to itself.
      session.once('connect', (_session, socket) => socket.once('error', onError));
      // A server speaks HTTP/2 when its settings have come; a port that merely accepts connections says nothing.
      session.once('remoteSettings', () => {
        clearTimeout(timer);
        session.setLocalWindowSize(2 * WINDOW_BYTES);
        const connection = new GrpcConnection(origin, session);
        session.off('error', onError);
        resolve(connection);
      });
      session.once('close', () => giveUp('the connection was closed'));
    });
  }

  get isOpen(): boolean {
    return this.#broken === undefined && !this.#session.closed && !this.#session.destroyed;
  }

  /** @param reason what calls under way are told */
  close(reason = 'closed'): void {
    this.#break(reason);
  }

  /** One request, one answer. @throws GrpcError */
  async unary(path: string, request: Buffer, metadata: Metadata, timeoutMs: number): Promise<Buffer> {
    let answer: Buffer | undefined;
    const call = this.#start(path, request, metadata, (message) => {
      answer = message;
    });
    const timer = setTimeout(
      () => call.cancel(new GrpcError(DEADLINE_EXCEEDED, `no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      await call.ended;
    } finally {
      clearTimeout(timer);
    }
    if (answer === undefined) throw new GrpcError(UNKNOWN, 'an empty answer');
    return answer;
  }

  /** One request, messages until the server or the signal ends it. @throws GrpcError unless the signal ended it */
  async stream(path: string, request: Buffer, options: StreamOptions): Promise<void> {
    const { metadata, onMessage, signal, pingMs, pingTimeoutMs } = options;
    const call = this.#start(path, request, metadata, onMessage, true);
    const stop = () => call.cancel(new GrpcError(UNKNOWN, 'stopped'));
    signal.addEventListener('abort', stop, { once: true });
    const pings = setInterval(() => this.#ping(pingTimeoutMs), pingMs);
    try {
      await call.ended;
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearInterval(pings);
      signal.removeEventListener('abort', stop);
    }
  }

  #ping(timeoutMs: number): void {
    if (!this.isOpen) return;
    const timer = setTimeout(() => this.#break(`no sign of life within ${timeoutMs} ms`), timeoutMs);
    this.#session.ping(() => clearTimeout(timer));
  }

  #break(reason: string): void {
    this.#broken ??= reason;
    this.#session.destroy();
  }

  #start(
    path: string,
    request: Buffer,
    metadata: Metadata,
    onMessage: (message: Buffer) => void,
    endless = false,
  ): { ended: Promise<void>; cancel(reason: GrpcError): void } {
    if (!this.isOpen) {
      const ended = Promise.reject(new GrpcError(UNAVAILABLE, this.#broken ?? 'the connection was closed'));
      return { ended, cancel: () => {} };
    }
    const stream = this.#session.request(
      {
        [HTTP2_HEADER_METHOD]: 'POST',
        [HTTP2_HEADER_PATH]: path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...metadata,
      },
      { endStream: false },
    );
    let cancelled: GrpcError | undefined;
    const ended = this.#finish(stream, onMessage, () => cancelled);
    const frame = Buffer.alloc(FRAME_HEADER_BYTES);
    frame.writeUInt32BE(request.length, 1);
    stream.write(Buffer.concat([frame, request]));
    // etcd takes the end of our half for the end of a watch.
    if (!endless) stream.end();
    const cancel = (reason: GrpcError) => {
      cancelled ??= reason;
      stream.close(constants.NGHTTP2_CANCEL);
    };
    return { ended, cancel };
  }

  /** Resolves at status 0, rejects at any other end. */
  #finish(
    stream: ClientHttp2Stream,
    onMessage: (message: Buffer) => void,
    cancelled: () => GrpcError | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let status: { code: number; message: string } | undefined;
      let failure: string | undefined;
      const take = (headers: Record<string, unknown>) => {
        if (headers['grpc-status'] === undefined) return;
        status = {
          code: Number(headers['grpc-status']),
          message: decodeMessage(String(headers['grpc-message'] ?? '')),
        };
      };
      stream.on('response', (headers) => {
        const http = Number(headers[HTTP2_HEADER_STATUS]);
        if (http !== 200) failure = `HTTP status ${http}: no gRPC server`;
        take(headers);
      });
      stream.on('trailers', take);
      const read = splitMessages(onMessage);
      stream.on('data', (chunk: Buffer) => {
        try {
          read(chunk);
        } catch (error) {
          failure ??= `an answer that can't be read: ${(error as Error).message}`;
          stream.close(constants.NGHTTP2_CANCEL);
        }
      });
      stream.on('error', (error) => {
        failure ??= error.message;
      });
      stream.on('close', () => {
        const reason = cancelled();
        if (reason !== undefined) reject(reason);
        else if (status?.code === 0) resolve();
        else if (status !== undefined) reject(new GrpcError(status.code, status.message));
        else reject(new GrpcError(UNAVAILABLE, this.#broken ?? failure ?? 'the connection was closed'));
      });
    });
  }
}

/** Cuts a stream of bytes into messages, which may come in any pieces. */
function splitMessages(onMessage: (message: Buffer) => void): (chunk: Buffer) => void {
  let chunks: Buffer[] = [];
  let length = 0;
  let wanted = FRAME_HEADER_BYTES;
  return (chunk) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length < wanted) return;
    let rest = chunks.length === 1 ? chunk : Buffer.concat(chunks);
    wanted = FRAME_HEADER_BYTES;
    while (rest.length >= FRAME_HEADER_BYTES) {
      wanted = FRAME_HEADER_BYTES + rest.readUInt32BE(1);
      if (rest.length < wanted) break;
      onMessage(rest.subarray(FRAME_HEADER_BYTES, wanted));
      rest = rest.subarray(wanted);
      wanted = FRAME_HEADER_BYTES;
    }
    chunks = [rest];
    length = rest.length;
  };
}

/** OpenSSL's errors are told by their reason: the rest is numbers that differ each time. */
function reasonOf({ message }: Error): string {
  const [, reason] = /:SSL routines:[^:]*:([^:]+)/.exec(message) ?? [];
  return reason === undefined ? message : `TLS: ${reason}`;
}

/** grpc-message is percent-encoded; what is not is left as it is. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
