/**
 * Two questions that a machine asks over HTTP. /healthz: is the process alive? 200 as long as the event loop turns.
 * /readyz: may traffic be sent here? 200 when the leases are synced, our own is held, subnet.env is written and peers
 * answer; else 503 with the reasons, one a line, or as JSON for who accepts that.
 *
 * "Peers answer" means: at least one does, or there are none, or there was no time yet to find out (`Prober.ready`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { VtepError } from '../errors.ts';

const REQUEST_MS = 5000;
const CONNECTIONS_MAX = 64;
const PORT_MAX = 65535;

export interface HealthOptions {
  /** --healthz-ip: the address to listen on, "0.0.0.0" for all. */
  ip: string;
  /** --healthz-port; 0 = off. */
  port: number;
  /** Asked at each /readyz. `reasons` say what is missing; they are empty when `ok`. */
  ready(): { ok: boolean; reasons: readonly string[] };
}

export interface Health {
  /** Ends connections, too. Safe to call twice. */
  close(): Promise<void>;
}

/** @throws VtepError IN_USE when somebody else has the port; USAGE or SYSTEM when nobody can listen there */
export async function startHealth(options: HealthOptions): Promise<Health> {
  const { ip, port } = options;
  if (port === 0) return { close: async () => undefined };
  if (!Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    throw new VtepError('USAGE', `--healthz-port ${port}: 0 (off) to ${PORT_MAX} are expected`);
  }
  const server = createServer((request, response) => answer(request, response, options));
  server.maxConnections = CONNECTIONS_MAX;
  Object.assign(server, {
    headersTimeout: REQUEST_MS,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: REQUEST_MS,
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(refusal(ip, port, error)));
    server.listen({ host: ip, port }, () => resolve());
  });
  // From now on one connection's trouble is that connection's.
  server.on('error', () => undefined);
  let closed: Promise<void> | undefined;
  return {
    close: () => {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
}

interface Answer {
  status: number;
  ok: boolean;
  reasons: readonly string[];
}

function answer(request: IncomingMessage, response: ServerResponse, options: HealthOptions): void {
  const { status, ok, reasons } = decide(request, options);
  const json = /\bapplication\/json\b/.test(request.headers.accept ?? '');
  const text = json ? JSON.stringify({ ok, reasons }) : ok ? 'ok' : reasons.join('\n');
  response.writeHead(status, {
    'content-type': json ? 'application/json' : 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text) + 1,
    'cache-control': 'no-store',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : `${text}\n`);
}

function decide({ url = '', method = '' }: IncomingMessage, { ready }: HealthOptions): Answer {
  const path = url.split('?')[0];
  if (path !== '/healthz' && path !== '/readyz') {
    return { status: 404, ok: false, reasons: ['not found: there are /healthz and /readyz'] };
  }
  if (method !== 'GET' && method !== 'HEAD') {
    return { status: 405, ok: false, reasons: ['GET and HEAD are answered'] };
  }
  if (path === '/healthz') return { status: 200, ok: true, reasons: [] };
  try {
    const { ok, reasons } = ready();
    return { status: ok ? 200 : 503, ok, reasons };
  } catch (error) {
    // Who can't say whether it is ready is not.
    return { status: 503, ok: false, reasons: [(error as Error).message] };
  }
}

function refusal(ip: string, port: number, { code = '', message }: NodeJS.ErrnoException): VtepError {
  const what = `health endpoint ${ip} port ${port}: ${code || message}`;
  if (code === 'EADDRINUSE') {
    return new VtepError('IN_USE', `${what}: somebody else listens there: choose another --healthz-port`);
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new VtepError('USAGE', `${what}: --healthz-ip is no address of this host`);
  }
  return new VtepError(code === 'EACCES' ? 'PERMISSION' : 'SYSTEM', `${what}: choose another --healthz-port`);
}
