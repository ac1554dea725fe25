/** Hooks of the embeddable dataplane: what a function decides on, on both ways and through both doors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDataplane, type Datagram, type HookBatch } from '../src/index.ts';
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
