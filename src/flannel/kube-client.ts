/**
 * Requests to a Kubernetes API server, over plain HTTPS: the official client's models and its informer keep whole
 * Node objects, ten to twenty kilobytes each.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { type RequestOptions, request as requestHttps } from 'node:https';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { type Credentials, type CredentialsOptions, openCredentials } from './kube-credentials.ts';

/** Longest wait for the answer to a request, and for the next bytes of one. */
const ANSWER_MS = 30_000;
/** A peer that vanished without a word is noticed after this and ten probes, a second apart. */
const KEEPALIVE_MS = 15_000;
/** How long credentials are taken as read. */
const CREDENTIALS_MS = 30_000;
/** An error's text is cut here. */
const ERROR_BYTES = 8192;

/** The API server answered with an error. */
export class ApiError extends Error {
  readonly status: number;
  /** "Expired", "Forbidden", ... as in a Status object. */
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
  }

  /** What was asked for is too old: 410 Gone. */
  get expired(): boolean {
    return this.status === 410 || this.reason === 'Expired';
  }
}

const REMEDIES: Record<number, string> = {
  401: 'the credentials were refused: look at the token or certificate and at the service account',
  404: 'NODE_NAME must be the name that kubectl get nodes shows, the URL that of an API server',
  403: 'the ClusterRole needs get, list and watch on nodes and patch on nodes/status (and get on pods without NODE_NAME)',
};

export class KubeClient {
  readonly #options: CredentialsOptions;
  #credentials: Credentials | undefined;
  #shown: { options: RequestOptions; until: number } | undefined;

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /** Returns the API server's URL. @throws VtepError UNSUPPORTED, USAGE */
  async open(): Promise<string> {
    return (await this.#open()).server;
  }

  /** GET of one object. @throws ApiError, or what the network says */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return JSON.parse(await textOf(await this.stream(path, signal)));
  }

  /** A strategic merge patch. Returns the object as it is then. @throws ApiError, or what the network says */
  async patch(path: string, body: object, signal: AbortSignal): Promise<unknown> {
    const text = JSON.stringify(body);
    const headers = {
      'content-type': 'application/strategic-merge-patch+json',
      'content-length': Buffer.byteLength(text),
    };
    return JSON.parse(await textOf(await this.#request('PATCH', path, headers, text, signal)));
  }

  /** GET whose answer is read as it comes. @throws ApiError, or what the network says */
  async stream(path: string, signal: AbortSignal): Promise<Readable> {
    // API servers compress what is long, a list of nodes to a tenth.
    const response = await this.#request('GET', path, { 'accept-encoding': 'gzip' }, undefined, signal);
    if (response.headers['content-encoding'] !== 'gzip') return response;
    // What breaks the one breaks the other, whose reader hears of it.
    return pipeline(response, createGunzip(), () => {});
  }

  /** GET of an answer that never ends and may be silent. @throws ApiError, or what the network says */
  watch(path: string, signal: AbortSignal): Promise<Readable> {
    return this.#request('GET', path, {}, undefined, signal, true);
  }

  async #request(
    method: string,
    path: string,
    headers: Record<string, string | number>,
    body: string | undefined,
    signal: AbortSignal,
    forever = false,
  ): Promise<IncomingMessage> {
    const credentials = await this.#open();
    const shown = await this.#show(credentials);
    const options = {
      ...shown,
      method,
      headers: { accept: 'application/json', ...shown.headers, ...headers },
      signal,
    };
    const url = new URL(credentials.server + path);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = (url.protocol === 'http:' ? requestHttp : requestHttps)(url, options, (answer) => {
        if (forever) request.setTimeout(0);
        resolve(answer);
      });
      request.on('socket', (socket) => socket.setKeepAlive(true, KEEPALIVE_MS));
      request.setTimeout(ANSWER_MS, () =>
        request.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)),
      );
      request.on('error', reject);
      request.end(body);
    });
    if (response.statusCode! < 300) return response;
    // Whatever has been rotated is read again.
    if (response.statusCode === 401) this.#credentials = undefined;
    throw await errorOf(`${method} ${url.pathname}`, response);
  }

  async #open(): Promise<Credentials> {
    if (this.#credentials) return this.#credentials;
    const credentials = await openCredentials(this.#options);
    this.#credentials = credentials;
    this.#shown = undefined;
    return credentials;
  }

  async #show(credentials: Credentials): Promise<RequestOptions> {
    if (this.#shown === undefined || this.#shown.until < Date.now()) {
      this.#shown = { options: await credentials.options(), until: Date.now() + CREDENTIALS_MS };
    }
    return this.#shown.options;
  }
}

async function textOf(response: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** From a Status object, or from whatever stands between us and the API server. */
async function errorOf(what: string, response: IncomingMessage): Promise<ApiError> {
  const code = response.statusCode!;
  let text = '';
  try {
    text = (await textOf(response)).slice(0, ERROR_BYTES);
  } catch {
    // The status alone says enough.
  }
  return statusError(what, code, parseStatus(text) ?? { message: text });
}

function parseStatus(text: string): { message?: unknown; reason?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Of an error that came as an object: as the body of an answer, or as an event of a watch. */
export function statusError(
  what: string,
  code: number,
  status: { message?: unknown; reason?: unknown },
): ApiError {
  const said = typeof status.message === 'string' ? status.message.trim().split('\n')[0]!.slice(0, 300) : '';
  const reason = typeof status.reason === 'string' ? status.reason : '';
  const parts = [`${what}: ${code}${reason === '' ? '' : ` ${reason}`}`, said, REMEDIES[code] ?? ''];
  return new ApiError(code, reason, parts.filter((part) => part !== '').join(': '));
}
