/**
 * The control API from the caller's side: one short HTTP exchange over the Unix socket for each call.
 * A refusal comes back as the VtepError that the daemon raised; nobody listening is a NoDaemonError, which
 * the command line tells apart by its exit code.
 */
import { request } from 'node:http';
import { VtepError, type VtepErrorCode } from '../errors.ts';
import type { FlannelStatus } from '../flannel/network-status.ts';
import type {
  DeviceInfo,
  FdbEntry,
  FdbFlush,
  FdbRequest,
  HookInfo,
  MdbEntry,
  MdbFlush,
  MdbRequest,
  PeerInfo,
  PeerRequest,
  PolicyInfo,
  PolicyRequest,
  VniInfo,
  VniRequest,
  VtepEvent,
  VtepStatus,
} from '../types.ts';
import type { HookMessage } from './hook-schema.ts';

export const SOCKET_DEFAULT = '/run/vxlane/vxlane.sock';

/** Generous: taking a device up opens sockets and starts threads. */
const ANSWER_TIMEOUT_MS = 30_000;

const CODES: readonly string[] = [
  'USAGE',
  'EXISTS',
  'NOT_FOUND',
  'UNSUPPORTED',
  'IN_USE',
  'NO_SPACE',
  'PERMISSION',
  'SYSTEM',
] satisfies VtepErrorCode[];

export class NoDaemonError extends Error {
  constructor(socket: string) {
    super(
      `no daemon answers at ${socket}: start one with "vxlane daemon", or name its socket with --socket or VXLANE_SOCKET`,
    );
    this.name = 'NoDaemonError';
  }
}

/** What the daemon refused, as against what this side did. */
export class Refusal extends VtepError {}

export interface Client {
  links(): Promise<DeviceInfo[]>;
  link(name: string): Promise<DeviceInfo>;
  addLink(device: object): Promise<DeviceInfo>;
  setLink(name: string, change: object): Promise<DeviceInfo>;
  deleteLink(name: string): Promise<void>;
  fdb(dev?: string): Promise<FdbEntry[]>;
  fdbGet(dev: string, mac: string, vni?: number): Promise<FdbEntry>;
  fdbChange(request: FdbRequest): Promise<void>;
  fdbFlush(filter: FdbFlush): Promise<{ removed: number }>;
  mdb(dev?: string): Promise<MdbEntry[]>;
  mdbGet(dev: string, grp: string, src?: string, src_vni?: number): Promise<MdbEntry[]>;
  mdbChange(request: MdbRequest): Promise<void>;
  mdbFlush(filter: MdbFlush): Promise<{ removed: number }>;
  /** Listed and mapped ones. */
  vnis(dev?: string): Promise<VniInfo[]>;
  vniChange(request: VniRequest): Promise<void>;
  policies(dev?: string): Promise<PolicyInfo[]>;
  policyChange(request: PolicyRequest): Promise<void>;
  peers(dev?: string): Promise<PeerInfo[]>;
  peerChange(request: PeerRequest): Promise<void>;
  hooks(dev?: string): Promise<HookInfo[]>;
  hookChange(request: HookMessage): Promise<void>;
  status(): Promise<VtepStatus>;
  /** Flannel networks; none where the daemon is no flannel node. */
  flannel(): Promise<FlannelStatus>;
  /**
   * Hears of each change until the signal says stop, and then resolves.
   * @param ready called once nothing is missed any more
   * @throws NoDaemonError when the daemon ends first
   */
  follow(listener: (event: VtepEvent) => void, stop: AbortSignal, ready?: () => void): Promise<void>;
}

export function createClient(socket: string, timeoutMs: number = ANSWER_TIMEOUT_MS): Client {
  const call = <T>(method: string, path: string, body?: object) =>
    exchange(socket, method, path, body, timeoutMs) as Promise<T>;
  const of = (dev?: string) => (dev === undefined ? '' : `?dev=${encodeURIComponent(dev)}`);
  const named = (name: string) => `/v1/links/${encodeURIComponent(name)}`;
  return {
    links: () => call('GET', '/v1/links'),
    link: (name) => call('GET', named(name)),
    addLink: (device) => call('POST', '/v1/links', device),
    setLink: (name, change) => call('PATCH', named(name), change),
    deleteLink: (name) => call('DELETE', named(name)),
    fdb: (dev) => call('GET', `/v1/fdb${dev === undefined ? '' : `?dev=${encodeURIComponent(dev)}`}`),
    fdbGet: (dev, mac, vni) =>
      call(
        'GET',
        `/v1/fdb/${encodeURIComponent(dev)}/${encodeURIComponent(mac)}${vni === undefined ? '' : `?vni=${vni}`}`,
      ),
    fdbChange: (change) => call('POST', '/v1/fdb', change),
    fdbFlush: (filter) => call('POST', '/v1/fdb/flush', filter),
    mdb: (dev) => call('GET', `/v1/mdb${dev === undefined ? '' : `?dev=${encodeURIComponent(dev)}`}`),
    mdbGet: (dev, grp, src, src_vni) => {
      const query = new URLSearchParams();
      if (src !== undefined) query.set('src', src);
      if (src_vni !== undefined) query.set('src_vni', String(src_vni));
      return call('GET', `/v1/mdb/${encodeURIComponent(dev)}/${encodeURIComponent(grp)}?${query}`);
    },
    mdbChange: (change) => call('POST', '/v1/mdb', change),
    mdbFlush: (filter) => call('POST', '/v1/mdb/flush', filter),
    vnis: (dev) => call('GET', `/v1/vni${of(dev)}`),
    vniChange: (change) => call('POST', '/v1/vni', change),
    policies: (dev) => call('GET', `/v1/policy${of(dev)}`),
    policyChange: (change) => call('POST', '/v1/policy', change),
    peers: (dev) => call('GET', `/v1/peer${of(dev)}`),
    peerChange: (change) => call('POST', '/v1/peer', change),
    hooks: (dev) => call('GET', `/v1/hook${of(dev)}`),
    hookChange: (change) => call('POST', '/v1/hook', change),
    status: () => call('GET', '/v1/status'),
    flannel: () => call('GET', '/v1/flannel'),
    follow: (listener, stop, ready = () => {}) => follow(socket, listener, stop, ready),
  };
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: object | undefined,
  timeoutMs: number,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const call = request({ socketPath, method, path, headers, agent: false, timeout: timeoutMs });
    call.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => reject(new NoDaemonError(socketPath)));
      response.on('end', () => {
        try {
          resolve(read(response.statusCode ?? 0, Buffer.concat(chunks).toString('utf8'), socketPath));
        } catch (error) {
          reject(error);
        }
      });
    });
    call.on('timeout', () =>
      call.destroy(
        new VtepError(
          'SYSTEM',
          `the daemon at ${socketPath} took longer than ${timeoutMs / 1000} s to answer`,
        ),
      ),
    );
    call.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(error, socketPath)));
    call.end(text);
  });
}

function follow(
  socketPath: string,
  listener: (event: VtepEvent) => void,
  stop: AbortSignal,
  ready: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: '/v1/monitor', agent: false });
    stop.addEventListener('abort', () => {
      resolve();
      call.destroy();
    });
    call.on('response', (response) => {
      if (response.statusCode !== 200) reject(stranger(socketPath));
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        const records = (text + chunk).split('\n\n');
        text = records.pop() ?? '';
        for (const record of records) {
          const data = /^data: (.*)$/m.exec(record)?.[1];
          if (data === undefined) ready();
          else listener(JSON.parse(data) as VtepEvent);
        }
      });
      response.on('error', () => reject(new NoDaemonError(socketPath)));
      response.on('end', () => reject(new NoDaemonError(socketPath)));
    });
    call.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(error, socketPath)));
    if (stop.aborted) resolve();
    else call.end();
  });
}

function unreachable(error: NodeJS.ErrnoException, socketPath: string): Error {
  if (error instanceof VtepError) return error;
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new VtepError(
      'PERMISSION',
      `no right to use ${socketPath}: run as the user who started the daemon`,
    );
  if (error.code?.startsWith('HPE_')) return stranger(socketPath);
  return new NoDaemonError(socketPath);
}

function stranger(socketPath: string): VtepError {
  return new VtepError(
    'SYSTEM',
    `whatever answers at ${socketPath} is no vxlane daemon: name another with --socket`,
  );
}

function read(status: number, text: string, socketPath: string): unknown {
  let answer: unknown;
  try {
    answer = text === '' ? undefined : JSON.parse(text);
  } catch {
    throw stranger(socketPath);
  }
  if (status >= 200 && status < 300) return answer;
  const error = (answer as { error?: { code?: unknown; message?: unknown } } | undefined)?.error;
  if (typeof error?.code !== 'string' || !CODES.includes(error.code)) throw stranger(socketPath);
  throw new Refusal(error.code as VtepErrorCode, String(error.message));
}
