/** Hooks of the embeddable dataplane: what a function decides on, on both ways and through both doors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDataplane, type Datagram, type HookBatch, type VtepEvent } from '../src/index.ts';
import { ethernet, ipv4 } from './support/frames.ts';
import { udp } from './support/messages.ts';

const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const NEAR = '192.0.2.1';
const FAR = '192.0.2.2';
const PORT = 4789;
const frameOf = (port: number, bytes = 100) =>
  ethernet(
    { source: A, destination: B },
    ipv4({}, udp({ destinationPort: port }, new Uint8Array(bytes).fill(port))),
  );

/** Two devices, of VNI 10 and 20, whose tunnels lead to different hosts. */
function plane() {
  const dataplane = createDataplane();
  dataplane.addDevice({ name: 'red', vni: 10, address: '02:00:00:00:00:01', remote: FAR, port: PORT });
  dataplane.addDevice({
    name: 'blue',
    vni: 20,
    address: '02:00:00:00:00:02',
    remote: '192.0.2.3',
    port: PORT,
  });
  return dataplane;
}

const datagramOf = (vni: number, frame: Uint8Array) => Uint8Array.of(8, 0, 0, 0, 0, 0, vni, 0, ...frame);
const portOf = ({ bytes, l3 }: HookBatch) => (bytes[l3 + 22]! << 8) | bytes[l3 + 23]!;
const plain = ({ bytes, address }: Datagram) => [
  address,
  bytes[6],
  Buffer.from(bytes.subarray(8)).toString('hex'),
];

test('a function drops and passes, on both ways, and what it drops is counted', () => {
  const dataplane = plane();
  const seen: unknown[] = [];
  const firewall = (batch: HookBatch) => {
    while (batch.next()) {
      seen.push([batch.direction, batch.device, batch.vni, batch.sender, batch.l3, portOf(batch)]);
      if (portOf(batch) === 23) batch.drop();
    }
  };
  dataplane.setHook('red', 'encap', firewall);
  dataplane.setHook('red', 'decap', firewall);
  assert.equal(dataplane.encap('red', frameOf(22)).length, 1);
  assert.equal(dataplane.encap('red', frameOf(23)).length, 0);
  assert.equal(dataplane.encap('blue', frameOf(23)).length, 1);
  assert.deepEqual(dataplane.decap(datagramOf(10, frameOf(22)), NEAR, PORT), [
    { device: 'red', bytes: frameOf(22) },
  ]);
  assert.deepEqual(dataplane.decap(datagramOf(10, frameOf(23)), NEAR, PORT), []);
  assert.deepEqual(seen, [
    ['encap', 1, 10, '', 14, 22],
    ['encap', 1, 10, '', 14, 23],
    ['decap', 1, 10, NEAR, 14, 22],
    ['decap', 1, 10, NEAR, 14, 23],
  ]);
  const { drop_hook, drop_hook_received, encap_packets, decap_packets } = dataplane.counters('red');
  assert.deepEqual([drop_hook, drop_hook_received, encap_packets, decap_packets], [1, 1, 1, 1]);
  dataplane.setHook('red', 'encap', undefined);
  assert.equal(dataplane.encap('red', frameOf(23)).length, 1);
});

test('a gateway: what arrives in one VNI leaves in another, without a port between', () => {
  const dataplane = plane();
  const blue = dataplane.numberOf('blue');
  dataplane.setHook('red', 'decap', (batch) => {
    while (batch.next()) batch.redirect(blue, 'tunnel');
  });
  assert.deepEqual(dataplane.decap(datagramOf(10, frameOf(80)), NEAR, PORT), []);
  assert.deepEqual(dataplane.forwarded().map(plain), [
    ['192.0.2.3', 20, Buffer.from(frameOf(80)).toString('hex')],
  ]);
  assert.deepEqual(dataplane.forwarded(), []);
  assert.equal(dataplane.counters('red').hook_redirects_received, 1);
  assert.equal(dataplane.counters('blue').encap_packets, 1);
});

test('bytes are changed in place, and a frame grows into the room before it and shrinks', () => {
  const dataplane = plane();
  const tagged = (batch: HookBatch) => {
    while (batch.next()) {
      // A VLAN tag behind the MACs: they move to the front by the length of it.
      batch.push(4);
      const { bytes } = batch;
      bytes.copyWithin(0, 4, 16);
      bytes.set([0x81, 0, 0, 7], 12);
      batch.trim(batch.length - 1);
    }
  };
  const frame = frameOf(80);
  const expected = Uint8Array.of(...frame.subarray(0, 12), 0x81, 0, 0, 7, ...frame.subarray(12, -1));
  dataplane.setHook('red', 'encap', tagged);
  assert.deepEqual([...dataplane.encap('red', frame)[0]!.bytes.subarray(8)], [...expected]);
  dataplane.setHook('red', 'decap', tagged);
  assert.deepEqual(dataplane.decap(datagramOf(10, frame), NEAR, PORT), [{ device: 'red', bytes: expected }]);
  // What has grown has no room for the headers of a tunnel where it lies: it goes all the same.
  const blue = dataplane.numberOf('blue');
  dataplane.setHook('red', 'decap', (batch) => {
    tagged(batch);
  });
  dataplane.setHook('red', 'decap', (batch) => {
    while (batch.next()) {
      batch.push(4);
      batch.bytes.set([1, 2, 3, 4]);
      batch.redirect(blue, 'tunnel');
    }
  });
  dataplane.decap(datagramOf(10, frame), NEAR, PORT);
  assert.deepEqual([...dataplane.forwarded()[0]!.bytes.subarray(8)], [1, 2, 3, 4, ...frame]);
});

test('a hook that fails drops what it has not decided on, and nobody but subscribers hears of it', () => {
  const dataplane = plane();
  const events: VtepEvent[] = [];
  dataplane.subscribe((event) => events.push(event));
  const { queue } = dataplane;
  const frames = queue.frames(4, 256);
  const send = () => {
    for (const slot of frames.slots) {
      slot.write(frameOf(80));
      slot.device = 1;
    }
    let count = 0;
    for (const sent = queue.encap(frames); sent.next(); ) ++count;
    return count;
  };
  const failures: [string, number, (batch: HookBatch) => unknown][] = [
    [
      'it throws at the third',
      2,
      (batch) => {
        for (let packet = 0; batch.next(); ++packet) if (packet === 2) throw new Error('third');
      },
    ],
    ['it is async', 0, async (batch) => void batch.next()],
    ['it rejects', 0, async () => Promise.reject(new Error('late'))],
    ['it pushes too much', 0, (batch) => batch.next() && batch.push(33)],
    ['it names no device', 0, (batch) => batch.next() && batch.redirect(-1)],
    ['it knows no such way', 0, (batch) => batch.next() && batch.mirror(1, 'home' as 'port')],
    [
      'it reads beyond the end',
      4,
      (batch) => {
        while (batch.next());
        batch.drop();
      },
    ],
    ['it carries packets itself', 0, () => void queue.encap(frames)],
    ['it closes the queue', 0, () => queue.close()],
    [
      'it throws nothing',
      0,
      () => {
        throw undefined;
      },
    ],
  ];
  let faults = 0;
  for (const [what, passed, hook] of failures) {
    dataplane.setHook('red', 'encap', hook as (batch: HookBatch) => void);
    assert.equal(send(), passed, what);
    faults += 4 - passed;
    assert.equal(dataplane.counters('red').drop_hook_fault, faults, what);
  }
  assert.equal(events.filter(({ event }) => event === 'hook').length, failures.length);
  assert.equal(send(), 0);
  assert.equal(events.length, failures.length, 'not more often than once a second');
  let kept: HookBatch | undefined;
  dataplane.setHook('red', 'encap', (batch) => {
    kept = batch;
  });
  assert.equal(send(), 4, 'what a function leaves out passes');
  assert.throws(() => kept!.bytes, { code: 'USAGE' });
  assert.equal(kept!.next(), false);
  for (const bad of [{}, 'drop', null, { module: {} }])
    assert.throws(() => dataplane.setHook('red', 'encap', bad as never), { code: 'USAGE' });
  assert.throws(() => dataplane.setHook('red', 'up' as never, undefined), { code: 'USAGE' });
  assert.throws(() => queue.setHook(0, 'encap', undefined), { code: 'NOT_FOUND' });
});

test('whoever redirects to itself, or to one that does so, ends at once', () => {
  const dataplane = plane();
  const [red, blue] = [dataplane.numberOf('red'), dataplane.numberOf('blue')];
  let calls = 0;
  const to = (device: number, way: 'port' | 'tunnel') => (batch: HookBatch) => {
    for (; batch.next(); ++calls) {
      batch.redirect(device, way);
      batch.mirror(device, way);
    }
  };
  const injected: number[] = [];
  dataplane.queue.replied = (device) => injected.push(device);
  for (const direction of ['encap', 'decap'] as const) {
    dataplane.setHook('red', direction, to(blue, direction === 'encap' ? 'port' : 'tunnel'));
    dataplane.setHook('blue', direction, to(red, direction === 'encap' ? 'port' : 'tunnel'));
  }
  assert.deepEqual(dataplane.encap('red', frameOf(1)), []);
  assert.deepEqual(injected, [blue, blue]);
  assert.deepEqual(dataplane.decap(datagramOf(10, frameOf(1)), NEAR, PORT), []);
  assert.equal(dataplane.forwarded().length, 2);
  dataplane.setHook('red', 'encap', to(red, 'tunnel'));
  assert.equal(dataplane.encap('red', frameOf(1)).length, 2);
  dataplane.setHook('red', 'decap', to(red, 'port'));
  assert.equal(dataplane.decap(datagramOf(10, frameOf(1)), NEAR, PORT).length, 2);
  assert.equal(calls, 4, 'no frame is shown twice');
});

test('what nobody takes is counted: forwarded datagrams, frames for ports', () => {
  const dataplane = plane();
  const blue = dataplane.numberOf('blue');
  dataplane.setHook('red', 'decap', (batch) => {
    while (batch.next()) batch.redirect(blue, 'tunnel');
  });
  const arrive = () => dataplane.decap(datagramOf(10, frameOf(80)), NEAR, PORT);
  arrive();
  arrive();
  assert.equal(dataplane.counters('blue').drop_hook_forward, 1);
  dataplane.encap('red', frameOf(80));
  assert.equal(dataplane.counters('blue').drop_hook_forward, 2);
  assert.deepEqual(dataplane.forwarded(), []);
  // In the midst of an encap there is no room for them.
  const frames = dataplane.queue.frames(2, 256);
  for (const slot of frames.slots) {
    slot.write(frameOf(80));
    slot.device = blue;
  }
  const sent = dataplane.queue.encap(frames);
  assert.ok(sent.next());
  arrive();
  assert.ok(sent.next() && !sent.next());
  assert.equal(dataplane.counters('red').drop_hook_forward, 1);
  dataplane.setHook('red', 'encap', (batch) => {
    while (batch.next()) batch.redirect(blue);
  });
  dataplane.encap('red', frameOf(80));
  assert.equal(dataplane.counters('blue').drop_tap_write, 1);
});

test('a deleted device takes its hook along; a target that has gone loses the frame, counted', () => {
  const dataplane = plane();
  const blue = dataplane.numberOf('blue');
  dataplane.setHook('blue', 'encap', (batch) => {
    while (batch.next()) batch.drop();
  });
  dataplane.setHook('red', 'encap', (batch) => {
    while (batch.next()) batch.redirect(blue, 'tunnel');
  });
  dataplane.deleteDevice('blue');
  assert.deepEqual(dataplane.encap('red', frameOf(80)), []);
  assert.equal(dataplane.counters('red').drop_hook_target, 1);
  dataplane.tick();
  const again = dataplane.addDevice({ name: 'again', vni: 30, address: A, remote: FAR });
  assert.equal(again, blue);
  assert.equal(dataplane.encap('again', frameOf(80)).length, 1);
});
