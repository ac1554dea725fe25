/**
 * A flannel node of a Kubernetes cluster, as a program in a namespace: an API server beside it, and a node with the
 * kernel's own vxlan device, which is programmed as flanneld does from what our annotations say.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KERNEL, OURS, World } from './support/flannel-file-world.ts';
import { KubeApiServer } from './support/kube-api-server.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces, missingForTap } from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();
const F = 'flannel.alpha.coreos.com/';
const WAIT_MS = 15_000;

const annotationsOf = (mac: string, publicIp: string) => ({
  [`${F}kube-subnet-manager`]: 'true',
  [`${F}backend-type`]: 'vxlan',
  [`${F}public-ip`]: publicIp,
  [`${F}backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}`,
});

describe('a flannel node of a Kubernetes cluster', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let world: World;
  let api: KubeApiServer;

  const ours = () => api.store.nodes.get('ours')!;

  before(async () => {
    world = new World(bed);
    world.ours.ip('link set lo up');
    enter(world.ours);
    api = await KubeApiServer.start();
    const netConf = join(world.directory, 'net-conf.json');
    writeFileSync(netConf, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
    world.source = ['--kube-subnet-mgr', '--kubeconfig-file', api.kubeconfig(), '--net-config-path', netConf];
    api.store.put({ name: 'ours' });
    const annotations = annotationsOf(KERNEL.mac, KERNEL.address);
    api.store.put({ name: 'kernel', podCIDR: `${KERNEL.network}/24`, annotations });
  });
  after(async () => {
    await api?.close();
    await bed.close();
  });

  it('waits for its podCIDR, annotates itself and talks to the kernel’s, both ways', async () => {
    process.env.NODE_NAME = 'ours';
    const started = world.start();
    await until('it asks', () => api.asked.filter(({ path }) => path.endsWith('/ours')).length > 2, WAIT_MS);
    assert.deepEqual(ours().metadata.annotations, {});
    api.store.assign('ours', [`${OURS.network}/24`]);
    await started;
    const { mac } = world.device()!;
    assert.deepEqual(ours().metadata.annotations, annotationsOf(mac, OURS.address));
    world.program(mac);
    await world.until('traffic', () => {
      world.ping();
      return true;
    });
    await until('the condition', () => ours().status.conditions !== undefined, WAIT_MS);
    const conditions = ours().status.conditions!.map(({ type, status, reason }) => ({
      type,
      status,
      reason,
    }));
    assert.deepEqual(conditions, [{ type: 'NetworkUnavailable', status: 'False', reason: 'FlannelIsUp' }]);
    assert.match(world.subnetEnv(), /^FLANNEL_NETWORK=10.244.0.0\/16\nFLANNEL_SUBNET=10.244.1.1\/24\n/);
    const { source, problems } = world.status();
    assert.deepEqual([source.kind, source.connected, source.synced], ['kubernetes', true, true]);
    assert.deepEqual(problems, []);
  });

  it('follows a node’s new MAC, one that comes and one that goes', async () => {
    const mac = '36:3c:de:36:68:59';
    world.kernel.ip(`link set flannel.1 address ${mac}`);
    // A new MAC costs the kernel's device its neighbours.
    world.program(world.device()!.mac);
    api.store.annotate('kernel', { [`${F}backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}` });
    await world.until('traffic', () => {
      world.ping();
      return true;
    });
    const annotations = annotationsOf('36:3c:de:36:68:5a', '192.0.2.77');
    api.store.put({ name: 'third', podCIDR: '10.244.7.0/24', annotations });
    await world.until('its route', () => world.device()!.routes.includes('10.244.7.0/24'));
    api.store.delete('third');
    await world.until('no route', () => !world.device()!.routes.includes('10.244.7.0/24'));
  });

  it('keeps its traffic while the API server is away, and has what was missed when it is back', async () => {
    await api.leave();
    await world.until('the state', () => !world.status().source.connected);
    world.ping();
    const annotations = annotationsOf('36:3c:de:36:68:5a', '192.0.2.77');
    api.store.put({ name: 'third', podCIDR: '10.244.7.0/24', annotations });
    api.store.compact();
    await api.listen();
    await world.until('its route', () => world.device()!.routes.includes('10.244.7.0/24'));
    world.ping();
  });

  it('is found again by its MAC after it was killed', async () => {
    const { mac } = world.device()!;
    await world.kill();
    await world.start('--state-dir', join(world.directory, 'another'));
    assert.equal(world.device()!.mac, mac);
    await world.until('traffic', () => {
      world.ping();
      return true;
    });
  });
});
