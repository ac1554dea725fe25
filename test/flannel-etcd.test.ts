import { after, before, describe, test } from 'node:test';
import { missingForEtcd } from './support/flannel-etcd-server.ts';
import { eventually, FlannelWorld, SUBNETS, UNDERLAY } from './support/flannel-world.ts';
import { startKernelNode } from './support/kernel-node.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces } from './support/netns.ts';

const NET_CONFIG = { Network: '10.244.0.0/16', backend: { Type: 'vxlan', VNI: 1, Port: 8472 } };
const missing = missingForNamespaces() ?? missingForKernelVxlan() ?? missingForEtcd();

describe('kernel nodes alone', { skip: missing ?? false }, () => {
  const bed = new Bed();
  let world: FlannelWorld;
  after(() => bed.close());
  before(async () => {
    world = await FlannelWorld.make(bed, 3, NET_CONFIG);
  });
  test('talk', async (t) => {
    const t0 = performance.now();
    const nodes = world.places.map((place) =>
      startKernelNode(place.namespace, {
        endpoints: [world.etcd.endpoint],
        iface: UNDERLAY,
        subnetFile: place.subnetFile,
      }),
    );
    await Promise.all(nodes.map((n) => n.ready()));
    t.diagnostic(`ready ${performance.now() - t0}`);
    await Promise.all(world.places.map((place) => place.attachPod()));
    t.diagnostic(`pods ${performance.now() - t0}`);
    console.log(
      world.etcd.list(SUBNETS),
      world.places.map((p) => p.namespace.run('ip', 'route')),
      world.places[0]!.namespace.run('bridge', 'fdb', 'show', 'dev', 'flannel.1'),
    );
    await eventually(() => world.talkAll());
    t.diagnostic(`talked ${performance.now() - t0}`);
    console.log(nodes.map((n) => n.said));
  });
});
