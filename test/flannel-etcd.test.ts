/**
 * A vxlane node in a flannel network with a real etcd, beside nodes on the kernel's device that do with the same keys
 * what flanneld does (support/kernel-node-main.ts). One story: every test goes on where the one before it ended.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingForEtcd } from './support/flannel-etcd-server.ts';
import { eventually, FlannelWorld, type Place, SUBNETS, talk, UNDERLAY } from './support/flannel-network.ts';
import { type NodeProcess, startKernelNode } from './support/kernel-node.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces, missingForTap } from './support/netns.ts';
import { assertProgrammed, desired, startVxlaneNode } from './support/vxlane-node.ts';

const NET_CONFIG = { Network: '10.244.0.0/16', backend: { Type: 'vxlan', VNI: 1, Port: 8472 } };
/** How long etcd is away. A minute, where somebody has the time. */
const OUTAGE_MS = Number(process.env.VXLANE_TEST_OUTAGE_SECONDS ?? 4) * 1000;
const LEASE =
  /^\{"PublicIP":"([\d.]+)","PublicIPv6":null,"BackendType":"vxlan","BackendData":\{"VNI":1,"VtepMAC":"([0-9a-f:]{17})"\}\}$/;

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan() ?? missingForEtcd();
if (missing && process.env.CI) throw new Error(missing);

describe('vxlane in a flannel network of kernel nodes', { skip: missing ?? false }, () => {
  const bed = new Bed();
  let world: FlannelWorld;
  let ours: Place;
  let theirs: [Place, Place];
  let guest: Place;
  let socket: string;
  const nodes = new Map<Place, NodeProcess>();
  after(() => bed.close());

  async function startNode(place: Place): Promise<void> {
    const options = { endpoints: [world.etcd.endpoint], iface: UNDERLAY, subnetFile: place.subnetFile };
    const node =
      place === ours
        ? startVxlaneNode(place.namespace, { ...options, stateDirectory: place.directory, socket })
        : startKernelNode(place.namespace, options);
    nodes.set(place, node);
    await node.ready();
  }
  const stopNode = (place: Place) => nodes.get(place)!.stop();

  /** The record that a node has published, and what it says. */
  function published(place: Place): { key: string; value: string; publicIp: string; mac: string } {
    const key = `${SUBNETS}/${place.subnet.replace('/', '-')}`;
    const value = world.etcd.list(SUBNETS)[key];
    const match = LEASE.exec(value ?? '');
    assert.ok(match, `${key}: ${value}`);
    return { key, value: value!, publicIp: match[1]!, mac: match[2]! };
  }
  /** Nothing missing, nothing left over. */
  const settled = (withinMs = 20_000) =>
    eventually(() => {
      assertProgrammed(ours.namespace, socket, desired(world.etcd.list(SUBNETS), ours.subnet));
    }, withinMs);
  const linkOf = (place: Place) => place.namespace.ipJson('link', 'show', 'flannel.1')[0];

  /** Both pods keep a connection to the other open. */
  async function hold(one: Place, other: Place): Promise<(size: number, withinMs?: number) => Promise<void>> {
    const ends = [
      { from: one.pod, to: other.pod },
      { from: other.pod, to: one.pod },
    ];
    const held = await Promise.all(
      ends.map(async ({ from, to }) => {
        const port = await to.agent.call('tcpEchoServer', to.address);
        return { from, number: await from.agent.call('tcpHold', to.address, port) };
      }),
    );
    return async (size, withinMs = 20_000) => {
      const answers = held.map(({ from, number }) => from.agent.call('tcpHeldEcho', number, size, withinMs));
      assert.deepEqual(await Promise.all(answers), [null, null]);
    };
  }

  before(async () => {
    world = await FlannelWorld.make(bed, 4, NET_CONFIG);
    [ours, theirs, guest] = [world.places[0]!, [world.places[1]!, world.places[2]!], world.places[3]!];
    socket = join(ours.directory, 'vxlane.sock');
    await Promise.all([ours, ...theirs].map(startNode));
    await eventually(() => Promise.all([ours, ...theirs].map((place) => place.attachPod())));
  });

  test('publishes a record as flanneld writes it, and subnet.env', () => {
    const { publicIp, mac } = published(ours);
    assert.equal(publicIp, ours.underlay);
    assert.equal(mac, linkOf(ours).address);
    const [network, subnet, ...rest] = readFileSync(ours.subnetFile, 'utf8').split('\n');
    assert.equal(network, 'FLANNEL_NETWORK=10.244.0.0/16');
    assert.equal(subnet, `FLANNEL_SUBNET=${ours.subnet.replace('.0/', '.1/')}`);
    assert.deepEqual(rest, ['FLANNEL_MTU=1450', 'FLANNEL_IPMASQ=false', '']);
    const [address] = ours.namespace.ipJson('addr', 'show', 'dev', 'flannel.1');
    const v4 = address.addr_info.filter(({ family }: { family: string }) => family === 'inet');
    assert.deepEqual(
      v4.map(({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`),
      [ours.subnet.replace('/24', '/32')],
    );
  });

  test('pods on all nodes talk, TCP and UDP, both ways', async () => {
    await settled();
    await eventually(() => world.talkAll([ours, ...theirs]));
  });

  test('a node that joins is talked to', async () => {
    await startNode(guest);
    await guest.attachPod();
    await settled();
    await eventually(() => world.talkAll([ours, guest]));
  });

  test('a node that leaves leaves nothing behind', async () => {
    const { key } = published(guest);
    await stopNode(guest);
    world.etcd.ctl('del', key);
    await settled();
  });

  test('a node with another MAC is talked to, and the old one forgotten', async () => {
    const [first] = theirs;
    const before = published(first);
    await stopNode(first);
    first.namespace.ip('link del flannel.1');
    await startNode(first);
    const now = published(first);
    assert.equal(now.key, before.key);
    assert.notEqual(now.mac, before.mac);
    await settled();
    await eventually(() => world.talkAll([ours, first]));
  });

  test('a node with another address is talked to', async () => {
    const [, second] = theirs;
    const { key } = published(second);
    await stopNode(second);
    second.moveTo('10.169.72.113');
    // Its lease names the old address: it is another node's until somebody takes it away.
    world.etcd.ctl('del', key);
    await startNode(second);
    assert.deepEqual([published(second).key, published(second).publicIp], [key, '10.169.72.113']);
    await settled();
    await eventually(() => world.talkAll([ours, second]));
  });

  test('our own MAC changes without a restart', async () => {
    const { key } = published(ours);
    ours.namespace.ip('link set flannel.1 address 02:11:22:33:44:55');
    await eventually(() => assert.equal(published(ours).mac, '02:11:22:33:44:55'));
    assert.equal(published(ours).key, key);
    await settled();
    await eventually(() => world.talkAll([ours, ...theirs]));
  });

  test('our own address changes without a restart', async () => {
    const { key } = published(ours);
    ours.moveTo('10.169.72.111');
    await eventually(() => assert.equal(published(ours).publicIp, '10.169.72.111'), 10_000);
    assert.equal(published(ours).key, key);
    await settled();
    await eventually(() => world.talkAll([ours, ...theirs]), 10_000);
  });

  test(`traffic goes on while etcd is away for ${OUTAGE_MS / 1000} s, and changes are heard after it`, async () => {
    const [first] = theirs;
    const leases = world.etcd.list(SUBNETS);
    const echo = await hold(ours, first);
    await echo(1000);
    await world.etcd.kill();
    for (const until = Date.now() + OUTAGE_MS; Date.now() < until; await sleep(500)) await echo(2000);
    await world.talkAll([ours, ...theirs]);
    assertProgrammed(ours.namespace, socket, desired(leases, ours.subnet));
    assert.ok(nodes.get(ours)!.alive);
    await world.etcd.start();
    await echo(3000);
    await startNode(guest);
    await settled();
    await guest.attachPod();
    await eventually(() => talk(ours.pod, guest.pod));
  });

  test('what changed during a gap that was compacted away is there after it', async () => {
    const [first, second] = theirs;
    world.plug(0, false);
    const { key } = published(guest);
    await stopNode(guest);
    world.etcd.ctl('del', key);
    await stopNode(first);
    first.namespace.ip('link del flannel.1');
    await startNode(first);
    world.etcd.compact();
    // Whoever was connected has to connect anew, and asks for revisions that are no more.
    await world.etcd.kill();
    await world.etcd.start();
    world.plug(0, true);
    await settled();
    for (const other of [first, second]) await eventually(() => world.talkAll([ours, other]));
    // flanneld compares leases by subnet after such a gap: the other one may know the old MAC until it is started anew.
    await stopNode(second);
    await startNode(second);
    await eventually(() => world.talkAll([ours, first, second]));
  });

  test('killed and started again: connections between pods survive, and nothing stale remains', async () => {
    const [first, second] = theirs;
    await startNode(guest);
    await settled();
    const echo = await hold(ours, first);
    await echo(1000);
    const before = published(ours);
    const { key } = published(guest);
    await nodes.get(ours)!.kill();
    await stopNode(guest);
    world.etcd.ctl('del', key);
    await startNode(ours);
    assert.deepEqual(published(ours), before);
    await settled();
    await echo(2000);
    await eventually(() => world.talkAll([ours, first, second]));
  });

  test('stopped while etcd is away, it ends at once', async () => {
    await world.etcd.kill();
    const started = performance.now();
    await stopNode(ours);
    const took = performance.now() - started;
    assert.ok(took < 2500, `it took ${Math.round(took)} ms`);
  });

  test('started while etcd is away, it goes on with what it knew, and hears of changes when etcd is back', async () => {
    await startNode(ours);
    await eventually(() => world.talkAll([ours, ...theirs]), 15_000);
    await world.etcd.start();
    await settled();
  });

  test('stopped and started again: connections between pods survive', async () => {
    const [first] = theirs;
    const echo = await hold(ours, first);
    await echo(1000);
    await stopNode(ours);
    await startNode(ours);
    await settled();
    await echo(2000);
  });
});
