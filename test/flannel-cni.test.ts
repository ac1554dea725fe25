/**
 * Pods made by the CNI plugins of a distribution, called as a runtime calls them, with what flannel's plugin makes of
 * a node's subnet.env: on a vxlane node and on one of the kernel's device.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { callPlugin, delegateOf, type FlannelConf, missingForCni } from './support/flannel-cni.ts';
import { missingForEtcd } from './support/flannel-etcd-server.ts';
import {
  eventually,
  FlannelWorld,
  type Place,
  readSubnetEnv,
  talk,
  UNDERLAY,
} from './support/flannel-network.ts';
import { type NodeProcess, startKernelNode } from './support/kernel-node.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
} from './support/netns.ts';
import { Agent } from './support/traffic.ts';
import { startVxlaneNode } from './support/vxlane-node.ts';

const NET_CONFIG = { Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } };
const missing =
  missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan() ?? missingForEtcd() ?? missingForCni();
if (missing && process.env.CI) throw new Error(missing);

interface Pod {
  node: Place;
  namespace: Namespace;
  container: string;
  conf: Record<string, unknown>;
  address: string;
  agent: Agent;
}

describe('pods of CNI plugins', { skip: missing ?? false }, () => {
  const bed = new Bed();
  let world: FlannelWorld;
  let nodes: NodeProcess[];
  let pods: Pod[];
  after(() => bed.close());

  /** The first entry of flannel's own list of plugins, less what a test must not leave on the machine. */
  const confOf = (place: Place): FlannelConf => ({
    name: 'cbr0',
    cniVersion: '0.3.1',
    delegate: { hairpinMode: true, isDefaultGateway: true },
    ipam: { dataDir: join(place.directory, 'ipam') },
  });
  const reserved = (place: Place) =>
    readdirSync(join(place.directory, 'ipam', 'cbr0')).filter((name) => /^[\d.]+$/.test(name));

  async function run(place: Place, container: string): Promise<Pod> {
    const namespace = bed.namespace(container);
    const conf = delegateOf(confOf(place), place.subnetFile);
    const result = callPlugin('ADD', place.namespace, { namespace, container }, conf);
    const address = result!.ips[0]!.address.split('/')[0]!;
    return { node: place, namespace, container, conf, address, agent: await Agent.start(namespace) };
  }

  before(async () => {
    world = await FlannelWorld.make(bed, 2, NET_CONFIG);
    const [first, second] = world.places as [Place, Place];
    const options = (place: Place) => ({
      endpoints: [world.etcd.endpoint],
      iface: UNDERLAY,
      subnetFile: place.subnetFile,
      flags: ['--ip-masq'],
    });
    const vxlane = { stateDirectory: first.directory, socket: join(first.directory, 'vxlane.sock') };
    nodes = [
      startVxlaneNode(first.namespace, { ...options(first), ...vxlane }),
      startKernelNode(second.namespace, options(second)),
    ];
    await Promise.all(nodes.map((node) => node.ready()));
    await eventually(() => world.places.map((place) => place.subnet));
    pods = await Promise.all([run(first, 'one'), run(first, 'two'), run(second, 'three')]);
  });

  test('a pod has an address of its node’s subnet, the tunnel’s MTU and routes to every pod', () => {
    for (const { node, namespace, address } of pods) {
      const { gateway, mtu } = readSubnetEnv(node.subnetFile);
      assert.equal(address.replace(/\.\d+$/, ''), gateway.replace(/\.\d+\/24$/, ''));
      const [eth0] = namespace.ipJson('addr', 'show', 'dev', 'eth0');
      assert.deepEqual([eth0.mtu, eth0.addr_info[0].local], [mtu, address]);
      const routes = namespace.ipJson('route') as { dst: string; gateway?: string }[];
      const via = (dst: string) => routes.find((route) => route.dst === dst)?.gateway;
      assert.equal(via('default'), gateway.split('/')[0]);
      assert.equal(via('10.244.0.0/16'), gateway.split('/')[0]);
    }
  });

  test('pods talk with each other, on one node and across nodes', async () => {
    for (const from of pods) {
      for (const to of pods) if (from !== to) await eventually(() => talk(from, to));
    }
  });

  test('a pod that goes gives its address back', () => {
    const [, two] = pods as [Pod, Pod];
    assert.ok(reserved(two.node).includes(two.address));
    callPlugin('DEL', two.node.namespace, two, two.conf);
    assert.ok(!reserved(two.node).includes(two.address));
    assert.deepEqual(two.namespace.ipJson('link', 'show', 'type', 'veth'), []);
  });
});
