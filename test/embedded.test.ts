/** The embeddable dataplane's simple door: copies in, copies out, nothing but memory between two of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDataplane, VtepError } from '../src/index.ts';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';

const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const frameOf = (source: string, bytes: number) =>
  ethernet({ source, destination: B }, ipv4({}, udp({}, new Uint8Array(bytes).fill(0x5a))));

function pair() {
  const near = createDataplane();
  const far = createDataplane();
  near.addDevice({ name: 'near', vni: 42, address: A, remote: '192.0.2.2', port: 4789 });
  far.addDevice({ name: 'far', vni: 42, address: B, port: 4789 });
  return { near, far };
}

test('a frame of any size crosses unchanged, and its source is learned', () => {
  const { near, far } = pair();
  for (const bytes of [18, 19, 1000, 1472, 9000, 65000]) {
    const frame = frameOf(A, bytes);
    const [datagram, ...others] = near.encap('near', frame);
    assert.ok(datagram !== undefined && others.length === 0);
    assert.deepEqual([datagram.address, datagram.port], ['192.0.2.2', 4789]);
    assert.deepEqual([...datagram.bytes.subarray(0, 8)], [8, 0, 0, 0, 0, 0, 42, 0]);
    assert.deepEqual(far.decap(datagram.bytes, '192.0.2.1', 4789), [{ device: 'far', bytes: frame }]);
  }
  const [entry] = far.fdb.show('far');
  assert.deepEqual([entry?.mac, entry?.dst], [A, '192.0.2.1']);
});

test('what must be dropped gives nothing and a counter', () => {
  const { near, far } = pair();
  assert.deepEqual(near.encap('near', new Uint8Array(13)), []);
  assert.equal(near.counters('near').drop_short_frame, 1);
  assert.deepEqual(far.decap(new Uint8Array(7), '192.0.2.1', 4789), []);
  assert.equal(far.counters('').drop_short_datagram, 1);
  assert.deepEqual(far.encap('far', frameOf(B, 18)), []);
  assert.equal(far.counters('far').drop_no_target, 1);
});

test('a frame to many remotes gives one datagram each', () => {
  const { near } = pair();
  const mac = '00:00:00:00:00:00';
  near.fdb.apply({ op: 'append', dev: 'near', mac, dst: '192.0.2.3', port: 5000, vni: 7 });
  const sent = near.encap('near', frameOf(A, 100));
  assert.deepEqual(
    sent.map(({ address, port, bytes }) => [address, port, bytes[6]]),
    [
      ['192.0.2.3', 5000, 7],
      ['192.0.2.2', 4789, 42],
    ],
  );
});

test('refusals have codes, and a refused or deleted device leaves its name and VNI free', () => {
  const { near } = pair();
  const refused = (code: string, work: () => unknown) =>
    assert.throws(work, (error) => error instanceof VtepError && error.code === code);
  refused('EXISTS', () => near.addDevice({ name: 'near', vni: 1, address: A }));
  refused('EXISTS', () => near.addDevice({ name: 'other', vni: 42, address: A, port: 4789 }));
  refused('NOT_FOUND', () => near.encap('other', frameOf(A, 18)));
  refused('USAGE', () => near.encap('near', new Uint8Array(70000)));
  const [datagram] = near.encap('near', frameOf(B, 18));
  const arrived = near.decap(datagram!.bytes, '192.0.2.9', 4789);
  assert.equal(arrived.length, 1, 'a refused device has not taken the VNI away from the one that has it');
  near.deleteDevice('near');
  refused('NOT_FOUND', () => near.encap('near', frameOf(A, 18)));
  near.addDevice({ name: 'again', vni: 42, address: A, remote: '2001:db8::2', port: 4789 });
  assert.equal(near.encap('again', frameOf(A, 18))[0]?.address, '2001:db8::2');
});

test('what a listener throws stops neither the call nor other listeners', (context) => {
  const thrown: (() => void)[] = [];
  context.mock.method(globalThis, 'queueMicrotask', (task: () => void) => thrown.push(task));
  const { near, far } = pair();
  const heard: string[] = [];
  far.subscribe(() => {
    throw new Error('of a listener');
  });
  far.subscribe(({ event }) => heard.push(event));
  for (const source of ['02:00:00:00:01:01', '02:00:00:00:01:02'])
    for (const { bytes } of near.encap('near', frameOf(source, 100))) far.decap(bytes, '192.0.2.1', 4789);
  far.poll();
  far.fdb.apply({ op: 'del', dev: 'far', mac: '02:00:00:00:01:01' });
  assert.deepEqual(heard, ['fdb', 'fdb', 'fdb']);
  assert.equal(far.fdb.show().length, 1);
  assert.equal(thrown.length, 3);
  for (const task of thrown) assert.throws(task, /of a listener/);
});
