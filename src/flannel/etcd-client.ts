/**
 * etcd's version 3 API over the connection to one of several endpoints. A call that fails is not repeated here: who
 * calls tries again, and finds the next endpoint. Text and order of the API: etcd's api/etcdserverpb/rpc.proto.
 */
import { readFileSync } from 'node:fs';
import { VtepError } from '../errors.ts';
import {
  authenticateRequest,
  type Condition,
  deleteRequest,
  grantRequest,
  type KeyValue,
  leaseRequest,
  putRequest,
  type RangeRequest,
  type RangeResponse,
  rangeRequest,
  readLease,
  readRange,
  readToken,
  readTxn,
  readWatch,
  type WatchResponse,
  watchRequest,
} from './etcd-messages.ts';
import { DEADLINE_EXCEEDED, GrpcConnection, GrpcError, type TlsMaterial, UNAVAILABLE } from './grpc.ts';

/** Most keys in one answer: 2.5 MB of leases. */
const PAGE_KEYS = 10_000;

/** Paths of PEM files, each with or without the others; `cert` and `key` go together. */
export interface TlsFiles {
  /** Authorities that the server's certificate may come from; absent: the system's. */
  ca?: string;
  cert?: string;
  key?: string;
}

export interface EtcdClientOptions {
  /** "https://192.0.2.10:2379", in the order in which they are tried. */
  endpoints: readonly string[];
  tls?: TlsFiles;
  username?: string;
  password?: string;
  times: ClientTimes;
  /** Most keys in one answer; PAGE_KEYS unless given. */
  pageKeys?: number;
}

/** All in milliseconds. */
export interface ClientTimes {
  /** Until an endpoint has to speak. */
  dialMs: number;
  /** Until the next endpoint is tried beside one that is silent. */
  staggerMs: number;
  /** Until a call has to be answered. */
  callMs: number;
  /** How often a watched server is asked for a sign of life (etcd refuses more than one in 5 s), and how long it has. */
  pingMs: number;
  pingTimeoutMs: number;
}

export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #endpoints: readonly string[];
  #current: GrpcConnection | undefined;
  #opening: Promise<GrpcConnection> | undefined;
  /** Where the next search for an endpoint begins. */
  #first = 0;
  #token: string | undefined;
  #closed = false;

  /** @throws VtepError USAGE */
  constructor(options: EtcdClientOptions) {
    this.#options = options;
    const { cert, key, ca } = options.tls ?? {};
    if ((cert === undefined) !== (key === undefined))
      throw new VtepError(
        'USAGE',
        'etcd: a certificate and its key go together: give both files, or only a CA',
      );
    const secure = cert !== undefined || ca !== undefined;
    this.#endpoints = options.endpoints.map((text) => originOf(text, secure));
    if (this.#endpoints.length === 0)
      throw new VtepError('USAGE', 'etcd: no endpoint: give one, e.g. http://127.0.0.1:2379');
    readTls(options.tls);
  }

  get where(): string {
    return this.#endpoints.join(', ');
  }

  async range(request: RangeRequest): Promise<RangeResponse> {
    return readRange(await this.#call('KV/Range', rangeRequest(request)));
  }

  async get(key: string): Promise<{ kv: KeyValue | undefined; revision: number }> {
    const { kvs, revision } = await this.range({ key });
    return { kv: kvs[0], revision };
  }

  /** All keys with a prefix as of one revision, in as many pages as it takes. */
  async list(prefix: string): Promise<{ kvs: KeyValue[]; revision: number }> {
    const rangeEnd = endOfPrefix(prefix);
    const limit = this.#options.pageKeys ?? PAGE_KEYS;
    const first = await this.range({ key: prefix, rangeEnd, limit });
    const { kvs, revision } = first;
    for (let { more } = first; more; ) {
      const key = `${kvs.at(-1)!.key}\0`;
      const page = await this.range({ key, rangeEnd, limit, revision });
      kvs.push(...page.kvs);
      more = page.more;
    }
    return { kvs, revision };
  }

  /** Those keys with a prefix that were made at a revision or later. */
  async createdSince(prefix: string, revision: number): Promise<KeyValue[]> {
    const request = { key: prefix, rangeEnd: endOfPrefix(prefix), createdSince: revision };
    return (await this.range(request)).kvs;
  }

  /** @returns the revision of the write, undefined when the condition did not hold */
  async put(
    key: string,
    value: string,
    lease: bigint | undefined,
    condition: Condition,
  ): Promise<number | undefined> {
    const { succeeded, revision } = readTxn(
      await this.#call('KV/Txn', putRequest(key, value, lease, condition)),
    );
    return succeeded ? revision : undefined;
  }

  async delete(key: string, condition: Condition): Promise<boolean> {
    return readTxn(await this.#call('KV/Txn', deleteRequest(key, condition))).succeeded;
  }

  async grant(seconds: number): Promise<{ id: bigint; seconds: number }> {
    return readLease(await this.#call('Lease/LeaseGrant', grantRequest(seconds)));
  }

  /** @returns the seconds that the lease has from now on, 0 when it is gone */
  async keepAlive(id: bigint): Promise<number> {
    return readLease(await this.#call('Lease/LeaseKeepAlive', leaseRequest(id))).seconds;
  }

  async revoke(id: bigint): Promise<void> {
    await this.#call('Lease/LeaseRevoke', leaseRequest(id));
  }

  /**
   * What happens to keys with a prefix from a revision on. Ends when etcd cancels the watch (the last message says
   * so), or at the signal.
   * @throws GrpcError when the connection breaks
   */
  async watch(
    prefix: string,
    revision: number,
    onResponse: (response: WatchResponse) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { callMs, pingMs, pingTimeoutMs } = this.#options.times;
    const stop = new AbortController();
    const connection = await this.#connection();
    let silent = true;
    const timer = setTimeout(() => stop.abort(), callMs);
    try {
      await connection.stream(
        '/etcdserverpb.Watch/Watch',
        watchRequest(prefix, endOfPrefix(prefix), revision),
        {
          // A member that has lost its leader ends the watch instead of falling silent.
          metadata: { ...(await this.#metadata(connection)), hasleader: 'true' },
          onMessage: (message) => {
            silent = false;
            clearTimeout(timer);
            const response = readWatch(message);
            onResponse(response);
            if (response.canceled) stop.abort();
          },
          signal: AbortSignal.any([stop.signal, signal]),
          pingMs,
          pingTimeoutMs,
        },
      );
    } catch (error) {
      throw this.#failed(connection, error);
    } finally {
      clearTimeout(timer);
    }
    if (silent && !signal.aborted) {
      const late = new GrpcError(DEADLINE_EXCEEDED, `no answer within ${callMs} ms`);
      throw this.#failed(connection, late);
    }
  }

  /** Leaves a connection that may have died without a word; the next call opens another. */
  reconnect(reason: string): void {
    this.#current?.close(reason);
    this.#current = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#current?.close();
    this.#current = undefined;
  }

  async #call(method: string, request: Buffer): Promise<Buffer> {
    const connection = await this.#connection();
    const { callMs } = this.#options.times;
    const path = `/etcdserverpb.${method}`;
    try {
      const metadata = await this.#metadata(connection);
      return await connection.unary(path, request, metadata, callMs);
    } catch (error) {
      const hadToken = this.#token !== undefined;
      const failure = this.#failed(connection, error);
      if (!hadToken || this.#token !== undefined) throw failure;
      // The token had run out: once more with a new one.
      try {
        return await connection.unary(path, request, await this.#metadata(connection), callMs);
      } catch (again) {
        throw this.#failed(connection, again);
      }
    }
  }

  async #metadata(connection: GrpcConnection): Promise<Record<string, string>> {
    const { username, password = '', times } = this.#options;
    if (username === undefined) return {};
    if (this.#token === undefined) {
      const request = authenticateRequest(username, password);
      try {
        const path = '/etcdserverpb.Auth/Authenticate';
        this.#token = readToken(await connection.unary(path, request, {}, times.callMs));
      } catch (error) {
        // Users need not be asked for yet, or any more.
        if (!/authentication is not enabled/.test((error as Error).message)) throw error;
        return {};
      }
    }
    return { token: this.#token };
  }

  /** Draws the consequences of a failure, and says which endpoint it was. */
  #failed(connection: GrpcConnection, error: unknown): Error {
    if (!(error instanceof GrpcError)) return error as Error;
    if (/invalid auth token|revision of auth store is old/.test(error.message)) this.#token = undefined;
    const unreachable = error.code === UNAVAILABLE || error.code === DEADLINE_EXCEEDED;
    if (unreachable && this.#current === connection) {
      this.#first = (this.#endpoints.indexOf(connection.origin) + 1) % this.#endpoints.length;
      this.#current = undefined;
      connection.close();
    }
    return new GrpcError(error.code, `etcd ${connection.origin}: ${error.message}`);
  }

  async #connection(): Promise<GrpcConnection> {
    if (this.#current?.isOpen) return this.#current;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    const connection = await this.#opening;
    if (this.#closed) connection.close();
    else this.#current = connection;
    return connection;
  }

  /** The first endpoint that answers; each is given a head start over the next. */
  async #open(): Promise<GrpcConnection> {
    const { dialMs, staggerMs } = this.#options.times;
    const tls = readTls(this.#options.tls);
    const inOrder = [...this.#endpoints.slice(this.#first), ...this.#endpoints.slice(0, this.#first)];
    const reasons = new Map<string, string>();
    const open = new Set<GrpcConnection>();
    let chosen: GrpcConnection | undefined;
    let previous: Promise<unknown> = Promise.resolve();
    const dials = inOrder.map((origin) => {
      const start = previous;
      const dial = start.then(async () => {
        if (chosen !== undefined) throw new GrpcError(UNAVAILABLE, 'not needed');
        const connection = await GrpcConnection.open(origin, tls, dialMs);
        open.add(connection);
        chosen ??= connection;
        return connection;
      });
      dial.catch((error: Error) => reasons.set(origin, `etcd ${origin}: ${error.message}`));
      previous = start.then(() => Promise.race([dial.catch(() => {}), pause(staggerMs)]));
      return dial;
    });
    Promise.allSettled(dials).then(() => {
      for (const connection of open) if (connection !== chosen) connection.close();
    });
    try {
      return await Promise.any(dials);
    } catch {
      this.#first = 0;
      throw new GrpcError(UNAVAILABLE, this.#endpoints.map((origin) => reasons.get(origin)).join('; '));
    }
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms).unref());

/** The key after all that have the prefix. */
function endOfPrefix(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** Scheme, host and port; a user in it is left out, since the text is shown. */
function originOf(text: string, secure: boolean): string {
  const withScheme = /^[a-z]+:\/\//i.test(text) ? text : `${secure ? 'https' : 'http'}://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.hostname === '')
    throw new VtepError('USAGE', `etcd: endpoint ${JSON.stringify(text)}: write it as http://127.0.0.1:2379`);
  const port = /:\d+$/.test(withScheme.replace(/[/?#]+$/, '')) ? url.port || defaultPort(url) : '2379';
  return `${url.protocol}//${url.hostname}:${port}`;
}

/** A port that is the scheme's own is dropped by URL. */
const defaultPort = (url: URL) => (url.protocol === 'https:' ? '443' : '80');

/** Read at each connection, so that certificates can be exchanged. @throws VtepError USAGE */
function readTls(files: TlsFiles = {}): TlsMaterial {
  const read = (what: 'ca' | 'cert' | 'key') => {
    const path = files[what];
    if (path === undefined) return {};
    try {
      return { [what]: readFileSync(path) };
    } catch (error) {
      throw new VtepError('USAGE', `etcd: ${what} file: ${(error as Error).message}: give a PEM file`);
    }
  };
  return { ...read('ca'), ...read('cert'), ...read('key') };
}
