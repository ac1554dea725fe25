/**
 * A flannel node on leases from a file, beside the kernel's own vxlan device: traffic both ways, and what changes at
 * run time, of us and of others.
 */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KERNEL, leases, OURS, World } from './support/flannel-file-world.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces, missingForTap } from './support/netns.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();

const SERVER = `require('net').createServer((s) => s.pipe(s)).listen(7777, () => console.log('listens'))`;
/** Sends a number every 50 ms, and says the largest that has come back. */
const CLIENT = `
  let n = 0;
  const s = require('net').connect(7777, '${KERNEL.pod}', () => setInterval(() => s.write(++n + ' '), 50));
  let text = '';
  s.on('data', (d) => { text = (text + d).slice(-100); console.log(text.trim().split(' ').at(-1)); });
  s.on('error', (e) => { console.log('ended: ' + e.message); process.exit(1); });
  s.on('close', () => { console.log('ended'); process.exit(1); });`;

describe('a flannel node', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let world: World;
  let mac: string;

  before(async () => {
    world = new World(bed);
    await world.start();
    mac = world.device()!.mac;
    world.program(mac);
  });
  after(() => bed.close());

  it('talks to the kernel’s, both ways', () => {
    world.ping();
    const [v4] = world.ours.ipJson('-4', 'addr', 'show', 'dev', 'flannel.1')[0].addr_info;
    assert.deepEqual([v4.local, v4.prefixlen], [OURS.network, 32]);
    assert.equal(
      world.subnetEnv(),
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
    );
    assert.deepEqual(
      [statSync(world.subnetFile).mode & 0o777, statSync(join(world.subnetFile, '..')).mode & 0o777],
      [0o644, 0o755],
    );
    const { lease, problems, source } = world.status();
    assert.deepEqual(problems, []);
    assert.deepEqual([source.kind, source.connected], ['file', true]);
    assert.deepEqual(
      [lease?.subnet, lease?.publicIp, lease?.backend],
      [`${OURS.network}/24`, OURS.address, { vni: 1, mac }],
    );
  });

  it('a broken file changes nothing and says where it is broken; a new one counts at once', async () => {
    world.writeLeases(leases('{ name: x, publicIp: 192.0.2.3, subnet: 10.244.3.0/24, mac: nonsense }'));
    await world.until('the error is shown', () => world.status().source.error !== undefined);
    const { source } = world.status();
    assert.match(source.error!, /leases\.yaml:7:\d+: leases\.1\.mac: a MAC such as/);
    assert.equal(source.connected, false);
    world.ping();
    world.writeLeases(
      leases('{ name: x, publicIp: 192.0.2.3, subnet: 10.244.3.0/24, mac: "02:00:00:00:00:03" }'),
    );
    const both = ['10.244.2.0/24', '10.244.3.0/24'];
    await world.until('the new route', () => world.device()?.routes.join() === both.join());
    assert.equal(world.status().source.error, undefined);
    world.writeLeases();
    await world.until('it is gone', () => world.device()?.routes.join() === both[0]);
  });

  it('another MTU of the underlay is another MTU of ours', async () => {
    world.ours.ip('link set eth0 mtu 1400');
    await world.until('the device has it', () => world.device()?.mtu === 1350);
    await world.until('subnet.env has it', () => world.subnetEnv().includes('FLANNEL_MTU=1350\n'));
    world.ours.ip('link set eth0 mtu 1500');
    await world.until('and back', () => world.device()?.mtu === 1450);
  });

  it('a host that forwards nothing is told so', async () => {
    world.ours.sysctl({ 'net.ipv4.ip_forward': 0 });
    await world.until('it is a problem', () => /sysctl -w net\.ipv4\.ip_forward=1/.test(world.text()));
    world.ours.sysctl({ 'net.ipv4.ip_forward': 1 });
    await world.until('it is none', () => world.status().problems.length === 0);
  });

  it('another MAC is published', async () => {
    mac = '02:00:00:00:00:77';
    world.ours.ip(`link set flannel.1 address ${mac}`);
    await world.until('the lease has it', () => world.status().lease?.backend?.mac === mac);
    world.program(mac);
    world.ping();
  });

  it('a device that somebody deletes is there again, with its MAC and all that was on it', async () => {
    world.ours.ip('link del flannel.1');
    await world.until('it is there', () => world.device()?.routes.length === 1);
    assert.equal(world.device()?.mac, mac);
    world.ping();
  });

  it('an underlay that goes and comes again is waited for', async () => {
    world.ours.ip('link del eth0');
    await world.until('it is missed', () => world.status().problems.length > 0);
    assert.equal(world.device(), undefined);
    world.addUnderlay();
    await world.until('the device is there', () => world.device()?.routes.length === 1);
    assert.equal(world.device()?.mac, mac);
    world.ping();
    assert.deepEqual(world.status().problems, []);
  });

  it('another address of ours is published and sent from', async () => {
    world.ours.ip(`addr del ${OURS.address}/24 dev eth0`, 'addr add 192.0.2.11/24 dev eth0');
    await world.until('the lease has it', () => world.status().lease?.publicIp === '192.0.2.11');
    world.program(mac, '192.0.2.11');
    world.ping();
    assert.equal(world.status().overlays[0]?.local, '192.0.2.11');
  });

  it('killed and started again, it has its MAC and subnet, and connections between pods go on', async (t) => {
    const server = world.pods.kernel.spawn(process.execPath, ['-e', SERVER], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => server.stdout?.once('data', resolve));
    const client = world.pods.ours.spawn(process.execPath, ['-e', CLIENT], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let last = '0';
    client.stdout?.on('data', (chunk: Buffer) => {
      last = chunk.toString().trim().split('\n').at(-1)!;
    });
    await world.until('the connection carries', () => Number(last) > 5);
    await world.kill();
    assert.equal(world.device(), undefined);
    const said = Number(last);
    const took = await world.start();
    t.diagnostic(`running ${took.toFixed(0)} ms after the start`);
    assert.equal(world.device()?.mac, mac);
    assert.deepEqual(world.device()?.routes, ['10.244.2.0/24']);
    await world.until('the connection goes on', () => Number(last) > said + 20, 8000);
    assert.doesNotMatch(last, /ended/);
  });
});
