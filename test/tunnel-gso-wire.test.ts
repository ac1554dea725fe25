/**
 * Super-frames that leave whole, on the wire: behind a router that cuts them in software they are, byte for byte, what
 * the kernel's own device makes of the same super-frame. And whole streams, hashed on both ends.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { DeviceConfig } from '../src/types.ts';
import { Bed, missingForKernelVxlan, missingForNamespaces, missingForTap } from './support/netns.ts';
import { injectSuperFrames } from './support/super-frames.ts';
import { comparable, difference, faults, tunnelPacket } from './support/traffic-packets.ts';
import {
  FAR_MAC,
  MAC,
  PORT,
  superFrames,
  type TunnelWorld,
  tunnelWorld,
  VNI,
  wireOf,
} from './support/tunnel-world.ts';

const missing = missingForNamespaces() ?? missingForTap() ?? missingForKernelVxlan();
const KERNEL_PORT = 4790;

/** Flow by flow, each in its order: which of several flows goes first is no promise, and hangs on how they hash. */
function byFlow(packets: readonly Uint8Array[]): Uint8Array[] {
  const flowOf = (packet: Uint8Array) => {
    const { inner } = tunnelPacket(packet)!;
    return Buffer.from(inner.subarray(12, inner[12] === 0x81 ? 18 : 14)).toString('hex');
  };
  return packets
    .map((packet) => ({ packet, flow: flowOf(packet) }))
    .sort((one, other) => (one.flow < other.flow ? -1 : Number(one.flow > other.flow)))
    .map(({ packet }) => packet);
}

describe('tunnel GSO on the wire', missing === null ? {} : { skip: missing }, () => {
  const bed = new Bed();
  let world: TunnelWorld;

  before(async () => {
    world = await tunnelWorld(bed);
  });
  after(async () => {
    await world?.vtep.close();
    await bed.close();
  });

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
      const { here, agents, vtep, counters, state } = world;
      const all = superFrames();
      here.ip(
        `link add vxk address ${MAC} type vxlan id ${VNI} local ${local} remote ${remote} dstport ${KERNEL_PORT} nolearning ${words}`,
        'link set vxk mtu 1500 up',
      );
      await world.add({ local, remote, ...options });
      try {
        assert.match(state(), /^on: vxgso\d+, with net\.ipv4\.conf\.vxgso\d+\.forwarding=1/);
        await world.open(all);
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
          results.push(await wireOf(capture, results[0]?.length ?? 0));
        }
        const [kernel, seen] = results.map(byFlow) as [Uint8Array[], Uint8Array[]];
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
          const ids = results[1]!.map((bytes) => (bytes[18]! << 8) | bytes[19]!);
          for (const [i, id] of ids.entries()) {
            if (i > 0) assert.equal(id, (ids[i - 1]! + 1) & 0xffff, 'each packet has an id of its own');
          }
        }
      } finally {
        await vtep.deleteDevice('vx0');
        here.ip('link del vxk');
      }
      assert.deepEqual(world.underlayTaps(), []);
    });
  }

  for (const version of ['4', '6'] as const) {
    it(`streams come through whole in both directions, IPv${version} underlay`, async () => {
      const { here, far, agents, vtep, counters, state } = world;
      const [local, remote] = version === '4' ? ['10.1.0.1', '10.2.0.1'] : ['fd01::1', 'fd02::1'];
      await world.add({ local, remote });
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
});
