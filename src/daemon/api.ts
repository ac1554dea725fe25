/**
 * The control API: HTTP and JSON over a Unix socket. The command line, scripts (curl --unix-socket) and
 * tests all come through here.
 *
 *   GET    /v1/links               every device            POST  /v1/links        add one
 *   GET    /v1/links/NAME          one device              PATCH /v1/links/NAME   change it
 *   DELETE /v1/links/NAME          remove it
 *   GET    /v1/fdb[?dev=NAME]      every entry             POST  /v1/fdb          add, append, replace, del
 *   GET    /v1/fdb/NAME/MAC[?vni=N] one entry              POST  /v1/fdb/flush    remove what matches
 *   GET    /v1/mdb[?dev=NAME]      every entry             POST  /v1/mdb          add, replace, del
 *   GET    /v1/vni[?dev=NAME]      VNIs and their VLANs    POST  /v1/vni          add, del
 *   GET    /v1/policy[?dev=NAME]   group policies          POST  /v1/policy       add, del, refuse, allow
 *   GET    /v1/peer[?dev=NAME]     peers, with counters    POST  /v1/peer         set, del
 *   GET    /v1/hook[?dev=NAME]     programs on devices     POST  /v1/hook         add, replace, del
 *   GET    /v1/mdb/NAME/GROUP      its remotes             POST  /v1/mdb/flush    remove what matches
 *          [?src=ADDR&src_vni=VNI]
 *   GET    /v1/status              one sample              GET   /v1/events       a sample each second
 *   GET    /v1/flannel             flannel networks        GET   /v1/monitor      each change as it happens
 *
 * A refusal is {"error": {"code", "message"}} with 400, 404, 409, 413 (too large) or 500. Changes are made one
 * after the other, in the order in which they arrive.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { VtepError, type VtepErrorCode } from '../errors.ts';
import type { Flannel } from '../flannel/flannel.ts';
import type { DeviceInfo, FdbEntry, Vtep } from '../types.ts';
import { ADD_AGAIN } from '../vtep/rules.ts';
import { applicable } from './device-rules.ts';
import { createEvents } from './events.ts';
import { parseHook } from './hook-schema.ts';
import { parseMdb, parseMdbFlush, parseMdbQuery } from './mdb-schema.ts';
import { createMonitor, type Monitor } from './monitor.ts';
import { parsePeer } from './peer-schema.ts';
import { parseChange, parseDevice, parseFdb, parseFlush } from './schema.ts';
import { fdbVni, mac } from './values.ts';
import { parsePolicy, parseVni } from './vni-schema.ts';

const BODY_BYTES_MAX = 1 << 20;

const STATUS_OF: Readonly<Record<VtepErrorCode, number>> = {
  USAGE: 400,
  UNSUPPORTED: 400,
  NOT_FOUND: 404,
  EXISTS: 409,
  IN_USE: 409,
  NO_SPACE: 409,
  PERMISSION: 500,
  SYSTEM: 500,
};

/** What requests are answered from. */
export interface Running {
  vtep: Vtep;
  /** Absent: this is no flannel node. */
  flannel?: Flannel;
}

interface Call extends Running {
  /** What the parentheses of the route's path matched. */
  parts: string[];
  query: URLSearchParams;
  body: unknown;
}

type Route = readonly [method: string, path: RegExp, run: (call: Call) => unknown];

const ROUTES: readonly Route[] = [
  ['GET', /^\/v1\/links$/, ({ vtep }) => vtep.devices()],
  ['POST', /^\/v1\/links$/, ({ vtep, body }) => vtep.addDevice(parseDevice(body))],
  ['GET', /^\/v1\/links\/([^/]+)$/, ({ vtep, parts }) => findDevice(vtep, parts[0]!)],
  ['PATCH', /^\/v1\/links\/([^/]+)$/, ({ vtep, parts, body }) => change(vtep, parts[0]!, body)],
  ['DELETE', /^\/v1\/links\/([^/]+)$/, ({ vtep, parts }) => vtep.deleteDevice(parts[0]!)],
  ['GET', /^\/v1\/fdb$/, ({ vtep, query }) => vtep.fdbShow(query.get('dev') ?? undefined)],
  ['POST', /^\/v1\/fdb$/, ({ vtep, body }) => vtep.fdb(parseFdb(body))],
  ['POST', /^\/v1\/fdb\/flush$/, ({ vtep, body }) => ({ removed: vtep.fdbFlush(parseFlush(body)) })],
  ['GET', /^\/v1\/fdb\/([^/]+)\/([^/]+)$/, fdbGet],
  ['GET', /^\/v1\/mdb$/, ({ vtep, query }) => vtep.mdbShow(query.get('dev') ?? undefined)],
  ['POST', /^\/v1\/mdb$/, ({ vtep, body }) => vtep.mdb(parseMdb(body))],
  ['POST', /^\/v1\/mdb\/flush$/, ({ vtep, body }) => ({ removed: vtep.mdbFlush(parseMdbFlush(body)) })],
  [
    'GET',
    /^\/v1\/mdb\/([^/]+)\/([^/]+)$/,
    ({ vtep, parts, query }) => vtep.mdbGet(parts[0]!, parts[1]!, ...parseMdbQuery(query)),
  ],
  ['GET', /^\/v1\/vni$/, ({ vtep, query }) => vtep.vniShow(query.get('dev') ?? undefined)],
  ['POST', /^\/v1\/vni$/, ({ vtep, body }) => vtep.vni(parseVni(body))],
  ['GET', /^\/v1\/policy$/, ({ vtep, query }) => vtep.policyShow(query.get('dev') ?? undefined)],
  ['POST', /^\/v1\/policy$/, ({ vtep, body }) => vtep.policy(parsePolicy(body))],
  ['GET', /^\/v1\/peer$/, ({ vtep, query }) => vtep.peerShow(query.get('dev') ?? undefined)],
  ['POST', /^\/v1\/peer$/, ({ vtep, body }) => vtep.peer(parsePeer(body))],
  ['GET', /^\/v1\/hook$/, ({ vtep, query }) => vtep.hookShow(query.get('dev') ?? undefined)],
  ['POST', /^\/v1\/hook$/, ({ vtep, body }) => vtep.hook(parseHook(body))],
  ['GET', /^\/v1\/status$/, ({ vtep }) => vtep.status()],
  ['GET', /^\/v1\/flannel$/, ({ flannel }) => flannel?.status() ?? { networks: [] }],
];

function fdbGet({ vtep, parts, query }: Call): FdbEntry {
  const vni = query.get('vni');
  return vtep.fdbGet(parts[0]!, mac(parts[1]!), vni === null ? undefined : fdbVni(vni));
}

/** iproute2 has other words for a device that is to be shown than for one that is to be changed. */
function findDevice(vtep: Vtep, name: string, sentence = `Device "${name}" does not exist`): DeviceInfo {
  const device = vtep.devices().find(({ config }) => config.name === name);
  if (device === undefined)
    throw new VtepError('NOT_FOUND', `${sentence}: "vxlane link show" lists those that are there`);
  return device;
}

async function change(vtep: Vtep, name: string, body: unknown): Promise<DeviceInfo> {
  const { id, change } = parseChange(body);
  const device = findDevice(vtep, name, `Cannot find device "${name}"`);
  if (id !== undefined && id !== device.config.id)
    throw new VtepError('UNSUPPORTED', `Cannot change VNI: ${ADD_AGAIN}`);
  const effective = applicable(device.config, change);
  return Object.keys(effective).length === 0 ? device : vtep.setDevice(name, effective);
}

export interface Api {
  handle: RequestListener;
  /** Ends the event streams and waits for the change under way. */
  close(): Promise<void>;
}

/** Requests that come before the VTEP is there wait for it. `changed` is called after each change, before its answer. */
export function createApi(
  ready: Promise<Running>,
  log: (message: string) => void,
  changed: () => void = () => {},
): Api {
  let events: ReturnType<typeof createEvents> | undefined;
  let monitor: Monitor | undefined;
  let lastChange: Promise<unknown> = Promise.resolve();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://vxlane');
    const body = await readBody(request);
    const running = await ready;
    const { vtep } = running;
    if (request.method === 'GET' && url.pathname === '/v1/events') {
      events ??= createEvents(() => vtep.status());
      events.attach(response);
      return;
    }
    if (request.method === 'GET' && url.pathname === '/v1/monitor') {
      monitor ??= createMonitor(vtep);
      monitor.attach(response);
      return;
    }
    for (const [method, path, run] of ROUTES) {
      const match = path.exec(url.pathname);
      if (match === null || method !== request.method) continue;
      const call = { ...running, query: url.searchParams, parts: match.slice(1).map(decode) };
      if (method === 'GET') return reply(response, 200, await run({ ...call, body: undefined }));
      const done = lastChange.then(() => run({ ...call, body: parseJson(body) })).finally(changed);
      lastChange = done.catch(() => undefined);
      return reply(response, 200, await done);
    }
    throw new VtepError('NOT_FOUND', `no such request: ${request.method} ${url.pathname}`);
  }

  return {
    handle(request, response) {
      answer(request, response).catch((error: unknown) => {
        const known = error instanceof VtepError;
        if (!known) log(`${request.method} ${request.url}: ${(error as Error).stack ?? error}`);
        const code = known ? error.code : 'SYSTEM';
        const message = known ? error.message : `internal error: ${(error as Error).message}`;
        const status = error instanceof TooLarge ? 413 : STATUS_OF[code];
        // A body that was not read to its end can't be followed by another request.
        if (!request.complete) response.setHeader('connection', 'close');
        reply(response, status, { error: { code, message } });
      });
    },
    async close() {
      events?.close();
      monitor?.close();
      await lastChange;
    },
  };
}

class TooLarge extends VtepError {
  constructor() {
    super('USAGE', `the body is larger than ${BODY_BYTES_MAX} bytes`);
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw new TooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > BODY_BYTES_MAX) throw new TooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof TooLarge ? error : new VtepError('USAGE', 'the request broke off');
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new VtepError('USAGE', `the body is not JSON: ${(error as Error).message}`);
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new VtepError('USAGE', `the path is not well formed: ${part}`);
  }
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  if (response.headersSent || response.destroyed) return;
  if (value === undefined) {
    response.writeHead(204).end();
    return;
  }
  const text = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
