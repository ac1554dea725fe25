/**
 * A listener with a socket for each of several queues: what comes from one port comes to one socket, in order and once,
 * also what is sent to a group or to all; and a port is shared with nobody else.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { createMemory, type Views, viewsOf } from '../src/dataplane/memory.ts';
import { AF_INET, AF_INET6 } from '../src/io/family.ts';
import { indexOf } from '../src/io/interface.ts';
import { syscalls } from '../src/io/syscalls.ts';
import { changeMembership, openListeners } from '../src/io/udp.ts';
import { type Listener, Listeners, listenerSocket } from '../src/vtep/listeners.ts';
import { Bed, missingForNamespaces, type Namespace } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const QUEUES = 4;
const PORT = 4789;
const FLOWS = 64;
const EACH = 20;
const GROUP = '239.7.7.7';
const missing = missingForNamespaces();

/** Sends `texts` from the namespace, one datagram each, with permission to broadcast. */
const SEND = `
const [address, port, ...texts] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
socket.bind(0, async () => {
  socket.setBroadcast(true);
  for (const text of texts) await new Promise((sent) => socket.send(text, Number(port), address, sent));
  socket.close();
});`;

describe('sockets of a listener', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  const buffer = new Uint8Array(2048);
  let far: Namespace;
  let views: Views;
  let listeners: Listeners;
  let listener: Listener;

  /** Everything that the socket of a queue holds. */
  const take = (queue: number): string[] => {
    const sys = syscalls();
    const texts: string[] = [];
    for (;;) {
      const bytes = sys.read(listener.sockets[queue]!, sys.addressOf(buffer), buffer.length);
      if (bytes < 0) return texts;
      texts.push(new TextDecoder().decode(buffer.subarray(0, bytes)));
    }
  };
  const takeAll = () => Array.from({ length: QUEUES }, (_, queue) => take(queue));
  const wanted = { family: AF_INET, port: PORT, receive: 0, local: '', scope: 0 } as const;

  before(async () => {
    far = bed.namespace('far');
    const here = bed.namespace('here');
    enter(here);
    here.ip(
      `link add u0 type veth peer name u0 netns ${far.name}`,
      'link set lo up',
      'link set u0 up',
      'address add 10.9.0.1/24 dev u0',
      'route add 239.0.0.0/8 dev u0',
    );
    far.ip('link set u0 up', 'address add 10.9.0.2/24 dev u0', 'route add 239.0.0.0/8 dev u0');
    views = viewsOf(createMemory(2 * QUEUES));
    listeners = new Listeners(views, false, QUEUES);
    listener = await listeners.retain(1, wanted);
  });
  after(async () => {
    listeners.release(listener, 1);
    listeners.close(listener);
    await bed.close();
  });

  it('are one for each queue, and stand in the record', () => {
    assert.equal(new Set(listener.sockets).size, QUEUES);
    const found = listener.sockets.map((_, queue) => listenerSocket(views.i32, listener.id, queue));
    assert.deepEqual(found, listener.sockets);
  });

  it('a flow comes to one of them, in order and once, and flows come to all', async () => {
    const sockets: Socket[] = [];
    for (let flow = 0; flow < FLOWS; ++flow) {
      const socket = createSocket('udp4');
      sockets.push(socket);
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
    }
    for (let number = 0; number < EACH; ++number) {
      await Promise.all(
        sockets.map(
          (socket, flow) =>
            new Promise((sent) => {
              socket.send(`${flow} ${number}`, PORT, '127.0.0.1', sent);
            }),
        ),
      );
    }
    for (const socket of sockets) socket.close();
    const seen = new Set<number>();
    for (const texts of takeAll()) {
      const numbers = new Map<number, number[]>();
      for (const text of texts) {
        const [flow, number] = text.split(' ').map(Number);
        numbers.set(flow!, [...(numbers.get(flow!) ?? []), number!]);
      }
      assert.ok(numbers.size > 0, 'a socket without flows');
      for (const [flow, its] of numbers) {
        assert.ok(!seen.has(flow), `flow ${flow} at two sockets`);
        seen.add(flow);
        assert.deepEqual(
          its,
          Array.from({ length: EACH }, (_, i) => i),
        );
      }
    }
    assert.equal(seen.size, FLOWS);
  });

  it('what is sent to all comes once, to the first', () => {
    const ways = ['10.9.0.255', '255.255.255.255'];
    far.ip('route add broadcast 255.255.255.255 dev u0');
    for (const way of ways) far.run(process.execPath, '-e', SEND, way, `${PORT}`, `to ${way}`);
    assert.deepEqual(takeAll(), [ways.map((way) => `to ${way}`), [], [], []]);
  });

  it('what is sent to a group comes once, and what one port has sent in order', () => {
    changeMembership(listener.sockets[0]!, AF_INET, GROUP, indexOf('u0'), true);
    for (const sender of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const texts = [1, 2, 3].map((number) => `${sender} ${number}`);
      far.run(process.execPath, '-e', SEND, GROUP, `${PORT}`, ...texts);
      assert.deepEqual(
        takeAll().filter((found) => found.length > 0),
        [texts],
      );
    }
  });

  it('share their port with nobody', async () => {
    await assert.rejects(new Listeners(views, false, QUEUES).retain(2, wanted), { code: 'IN_USE' });
    await assert.rejects(new Listeners(views, false).retain(2, wanted), { code: 'IN_USE' });
  });

  it('a port is taken also where its holder would share it', async () => {
    const held = openListeners({ ...wanted, port: 5001, zeroChecksum: false, bufferBytes: 4096 }, 2);
    assert.ok(Array.isArray(held));
    await assert.rejects(listeners.retain(2, { ...wanted, port: 5001 }), { code: 'IN_USE' });
    for (const fd of held) syscalls().close(fd);
  });

  it('close all together, and the port is free again', async () => {
    const ipv6 = await listeners.retain(3, { ...wanted, family: AF_INET6, port: 5000 });
    assert.equal(ipv6.sockets.length, QUEUES);
    assert.equal(listeners.release(ipv6, 3), true);
    listeners.close(ipv6);
    for (let queue = 0; queue < QUEUES; ++queue) assert.equal(listenerSocket(views.i32, ipv6.id, queue), -1);
    const again = await listeners.retain(3, { ...wanted, family: AF_INET6, port: 5000 });
    listeners.release(again, 3);
    listeners.close(again);
  });
});
