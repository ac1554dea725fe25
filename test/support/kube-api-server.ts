/**
 * An API server as far as a member of a flannel network meets one: HTTPS with bearer tokens, lists in pages, watches
 * of JSON lines with bookmarks, 410 Gone, strategic merge patches of a node's status. Everything that goes wrong in
 * the field can be made to: refusals, cut connections, an absence, a compaction, answers in tiny pieces.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { type Certificate, selfSigned } from './certificate.ts';
import { freePort } from './etcd.ts';
import { KubeStore, type NodeEvent } from './kube-store.ts';

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  body: string;
}

interface Refusal {
  matches: (asked: Asked) => boolean;
  status: number;
  times: number;
}

interface Watcher {
  response: ServerResponse;
  stop: () => void;
}

const REASONS: Record<number, string> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  415: 'UnsupportedMediaType',
  500: 'InternalError',
};

class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export class KubeApiServer {
  readonly store = new KubeStore();
  readonly tokens = new Set(['first-token']);
  readonly pods = new Map<string, object>();
  readonly asked: Asked[] = [];
  /** Servers before 1.31 give a list from memory whole, whatever the limit. */
  ignoresLimit = false;
  /** At most this many objects a page. */
  pageNodes = Number.POSITIVE_INFINITY;
  /** Lists are compressed for who takes it, as real servers do with long ones. */
  compresses = false;
  /** Answers are written in pieces of this many bytes. */
  pieceBytes = 0;
  readonly directory = mkdtempSync(join(tmpdir(), 'vxlane-kube-'));
  readonly #certificate: Certificate = selfSigned();
  readonly #sockets = new Set<Duplex>();
  readonly #watchers = new Set<Watcher>();
  readonly #refusals: Refusal[] = [];
  #server: Server | undefined;
  #port = 0;

  static async start(): Promise<KubeApiServer> {
    const api = new KubeApiServer();
    writeFileSync(join(api.directory, 'ca.crt'), api.#certificate.cert);
    await api.listen();
    return api;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** How many watches stand. */
  get watches(): number {
    return this.#watchers.size;
  }

  async listen(): Promise<void> {
    this.#server = createServer(
      this.#certificate,
      (request, response) => void this.#answer(request, response),
    );
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
    this.#port ||= await freePort();
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Away, connections cut. `listen` brings it back at the same port. */
  async leave(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async close(): Promise<void> {
    await this.leave();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Connections end without a goodbye, in the middle of whatever is being said. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The next answers to such requests are this error. */
  refuse(status: number, matches: Refusal['matches'], times = 1): void {
    this.#refusals.push({ matches, status, times });
  }

  /** Watches end as they do when their time is up. */
  endWatches(): void {
    for (const { response } of this.#watchers) response.end();
  }

  /** To all watches: a line of JSON, or anything else. */
  say(line: string): void {
    for (const { response } of this.#watchers) this.#write(response, `${line}\n`);
  }

  bookmark(): void {
    const metadata = { resourceVersion: `${this.store.version}` };
    this.say(JSON.stringify({ type: 'BOOKMARK', object: { kind: 'Node', apiVersion: 'v1', metadata } }));
  }

  /** What etcd's compaction does to a watch that is too far behind. */
  expireWatches(): void {
    this.say(JSON.stringify({ type: 'ERROR', object: statusObject(410, 'too old resource version') }));
    this.endWatches();
  }

  /** A kubeconfig that leads here. */
  kubeconfig(user: object = { token: 'first-token' }): string {
    const path = join(this.directory, 'kubeconfig');
    const ca = Buffer.from(this.#certificate.cert).toString('base64');
    writeFileSync(
      path,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster: { server: this.url, 'certificate-authority-data': ca } }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    );
    return path;
  }

  /** The service account of a pod: what stands before its usual path, and the environment. */
  pod(token: string): { podRoot: string; environment: Record<string, string> } {
    const where = join(this.directory, 'var/run/secrets/kubernetes.io/serviceaccount');
    mkdirSync(where, { recursive: true });
    writeFileSync(join(where, 'ca.crt'), this.#certificate.cert);
    writeFileSync(join(where, 'token'), `${token}\n`);
    writeFileSync(join(where, 'namespace'), 'kube-flannel');
    const environment = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: `${this.#port}` };
    return { podRoot: this.directory, environment };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(request.url!, 'https://x');
    let body = '';
    for await (const chunk of request) body += chunk;
    const asked: Asked = { method: request.method!, path, query, body };
    this.asked.push(asked);
    try {
      this.#admit(asked, request);
      this.#route(asked, request, response);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      response.writeHead(error.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(statusObject(error.status, error.message)));
    }
  }

  #admit(asked: Asked, request: IncomingMessage): void {
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    if (!this.tokens.has(token)) throw new Refused(401, 'Unauthorized');
    const refusal = this.#refusals.find(({ matches, times }) => times > 0 && matches(asked));
    if (!refusal) return;
    refusal.times--;
    throw new Refused(refusal.status, `${asked.method} ${asked.path}: on purpose`);
  }

  #route({ method, path, query, body }: Asked, request: IncomingMessage, response: ServerResponse): void {
    const [, name, isStatus] = /^\/api\/v1\/nodes\/([^/]+)(\/status)?$/.exec(path) ?? [];
    if (path === '/api/v1/nodes' && query.get('watch')) this.#watch(query, response);
    else if (path === '/api/v1/nodes') {
      const isCompressed = this.compresses && request.headers['accept-encoding'] === 'gzip';
      this.#list(query, response, isCompressed);
    } else if (name && method === 'PATCH') {
      if (!isStatus) throw new Refused(403, 'nodes is forbidden: only nodes/status may be patched');
      const type = request.headers['content-type'];
      if (type !== 'application/strategic-merge-patch+json') throw new Refused(415, `${type}`);
      this.#end(response, this.store.merge(decodeURIComponent(name), JSON.parse(body), true), path);
    } else
      this.#end(response, name ? this.store.nodes.get(decodeURIComponent(name)) : this.pods.get(path), path);
  }

  #list(query: URLSearchParams, response: ServerResponse, isCompressed: boolean): void {
    const { store } = this;
    const token = query.get('continue');
    const { version, after } = token
      ? (JSON.parse(Buffer.from(token, 'base64').toString()) as { version: number; after: string })
      : { version: store.version, after: '' };
    if (version < store.oldest) throw new Refused(410, 'The provided continue parameter is too old');
    const isMemory = this.ignoresLimit && query.get('resourceVersion') === '0';
    const limit = isMemory
      ? Number.POSITIVE_INFINITY
      : Math.min(Number(query.get('limit') || 'Infinity'), this.pageNodes);
    const names = [...store.nodes.keys()].sort().filter((name) => name > after);
    const page = names.slice(0, limit);
    const isMore = names.length > page.length;
    const metadata = {
      resourceVersion: `${version}`,
      ...(isMore && {
        continue: Buffer.from(JSON.stringify({ version, after: page.at(-1) })).toString('base64'),
      }),
    };
    const encoding = isCompressed ? { 'content-encoding': 'gzip' } : {};
    response.writeHead(200, { 'content-type': 'application/json', ...encoding });
    const head = JSON.stringify({ kind: 'NodeList', apiVersion: 'v1', metadata }).slice(0, -1);
    const items = page.map((name) => JSON.stringify(store.nodes.get(name)));
    if (isCompressed) this.#write(response, gzipSync(`${head},"items":[${items}]}\n`));
    else {
      this.#write(response, `${head},"items":[`);
      for (const [index, item] of items.entries()) this.#write(response, `${index ? ',' : ''}${item}`);
      this.#write(response, ']}\n');
    }
    response.end();
  }

  #watch(query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get('resourceVersion') || this.store.version);
    if (from < this.store.oldest) throw new Refused(410, `too old resource version: ${from}`);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const tell = ({ type, object }: NodeEvent) =>
      this.#write(response, `{"type":"${type}","object":${object}}\n`);
    for (const event of this.store.since(from)) tell(event);
    const watcher = { response, stop: this.store.subscribe(tell) };
    this.#watchers.add(watcher);
    const seconds = Number(query.get('timeoutSeconds') || '1800');
    const timer = setTimeout(() => response.end(), seconds * 1000);
    response.on('close', () => {
      clearTimeout(timer);
      watcher.stop();
      this.#watchers.delete(watcher);
    });
  }

  #end(response: ServerResponse, object: object | undefined, path: string): void {
    if (!object) throw new Refused(404, `${path} not found`);
    response.writeHead(200, { 'content-type': 'application/json' });
    this.#write(response, JSON.stringify(object));
    response.end();
  }

  #write(response: ServerResponse, text: string | Uint8Array): void {
    if (this.pieceBytes === 0) {
      response.write(text);
      return;
    }
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += this.pieceBytes) {
      response.write(bytes.subarray(at, at + this.pieceBytes));
    }
  }
}

function statusObject(code: number, message: string) {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason: REASONS[code],
    code,
  };
}
