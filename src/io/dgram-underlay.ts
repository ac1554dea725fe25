/**
 * The portable underlay: Node's own dgram, any OS, no privilege. One datagram a call; what batched sockets do with
 * control messages (TOS, DF) can't be done here.
 */
import { createSocket, type Socket } from 'node:dgram';
import { VtepError } from '../errors.ts';
import { parseIp } from './ip-address.ts';
import type { LossReason, OutgoingDatagram, Underlay, UnderlayFamily, UnderlaySink } from './underlay.ts';

const SOURCES = 4;
const SOURCES_MAX = 64;
const QUEUE_DATAGRAMS = 256;
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** Of `dgramUnderlay`. */
export interface DgramUnderlayOptions {
  /** Own address over IPv4, to receive at and to send from; "0.0.0.0" = any of the host's. */
  address?: string;
  /** Over IPv6; "::" */
  address6?: string;
  /**
   * Sockets to send from, 0 to 64, each with a port that the system chooses; 4. The inner flow chooses among them, so
   * that routers and receive queues can tell flows apart. 0: what is sent leaves from the port that is listened on,
   * which some firewalls want.
   */
  sources?: number;
  /** Datagrams that may wait for the system in each socket; 256. Those beyond are lost, and counted (drop_socket_full). */
  queue?: number;
}

/**
 * The underlay over Node's own sockets: any system, no privilege, one datagram a call. It sets the outer TTL, but neither TOS
 * nor DF.
 * @throws VtepError USAGE; when a device opens its port: IN_USE, PERMISSION, SYSTEM
 */
export function dgramUnderlay(options: DgramUnderlayOptions = {}): Underlay {
  const { address = '0.0.0.0', address6 = '::', sources = SOURCES, queue = QUEUE_DATAGRAMS } = options;
  const refuse = (what: string) => {
    throw new VtepError('USAGE', `dgram underlay: ${what}`);
  };
  if (parseIp(address)?.family !== 'inet') refuse(`address ${address}: an IPv4 address is expected`);
  if (parseIp(address6)?.family !== 'inet6') refuse(`address6 ${address6}: an IPv6 address is expected`);
  if (!(Number.isInteger(sources) && sources >= 0 && sources <= SOURCES_MAX))
    refuse(`sources ${sources}: give a number from 0 to ${SOURCES_MAX}`);
  if (!(Number.isInteger(queue) && queue > 0)) refuse(`queue ${queue}: give a whole number from 1`);
  return new DgramUnderlay({ inet: address, inet6: address6 }, sources, queue);
}

/** A socket to send from. */
interface Source {
  socket: Socket;
  /** That it was told last; 0 = the system's own */
  ttl: number;
}

class DgramUnderlay implements Underlay {
  readonly kind = 'dgram';
  readonly can = { tos: false, ttl: true, df: false };
  readonly #addresses: Record<UnderlayFamily, string>;
  readonly #sourceCount: number;
  readonly #limit: number;
  readonly #listeners = new Map<string, Socket>();
  readonly #sources: Record<UnderlayFamily, Source[]> = { inet: [], inet6: [] };
  #sink: UnderlaySink | undefined;
  #isClosed = false;

  constructor(addresses: Record<UnderlayFamily, string>, sources: number, limit: number) {
    this.#addresses = addresses;
    this.#sourceCount = sources;
    this.#limit = limit;
  }

  start(sink: UnderlaySink): void {
    if (this.#sink !== undefined || this.#isClosed)
      throw new VtepError('IN_USE', 'dgram underlay: another VTEP has had it: make another');
    this.#sink = sink;
  }

  owns(address: string): boolean {
    return Object.values(this.#addresses).includes(address);
  }

  async open(family: UnderlayFamily, port: number): Promise<void> {
    const sink = this.#sink!;
    const socket = await this.#bind(family, port);
    socket.on('message', (bytes, { address }) => sink.arrived(bytes, address, port, 0));
    try {
      // What one turn of the event loop can't take has to wait somewhere.
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
    } catch {
      // As large as the system likes, then.
    }
    this.#listeners.set(`${family} ${port}`, socket);
    const sources = this.#sources[family];
    if (this.#sourceCount === 0) sources.push({ socket, ttl: 0 });
    while (sources.length < this.#sourceCount) sources.push({ socket: await this.#bind(family, 0), ttl: 0 });
  }

  async shut(family: UnderlayFamily, port: number): Promise<void> {
    const key = `${family} ${port}`;
    const socket = this.#listeners.get(key);
    if (socket === undefined) return;
    this.#listeners.delete(key);
    if (this.#sourceCount === 0)
      this.#sources[family] = this.#sources[family].filter((source) => source.socket !== socket);
    await closed(socket);
  }

  send({ bytes, address, port, flow, ttl, device }: OutgoingDatagram): LossReason | undefined {
    const sources = this.#sources[address.includes(':') ? 'inet6' : 'inet'];
    if (sources.length === 0) return 'unreachable';
    const source = sources[flow % sources.length]!;
    const { socket } = source;
    if (socket.getSendQueueCount() >= this.#limit) return 'full';
    if (ttl !== source.ttl && ttl !== 0) this.#setTtl(source, ttl);
    const { length } = bytes;
    // It may wait in the socket's queue, and the memory it lies in may not.
    const copy = Buffer.allocUnsafe(length);
    copy.set(bytes);
    socket.send(copy, port, address, (error) => {
      if (error !== null) this.#sink!.lost(device, length, reasonOf(error));
    });
    return;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const sources = Object.values(this.#sources).flat();
    this.#sources.inet = [];
    this.#sources.inet6 = [];
    const sockets = new Set([...this.#listeners.values(), ...sources.map(({ socket }) => socket)]);
    this.#listeners.clear();
    await Promise.all([...sockets].map(closed));
  }

  #setTtl(source: Source, ttl: number): void {
    source.ttl = ttl;
    source.socket.setTTL(ttl);
    source.socket.setMulticastTTL(ttl);
  }

  async #bind(family: UnderlayFamily, port: number): Promise<Socket> {
    const socket = createSocket({
      type: family === 'inet' ? 'udp4' : 'udp6',
      ipv6Only: family === 'inet6',
      // Addresses are numbers: nothing is looked up, and nothing waits for the next turn.
      lookup: (host, _options, found) => found(null, host, family === 'inet' ? 4 : 6),
    });
    const address = this.#addresses[family];
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.bind({ port, address, exclusive: true }, resolve);
      });
    } catch (error) {
      socket.close();
      throw bindError(family, address, port, error as NodeJS.ErrnoException);
    }
    socket.removeAllListeners('error');
    socket.on('error', (error) => this.#sink?.warn(`underlay ${address}: ${error.message}`));
    return socket;
  }
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}

function bindError(
  family: UnderlayFamily,
  address: string,
  port: number,
  error: NodeJS.ErrnoException,
): VtepError {
  const what = `underlay ${family === 'inet6' ? `[${address}]` : address}:${port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new VtepError(
        'IN_USE',
        `${what}: Address already in use: give another dstport, or another address`,
      );
    case 'EACCES':
    case 'EPERM':
      return new VtepError('PERMISSION', `${what}: Permission denied: ports below 1024 need a right`);
    default:
      return new VtepError('SYSTEM', `${what}: ${error.message}`);
  }
}

function reasonOf({ code }: NodeJS.ErrnoException): LossReason {
  switch (code) {
    case 'EAGAIN':
    case 'ENOBUFS':
      return 'full';
    case 'EMSGSIZE':
      return 'too-big';
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'EADDRNOTAVAIL':
      return 'unreachable';
    case 'ECONNREFUSED':
      return 'refused';
    default:
      return 'error';
  }
}
