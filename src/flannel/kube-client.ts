/**
 * Requests to a Kubernetes API server. The official client reads kubeconfig, the pod's service account and every
 * kind of credential (certificates, tokens in files, exec plugins, OIDC, proxies); the requests themselves are
 * plain HTTPS, because its models and its informer keep whole Node objects, ten to twenty kilobytes each.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { type RequestOptions, request as requestHttps } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { VtepError } from '../errors.ts';

/** Longest wait for the answer to a request, and for the next bytes of one. */
const ANSWER_MS = 30_000;
/** A peer that vanished without a word is noticed after this and ten probes, a second apart. */
const KEEPALIVE_MS = 15_000;
/** How long credentials are taken as read; the client itself reads a token's file once a minute. */
const CREDENTIALS_MS = 30_000;
/** An error's text is cut here. */
const ERROR_BYTES = 8192;

export interface KubeClientOptions {
  /** Path of a kubeconfig; without it and without `apiUrl`, the pod's service account. */
  kubeconfig?: string;
  /** Replaces the server that the kubeconfig names; alone, it is asked without credentials. */
  apiUrl?: string;
  /** What stands before /var/run/secrets/kubernetes.io/serviceaccount. */
  podRoot?: string;
  environment?: NodeJS.ProcessEnv;
  /** Loads the client library. */
  load?: Load;
}

type Load = () => Promise<ClientLibrary>;

interface ClientLibrary {
  KubeConfig: new () => KubeConfig;
}

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
  readonly #options: KubeClientOptions;
  #config: KubeConfig | undefined;
  #credentials: { options: RequestOptions; until: number } | undefined;

  constructor(options: KubeClientOptions) {
    this.#options = options;
  }

  /**
   * Reads the configuration anew. Returns the API server's URL.
   * @throws VtepError UNSUPPORTED without the client library; USAGE for a configuration that can't be right
   */
  async open(): Promise<string> {
    return serverOf(await this.#load());
  }

  async #load(): Promise<KubeConfig> {
    const { kubeconfig, apiUrl, podRoot = '', environment = process.env } = this.#options;
    const { KubeConfig } = await loadClient(this.#options.load ?? (() => import('@kubernetes/client-node')));
    const config = new KubeConfig();
    if (kubeconfig !== undefined) readKubeconfig(config, kubeconfig);
    else if (apiUrl !== undefined)
      config.loadFromClusterAndUser(
        { name: 'api', server: apiUrl, skipTLSVerify: false },
        { name: 'nobody' },
      );
    else if (environment.KUBERNETES_SERVICE_HOST && environment.KUBERNETES_SERVICE_PORT)
      config.loadFromCluster(podRoot);
    else
      throw new VtepError(
        'USAGE',
        'kubernetes: no API server is known: give --kubeconfig-file or --kube-api-url, or run in a pod',
      );
    const cluster = config.getCurrentCluster();
    if (!cluster)
      throw new VtepError(
        'USAGE',
        `kubernetes: ${kubeconfig}: current-context names no cluster: see kubectl config get-contexts`,
      );
    // The client refuses http:// unless it is told that nothing is verified there, which is so.
    const server = (apiUrl ?? cluster.server).replace(/\/+$/, '');
    const http = server.startsWith('http:');
    config.clusters = config.clusters.map((one) =>
      one.name === cluster.name ? { ...one, server, skipTLSVerify: one.skipTLSVerify || http } : one,
    );
    this.#config = config;
    this.#credentials = undefined;
    return config;
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

  /** GET whose answer is read as it comes. `forever`: it may be silent. @throws ApiError, or what the network says */
  stream(path: string, signal: AbortSignal, forever = false): Promise<IncomingMessage> {
    return this.#request('GET', path, {}, undefined, signal, forever);
  }

  async #request(
    method: string,
    path: string,
    headers: Record<string, string | number>,
    body: string | undefined,
    signal: AbortSignal,
    forever = false,
  ): Promise<IncomingMessage> {
    const config = this.#config ?? (await this.#load());
    const credentials = await this.#authorize(config);
    const options = {
      ...credentials,
      method,
      headers: { accept: 'application/json', ...credentials.headers, ...headers },
      signal,
    };
    const url = new URL(serverOf(config) + path);
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
    if (response.statusCode === 401) this.#config = undefined;
    throw await errorOf(`${method} ${url.pathname}`, response);
  }

  async #authorize(config: KubeConfig): Promise<RequestOptions> {
    if (this.#credentials === undefined || this.#credentials.until < Date.now()) {
      const options: RequestOptions = { headers: {} };
      await config.applyToHTTPSOptions(options);
      const headers = options.headers as Record<string, string>;
      // A token's file may end in a newline, which a header must not.
      if (headers.Authorization !== undefined) headers.Authorization = headers.Authorization.trim();
      this.#credentials = { options, until: Date.now() + CREDENTIALS_MS };
    }
    return this.#credentials.options;
  }
}

async function loadClient(load: Load): Promise<ClientLibrary> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new VtepError(
      'UNSUPPORTED',
      'kubernetes: the client library is not installed: npm install @kubernetes/client-node',
    );
  }
}

function serverOf(config: KubeConfig): string {
  return config.getCurrentCluster()!.server;
}

function readKubeconfig(config: KubeConfig, path: string): void {
  try {
    config.loadFromFile(path);
  } catch (error) {
    throw new VtepError(
      'USAGE',
      `kubernetes: kubeconfig ${path}: ${(error as Error).message.split('\n')[0]}: give the path of a readable kubeconfig`,
    );
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
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
