/** MDB entries of an external device whose VNIs come and go, in a whole dataplane. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { AF_INET, REMOTE_VNI_OFFSET } from '../assembly/layout.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { compileEngine } from '../src/dataplane/engine-file.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { ipFrame } from './support/mdb-fixture.ts';

const G = '239.1.1.1';
const R = '198.51.100.1';
const FRAME = ipFrame('192.0.2.1', G);

let plane: Dataplane;
let vxe: number;
beforeEach(() => {
  plane = new Dataplane(compileEngine(), 1, 0);
  vxe = plane.devices.claim('vxe');
  plane.devices.write(vxe, {
    ...{ vni: 0, address: '02:00:00:00:00:01', mtu: 1450, family: AF_INET, port: 4789, learning: false },
    ...{ ageing: 300, maxaddress: 0, ttl: 0, tos: 0, df: 'unset', source: 0, sourceDf: 0 },
    features: { external: true, vnifilter: true },
  });
});

/** VNI on the wire of the one copy that a frame gets; or -1 (the FDB decides) or -2 (a drop). */
function send(domain: number): number {
  const { bytes, view } = plane.views;
  const at = workerBase(0);
  bytes.set(FRAME, at);
  const count = plane.exports.mdbCollect(domain, at, FRAME.length, at + 4096, 8);
  return count === 1 ? view.getUint32(at + 4096 + REMOTE_VNI_OFFSET, true) : count;
}

const vni = (op: 'add' | 'del', first: number, last = first) =>
  plane.vnis.apply({ op, dev: 'vxe', vni: [[first, last]] });

test('an entry is found in the domain that its VNI has, from the time it has one', () => {
  plane.mdb.apply({ op: 'add', dev: 'vxe', grp: G, dst: R, src_vni: 20 });
  vni('add', 20, 21);
  const [domain, other] = [plane.vnis.domainOf(vxe, 20), plane.vnis.domainOf(vxe, 21)];
  assert.deepEqual([send(domain), send(other), send(vxe)], [20, -1, -1]);
  vni('del', 20);
  // Whoever gets that domain next has nothing to do with the entry.
  assert.equal(plane.vnis.domainOf(vxe, 20), 0);
  assert.equal(send(domain), -1);
  vni('add', 20);
  assert.equal(send(plane.vnis.domainOf(vxe, 20)), 20);
});

test('a VNI that an FDB entry brings along will do', () => {
  plane.mdb.apply({ op: 'add', dev: 'vxe', grp: G, dst: R, src_vni: 30 });
  plane.fdb.apply({ op: 'add', dev: 'vxe', mac: '02:00:00:00:00:02', dst: R, src_vni: 30 });
  assert.equal(send(plane.vnis.domainOf(vxe, 30)), 30);
});

test('a request about VNIs that is refused leaves entries where they were', () => {
  vni('add', 20);
  plane.mdb.apply({ op: 'add', dev: 'vxe', grp: G, dst: R, src_vni: 20 });
  plane.mdb.apply({ op: 'add', dev: 'vxe', grp: G, dst: R });
  assert.throws(() => vni('del', 20, 22));
  assert.equal(send(plane.vnis.domainOf(vxe, 20)), 20);
  // VNI 0 is the device's own.
  assert.equal(send(vxe), 0);
});

test('nothing is left of a device', () => {
  vni('add', 20);
  plane.mdb.apply({ op: 'add', dev: 'vxe', grp: G, dst: R, src_vni: 20 });
  const domain = plane.vnis.domainOf(vxe, 20);
  plane.forgetDevice(vxe);
  assert.equal(send(domain), -1);
  assert.equal(plane.entries, 0);
});
