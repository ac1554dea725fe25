/**
 * The UDP blaster: sends numbered datagrams at a chosen rate from one namespace and counts them in another.
 * The same tool measures every kind of tunnel.
 *
 * The sender sleeps between short bursts instead of spinning: a spinning sender takes a core away from a
 * tunnel in user space and none from the kernel's, whose work runs inside the sender's own system calls.
 * Each datagram is an `mmsghdr` of its own unless segments are asked for; nothing is merged on the way in.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Arena, call, must, SOCKADDR_BYTES, serveOrders, udpSocket } from './echo.ts';

const BLAST_PORT = 7009;
const MMSGHDR_BYTES = 64;
const IOVEC_BYTES = 16;
const CMSG_BYTES = 24;
const SLOT_BYTES = 2048;
const BATCH = 64;
/** Frames sent per wake-up when paced, and the most that a late sender may catch up on at once. */
const BURST = 32;
const MAX_DEBT = 512;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const MSG_WAITFORONE = 0x10000;
const QUIET_MS = 100;

export interface SendOrder {
  do: 'send';
  /** Marks the datagrams of this trial, so that stragglers of an earlier one are not counted. */
  trial: number;
  destinations: string[];
  /** UDP payload, smallest and largest; drawn evenly when they differ. At least 8. */
  payload: [number, number];
  /** Datagrams per second; 0 = as many as the socket takes. */
  rate: number;
  seconds: number;
  /** More than 1: equal datagrams that leave as one UDP_SEGMENT message. */
  segments: number;
}

export interface ReceiveOrder {
  do: 'receive';
  trial: number;
  seconds: number;
  /** Datagrams come from this many flows in turn. */
  flows: number;
}

export interface SendReply {
  sent: number;
  seconds: number;
}

export interface ReceiveReply {
  received: number;
  /** Datagrams that came after one of their flow with a higher number. */
  reordered: number;
  /** Datagrams lost for want of room in the receiving socket: the harness' own fault, not the tunnel's. */
  overrun: number;
}

/** Lays out `count` messages with a payload slot each; answers the offsets of headers and slots. */
function messages(arena: Arena, count: number): { headers: number; slots: number } {
  const headers = arena.take(count * MMSGHDR_BYTES);
  const vectors = arena.take(count * IOVEC_BYTES);
  const slots = arena.take(count * SLOT_BYTES);
  for (let i = 0; i < count; i++) {
    const header = headers + i * MMSGHDR_BYTES;
    const vector = vectors + i * IOVEC_BYTES;
    arena.data.setBigUint64(header + 16, BigInt(arena.base + vector), true);
    arena.data.setBigUint64(header + 24, 1n, true);
    arena.data.setBigUint64(vector, BigInt(arena.base + slots + i * SLOT_BYTES), true);
    arena.data.setBigUint64(vector + 8, BigInt(SLOT_BYTES), true);
  }
  return { headers, slots };
}

/** A ring of prepared messages: only trial and number of a datagram are written while the clock runs. */
function prepare(order: SendOrder): {
  arena: Arena;
  headers: number;
  slots: number;
  ring: number;
  bytes: number;
} {
  const flows = order.destinations.length;
  const ring = flows === 1 ? 4 * BATCH : flows * 4;
  const arena = new Arena(ring * (SLOT_BYTES + MMSGHDR_BYTES + IOVEC_BYTES + CMSG_BYTES) + flows * 64 + 4096);
  const { headers, slots } = messages(arena, ring);
  const names = order.destinations.map((address) => arena.base + arena.sockaddr(address, BLAST_PORT));
  const controls = arena.take(ring * CMSG_BYTES);
  const [smallest, largest] = order.payload;
  let random = 12345;
  for (let i = 0; i < ring; i++) {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    const payload = smallest + Math.floor((random / 2 ** 32) * (largest - smallest + 1));
    const header = headers + i * MMSGHDR_BYTES;
    arena.data.setBigUint64(header, BigInt(names[i % flows]!), true);
    arena.data.setUint32(header + 8, SOCKADDR_BYTES, true);
    const vector = Number(arena.data.getBigUint64(header + 16, true)) - arena.base;
    arena.data.setBigUint64(vector + 8, BigInt(payload * order.segments), true);
    if (order.segments === 1) continue;
    const control = controls + i * CMSG_BYTES;
    arena.data.setBigUint64(control, 18n, true);
    arena.data.setInt32(control + 8, SOL_UDP, true);
    arena.data.setInt32(control + 12, UDP_SEGMENT, true);
    arena.data.setUint16(control + 16, payload, true);
    arena.data.setBigUint64(header + 32, BigInt(arena.base + control), true);
    arena.data.setBigUint64(header + 40, BigInt(CMSG_BYTES), true);
  }
  return { arena, headers, slots, ring, bytes: smallest };
}

function send(order: SendOrder, socket: number): SendReply {
  const { arena, headers, slots, ring, bytes } = prepare(order);
  const { data } = arena;
  const perMs = order.rate / 1000;
  const start = performance.now();
  const end = start + order.seconds * 1000;
  let debtFrom = start;
  let repaid = 0;
  let sent = 0;
  let slot = 0;
  for (let now = start; now < end; now = performance.now()) {
    let due = BATCH * order.segments;
    if (perMs > 0) {
      due = Math.floor((now - debtFrom) * perMs) - repaid;
      if (due < BURST) {
        call.usleep(Math.max(1, Math.floor(((BURST - due) / perMs) * 1000)));
        continue;
      }
      if (due > MAX_DEBT) {
        // Too late to make up for all of it: a huge burst would measure queues. The lower rate shows.
        debtFrom += (due - MAX_DEBT) / perMs;
        due = MAX_DEBT;
      }
    }
    const count = Math.min(BATCH, ring - slot, Math.max(1, Math.floor(due / order.segments)));
    let number = sent;
    for (let i = slot; i < slot + count; i++) {
      for (let segment = 0; segment < order.segments; segment++) {
        const at = slots + i * SLOT_BYTES + segment * bytes;
        data.setUint32(at, order.trial, true);
        data.setUint32(at + 4, number++, true);
      }
    }
    const taken = must(
      'sendmmsg',
      call.sendmmsg(socket, arena.base + headers + slot * MMSGHDR_BYTES, count, 0),
    );
    sent += taken * order.segments;
    repaid += taken * order.segments;
    slot = (slot + taken) % ring;
  }
  const seconds = (performance.now() - start) / 1000;
  arena.free();
  return { sent, seconds };
}

/** Datagrams that this namespace's sockets had no room for. */
function receiveBufferErrors(): number {
  const [names = '', values = ''] = readFileSync('/proc/self/net/snmp', 'utf8').match(/^Udp: .*$/gm) ?? [];
  return Number(values.split(' ')[names.split(' ').indexOf('RcvbufErrors')] ?? 0);
}

function receive(
  order: ReceiveOrder,
  arena: Arena,
  socket: number,
  at: ReturnType<typeof messages>,
): ReceiveReply {
  const { data, base } = arena;
  const overrunBefore = receiveBufferErrors();
  const deadline = performance.now() + order.seconds * 1000 + 2000;
  let received = 0;
  let reordered = 0;
  const highest = new Int32Array(order.flows).fill(-1);
  for (;;) {
    const count = call.recvmmsg(socket, base + at.headers, BATCH, MSG_WAITFORONE, 0);
    if (count < 0 && (received > 0 || performance.now() > deadline)) break;
    for (let i = 0; i < count; i++) {
      const slot = at.slots + i * SLOT_BYTES;
      if (data.getUint32(slot, true) !== order.trial) continue;
      const number = data.getUint32(slot + 4, true);
      const flow = number % order.flows;
      if (number < highest[flow]!) reordered++;
      else highest[flow] = number;
      received++;
    }
  }
  return { received, reordered, overrun: receiveBufferErrors() - overrunBefore };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const arena = new Arena(BATCH * (SLOT_BYTES + MMSGHDR_BYTES + IOVEC_BYTES) + 8192);
  const at = messages(arena, BATCH);
  const socket = udpSocket(arena, BLAST_PORT, QUIET_MS);
  serveOrders<SendOrder | ReceiveOrder, SendReply | ReceiveReply>((order) =>
    order.do === 'send' ? send(order, socket) : receive(order, arena, socket, at),
  );
}
