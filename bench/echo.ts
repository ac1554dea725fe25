/**
 * One UDP socket through the system's own calls, and the echo on top of it.
 *
 * Run as a child process inside a host's namespace, this file is either end of a round-trip measurement. It
 * uses blocking calls through koffi and not Node's dgram: a trip through the event loop costs more than the
 * tunnel under test. The socket helpers are exported for the UDP blaster, which lives by the same rule.
 *
 * Messages are laid out for 64-bit little-endian Linux.
 */
import { createHistogram } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';
import { busySeconds } from './cpu.ts';
import type { Watch } from './probe.ts';
import type { Metrics } from './samples.ts';
import type { Helper } from './testbed.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
/** Deep enough for tens of milliseconds of the fastest flow: the harness must not be what loses frames. */
const SOCKET_BUFFER_BYTES = 16 << 20;
export const SOCKADDR_BYTES = 16;

function bindCalls() {
  const self = koffi.load(null);
  return {
    socket: self.func('int socket(int, int, int)'),
    bind: self.func('int bind(int, uintptr_t, uint32_t)'),
    connect: self.func('int connect(int, uintptr_t, uint32_t)'),
    setsockopt: self.func('int setsockopt(int, int, int, uintptr_t, uint32_t)'),
    send: self.func('intptr_t send(int, uintptr_t, size_t, int)'),
    recv: self.func('intptr_t recv(int, uintptr_t, size_t, int)'),
    sendto: self.func('intptr_t sendto(int, uintptr_t, size_t, int, uintptr_t, uint32_t)'),
    recvfrom: self.func('intptr_t recvfrom(int, uintptr_t, size_t, int, uintptr_t, uintptr_t)'),
    sendmmsg: self.func('int sendmmsg(int, uintptr_t, uint32_t, int)'),
    recvmmsg: self.func('int recvmmsg(int, uintptr_t, uint32_t, int, uintptr_t)'),
    usleep: self.func('int usleep(uint32_t)'),
    prctl: self.func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)'),
  };
}

/** Bound on Linux only: elsewhere the bench loads this file and says that it needs Linux. */
export const call = process.platform === 'linux' ? bindCalls() : ({} as ReturnType<typeof bindCalls>);

/** Memory that the kernel is given addresses of. It is outside V8's heap, so nothing moves or collects it. */
export class Arena {
  readonly base: number;
  readonly data: DataView;
  readonly words: Uint32Array;
  readonly #block: unknown;
  #used = 0;

  constructor(bytes: number) {
    this.#block = koffi.alloc('uint8_t', bytes);
    this.base = Number(koffi.address(this.#block));
    const buffer = koffi.view(this.#block, bytes);
    this.data = new DataView(buffer);
    this.words = new Uint32Array(buffer);
    new Uint8Array(buffer).fill(0); // also takes the page faults now, not in the middle of a trial
  }

  /** Nothing may use the arena afterwards. */
  free(): void {
    koffi.free(this.#block);
  }

  /** Offset of a new region, aligned to a cache line. */
  take(bytes: number): number {
    const at = this.#used;
    this.#used = (at + bytes + 63) & ~63;
    if (this.#used > this.data.byteLength) throw new Error('the arena is too small');
    return at;
  }

  /** Writes an IPv4 socket address; answers its offset. */
  sockaddr(address: string, port: number): number {
    const at = this.take(SOCKADDR_BYTES);
    this.data.setUint16(at, AF_INET, true);
    this.data.setUint16(at + 2, port);
    for (const [i, part] of address.split('.').entries()) this.data.setUint8(at + 4 + i, Number(part));
    return at;
  }
}

/** Wraps a system call's answer: throws with its name and errno when it is negative. */
export function must(name: string, answer: number): number {
  if (answer < 0) throw new Error(`${name}: errno ${koffi.errno()}`);
  return answer;
}

export function setOption(arena: Arena, fd: number, level: number, option: number, value: number): void {
  const at = arena.take(4);
  arena.data.setInt32(at, value, true);
  must('setsockopt', call.setsockopt(fd, level, option, arena.base + at, 4));
}

/** A blocking UDP socket bound to `port` (0 = any) whose receive calls give up after `timeoutMs`. */
export function udpSocket(arena: Arena, port: number, timeoutMs: number): number {
  const fd = must('socket', call.socket(AF_INET, SOCK_DGRAM, 0));
  setOption(arena, fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER_BYTES);
  setOption(arena, fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER_BYTES);
  const wait = arena.take(16);
  arena.data.setBigInt64(wait, BigInt(Math.floor(timeoutMs / 1000)), true);
  arena.data.setBigInt64(wait + 8, BigInt((timeoutMs % 1000) * 1000), true);
  must('SO_RCVTIMEO', call.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, arena.base + wait, 16));
  must('bind', call.bind(fd, arena.base + arena.sockaddr('0.0.0.0', port), SOCKADDR_BYTES));
  return fd;
}

/** Answers orders that the parent sends over IPC, one after the other, and ends with the parent. */
export function serveOrders<Order, Reply>(handle: (order: Order) => Reply): void {
  // A sleep of 20 us should not become one of 70: the default timer slack is 50 us.
  call.prctl(29, 1, 0, 0, 0);
  process.on('disconnect', () => process.exit(0));
  process.on('message', (order) => {
    try {
      process.send?.({ reply: handle(order as Order) });
    } catch (error) {
      process.send?.({ error: (error as Error).message });
    }
  });
  process.send?.({ reply: 'ready' });
}

const ECHO_PORT = 7007;
const PAYLOAD_BYTES = 18;
/** The server ends this long after the last echo; an echo is lost after as long. */
const PATIENCE_MS = 400;
/** The server ends this long after its start when no echo comes. */
const SERVER_WAITS_MS = 5000;
const REACH_TRIES = 4;

type EchoOrder =
  | { do: 'serve' }
  /** `everyUs` 0: the next echo leaves as soon as the last has come back. */
  | { do: 'ping'; address: string; count: number; everyUs: number };

interface EchoReply {
  /** Echoes answered. */
  echoes: number;
  lost: number;
  /** Round trips in microseconds, in the order they were made; empty on the server. */
  rtts: number[];
}

function serve(arena: Arena, fd: number, buffer: number): EchoReply {
  const from = arena.base + arena.take(SOCKADDR_BYTES);
  const fromLength = arena.take(4);
  const started = performance.now();
  let echoes = 0;
  for (;;) {
    arena.data.setUint32(fromLength, SOCKADDR_BYTES, true);
    const bytes = call.recvfrom(fd, buffer, 64, 0, from, arena.base + fromLength);
    if (bytes >= 0) {
      call.sendto(fd, buffer, bytes, 0, from, SOCKADDR_BYTES);
      echoes++;
    } else if (echoes > 0 || performance.now() - started > SERVER_WAITS_MS) {
      return { echoes, lost: 0, rtts: [] };
    }
  }
}

function ping(arena: Arena, order: EchoOrder & { do: 'ping' }): EchoReply {
  const fd = udpSocket(arena, 0, PATIENCE_MS / 2);
  const peer = arena.sockaddr(order.address, ECHO_PORT);
  must('connect', call.connect(fd, arena.base + peer, SOCKADDR_BYTES));
  const at = arena.take(64);
  const buffer = arena.base + at;
  const rtts: number[] = [];
  let lost = 0;
  let next = performance.now();
  for (let number = 1; number <= order.count; number++) {
    if (order.everyUs > 0) {
      next += order.everyUs / 1000;
      const wait = (next - performance.now()) * 1000;
      if (wait > 1) call.usleep(Math.floor(wait));
    }
    arena.data.setUint32(at, number, true);
    const sent = performance.now();
    must('send', call.send(fd, buffer, PAYLOAD_BYTES, 0));
    let bytes = call.recv(fd, buffer, 64, 0);
    // A late answer to an echo that was given up is not the answer to this one.
    while (bytes >= 0 && arena.data.getUint32(at, true) !== number) bytes = call.recv(fd, buffer, 64, 0);
    if (bytes < 0) lost++;
    else rtts.push((performance.now() - sent) * 1000);
  }
  return { echoes: rtts.length, lost, rtts };
}

/** The parent's side: resolves when an echo has come back, between two helpers that run this file. */
export async function answers(client: Helper, server: Helper, address: string): Promise<void> {
  const ping: EchoOrder = { do: 'ping', address, count: (2 * SERVER_WAITS_MS) / PATIENCE_MS, everyUs: 0 };
  for (let tries = 0; tries < REACH_TRIES; tries++) {
    const serving = server.ask<EchoReply>({ do: 'serve' } satisfies EchoOrder);
    const { echoes } = await client.ask<EchoReply>(ping);
    await serving;
    if (echoes > 0) return;
  }
  throw new Error(`no echo has come back in ${(REACH_TRIES * SERVER_WAITS_MS) / 1000} s`);
}

/** The percentiles that are kept: of the table, and of the curve over all of them. */
export const PERCENTILES = { p50: 50, p75: 75, p90: 90, p95: 95, p99: 99, p995: 99.5, p999: 99.9, max: 100 };

/** The parent's side: round trips between two helpers that run this file, in microseconds. */
export async function measureEcho(
  client: Helper,
  server: Helper,
  address: string,
  count: number,
  everyUs: number,
  watch?: Watch,
): Promise<Metrics> {
  const ping: EchoOrder = { do: 'ping', address, count, everyUs };
  const serving = server.ask<EchoReply>({ do: 'serve' } satisfies EchoOrder);
  // The first echoes meet cold caches and code that is not compiled yet, in helper and tunnel alike.
  await client.ask<EchoReply>({ ...ping, count: 200, everyUs: 0 });
  await watch?.begin();
  const before = busySeconds();
  const { rtts, lost } = await client.ask<EchoReply>(ping);
  const after = busySeconds();
  await watch?.end();
  await serving;
  if (rtts.length === 0) throw new Error('no echo came back');
  const cores = (after.busy - before.busy) / (after.at - before.at);
  return { ...percentiles(rtts), cores, lost, echoes: rtts.length };
}

/** @param rtts microseconds; kept by an HDR histogram, in nanoseconds, exact to three digits */
export function percentiles(rtts: number[]): Record<keyof typeof PERCENTILES, number> {
  const histogram = createHistogram({ figures: 3 });
  for (const rtt of rtts) histogram.record(Math.max(1, Math.round(rtt * 1000)));
  const at = Object.entries(PERCENTILES).map(([key, percent]) => [key, histogram.percentile(percent) / 1000]);
  return Object.fromEntries(at);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const arena = new Arena(1 << 16);
  let server: { fd: number; buffer: number } | undefined;
  serveOrders<EchoOrder, EchoReply>((order) => {
    if (order.do === 'ping') return ping(arena, order);
    server ??= { fd: udpSocket(arena, ECHO_PORT, PATIENCE_MS), buffer: arena.base + arena.take(64) };
    return serve(arena, server.fd, server.buffer);
  });
}
