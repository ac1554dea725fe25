/**
 * A gateway between two VNIs, as a hook: packets that arrive in VNI 100 for the gateway's MAC go on into VNI 200, and back,
 * routed by their IP address: new MACs, one hop less, and the other device's tunnel. Their bytes stay where they are.
 *
 *   node gateway.js
 */
import { createDataplane } from 'vxlane/dataplane';
import { destination, flowOf, source, udpFrame } from './frames.js';

const GATEWAY = '02:00:00:00:00:fe';

/** Who is where. */
const HOSTS = [
  { ip: '10.1.0.1', mac: '02:00:00:00:01:01', device: 'red', vni: 100, vtep: '192.0.2.1' },
  { ip: '10.2.0.1', mac: '02:00:00:00:02:01', device: 'blue', vni: 200, vtep: '192.0.2.2' },
];

const gateway = createDataplane();
for (const { device, vni, vtep, mac } of HOSTS) {
  // Frames from a device's own MAC are refused on arrival, so the gateway's is not one of its hosts'.
  gateway.addDevice({ name: device, vni, address: GATEWAY, learning: false });
  gateway.fdb.apply({ op: 'add', dev: device, mac, dst: vtep });
}

/** @type {Map<string, { device: number, mac: Uint8Array }>} */
const routes = new Map(
  HOSTS.map(({ ip, mac, device }) => [ip, { device: gateway.numberOf(device), mac: bytesOf(mac) }]),
);

/** @param {string} mac */
function bytesOf(mac) {
  return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
}

/** @param {import('vxlane/dataplane').HookBatch} batch */
function route(batch) {
  while (batch.next()) {
    const { bytes, l3 } = batch;
    if (l3 === 0 || bytes[l3] !== 0x45 || destination(bytes) !== GATEWAY) continue;
    const to = routes.get(bytes.subarray(l3 + 16, l3 + 20).join('.'));
    const hops = bytes[l3 + 8] ?? 0;
    if (to === undefined || hops <= 1) {
      batch.drop();
      continue;
    }
    bytes.set(to.mac, 0);
    bytes.set(bytesOf(GATEWAY), 6);
    // One hop less; its checksum is a sum of words, and this is the high byte of one (RFC 1624).
    bytes[l3 + 8] = hops - 1;
    const view = new DataView(bytes.buffer, bytes.byteOffset + l3);
    const sum = view.getUint16(10) + 0x100;
    view.setUint16(10, (sum & 0xffff) + (sum >> 16));
    batch.redirect(to.device, 'tunnel');
  }
}
for (const { device } of HOSTS) gateway.setHook(device, 'decap', route);

/** A host's own VTEP. @param {(typeof HOSTS)[number]} host */
function site({ vni, mac }) {
  const plane = createDataplane();
  plane.addDevice({ name: 'vx0', vni, address: mac, remote: '192.0.2.254' });
  return plane;
}

const [red, blue] = HOSTS;
if (!red || !blue) throw new Error('two hosts');
for (const [from, to] of [
  [red, blue],
  [blue, red],
]) {
  if (!from || !to) continue;
  const frame = udpFrame({ to: GATEWAY, from: from.mac, src: from.ip, dst: to.ip, sport: 5000, dport: 7 });
  for (const { bytes } of site(from).encap('vx0', frame)) gateway.decap(bytes, from.vtep);
  for (const { bytes, address } of gateway.forwarded()) {
    // The receiver's device takes nothing that it sent itself: it has another MAC than the host behind it.
    const receiver = createDataplane();
    receiver.addDevice({ name: 'vx0', vni: to.vni, address: '02:00:00:00:00:aa' });
    for (const { bytes: arrived } of receiver.decap(bytes, '192.0.2.254')) {
      const flow = flowOf(arrived);
      console.log(`VNI ${from.vni} to VNI ${to.vni}: to ${address}, ${flow?.src} > ${flow?.dst}`);
      console.log(`  from ${source(arrived)} to ${destination(arrived)}, ${arrived[22]} hops left`);
    }
  }
}
const stray = udpFrame({ to: GATEWAY, from: red.mac, src: red.ip, dst: '10.9.9.9', sport: 1, dport: 1 });
for (const { bytes } of site(red).encap('vx0', stray)) gateway.decap(bytes, red.vtep);
console.log(
  `no route: ${gateway.forwarded().length} packets, drop_hook_received ${gateway.counters('red').drop_hook_received}`,
);
