/**
 * The TAP that super-frames leave whole through: when it is used, when not and why, what it costs when somebody gets in
 * its way, and that nothing of it stays.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vtep } from '../src/types.ts';
import { setOffloads } from './support/ethtool.ts';
import { Bed, missingForNamespaces, missingForTap, type Namespace } from './support/netns.ts';
import { until } from './support/own-namespace.ts';
import { injectSuperFrames } from './support/super-frames.ts';
import { PORT, SEGMENT, superFrames, type TunnelWorld, tunnelWorld, wireOf } from './support/tunnel-world.ts';

const missing = missingForNamespaces() ?? missingForTap();

describe('the underlay TAP', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let world: TunnelWorld;
  let here: Namespace;
  let vtep: Vtep;
  const counters = () => world.counters();
  const state = () => world.state();
  const underlayTaps = () => world.underlayTaps();

  before(async () => {
    world = await tunnelWorld(bed);
    ({ here, vtep } = world);
  });
  after(async () => {
    await vtep?.close();
    await bed.close();
  });
  afterEach(async () => {
    if (vtep.devices().length > 0) await vtep.deleteDevice('vx0');
  });
  const one = () => superFrames().slice(0, 1);
  /** Sends one super-frame; did it leave whole? */
  async function leavesWhole(): Promise<boolean> {
    const before = counters();
    injectSuperFrames('vx0', one());
    await until('sent', () => counters().encap_packets !== before.encap_packets, 10_000);
    return counters().super_frames_whole !== before.super_frames_whole;
  }
  async function eventually(whole: boolean): Promise<void> {
    const end = performance.now() + 20_000;
    while ((await leavesWhole()) !== whole) {
      assert.ok(performance.now() < end, whole ? 'left whole in the end' : 'split in the end');
      await sleep(50);
    }
  }

  it('follows the offload of the interface, the routes, and the word', async () => {
    await world.add({ local: '10.1.0.1', remote: '10.2.0.1' });
    await world.open(one());
    assert.deepEqual(underlayTaps().length, 1);
    await eventually(true);
    setOffloads('u0', { 'tx-udp_tnl-csum-segmentation': false });
    await eventually(false);
    setOffloads('u0', { 'tx-udp_tnl-csum-segmentation': true });
    await eventually(true);
    const [name] = underlayTaps();
    // Not the way that the socket's datagrams go.
    here.ip(`rule add iif ${name} blackhole`);
    await eventually(false);
    here.ip(`rule del iif ${name} blackhole`);
    await eventually(true);
    await vtep.setDevice('vx0', { gso: 'on' });
    assert.equal(state(), 'off: no device asks for it (gso tunnel)');
    assert.deepEqual(underlayTaps(), []);
    await eventually(false);
    await vtep.setDevice('vx0', { gso: 'tunnel' });
    await eventually(true);
    await vtep.deleteDevice('vx0');
    assert.deepEqual(underlayTaps(), []);
  });

  it('does without where reverse path filtering is strict, and says so; loose will do', async () => {
    here.sysctl({ 'net.ipv4.conf.all.rp_filter': 1 });
    await world.add({ local: '10.1.0.1', remote: '10.2.0.1' });
    assert.match(state(), /^off: net\.ipv4\.conf\.all\.rp_filter is 1.*sysctl -w/);
    assert.ok(world.log.some((line) => line.startsWith('warn: gso tunnel: net.ipv4.conf.all.rp_filter')));
    assert.deepEqual(underlayTaps(), []);
    await world.open(one());
    await eventually(false);
    here.sysctl({ 'net.ipv4.conf.all.rp_filter': 2 });
    await vtep.setDevice('vx0', { gso: 'on' });
    await vtep.setDevice('vx0', { gso: 'tunnel' });
    assert.match(state(), /^on: .* address 127\./);
    await eventually(true);
    await vtep.deleteDevice('vx0');
    here.sysctl({ 'net.ipv4.conf.all.rp_filter': 0 });
  });

  it('that somebody takes down costs no frame', async () => {
    await world.add({ local: '10.1.0.1', remote: '10.2.0.1' });
    await world.open(one());
    await eventually(true);
    const whole = counters().super_frames_whole;
    const capture = await world.agents.far.capture('u0', { direction: 'in', udpPort: PORT });
    here.ip(`link set ${underlayTaps()[0]} down`);
    injectSuperFrames(
      'vx0',
      Array.from({ length: 20 }, () => one()[0]!),
    );
    const segments = Math.ceil(20_000 / SEGMENT);
    assert.equal((await wireOf(capture, 20 * segments)).length, 20 * segments);
    assert.equal(counters().super_frames_whole, whole);
    assert.equal(counters().super_frames_split! >= 20, true);
    await until('noticed', () => state().startsWith('off: '), 10_000);
    await vtep.deleteDevice('vx0');
    assert.deepEqual(underlayTaps(), []);
  });

  it('whose super-frames the kernel drops is used no more', async () => {
    await world.add({ local: '10.1.0.1', remote: '10.2.0.1' });
    await world.open(one());
    await eventually(true);
    const [name] = underlayTaps();
    here.ip('link add sink type veth peer name drain');
    // As a rule of the firewall would: behind what the routing table says.
    here.run('tc', 'qdisc', 'add', 'dev', name!, 'ingress');
    const filter = `filter add dev ${name} parent ffff: protocol all u32 match u32 0 0`;
    here.run('tc', ...`${filter} action mirred egress redirect dev sink`.split(' '));
    injectSuperFrames(
      'vx0',
      Array.from({ length: 20 }, () => one()[0]!),
    );
    await until(
      'noticed',
      () => /^off: of \d+ super-frames the kernel forwarded \d+: /.test(state()),
      10_000,
    );
    assert.equal(await leavesWhole(), false);
    await vtep.deleteDevice('vx0');
    here.ip('link del sink');
  });

  it('sets nothing but its own', async () => {
    const snapshot = () =>
      ['ipv4', 'ipv6'].flatMap((family) =>
        ['all', 'default', 'u0', 'lo'].flatMap((scope) =>
          readdirSync(`/proc/sys/net/${family}/conf/${scope}`).map((key) => {
            const path = `/proc/sys/net/${family}/conf/${scope}/${key}`;
            try {
              return `${path} ${readFileSync(path, 'utf8').trim()}`;
            } catch {
              return path;
            }
          }),
        ),
      );
    const before = snapshot();
    await world.add({ local: 'fd01::1', remote: 'fd02::1' });
    assert.match(state(), /force_forwarding=1/);
    assert.deepEqual(snapshot(), before);
    const [name] = underlayTaps();
    assert.deepEqual(here.ipJson('addr', 'show', 'dev', name!)[0].addr_info, []);
    await vtep.deleteDevice('vx0');
    assert.deepEqual(snapshot(), before);
  });
});
