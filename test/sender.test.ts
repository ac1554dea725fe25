/**
 * What the kernel may answer to a send, and what becomes of the datagrams: counted and survived, never an
 * exception, never a loop without end. The engine lays the messages out; the system calls are played.
 */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import {
  DESCRIPTOR_BYTES,
  ENCAP_ARENA_OFFSET,
  ENCAP_RING_OFFSET,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_IOVEC_COUNT_OFFSET,
  OFFLOAD_UDP_SEGMENT,
  RING_DESCRIPTORS_OFFSET,
  RING_FILLED_OFFSET,
  SOURCE_PEER_BYTES,
  SOURCE_PEER_NEVER,
  SOURCE_PEERS_OFFSET,
  SOURCE_PORT_COUNT,
  SOURCE_PORTS_OFFSET,
  SOURCE_SEGMENT_OFFSET,
  SOURCE_SOCKETS_OFFSET,
  SOURCES_BASE,
} from '../assembly/layout.ts';
import { type CounterName, readCounter } from '../src/dataplane/counters.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import * as errno from '../src/io/errno.ts';
import type { Syscalls } from '../src/io/syscalls.ts';
import { Sender } from '../src/vtep/sender.ts';
import type { WorkerContext } from '../src/vtep/worker-context.ts';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';

/** A call that the sender made, and the answer it gets: messages sent, or an error. */
type Answer = number | { errno: number };
const SOCKET = 77;

let plane: Dataplane;
let calls: { call: string; count: number }[];
let answers: Record<string, Answer[]>;
let lastErrno = 0;

beforeEach(() => {
  plane = new Dataplane(compileEngine(), 1, OFFLOAD_UDP_SEGMENT);
  const { view } = plane.views;
  view.setUint32(SOURCES_BASE + SOURCE_PORTS_OFFSET, 1, true);
  view.setUint8(SOURCES_BASE + SOURCE_SEGMENT_OFFSET, 1);
  for (let port = 0; port < SOURCE_PORT_COUNT; ++port) {
    view.setInt32(SOURCES_BASE + SOURCE_SOCKETS_OFFSET + port * 4, SOCKET, true);
    view.setUint32(SOURCES_BASE + SOURCE_PEERS_OFFSET + port * SOURCE_PEER_BYTES, SOURCE_PEER_NEVER, true);
  }
  const index = plane.devices.claim('vx0');
  plane.devices.write(index, {
    vni: 1,
    address: '02:00:00:00:00:01',
    mtu: 1450,
    family: 2,
    port: 8472,
    learning: false,
    ageing: 300,
    maxaddress: 0,
    ttl: 0,
    tos: 0,
    df: 'unset',
    source: 0,
    sourceDf: 0,
  });
  plane.devices.setUp(index, true);
  plane.fdb.setDefaultRemote(index, undefined, '192.0.2.2', 0);
  calls = [];
  answers = {};
});

/** Has the engine encapsulate frames with payloads of these sizes; returns the runs. */
function encap(...sizes: number[]): number {
  const { view, bytes } = plane.views;
  const base = workerBase(0);
  const ring = base + ENCAP_RING_OFFSET;
  sizes.forEach((size, index) => {
    const frame = ethernet({}, ipv4({}, udp({}, new Uint8Array(size))));
    const header = base + ENCAP_ARENA_OFFSET + index * 2048 + 54;
    const descriptor = ring + RING_DESCRIPTORS_OFFSET + index * DESCRIPTOR_BYTES;
    bytes.fill(0, header, header + 10);
    bytes.set(frame, header + 10);
    view.setUint32(descriptor, header, true);
    view.setUint32(descriptor + 4, frame.length, true);
    view.setUint32(descriptor + 8, 1, true);
  });
  view.setUint32(ring + RING_FILLED_OFFSET, sizes.length, true);
  return plane.exports.encap(base);
}

function send(runs: number): void {
  const answer = (call: string, count: number, otherwise: number): number => {
    assert.ok(calls.length < 1000, 'the sender goes on for ever');
    calls.push({ call, count });
    const next = answers[call]?.shift() ?? otherwise;
    if (typeof next === 'number') return next;
    lastErrno = next.errno;
    return -1;
  };
  const sys = {
    errno: () => lastErrno,
    sendmmsg: (fd: number, _messages: number, count: number) => {
      assert.equal(fd, SOCKET);
      return answer('sendmmsg', count, count);
    },
    sendmsg: (_fd: number, message: number) => {
      const { view } = plane.views;
      assert.equal(view.getUint32(message + MMSGHDR_IOVEC_COUNT_OFFSET, true), 1);
      assert.equal(
        view.getUint32(message + MMSGHDR_CONTROL_LENGTH_OFFSET, true),
        0,
        'UDP_SEGMENT is left out',
      );
      return answer('sendmsg', 1, 1);
    },
    poll: () => answer('poll', 1, 1),
  } as unknown as Syscalls;
  const context = { ...plane.views, sys, exports: plane.exports, address: 0, base: workerBase(0) };
  new Sender(context as unknown as WorkerContext).send(runs);
}

const counted = (name: CounterName) => readCounter(plane.views, 1, 1, name);
const made = (call: string) => calls.filter((one) => one.call === call).length;

test('what sendmmsg leaves over is sent by the next call', () => {
  answers.sendmmsg = [1, 1];
  // Growing sizes: each frame is a message of its own.
  send(encap(100, 200, 300));
  assert.deepEqual(
    calls.map(({ count }) => count),
    [3, 2, 1],
  );
});

test('EINTR: tried again, nothing counted', () => {
  answers.sendmmsg = [{ errno: errno.EINTR }];
  send(encap(100));
  assert.equal(made('sendmmsg'), 2);
  assert.equal(counted('drop_send_error'), 0);
});

test('EAGAIN: waits until the socket takes more, and loses nothing', () => {
  answers.sendmmsg = [{ errno: errno.EAGAIN }];
  send(encap(100));
  assert.equal(made('poll'), 1);
  assert.equal(made('sendmmsg'), 2);
  assert.equal(counted('send_retries'), 1);
  assert.equal(counted('drop_socket_full'), 0);
});

test('EAGAIN that lasts: one message is dropped, the next one gets its chance', () => {
  answers.sendmmsg = [{ errno: errno.EAGAIN }];
  answers.poll = [0];
  send(encap(100, 200));
  assert.equal(counted('drop_socket_full'), 1);
  assert.deepEqual(
    calls.map(({ call }) => call),
    ['sendmmsg', 'poll', 'sendmmsg'],
  );
});

const DROPS: [string, number, CounterName][] = [
  ['ENOBUFS', errno.ENOBUFS, 'drop_no_buffers'],
  ['EMSGSIZE', errno.EMSGSIZE, 'drop_too_big'],
  ['ENETUNREACH', errno.ENETUNREACH, 'drop_unreachable'],
  ['EHOSTUNREACH', errno.EHOSTUNREACH, 'drop_unreachable'],
  ['EINVAL', errno.EINVAL, 'drop_unreachable'],
  ['ENODEV', errno.ENODEV, 'drop_unreachable'],
  ['EPERM', errno.EPERM, 'drop_send_error'],
];
for (const [name, number, counter] of DROPS) {
  test(`${name}: the message is counted as ${counter}, the others go on`, () => {
    answers.sendmmsg = [1, { errno: number }];
    send(encap(100, 200, 300));
    assert.equal(counted(counter), 1);
    assert.deepEqual(
      calls.map(({ count }) => count),
      [3, 2, 1],
    );
  });
}

test('ECONNREFUSED speaks of an earlier datagram: counted, and this one is sent', () => {
  answers.sendmmsg = [{ errno: errno.ECONNREFUSED }];
  send(encap(100));
  assert.equal(counted('drop_refused'), 1);
  assert.equal(made('sendmmsg'), 2);
});

test('a connected socket tells once of an earlier datagram: what it tells twice is this one’s', () => {
  const { view } = plane.views;
  for (let port = 0; port < SOURCE_PORT_COUNT; ++port) {
    // Connected to port 1 of nobody in particular.
    view.setUint32(SOURCES_BASE + SOURCE_PEERS_OFFSET + port * SOURCE_PEER_BYTES, 0x01000002, true);
  }
  answers.sendmmsg = [{ errno: errno.EHOSTUNREACH }, 1, { errno: errno.EMSGSIZE }, { errno: errno.EMSGSIZE }];
  send(encap(100, 200, 300));
  assert.deepEqual(
    calls.map(({ count }) => count),
    [3, 3, 2, 2, 1],
  );
  assert.deepEqual([counted('drop_unreachable'), counted('drop_too_big')], [0, 1]);
});

for (const [name, number, stays] of [
  ['EMSGSIZE', errno.EMSGSIZE, 1],
  ['EINVAL', errno.EINVAL, 0],
  ['EIO', errno.EIO, 0],
] as const) {
  test(`${name} for a UDP_SEGMENT message: its datagrams go one by one`, () => {
    answers.sendmmsg = [{ errno: number }];
    answers.sendmsg = [1, { errno: errno.ENOBUFS }, 1];
    send(encap(100, 100, 60));
    assert.equal(made('sendmsg'), 3);
    assert.equal(counted('drop_no_buffers'), 1);
    const { view } = plane.views;
    assert.equal(
      view.getUint8(SOURCES_BASE + SOURCE_SEGMENT_OFFSET),
      stays,
      'the offload stays on, or goes off',
    );
  });
}

test('no source port is free: counted for every datagram of the message', () => {
  const { view } = plane.views;
  for (let port = 0; port < SOURCE_PORT_COUNT; ++port) {
    // Another worker is opening it and does not come to an end.
    view.setInt32(SOURCES_BASE + SOURCE_SOCKETS_OFFSET + port * 4, -2, true);
  }
  send(encap(100, 100));
  assert.equal(counted('drop_send_error'), 2);
  assert.equal(calls.length, 0);
});
