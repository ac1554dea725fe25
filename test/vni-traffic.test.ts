/**
 * An external device with VNIs, a VLAN map and group policies against the kernel's device, which has the VNI as its
 * own: what is mapped goes through, what is not listed or refused does not, and everything is counted.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Client, createClient } from '../src/daemon/client.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
  REPOSITORY,
} from './support/netns.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();
const skip = missing !== null && !process.env.CI ? missing : false;
const READY_MS = 15_000;
const [NEAR, FAR] = ['10.0.0.1', '10.0.0.2'];

let bed: Bed;
let host: Namespace;
let peer: Namespace;
let client: Client;
before(async () => {
  if (missing !== null) return;
  bed = new Bed();
  host = bed.namespace('near');
  peer = bed.namespace('far');
  host.ip(
    `link add u0 type veth peer name u1 netns ${peer.name}`,
    'addr add 192.0.2.1/24 dev u0',
    'link set u0 up',
  );
  peer.ip(
    'addr add 192.0.2.2/24 dev u1',
    'link set u1 up',
    'link add k0 type vxlan id 100 remote 192.0.2.1 dstport 4789 gbp',
    `addr add ${FAR}/24 dev k0`,
    'link set k0 up',
  );
  const socket = join(bed.directory(), 's.sock');
  host.spawn(process.execPath, [join(REPOSITORY, 'dist/src/cli/main.js'), 'daemon', '--socket', socket], {
    stdio: 'ignore',
  });
  client = createClient(socket);
  const late = Date.now() + READY_MS;
  while (!(await client.links().then(Boolean, () => false))) {
    assert.ok(Date.now() < late, 'the daemon does not answer');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const device = { external: true, vnifilter: true, gbp: true, dstport: 4789, local: '192.0.2.1' };
  await client.addLink({ name: 'vx0', ...device, learning: false });
  await client.setLink('vx0', { up: true });
  host.ip(`addr add ${NEAR}/24 dev vx0`);
});
after(() => bed?.close());

/** Whether one echo of three comes back. */
function answers(from = host, to = FAR, ...more: string[]): boolean {
  try {
    from.run('ping', '-c', '3', '-i', '0.2', '-W', '1', ...more, to);
    return true;
  } catch {
    return false;
  }
}

const counters = async () => (await client.status()).counters.vx0 ?? {};

test('what is listed and mapped goes through, and is counted by VNI', { skip }, async () => {
  assert.equal(answers(), false);
  assert.ok((await counters()).drop_unmapped_vlan! > 0);
  const vni = [[100, 101]] as const;
  await client.vniChange({ op: 'add', dev: 'vx0', vni, remote: '192.0.2.2' });
  await client.vniChange({
    op: 'add',
    dev: 'vx0',
    vni: [[100, 100]],
    vlan: [10, 10],
    pvid: true,
    untagged: true,
  });
  assert.equal(answers(), true);
  const [listed, other] = await client.vnis('vx0');
  assert.ok(listed!.stats.rx.packets >= 3 && listed!.stats.tx.packets >= 3);
  assert.deepEqual([other!.vni, other!.stats.rx.packets, other!.stats.tx.packets], [101, 0, 0]);
});

test('a refused id is dropped and counted, what is allowed is not', { skip }, async () => {
  await client.policyChange({ op: 'add', dev: 'vx0', id: 6, vni: 100, applied: true });
  assert.equal(answers(), true);
  await client.policyChange({ op: 'refuse', dev: 'vx0', id: [[0, 0xffff]] });
  assert.equal(answers(), false);
  assert.ok((await counters()).drop_policy! > 0);
  // The kernel's device sends without a mark, which counts as id 0.
  await client.policyChange({ op: 'allow', dev: 'vx0', id: [[0, 0]] });
  assert.equal(answers(), true);
  // The mark of what it sends is the policy id.
  assert.equal(answers(peer, NEAR, '-m', '7'), false);
  const [policy] = await client.policies('vx0');
  assert.deepEqual(policy!.refused, [[1, 0xffff]]);
  // Beside it may stand 148, which is what the kernel marks its multicast listener reports with.
  const marked = policy!.received.find(({ id }) => id === 7);
  assert.ok(marked !== undefined && marked.packets >= 3);
  assert.ok(policy!.received.every(({ id }) => id === 7 || id === 148));
  await client.policyChange({ op: 'allow', dev: 'vx0', id: [[7, 7]] });
  assert.equal(answers(peer, NEAR, '-m', '7'), true);
});

test('down and up again, and no longer once it is deleted', { skip }, async () => {
  await client.setLink('vx0', { up: false });
  await client.setLink('vx0', { up: true });
  assert.equal(answers(), true);
  await client.vniChange({ op: 'del', dev: 'vx0', vni: [[100, 100]] });
  assert.equal(answers(), false);
  await client.vniChange({ op: 'add', dev: 'vx0', vni: [[100, 100]], remote: '192.0.2.2' });
  assert.equal(answers(), true);
  await client.deleteLink('vx0');
  assert.deepEqual(await client.vnis(), []);
  assert.deepEqual(await client.policies(), []);
});
