/**
 * Reads back what the engine has laid out for sendmmsg, as strictly as the kernel does: sockaddr, control
 * messages with their lengths and alignments, iovecs; and cuts UDP_SEGMENT messages into datagrams.
 * HEADER_ADDRESS is 0 in tests, so an address is an offset in the memory.
 */
import assert from 'node:assert/strict';
import {
  AF_INET,
  AF_INET6,
  ENVELOPE_BYTES,
  ENVELOPE_DEVICE_OFFSET,
  ENVELOPE_SEGMENTS_OFFSET,
  ENVELOPE_WHOLE_IOVECS_OFFSET,
  ENVELOPES_OFFSET,
  IP_PKTINFO,
  IP_TOS,
  IP_TTL,
  IPV6_HOPLIMIT,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  MESSAGE_COUNT,
  MESSAGE_ENVELOPES_OFFSET,
  MESSAGE_IOVEC_MAX,
  MESSAGE_MAX_BYTES,
  MESSAGE_SEGMENT_MAX,
  MESSAGES_OFFSET,
  MMSGHDR_BYTES,
  RUN_BYTES,
  RUN_COUNT_OFFSET,
  RUN_FIRST_OFFSET,
  RUN_SOURCE_OFFSET,
  RUNS_OFFSET,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  SOURCE_PORT_COUNT,
  SOURCE_UNDERLAY_TAP,
  UDP_SEGMENT,
} from '../../assembly/layout.ts';
import type { Views } from '../../src/dataplane/memory.ts';
import { concat } from './frames.ts';
import { ipText } from './parse.ts';

/** One datagram as the socket sends it. */
export interface SentDatagram {
  bytes: Uint8Array;
  group: number;
  slot: number;
  remote: string;
  port: number;
}

/** One element of the vector given to sendmmsg. */
export interface SentMessage {
  source: number;
  family: number;
  remote: string;
  port: number;
  scope: number;
  /** IPv6 flow label; 0 = the socket's */
  label: number;
  /** 0 = no control message of the kind */
  tos: number;
  ttl: number;
  /** of the packet information; its address is the one to send from */
  ifindex: number;
  local: string;
  /** UDP_SEGMENT; 0 = absent */
  gsoSize: number;
  device: number;
  datagrams: Uint8Array[];
  /** Address and length of every iovec. */
  iovecs: [number, number][];
}

export function readRuns(views: Views, worker: number, runs: number): SentMessage[] {
  const { view } = views;
  const sent: SentMessage[] = [];
  assert.ok(runs <= MESSAGE_COUNT);
  for (let run = 0; run < runs; run++) {
    const at = worker + RUNS_OFFSET + run * RUN_BYTES;
    const source = view.getUint32(at + RUN_SOURCE_OFFSET, true);
    const first = view.getUint32(at + RUN_FIRST_OFFSET, true);
    const count = view.getUint32(at + RUN_COUNT_OFFSET, true);
    assert.equal(first, sent.length, 'runs follow each other');
    assert.ok(count > 0 && first + count <= MESSAGE_COUNT);
    assert.notEqual(source, sent.at(-1)?.source, 'neighbouring messages of one source are one run');
    for (let message = first; message < first + count; message++) {
      sent.push(
        source === SOURCE_UNDERLAY_TAP
          ? readWhole(views, worker, message)
          : readMessage(views, worker, message, source),
      );
    }
  }
  return sent;
}

export function datagramsOf(messages: SentMessage[]): SentDatagram[] {
  return messages.flatMap(({ datagrams, source, remote, port }) =>
    datagrams.map((bytes) => ({
      bytes,
      group: Math.floor(source / SOURCE_PORT_COUNT),
      slot: source % SOURCE_PORT_COUNT,
      remote,
      port,
    })),
  );
}

export function readMessage(
  { view, bytes }: Views,
  worker: number,
  message: number,
  source: number,
): SentMessage {
  const header = worker + MESSAGES_OFFSET + message * MMSGHDR_BYTES;
  const envelope = envelopeAt(view, worker, message);
  const name = pointer(view, header);
  assert.equal(name, envelope);
  const family = view.getUint16(name, true);
  const nameBytes = view.getUint32(header + 8, true);
  const ipv4 = family === AF_INET;
  assert.equal(nameBytes, ipv4 ? 16 : 28);
  if (ipv4) assert.equal(view.getBigUint64(name + 8, true), 0n, 'sin_zero');
  else assert.equal(family, AF_INET6);
  assert.equal(view.getUint32(header + 48, true), 0, 'flags');
  const iovecs = readIovecs(view, header);
  const sent: SentMessage = {
    source,
    family,
    remote: ipText(bytes, ipv4 ? name + 4 : name + 8, ipv4 ? 4 : 16),
    port: view.getUint16(name + 2),
    scope: ipv4 ? 0 : view.getUint32(name + 24, true),
    label: ipv4 ? 0 : view.getUint32(name + 4),
    tos: 0,
    ttl: 0,
    ifindex: 0,
    local: '',
    gsoSize: 0,
    device: view.getUint32(envelope + ENVELOPE_DEVICE_OFFSET, true),
    datagrams: [],
    iovecs,
  };
  readControl(view, bytes, header, sent);
  sent.datagrams = cut(bytes, sent);
  assert.equal(view.getUint32(envelope + ENVELOPE_SEGMENTS_OFFSET, true), sent.datagrams.length);
  return sent;
}

/** A super-frame for the underlay TAP: what the writev of its two iovecs brings there. */
function readWhole({ view, bytes }: Views, worker: number, message: number): SentMessage {
  const envelope = envelopeAt(view, worker, message);
  const iovecs = [0, 16].map((at): [number, number] => {
    const iovec = envelope + ENVELOPE_WHOLE_IOVECS_OFFSET + at;
    return [pointer(view, iovec), pointer(view, iovec + 8)];
  });
  assert.equal(iovecs[0]![0], envelope);
  assert.equal(view.getUint32(envelope + ENVELOPE_SEGMENTS_OFFSET, true), 1);
  return {
    ...{ source: SOURCE_UNDERLAY_TAP, family: 0, remote: '', port: 0, scope: 0, label: 0 },
    ...{ tos: 0, ttl: 0, ifindex: 0, local: '', gsoSize: 0 },
    device: view.getUint32(envelope + ENVELOPE_DEVICE_OFFSET, true),
    datagrams: [concat(...iovecs.map(([at, length]) => bytes.subarray(at, at + length)))],
    iovecs,
  };
}

function envelopeAt(view: DataView, worker: number, message: number): number {
  const envelope = view.getUint16(worker + MESSAGE_ENVELOPES_OFFSET + message * 2, true);
  return worker + ENVELOPES_OFFSET + envelope * ENVELOPE_BYTES;
}

function pointer(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function readIovecs(view: DataView, header: number): [number, number][] {
  const first = pointer(view, header + 16);
  const count = pointer(view, header + 24);
  assert.ok(count > 0 && count <= MESSAGE_IOVEC_MAX, `${count} iovecs`);
  return Array.from({ length: count }, (_, index) => {
    const bytes = pointer(view, first + index * 16 + 8);
    assert.ok(bytes > 0, 'no empty iovec');
    return [pointer(view, first + index * 16), bytes];
  });
}

/** Data bytes that the kernel asks of each kind: ip_cmsg_send, ip6_datagram_send_ctl, udp_cmsg_send. */
const CONTROL_DATA_BYTES = new Map([
  [`${SOL_IP} ${IP_TOS}`, 4],
  [`${SOL_IP} ${IP_TTL}`, 4],
  [`${SOL_IP} ${IP_PKTINFO}`, 12],
  [`${SOL_IPV6} ${IPV6_TCLASS}`, 4],
  [`${SOL_IPV6} ${IPV6_HOPLIMIT}`, 4],
  [`${SOL_IPV6} ${IPV6_PKTINFO}`, 20],
  [`${SOL_UDP} ${UDP_SEGMENT}`, 2],
]);

function readControl(view: DataView, bytes: Uint8Array, header: number, sent: SentMessage): void {
  const control = pointer(view, header + 32);
  const length = pointer(view, header + 40);
  if (length === 0) assert.equal(control, 0, 'no control messages, no address');
  const seen = new Set<string>();
  let at = control;
  while (at < control + length) {
    const own = pointer(view, at);
    const level = view.getInt32(at + 8, true);
    const type = view.getInt32(at + 12, true);
    const kind = `${level} ${type}`;
    const value = at + 16;
    assert.equal(at % 8, 0, 'aligned as struct cmsghdr');
    assert.equal(own - 16, CONTROL_DATA_BYTES.get(kind), `data bytes of control message ${kind}`);
    assert.ok(!seen.has(kind), `control message ${kind} twice`);
    if (level !== SOL_UDP) assert.equal(level, sent.family === AF_INET ? SOL_IP : SOL_IPV6);
    seen.add(kind);
    if (level === SOL_UDP) sent.gsoSize = view.getUint16(value, true);
    else if (type === IP_TOS || type === IPV6_TCLASS) sent.tos = view.getInt32(value, true);
    else if (type === IP_TTL || type === IPV6_HOPLIMIT) sent.ttl = view.getInt32(value, true);
    else if (level === SOL_IP) {
      sent.ifindex = view.getInt32(value, true);
      sent.local = ipText(bytes, value + 4, 4);
    } else {
      sent.local = ipText(bytes, value, 16);
      sent.ifindex = view.getInt32(value + 16, true);
    }
    at += (own + 7) & ~7;
  }
  assert.equal(at, control + length, 'control messages fill their length');
}

function cut(bytes: Uint8Array, { iovecs, gsoSize }: SentMessage): Uint8Array[] {
  const whole = concat(...iovecs.map(([at, length]) => bytes.subarray(at, at + length)));
  if (gsoSize === 0) return [whole];
  assert.ok(whole.length <= MESSAGE_MAX_BYTES, `${whole.length} bytes in one message`);
  const datagrams: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += gsoSize) datagrams.push(whole.subarray(at, at + gsoSize));
  assert.ok(datagrams.length > 1 && datagrams.length <= MESSAGE_SEGMENT_MAX);
  // The host resends one by one where an offload is refused: it cuts between iovecs.
  const ends = new Set<number>();
  let end = 0;
  for (const [, length] of iovecs) {
    end += length;
    ends.add(end);
  }
  for (let at = gsoSize; at < whole.length; at += gsoSize) assert.ok(ends.has(at), 'cut within an iovec');
  return datagrams;
}
