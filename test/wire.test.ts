/**
 * What the underlay carries when pods talk: the packets of the scenario, seen on the receiving host's ens224 with the
 * offloads of both ends switched off, so that every packet has its wire size and every checksum its final value.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { CapturedFrame } from './support/capture.ts';
import type { Bed } from './support/netns.ts';
import { layer2, layer3, type Scenario } from './support/scenario.ts';
import { ethernet, hexdump, ipv4, mac, numberedMac, pattern, udp } from './support/traffic-frames.ts';
import { kinds, suite } from './support/traffic-gate.ts';
import { faults, network, type TunnelPacket, tunnelPacket } from './support/traffic-packets.ts';
import { HOSTS, type Host, type Kind, PORT, startVtep, UNDERLAY, VNI, VTEP } from './support/traffic-vtep.ts';

const OFF = { tx: false, tso: false, gso: false, gro: false };
const MIB = 1 << 20;
const FLAGS_I = 0x08000000;
const [MASTER, WORKER] = HOSTS;

function packets(frames: readonly CapturedFrame[]): TunnelPacket[] {
  return frames.map(({ data, superFrame, checksumNotReady }) => {
    const packet = tunnelPacket(data);
    assert.ok(packet, `not a tunnel packet:\n${hexdump(data)}`);
    assert.equal(superFrame, false, 'an unsplit super-frame on a wire without offloads');
    assert.equal(checksumNotReady, false, 'an unfinished checksum on a wire without offloads');
    return packet;
  });
}

const sameMac = (frame: Uint8Array, at: number, text: string) =>
  Buffer.compare(frame.subarray(at, at + 6), mac(text)) === 0;

/** Everything that holds for each packet from the master to the worker, whatever it carries. */
function assertHeaders(packet: TunnelPacket): void {
  const dump = () => hexdump(packet.bytes.subarray(0, 128));
  const seen = {
    flags: packet.flags,
    vni: packet.vni,
    reserved: packet.reserved,
    port: packet.port,
    ttl: packet.ttl,
    dontFragment: packet.dontFragment,
    source: packet.source,
    destination: packet.destination,
    innerFromVtep: sameMac(packet.inner, 6, MASTER.vtepMac),
    innerToVtep: sameMac(packet.inner, 0, WORKER.vtepMac),
    outerFaults: faults(packet.bytes),
    innerFaults: faults(packet.inner),
  };
  const wanted = {
    flags: FLAGS_I,
    vni: VNI,
    reserved: 0,
    port: PORT,
    ttl: 64,
    dontFragment: false,
    source: MASTER.underlay,
    destination: WORKER.underlay,
    innerFromVtep: true,
    innerToVtep: true,
    outerFaults: [],
    innerFaults: [],
  };
  assert.deepEqual(seen, wanted, dump());
}

async function offloadsOff(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) await host.agent.call('offloads', UNDERLAY, OFF);
}

for (const kind of kinds) {
  suite(`packets from ${kind} pods`, [kind, 'kernel'], (bed) => {
    let scenario: Scenario;
    let capture: () => ReturnType<Host['agent']['capture']>;
    before(async () => {
      scenario = await layer3(bed, [kind, 'kernel']);
      await offloadsOff(scenario.hosts);
      capture = () => scenario.hosts[1].agent.capture(UNDERLAY, { direction: 'in', udpPort: PORT });
    });

    test('an echo of 64 bytes is a 98-byte inner frame and a 148-byte outer one', async () => {
      const wire = await capture();
      const inner = await scenario.hosts[1].agent.capture(VTEP, { direction: 'in' });
      const sweep = await scenario.pods[0].call('icmpSweep', MASTER.pod, WORKER.pod, { first: 56, last: 56 });
      assert.deepEqual(sweep.lost, []);
      const [packet, ...others] = packets((await wire.stop({ frames: 1 })).frames);
      assert.ok(packet);
      assert.equal(others.length, 0);
      assert.equal(packet.bytes.length, 148);
      assert.equal(packet.inner.length, 98);
      assertHeaders(packet);
      assert.ok(sameMac(packet.bytes, 0, WORKER.underlayMac) && sameMac(packet.bytes, 6, MASTER.underlayMac));
      const [decapsulated] = (await inner.stop({ frames: 1 })).frames;
      assert.deepEqual(decapsulated?.data, new Uint8Array(packet.inner));
    });

    for (const [family, key] of [
      ['IPv4', 'pod'],
      ['IPv6', 'pod6'],
    ] as const)
      test(`every segment of an ${family} TCP transfer has right lengths and checksums, outside and inside`, async (t) => {
        const wire = await capture();
        const port = await scenario.pods[1].call('receiveTransfer', WORKER[key]);
        await scenario.pods[0].call('sendTransfer', WORKER[key], port, 8 * MIB);
        await scenario.pods[1].call('transferResult', port);
        const { frames, missed } = await wire.stop({ frames: 1 });
        assert.equal(missed, 0);
        const segments = packets(frames);
        for (const packet of segments) assertHeaders(packet);
        const sizes = segments.map(({ inner }) => inner.length - network(inner).at);
        assert.ok(Math.max(...sizes) <= 1450, `an inner packet of ${Math.max(...sizes)} bytes`);
        const full = sizes.filter((size) => size === 1450).length;
        t.diagnostic(`${segments.length} packets, ${full} of them full`);
        // Segments are cut at the MTU: with 1398 or 1378 bytes of payload in each, 8 MiB are some 6000 of them.
        assert.ok(full > 5500, `only ${full} of ${segments.length} packets are full`);
        assert.equal(
          new Set(segments.map(({ sourcePort }) => sourcePort)).size,
          1,
          'one flow, one source port',
        );
      });

    test('UDP of every size has right lengths and checksums, outside and inside', async () => {
      const wire = await capture();
      for (const key of ['pod', 'pod6'] as const) {
        const port = await scenario.pods[1].call('udpEchoServer', WORKER[key]);
        const sweep = await scenario.pods[0].call('udpSweep', WORKER[key], port, { first: 4, last: 1402 });
        assert.deepEqual(sweep.lost, []);
      }
      const seen = packets((await wire.stop({ frames: 2 * 1399 })).frames);
      assert.equal(seen.length, 2 * 1399);
      for (const packet of seen) assertHeaders(packet);
    });
  });

  suite(`source ports of ${kind}`, [kind, 'kernel'], (bed) => sourcePorts(bed, kind));
}

function sourcePorts(bed: Bed, kind: Kind): void {
  const flow = (n: number) => {
    const ports = { from: '10.1.0.1', to: '10.1.0.2', sourcePort: 20_000 + n, port: 53 };
    const packet = ipv4({ ...ports, protocol: 17 }, udp(ports, pattern(40)));
    return ethernet({ to: WORKER.vtepMac, from: numberedMac(n), type: 0x0800 }, packet);
  };
  const flows = Array.from({ length: 64 }, (_, n) => flow(n));

  async function ports(hosts: readonly Host[], frames: Uint8Array[], count = 1): Promise<number[]> {
    const expected = frames.length * count;
    const wire = await hosts[1]!.agent.capture(UNDERLAY, { direction: 'in', udpPort: PORT });
    await hosts[0]!.agent.call('inject', VTEP, frames, { count, paceUs: 50 });
    const seen = packets((await wire.stop({ frames: expected })).frames);
    assert.equal(seen.length, expected);
    // By flow: those of one batch leave in any order.
    const innerPort = (frame: Uint8Array) => Buffer.from(frame).readUInt16BE(14 + 20);
    return seen
      .toSorted((one, other) => innerPort(one.inner) - innerPort(other.inner))
      .map(({ sourcePort }) => sourcePort);
  }

  let hosts: readonly [Host, Host];
  before(async () => {
    hosts = await layer2(bed, [kind, 'kernel'], [{ remote: true, words: 'srcport 50000 50016' }, {}]);
    await offloadsOff(hosts);
  });

  test('stay inside a configured range, whose upper end is not used', async () => {
    const used = new Set(await ports(hosts, flows));
    assert.ok(used.size >= 8, `64 flows used ${used.size} of 16 ports`);
    for (const port of used) assert.ok(port >= 50_000 && port < 50_016, `port ${port}`);
  });

  test('are one for a flow and many for many flows, from the range for local ports by default', async () => {
    assert.equal(await hosts[0].stopVtep(), null);
    hosts = [await startVtep(bed, hosts[0], 0, kind, { remote: true }), hosts[1]];
    assert.equal(new Set(await ports(hosts, [flow(1)], 100)).size, 1);
    const used = await ports(hosts, flows, 2);
    const [first, second] = [0, 1].map((round) => used.filter((_, index) => index % 2 === round));
    const [low = 0, high = 0] = hosts[0].namespace
      .run('cat', '/proc/sys/net/ipv4/ip_local_port_range')
      .split('\t')
      .map(Number);
    for (const port of used)
      assert.ok(port >= low && port < high, `port ${port} is outside ${low} to ${high}`);
    assert.ok(new Set(used).size >= 20, `64 flows used ${new Set(used).size} ports`);
    assert.deepEqual(second, first, 'the second round used other ports than the first');
  });

  test('do not depend on what is no part of a flow: TTL, TOS, length and MAC addresses', async () => {
    const like = (fields: { ttl?: number; tos?: number }, bytes: number, from: number) => {
      const ends = { from: '10.1.0.1', to: '10.1.0.2', sourcePort: 20_000, port: 53 };
      const packet = ipv4({ ...ends, protocol: 17, ...fields }, udp(ends, pattern(bytes)));
      return ethernet({ to: WORKER.vtepMac, from: numberedMac(from), type: 0x0800 }, packet);
    };
    const variants = [
      like({}, 10, 1),
      like({ ttl: 3 }, 10, 1),
      like({ tos: 0xb8 }, 10, 1),
      like({}, 999, 1),
      like({}, 10, 2),
    ];
    assert.equal(new Set(await ports(hosts, variants)).size, 1);
  });
}
