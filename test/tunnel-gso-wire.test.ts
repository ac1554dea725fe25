/**
 * Super-frames that leave whole, on the wire: behind a router that cuts them in software they are, byte for byte, what
 * the kernel's own device makes of the same super-frame. And the TAP that they leave through: when it is used, when
 * not and why, and that nothing of it stays.
 *
 *   here (vxlane, kernel) - u0 ===== west - router - east ===== u0 - far (kernel)
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceConfig, Vtep } from '../src/types.ts';
import { createVtep } from '../src/vtep/vtep.ts';
import { deviceConfig } from './support/device-config.ts';
import { setOffloads } from './support/ethtool.ts';
import { ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { tcp, tcpTimestamps } from './support/messages.ts';
import {
  Bed,
  missingForKernelVxlan,
  missingForNamespaces,
  missingForTap,
  type Namespace,
} from './support/netns.ts';
import { enter, until } from './support/own-namespace.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { injectSuperFrames, type SuperFrame } from './support/super-frames.ts';
import { Agent, type RemoteCapture } from './support/traffic.ts';
import { comparable, difference, faults, tunnelPacket } from './support/traffic-packets.ts';
import { superHeader } from './support/virtio.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();
const KERNEL_PORT = 4790;
const PORT = 4789;
const VNI = 42;
const MAC = '02:aa:00:00:00:01';
const FAR_MAC = '02:aa:00:00:00:02';
const SLOW = { gso: false, tso: false, tx: false };

function frames(): SuperFrame[] {
  const options = tcpTimestamps(7, 8);
  const stream = (bytes: number, flags = 'A') =>
    tcp({ checksum: 'partial', options, flags, sequence: 0xfffff000 }, randomBytes(mulberry32(bytes), bytes));
  const macs = { source: MAC, destination: FAR_MAC };
  const id = { identification: 0xfffe };
  return [
    ethernet(macs, ipv4({ ...id, dontFragment: true }, stream(20_000, 'PA'))),
    ethernet(macs, ipv4({ ...id, tos: 0xb9, ttl: 7 }, stream(3001, 'FA'))),
    ethernet(macs, ipv4({ tos: 2, options: new Uint8Array(8).fill(1) }, stream(60_000))),
    ethernet(macs, ipv6({ trafficClass: 3, hopLimit: 9, flowLabel: 77 }, stream(9000, 'PA'))),
    ethernet(macs, vlan({ id: 5 }, ipv4({ dontFragment: true }, stream(5000)))),
    ethernet(macs, vlan({ id: 6 }, ipv6({}, stream(5000)))),
  ].map((frame) => ({ frame, virtio: superHeader(frame, 1300) }));
}

describe('tunnel GSO on the wire', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  const log: string[] = [];
  let here: Namespace;
  let router: Namespace;
  let far: Namespace;
  let agents: { here: Agent; far: Agent };
  let vtep: Vtep;

  before(async () => {
    here = bed.namespace('here');
    router = bed.namespace('router');
    far = bed.namespace('far');
    for (const namespace of [here, router, far]) {
      namespace.sysctl({ 'net.ipv6.conf.default.accept_dad': 0, 'net.ipv6.conf.default.addr_gen_mode': 1 });
    }
    router.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    const links = [
      [here, 'west', '02:bb:00:00:00:0', 1],
      [far, 'east', '02:cc:00:00:00:0', 2],
    ] as const;
    for (const [namespace, end, mac] of links) {
      namespace.ip(
        `link add u0 address ${mac}1 mtu 1600 type veth peer name ${end} address ${mac}2 mtu 1600 netns ${router.name}`,
      );
    }
    const ends = [
      [here, 'u0', '10.1.0.1/24', 'fd01::1/64'],
      [router, 'west', '10.1.0.2/24', 'fd01::2/64'],
      [router, 'east', '10.2.0.2/24', 'fd02::2/64'],
      [far, 'u0', '10.2.0.1/24', 'fd02::1/64'],
    ] as const;
    for (const [namespace, name, address, address6] of ends) {
      namespace.ip(
        `addr add ${address} dev ${name}`,
        `addr add ${address6} dev ${name} nodad`,
        `link set ${name} up`,
      );
    }
    // Nobody has a link-local address to ask for neighbours from.
    for (const [namespace, end, mac, net] of links) {
      namespace.ip(
        `neigh add fd0${net}::2 lladdr ${mac}2 dev u0 nud permanent`,
        `route add default via 10.${net}.0.2`,
        `route add ::/0 via fd0${net}::2`,
      );
      router.ip(`neigh add fd0${net}::1 lladdr ${mac}1 dev ${end} nud permanent`);
    }
    agents = { here: await Agent.start(here), far: await Agent.start(far) };
    const cutter = await Agent.start(router);
    await cutter.call('offloads', 'east', SLOW);
    enter(here);
    vtep = await createVtep({ logger: (level, message) => log.push(`${level}: ${message}`) });
  });
  after(async () => {
    await vtep?.close();
    await bed.close();
  });

  const counters = () => vtep.status().counters.vx0 ?? {};
  const state = () => vtep.status().offloads['tunnel-gso']!;
  const underlayTaps = () =>
    readdirSync('/proc/sys/net/ipv4/conf').filter((name) => name.startsWith('vxgso'));

  async function add(differences: Partial<DeviceConfig> = {}): Promise<void> {
    await vtep.addDevice(
      deviceConfig({
        name: 'vx0',
        id: VNI,
        address: MAC,
        dstport: PORT,
        mtu: 1500,
        gso: 'tunnel',
        ...differences,
      }),
    );
    await vtep.setDevice('vx0', { up: true });
  }
  /** The first datagram of a source port opens its socket; until then super-frames are split. */
  async function open(frames: readonly SuperFrame[]): Promise<void> {
    injectSuperFrames('vx0', frames);
    await until('sent', () => (counters().encap_packets ?? 0) > 0, 3000);
    await sleep(50);
  }

  async function wireOf(capture: RemoteCapture): Promise<Uint8Array[]> {
    const { frames: found, missed } = await capture.stop({ quietMs: 150 });
    assert.equal(missed, 0);
    for (const { superFrame, checksumNotReady } of found) assert.ok(!superFrame && !checksumNotReady);
    return found.map(({ data }) => data);
  }

  const VARIANTS: [string, string, Partial<DeviceConfig>, string][] = [
    ['the defaults', '', {}, '4'],
    ['no checksums', 'noudpcsum', { udpcsum: false }, '4'],
    ['ttl 7, tos 0xb8, df set', 'ttl 7 tos 0xb8 df set', { ttl: 7, tos: 0xb8, df: 'set' }, '4'],
    [
      'all inherited',
      'ttl inherit tos inherit df inherit',
      { ttl: 'inherit', tos: 'inherit', df: 'inherit' },
      '4',
    ],
    ['an IPv6 underlay', '', {}, '6'],
    ['an IPv6 underlay, a flow label', 'flowlabel 0x1234', { flowlabel: 0x1234 }, '6'],
    ['an IPv6 underlay, no checksums', 'udp6zerocsumtx', { udp6zerocsumtx: true }, '6'],
  ];
  for (const [name, words, options, version] of VARIANTS) {
    it(`the wire carries what the kernel's device sends: ${name}`, async () => {
      const [local, remote] = version === '4' ? ['10.1.0.1', '10.2.0.1'] : ['fd01::1', 'fd02::1'];
      const all = frames();
      here.ip(
        `link add vxk address ${MAC} type vxlan id ${VNI} local ${local} remote ${remote} dstport ${KERNEL_PORT} nolearning ${words}`,
        'link set vxk mtu 1500 up',
      );
      await add({ local, remote, ...options });
      try {
        assert.match(state(), /^on: vxgso\d+, with net\.ipv4\.conf\.vxgso\d+\.forwarding=1/);
        await open(all);
        const before = counters();
        const stats = () => vtep.devices()[0]!.stats.tx;
        const sentBefore = stats();
        const results: Uint8Array[][] = [];
        for (const [ifname, port] of [
          ['vxk', KERNEL_PORT],
          ['vx0', PORT],
        ] as const) {
          const capture = await agents.far.capture('u0', { direction: 'in', udpPort: port });
          injectSuperFrames(ifname, all);
          results.push(await wireOf(capture));
        }
        const [kernel, seen] = results as [Uint8Array[], Uint8Array[]];
        assert.ok(kernel.length > 60, `the kernel sends ${kernel.length} packets`);
        assert.equal(seen.length, kernel.length);
        for (const [i, packet] of kernel.entries()) {
          const [mine, theirs] = [seen[i]!, packet].map((bytes) => {
            const copy = comparable(bytes);
            const at = tunnelPacket(bytes)!.version === 4 ? 36 : 56;
            copy.fill(0, at, at + 2);
            return copy;
          });
          assert.equal(difference(theirs!, mine!, ['kernel', 'vxlane']), null, `packet ${i}`);
          const inner = tunnelPacket(seen[i]!)!.inner;
          const found = [...faults(seen[i]!), ...faults(inner)].filter(
            (fault) => fault !== 'UDP checksum is zero',
          );
          assert.deepEqual(found, [], `packet ${i}`);
        }
        assert.equal((counters().super_frames_whole ?? 0) - (before.super_frames_whole ?? 0), all.length);
        assert.equal(counters().super_frames_refused, undefined);
        const counted = here.ipJson('-s', 'link', 'show', 'vxk')[0].stats64.tx;
        assert.equal(stats().packets - sentBefore.packets, counted.packets);
        assert.equal(stats().bytes - sentBefore.bytes, counted.bytes);
        if (version === '4') {
          const ids = seen.map((bytes) => (bytes[18]! << 8) | bytes[19]!);
          for (const [i, id] of ids.entries()) {
            if (i > 0) assert.equal(id, (ids[i - 1]! + 1) & 0xffff, 'each packet has an id of its own');
          }
        }
      } finally {
        await vtep.deleteDevice('vx0');
        here.ip('link del vxk');
      }
      assert.deepEqual(underlayTaps(), []);
    });
  }

  for (const version of ['4', '6'] as const) {
    it(`streams come through whole in both directions, IPv${version} underlay`, async () => {
      const [local, remote] = version === '4' ? ['10.1.0.1', '10.2.0.1'] : ['fd01::1', 'fd02::1'];
      await add({ local, remote });
      far.ip(
        `link add vx0 address ${FAR_MAC} type vxlan id ${VNI} local ${remote} remote ${local} dstport ${PORT}`,
        'link set vx0 mtu 1500 up',
        'addr add 10.9.0.2/24 dev vx0',
      );
      here.ip('addr add 10.9.0.1/24 dev vx0');
      try {
        for (const [from, to, address] of [
          [agents.here, agents.far, '10.9.0.2'],
          [agents.far, agents.here, '10.9.0.1'],
        ] as const) {
          const port = await to.call('receiveTransfer', address);
          const sent = await from.call('sendTransfer', address, port, 16 << 20);
          assert.deepEqual(await to.call('transferResult', port), sent);
        }
        assert.ok(counters().super_frames_whole! > 100, `${counters().super_frames_whole} left whole`);
        assert.match(state(), /^on: /);
      } finally {
        await vtep.deleteDevice('vx0');
        far.ip('link del vx0');
      }
    });
  }

  describe('the TAP', () => {
    afterEach(async () => {
      if (vtep.devices().length > 0) await vtep.deleteDevice('vx0');
    });
    const one = () => frames().slice(0, 1);
    /** Sends one super-frame; did it leave whole? */
    async function leavesWhole(): Promise<boolean> {
      const before = counters();
      injectSuperFrames('vx0', one());
      await until('sent', () => counters().encap_packets !== before.encap_packets, 3000);
      return counters().super_frames_whole !== before.super_frames_whole;
    }
    async function eventually(whole: boolean): Promise<void> {
      const end = performance.now() + 3000;
      while ((await leavesWhole()) !== whole) {
        assert.ok(performance.now() < end, whole ? 'left whole in the end' : 'split in the end');
        await sleep(50);
      }
    }

    it('follows the offload of the interface, the routes, and the word', async () => {
      await add({ local: '10.1.0.1', remote: '10.2.0.1' });
      await open(one());
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
      await add({ local: '10.1.0.1', remote: '10.2.0.1' });
      assert.match(state(), /^off: net\.ipv4\.conf\.all\.rp_filter is 1.*sysctl -w/);
      assert.ok(log.some((line) => line.startsWith('warn: gso tunnel: net.ipv4.conf.all.rp_filter')));
      assert.deepEqual(underlayTaps(), []);
      await open(one());
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
      await add({ local: '10.1.0.1', remote: '10.2.0.1' });
      await open(one());
      await eventually(true);
      const whole = counters().super_frames_whole;
      const capture = await agents.far.capture('u0', { direction: 'in', udpPort: PORT });
      here.ip(`link set ${underlayTaps()[0]} down`);
      injectSuperFrames(
        'vx0',
        Array.from({ length: 20 }, () => one()[0]!),
      );
      const segments = Math.ceil(20_000 / 1300);
      assert.equal((await wireOf(capture)).length, 20 * segments);
      assert.equal(counters().super_frames_whole, whole);
      assert.equal(counters().super_frames_split! >= 20, true);
      await until('noticed', () => state().startsWith('off: '), 2000);
      await vtep.deleteDevice('vx0');
      assert.deepEqual(underlayTaps(), []);
    });

    it('whose super-frames the kernel drops is used no more', async () => {
      await add({ local: '10.1.0.1', remote: '10.2.0.1' });
      await open(one());
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
        3000,
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
      await add({ local: 'fd01::1', remote: 'fd02::1' });
      assert.match(state(), /force_forwarding=1/);
      assert.deepEqual(snapshot(), before);
      const [name] = underlayTaps();
      assert.deepEqual(here.ipJson('addr', 'show', 'dev', name!)[0].addr_info, []);
      await vtep.deleteDevice('vx0');
      assert.deepEqual(snapshot(), before);
    });
  });
});
