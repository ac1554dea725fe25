/** Listener records: what the engine reads of a port stands there while it is open, and nothing after. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import * as layout from '../assembly/layout.ts';
import { createMemory, type Views, viewsOf } from '../src/dataplane/memory.ts';
import { AF_INET, AF_INET6 } from '../src/io/family.ts';
import { syscalls } from '../src/io/syscalls.ts';
import { Listeners, listenerSocket, type Wanted } from '../src/vtep/listeners.ts';
import { Bed, missingForNamespaces } from './support/netns.ts';
import { enter } from './support/own-namespace.ts';

const missing = missingForNamespaces();

describe('listeners', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let views: Views;
  let listeners: Listeners;
  const wanted = (differences: Partial<Wanted> = {}): Wanted => ({
    ...{ family: AF_INET, port: 4789, receive: 0, local: '', scope: 0 },
    ...differences,
  });
  const highest = () => views.view.getUint32(layout.HEADER_BASE + layout.HEADER_LISTENERS_OFFSET, true);
  const record = (id: number) => {
    const at = layout.LISTENERS_BASE + id * layout.LISTENER_BYTES;
    return {
      sockets: [views.view.getInt32(at + layout.LISTENER_SOCKETS_OFFSET, true)],
      port: views.view.getUint16(at + layout.LISTENER_PORT_OFFSET, true),
      family: views.view.getUint8(at + layout.LISTENER_FAMILY_OFFSET),
      receive: views.view.getUint32(at + layout.LISTENER_RECEIVE_OFFSET, true),
    };
  };

  before(() => {
    enter(bed.namespace('listeners'));
    views = viewsOf(createMemory(1));
    listeners = new Listeners(views, true);
  });
  after(() => bed.close());

  it('fill their records and say which is the highest', async () => {
    const one = await listeners.retain(1, wanted({ receive: layout.RECEIVE_GBP }));
    const two = await listeners.retain(2, wanted({ family: AF_INET6, port: 5000 }));
    assert.deepEqual(record(one.id), {
      sockets: one.sockets,
      port: 4789,
      family: AF_INET,
      receive: layout.RECEIVE_GBP,
    });
    assert.deepEqual(record(two.id), { sockets: two.sockets, port: 5000, family: AF_INET6, receive: 0 });
    assert.equal(highest(), two.id);
    assert.equal(listeners.release(two, 2), true);
    listeners.close(two);
    assert.equal(highest(), one.id);
    assert.equal(listenerSocket(views.i32, two.id, 0), -1);
    assert.equal(listeners.release(one, 1), true);
    listeners.close(one);
    assert.equal(highest(), 0);
  });

  it('are shared by those that want the same, and by no others', async () => {
    const one = await listeners.retain(1, wanted());
    assert.equal(await listeners.retain(2, wanted()), one);
    await assert.rejects(listeners.retain(3, wanted({ receive: layout.RECEIVE_GPE })), { code: 'IN_USE' });
    assert.notEqual(await listeners.retain(3, wanted({ family: AF_INET6 })), one);
    assert.equal(listeners.release(one, 1), false);
    assert.equal(listenerSocket(views.i32, one.id, 0), one.sockets[0]);
    for (const listener of listeners.all()) {
      for (const device of [2, 3]) if (listener.devices.has(device)) listeners.release(listener, device);
      listeners.close(listener);
    }
    assert.deepEqual(listeners.all(), []);
  });

  it('bundle datagrams as long as one of their devices wants it', async () => {
    const bundles = (fd: number) => {
      const value = new Uint8Array(4);
      assert.equal(
        syscalls().getsockopt(fd, layout.SOL_UDP, layout.UDP_GRO, value, new Uint8Array([4, 0, 0, 0])),
        0,
      );
      return value[0] === 1;
    };
    const one = await listeners.retain(1, wanted(), false);
    assert.equal(bundles(one.sockets[0]!), false);
    await listeners.retain(2, wanted(), true);
    assert.equal(bundles(one.sockets[0]!), true);
    listeners.bundle(one, 1, true);
    listeners.bundle(one, 2, false);
    assert.equal(bundles(one.sockets[0]!), true);
    listeners.bundle(one, 1, false);
    assert.equal(bundles(one.sockets[0]!), false);
    listeners.bundle(one, 2, true);
    assert.equal(bundles(one.sockets[0]!), true);
    listeners.release(one, 2);
    assert.equal(bundles(one.sockets[0]!), false);
    listeners.release(one, 1);
    listeners.close(one);
    const without = new Listeners(views, false);
    const plain = await without.retain(1, wanted(), true);
    assert.equal(bundles(plain.sockets[0]!), false);
    without.release(plain, 1);
    without.close(plain);
  });
});
