/**
 * The way out: every verdict with its counter, which remotes a frame goes to and in what order, fan-outs
 * that need several calls, and the socket that a flow leaves from.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OFFLOAD_UDP_SEGMENT, SOURCE_PORT_COUNT } from '../assembly/layout.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { byLane, flowHash, laneOf } from './support/flow.ts';
import { arp, concat, ethernet, ipv4, ipv6, rawPacket, set16, vlan } from './support/frames.ts';
import { DEFAULT, HASH_SEED, HotPath, SOURCE, SOURCE_DF, type TapFrame, VNI } from './support/hot-path.ts';
import { icmp, raw, udp } from './support/messages.ts';
import { mulberry32, pseudoIpv4, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED, partialHeader } from './support/virtio.ts';

const UNICAST = '02:00:00:00:00:02';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const GROUP = '01:00:5e:00:00:fb';
const REMOTE = '10.169.72.98';

const ping = (destination = UNICAST) => ethernet({ destination }, ipv4({}, icmp({}, new Uint8Array(56))));
const whole = { ...NOTHING_ASKED };
const remotes = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ address: `10.9.${i >> 8}.${i & 255}` }));

/** VXLAN header by RFC 7348 section 5: flags, VNI, and nothing in the reserved bits. */
function vxlan(vni: number, frame: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
}

for (const build of BUILDS) {
  describe(`encap (${build})`, async () => {
    const path = await HotPath.open(build);

    function deviceTo(...addresses: string[]): number {
      const device = path.device();
      if (addresses.length > 0)
        path.entry(
          device,
          DEFAULT,
          addresses.map((address) => ({ address })),
        );
      return device;
    }

    it('sends a frame as it is behind a VXLAN header', () => {
      const device = deviceTo(REMOTE);
      for (const length of [14, 15, 42, 60, 98, 1464, 9014]) {
        const frame = ethernet({}, rawPacket(0x88b5, randomBytes(mulberry32(length), length - 14)));
        const { datagrams } = path.encap([{ frame, device }]);
        assert.equal(datagrams.length, 1);
        assertBytes(datagrams[0]!.bytes, vxlan(VNI + device - 1, frame));
        assert.deepEqual([datagrams[0]!.remote, datagrams[0]!.port], [REMOTE, 8472]);
        assert.deepEqual(path.takeCounters(device), {
          encap_packets: 1,
          ...(length > 14 && { encap_bytes: length - 14 }),
        });
      }
    });

    it('drop_short_frame: 0 to 13 bytes', () => {
      const device = deviceTo(REMOTE);
      for (let length = 0; length < 14; length++) {
        assert.deepEqual(path.encap([{ frame: ping().subarray(0, length), device }]).messages, []);
      }
      assert.deepEqual(path.counters(device), { drop_short_frame: 14 });
    });

    it('drop_short_inner_ip: an inner IP header cut short, behind tags too', () => {
      const device = deviceTo(REMOTE);
      // From which length on there is an IP header, and from which on it is whole.
      const cuts: [Uint8Array, number, number][] = [
        [ethernet({}, ipv4({}, raw(17, new Uint8Array(8)))), 14, 34],
        [ethernet({}, ipv6({}, raw(17, new Uint8Array(8)))), 14, 54],
        [ethernet({}, vlan({ id: 5 }, ipv4({}, raw(17)))), 18, 38],
        [ethernet({}, vlan({ id: 5, type: 0x88a8 }, vlan({ id: 6 }, ipv6({}, raw(17))))), 22, 62],
      ];
      for (const [frame, from, to] of cuts) {
        for (let length = 14; length <= to; length++) {
          const isCut = length >= from && length < to;
          const { datagrams } = path.encap([{ frame: frame.subarray(0, length), device }]);
          assert.equal(datagrams.length, isCut ? 0 : 1, `${length} bytes`);
        }
        assert.equal(path.takeCounters(device).drop_short_inner_ip, to - from);
      }
      const short = arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.2' }).bytes.subarray(0, 1);
      assert.equal(path.encap([{ frame: ethernet({}, rawPacket(0x806, short)), device }]).messages.length, 1);
    });

    it('drop_no_target: neither an entry nor default remotes', () => {
      const device = deviceTo();
      const frames = [ping(), ping(BROADCAST), ping(GROUP)];
      assert.deepEqual(path.encap(frames.map((frame) => ({ frame, device }))).messages, []);
      assert.deepEqual(path.counters(device), { drop_no_target: 3 });
    });

    it('drop_no_remote: 0.0.0.0 or :: marks what is not tunnelled; other copies go', () => {
      const device = deviceTo(REMOTE);
      path.entry(device, UNICAST, [{ address: '0.0.0.0' }]);
      path.entry(device, GROUP, [{ address: '10.0.0.1' }, { address: '0.0.0.0' }, { address: '10.0.0.3' }]);
      path.entry(device, BROADCAST, [{ address: '::' }, { address: '::1' }]);
      assert.deepEqual(path.encap([{ frame: ping(), device }]).messages, []);
      const sent = path.encap([
        { frame: ping(GROUP), device },
        { frame: ping(BROADCAST), device },
      ]);
      assert.deepEqual(
        sent.datagrams.map(({ remote }) => remote),
        ['10.0.0.3', '10.0.0.1', '::1'],
      );
      assert.deepEqual(path.counters(device), { drop_no_remote: 3, encap_packets: 3, encap_bytes: 252 });
    });

    it('prefers a MAC’s own entry to the default remotes, broadcast and multicast included', () => {
      const device = deviceTo('10.0.0.9');
      for (const [i, mac] of [UNICAST, BROADCAST, GROUP].entries()) {
        const before = path.encap([{ frame: ping(mac), device }]).datagrams;
        path.entry(device, mac, [{ address: `10.0.0.${i}` }]);
        const after = path.encap([{ frame: ping(mac), device }]).datagrams;
        assert.deepEqual([before[0]!.remote, after[0]!.remote], ['10.0.0.9', `10.0.0.${i}`]);
        assert.equal(before.length + after.length, 2);
      }
    });

    it('keeps devices apart', () => {
      const [one, other] = [deviceTo('10.0.0.1'), deviceTo('10.0.0.2')];
      path.entry(one, UNICAST, [{ address: '10.0.0.3' }]);
      const sent = path.encap([
        { frame: ping(), device: one },
        { frame: ping(), device: other },
      ]);
      assert.deepEqual(
        sent.datagrams.map(({ remote, bytes }) => [remote, bytes]),
        [
          ['10.0.0.3', vxlan(VNI + one - 1, ping())],
          ['10.0.0.2', vxlan(VNI + other - 1, ping())],
        ],
      );
    });

    it('gives remotes their own port and VNI', () => {
      const device = path.device();
      path.entry(device, DEFAULT, [
        { address: '10.0.0.1', port: 4789 },
        { address: '10.0.0.2', vni: 0xffffff },
        { address: '10.0.0.3', vni: 0, port: 1 },
      ]);
      const { datagrams } = path.encap([{ frame: ping(), device }]);
      assert.deepEqual(
        datagrams.map(({ remote, port, bytes }) => [remote, port, bytes]),
        [
          ['10.0.0.2', 8472, vxlan(0xffffff, ping())],
          ['10.0.0.3', 1, vxlan(0, ping())],
          ['10.0.0.1', 4789, vxlan(VNI + device - 1, ping())],
        ],
      );
    });

    for (const [segment, count] of [1, 2, 3, 511, 512, 1024].flatMap((n) => [
      [true, n] as const,
      [false, n] as const,
    ])) {
      it(`replicates to ${count} remotes, the first one last${segment ? '' : ', one by one'}`, () => {
        path.offloads(segment ? OFFLOAD_UDP_SEGMENT : 0);
        const device = path.device();
        path.entry(device, BROADCAST, remotes(count));
        const frame = ethernet(
          { destination: BROADCAST },
          ipv4({}, udp({}, randomBytes(mulberry32(count), 200))),
        );
        const partial = frame.slice();
        set16(partial, 40, pseudoIpv4(frame.subarray(14), 17, 208));
        const frames = [ping(BROADCAST), partial, ping(BROADCAST)];
        const sent = path.encap([
          { frame: frames[0]!, device },
          { frame: partial, device, virtio: partialHeader(partial) },
          { frame: frames[2]!, device },
        ]);
        const order = [...remotes(count).slice(1), remotes(1)[0]!].map(({ address }) => address);
        const wire = byLane(
          [frames[0]!, frame, frames[2]!].map((one) => ({
            slot: laneOf(one, HASH_SEED, SOURCE_PORT_COUNT),
            bytes: vxlan(VNI + device - 1, one),
          })),
        );
        assert.equal(sent.datagrams.length, 3 * count);
        for (const [i, { remote, slot, bytes }] of byLane(sent.datagrams).entries()) {
          const expected = wire[Math.floor(i / count)]!;
          assert.equal(remote, order[i % count]);
          assert.equal(slot, expected.slot);
          assertBytes(bytes, expected.bytes);
        }
        if (count > 512) assert.ok(sent.calls > 1, 'needs several calls');
        const { encap_packets, checksums_completed } = path.counters(device);
        assert.deepEqual([encap_packets, checksums_completed], [3 * count, 1]);
        path.offloads(OFFLOAD_UDP_SEGMENT);
      });
    }

    it('lets a flow leave from one socket, both directions of it from the same, DF from its own', () => {
      path.source(SOURCE_DF, { ports: 5 });
      const device = path.device({ df: 'inherit' });
      path.entry(device, DEFAULT, [{ address: REMOTE }]);
      const slots = new Set<number>();
      for (let flow = 0; flow < 500; flow++) {
        const [sourcePort, destinationPort] = [1000 + flow, 80];
        const there = ipv4(
          { source: '10.1.0.1', destination: '10.1.0.2' },
          udp({ sourcePort, destinationPort }),
        );
        const back = ipv4(
          { source: '10.1.0.2', destination: '10.1.0.1' },
          udp({ sourcePort: destinationPort, destinationPort: sourcePort }),
        );
        const set = { source: '10.1.0.1', destination: '10.1.0.2', dontFragment: true };
        const frames: TapFrame[] = [there, back, ipv4(set, udp({ sourcePort, destinationPort }))].map(
          (packet) => ({ frame: ethernet({}, packet), device, virtio: whole }),
        );
        const { datagrams } = path.encap(frames);
        const spread = flowHash(frames[0]!.frame, HASH_SEED);
        const slot = (count: number) =>
          Number((BigInt((spread ^ (spread << 16)) >>> 0) * BigInt(count)) >> 32n);
        const expected = [SOURCE, SOURCE, SOURCE_DF].map((group) => [
          group,
          slot(group === SOURCE ? SOURCE_PORT_COUNT : 5),
        ]);
        assert.deepEqual(
          datagrams.map((datagram) => [datagram.group, datagram.slot]),
          expected,
        );
        slots.add(datagrams[0]!.slot);
      }
      assert.equal(slots.size, SOURCE_PORT_COUNT);
      path.source(SOURCE_DF, {});
    });
  });
}
