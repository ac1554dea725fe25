/**
 * VLANs on the TAP of an external device, where they tell its VNIs apart: the outer tag of what is sent is taken off
 * once, whatever else happens to the frame; what arrives gets the tag of its VNI, merged or alone.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NTF_ROUTER, VLAN_TAG_BYTES } from '../assembly/layout.ts';
import { parseAddress, parseMac } from '../src/dataplane/fdb-text.ts';
import { Neighbours } from '../src/dataplane/neighbours.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import {
  arp,
  concat,
  ethernet,
  ipv4,
  ipv6,
  macBytes,
  type Packet,
  rawPacket,
  vlan,
} from './support/frames.ts';
import { DEFAULT, HotPath } from './support/hot-path.ts';
import { icmp, tcp, tcpTimestamps, udp } from './support/messages.ts';
import { networkOffset, segmentNaively } from './support/naive-segment.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED, partialHeader, superHeader } from './support/virtio.ts';

const REMOTE = '10.0.0.1';
const payload = (bytes: number) => randomBytes(mulberry32(bytes), bytes);
const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
/** What a tag's going or coming leaves of the rest. */
const tagged = (frame: Uint8Array, id: number) =>
  concat(frame.subarray(0, 12), Uint8Array.of(0x81, 0, id >> 8, id), frame.subarray(12));

for (const build of BUILDS) {
  describe(`VLANs (${build})`, async () => {
    const path = await HotPath.open(build);
    const { paths } = path;
    let lastVni = 0x1000;

    function external(fields: Parameters<HotPath['device']>[0] = {}): number {
      return path.device({ vni: ++lastVni, ...fields, features: { external: true, ...fields?.features } });
    }

    /** Returns domain and VNI. */
    function mapped(device: number, fields: { vlan?: number; untagged?: boolean; pvid?: boolean }) {
      const vni = ++lastVni;
      const domain = path.vni(device, { vni, ...fields });
      path.entry(domain, DEFAULT, [{ address: REMOTE }]);
      return { domain, vni };
    }

    const packets: Packet[] = [
      ipv4({}, icmp({}, payload(56))),
      ipv6({}, udp({}, payload(33))),
      arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
      rawPacket(0x88b5, payload(1)),
      rawPacket(0x88b5, new Uint8Array(0)),
      vlan({ id: 9 }, ipv4({}, icmp())),
    ];

    describe('on the way out', () => {
      it('choose the VNI and go; an inner tag stays', () => {
        const device = external();
        const [one, last] = [mapped(device, { vlan: 1 }), mapped(device, { vlan: 4094 })];
        for (const packet of packets) {
          const frame = ethernet({}, packet);
          const { datagrams } = path.encap([
            { frame: ethernet({}, vlan({ id: 1 }, packet)), device },
            { frame: ethernet({}, vlan({ id: 4094, priority: 7, dropEligible: true }, packet)), device },
          ]);
          assert.equal(datagrams.length, 2);
          assertBytes(datagrams[0]!.bytes, vxlan(one.vni, frame));
          assertBytes(datagrams[1]!.bytes, vxlan(last.vni, frame));
          const bytes = frame.length - networkOffset(frame);
          const expected = { tx_packets: 1, ...(bytes > 0 && { tx_bytes: bytes }) };
          for (const { domain } of [one, last]) assert.deepEqual(path.takeVniCounters(domain), expected);
        }
      });

      it('are those of the PVID for frames without a tag, with a priority tag or another kind of tag', () => {
        const device = external();
        const { vni } = mapped(device, { vlan: 10, pvid: true });
        mapped(device, { vlan: 11 });
        const packet = ipv4({}, icmp());
        const frame = ethernet({}, packet);
        const service = ethernet({}, vlan({ id: 11, type: 0x88a8 }, packet));
        const frames = [
          frame,
          ethernet({}, vlan({ id: 0, priority: 5 }, packet)),
          service,
          // The frame ends within its tag.
          ethernet({}, rawPacket(0x8100, Uint8Array.of(0, 11, 8))),
        ];
        const { datagrams } = path.encap(frames.map((one) => ({ frame: one, device })));
        for (const [i, expected] of [frame, frame, service, frames[3]!].entries())
          assertBytes(datagrams[i]!.bytes, vxlan(vni, expected));
      });

      it('drop_unmapped_vlan: no VNI is mapped, for untagged frames neither', () => {
        const device = external();
        mapped(device, { vlan: 20 });
        const without = external();
        const packet = ipv4({}, icmp());
        for (const of of [device, without]) {
          const frames = [
            ethernet({}, vlan({ id: 21 }, packet)),
            ethernet({}, packet),
            ethernet({}, vlan({ id: 0 }, packet)),
          ];
          assert.deepEqual(path.encap(frames.map((frame) => ({ frame, device: of }))).datagrams, []);
          assert.deepEqual(path.counters(of), { drop_unmapped_vlan: 3 });
        }
      });

      it('are nobody’s business on other devices', () => {
        const device = path.device({ vni: ++lastVni });
        path.entry(device, DEFAULT, [{ address: REMOTE }]);
        const frame = ethernet({}, vlan({ id: 5 }, ipv4({}, icmp())));
        assertBytes(path.encap([{ frame, device }]).datagrams[0]!.bytes, vxlan(lastVni, frame));
      });

      it('take the checksum’s place along: of partial checksums and of super-frames', () => {
        const device = external();
        const { vni, domain } = mapped(device, { vlan: 30 });
        const wraps = [
          (inner: ReturnType<typeof tcp>) => ipv4({}, inner),
          (inner: ReturnType<typeof tcp>) => ipv6({}, inner),
          (inner: ReturnType<typeof tcp>) => vlan({ id: 31 }, ipv4({}, inner)),
        ];
        for (const wrap of wraps) {
          for (const message of [
            tcp({ checksum: 'partial', options: tcpTimestamps(1, 2) }, payload(3000)),
            udp({ checksum: 'partial' }, payload(3000)),
          ]) {
            const frame = ethernet({}, wrap(message));
            const given = ethernet({}, vlan({ id: 30 }, wrap(message)));
            for (const virtioOf of [partialHeader, (of: Uint8Array) => superHeader(of, 999)]) {
              const wire = segmentNaively(frame, virtioOf(frame))!;
              const { datagrams } = path.encap([{ frame: given, virtio: virtioOf(given), device }]);
              assert.equal(datagrams.length, wire.length);
              for (const [i, { bytes }] of datagrams.entries()) assertBytes(bytes, vxlan(vni, wire[i]!));
              const bytes = wire.reduce((sum, one) => sum + one.length - networkOffset(one), 0);
              assert.deepEqual(path.takeVniCounters(domain), { tx_packets: wire.length, tx_bytes: bytes });
            }
          }
        }
      });

      it('are taken off once, though the walk stops and comes back', () => {
        paths.wanted = true;
        const device = external({ features: { proxy: true } });
        const { vni, domain } = mapped(device, { vlan: 40 });
        const far = ['10.40.0.1', '10.40.0.2', '10.40.0.3'];
        path.entry(
          domain,
          '02:00:00:00:00:02',
          far.map((address) => ({ address })),
        );
        // The second tag of the same kind would go next.
        const frame = ethernet({}, vlan({ id: 40 }, ipv4({}, icmp({}, payload(20)))));
        const sent = path.encap([1, 2].map(() => ({ frame: tagged(frame, 40), device })));
        assert.equal(sent.asked.length, 3);
        assert.equal(sent.datagrams.length, 6);
        for (const { bytes } of sent.datagrams) assertBytes(bytes, vxlan(vni, frame));
        paths.wanted = false;
      });

      it('with proxyforward leave by their VNI when the proxy knows no answer', () => {
        const device = external({ features: { proxy: true, proxyforward: true } });
        mapped(device, { vlan: 52 });
        const request = ethernet(
          { destination: 'ff:ff:ff:ff:ff:ff' },
          arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.78' }),
        );
        const ask = () => path.encap([{ frame: tagged(request, 52), device }]);
        assert.deepEqual(ask().injected, []);
        const [datagram, ...others] = ask().datagrams;
        assert.equal(others.length, 0);
        assertBytes(datagram!.bytes.subarray(8), request);
        const mac = parseMac('02:00:00:00:00:78')!;
        new Neighbours(path.engine.memory).set(device, parseAddress('10.0.0.78')!, mac, true);
        const { datagrams, injected } = ask();
        assert.deepEqual([datagrams.length, injected.length], [0, 1], 'what it answers stays here');
      });

      it('come back on what the proxy answers, and on what had to wait for room', () => {
        const device = external({ features: { proxy: true } });
        const { domain } = mapped(device, { vlan: 50 });
        const plain = mapped(device, { vlan: 51, untagged: true, pvid: true });
        const mac = '02:00:00:00:00:77';
        new Neighbours(path.engine.memory).set(device, parseAddress('10.0.0.77')!, parseMac(mac)!, true);
        const request = ethernet(
          { destination: 'ff:ff:ff:ff:ff:ff' },
          arp({ senderIp: '10.0.0.1', targetIp: '10.0.0.77' }),
        );
        const answer = ethernet(
          { source: mac, destination: '02:00:00:00:00:01' },
          arp({
            operation: 2,
            senderMac: mac,
            senderIp: '10.0.0.77',
            targetMac: '02:00:00:00:00:01',
            targetIp: '10.0.0.1',
          }),
        );
        const frames = Array.from({ length: 100 }, (_, n) => (n % 2 ? request : tagged(request, 50)));
        const { injected, datagrams } = path.encap(frames.map((frame) => ({ frame, device })));
        assert.equal(datagrams.length, 0);
        assert.equal(injected.length, 100);
        for (const [n, { frame, virtio }] of injected.entries()) {
          assert.deepEqual(virtio, NOTHING_ASKED);
          assertBytes(frame, n % 2 ? answer : tagged(answer, 50));
        }
        for (const one of [domain, plain.domain]) assert.deepEqual(path.takeVniCounters(one), {});
        path.encap([{ frame: tagged(request.subarray(0, 20), 50), device }]);
        assert.equal(path.counters(device).drop_short_request, 1);
        assert.deepEqual(path.takeVniCounters(domain), { tx_drops: 1 });
      });

      it('come back on a frame that rsc leads back into the device', () => {
        const device = external({ features: { rsc: true } });
        const { domain } = mapped(device, { vlan: 60 });
        const [router, host] = ['02:00:00:00:00:fe', '02:00:00:00:00:33'] as const;
        path.entry(domain, router, [{ address: '0.0.0.0' }], false, NTF_ROUTER);
        path.entry(domain, host, [{ address: '0.0.0.0' }]);
        new Neighbours(path.engine.memory).set(device, parseAddress('10.0.0.33')!, parseMac(host)!, true);
        const packet = ipv4({ destination: '10.0.0.33' }, icmp());
        const frame = ethernet({ destination: router }, vlan({ id: 60, priority: 3 }, packet));
        const { injected } = path.encap([{ frame, device }]);
        assertBytes(injected[0]!.frame, tagged(ethernet({ destination: host, source: router }, packet), 60));
        const { length } = ethernet({}, packet);
        assert.deepEqual(path.takeVniCounters(domain), {
          tx_packets: 1,
          tx_bytes: length,
          rx_packets: 1,
          rx_bytes: length,
        });
      });
    });

    describe('on the way in', () => {
      const device = external({ learning: true });
      const one = mapped(device, { vlan: 70 });
      const other = mapped(device, { vlan: 4000 });
      const plain = mapped(device, { vlan: 71, untagged: true });
      const unmapped = mapped(device, {});
      const stream = (first: number, count: number, sourcePort = 1) =>
        Array.from({ length: count }, (_, n) =>
          ethernet(
            {},
            ipv4(
              { identification: n, dontFragment: true },
              tcp({ sourcePort, sequence: 1 + 100 * (first + n) }, payload(100)),
            ),
          ),
        );
      const receive = (...frames: [number, Uint8Array][]) =>
        path.decap(frames.map(([vni, frame]) => ({ bytes: vxlan(vni, frame) })));

      it('are put on; not where frames are untagged', () => {
        for (const packet of packets) {
          const frame = ethernet({}, packet);
          const writes = receive([one.vni, frame], [other.vni, frame], [plain.vni, frame]);
          const expected = [tagged(frame, 70), tagged(frame, 4000), frame];
          for (const [i, write] of writes.entries()) {
            assertBytes(write.frame, expected[i]);
            assert.deepEqual([write.device, write.virtio], [device, NOTHING_ASKED]);
          }
          assert.equal(writes.length, 3);
          const bytes = frame.length - 14;
          for (const { domain } of [one, other, plain])
            assert.deepEqual(path.takeVniCounters(domain), {
              rx_packets: 1,
              ...(bytes > 0 && { rx_bytes: bytes }),
            });
        }
      });

      it('drop_unmapped_vni: a VNI on none of a device’s VLANs never comes out among untagged frames', () => {
        path.takeCounters(device);
        const frame = ethernet({}, packets[0]!);
        assert.deepEqual(receive([unmapped.vni, frame], [unmapped.vni, frame]), []);
        assert.deepEqual(path.takeCounters(device), { drop_unmapped_vni: 2 });
        assert.deepEqual(path.takeVniCounters(unmapped.domain), { rx_drops: 2 });
      });

      it('are left out on a device that maps none', () => {
        const flat = external();
        const only = { vni: 77_001, domain: path.vni(flat, { vni: 77_001 }) };
        const frame = ethernet({}, packets[0]!);
        const [write] = receive([only.vni, frame]);
        assertBytes(write!.frame, frame);
        assert.equal(write!.device, flat);
      });

      it('are put on merged super-frames; what two VNIs bring of one flow is never merged', () => {
        const [a, b, c] = [stream(0, 3), stream(3, 2), stream(5, 1)];
        const writes = receive(
          ...a.map((frame): [number, Uint8Array] => [one.vni, frame]),
          ...b.map((frame): [number, Uint8Array] => [other.vni, frame]),
          ...c.map((frame): [number, Uint8Array] => [plain.vni, frame]),
          [one.vni, stream(3, 1)[0]!],
        );
        assert.deepEqual(
          writes.map(({ frames }) => frames),
          [4, 2, 1],
        );
        const sources = [[...a, stream(3, 1)[0]!], b, c];
        for (const [i, { frame, virtio }] of writes.entries()) {
          const id = [70, 4000, 0][i]!;
          if (id !== 0) assertBytes(frame.subarray(12, 16), Uint8Array.of(0x81, 0, id >> 8, id & 0xff));
          const cut = segmentNaively(frame, virtio)!;
          assert.equal(cut.length, sources[i]!.length);
          for (const [n, segment] of cut.entries()) {
            const l3 = id === 0 ? 14 : 18;
            // From the addresses on: the IPv4 id before them is counted up anew.
            assertBytes(segment.subarray(l3 + 12), sources[i]![n]!.subarray(26));
          }
          if (id !== 0) assert.deepEqual(virtio, superHeader(frame, 100));
        }
      });

      it('are put on each datagram of a bundle', () => {
        const frames = [5, 6, 7].map((n) => ethernet({}, ipv4({ ttl: n }, udp({}, payload(60)))));
        const bundle = concat(...frames.map((frame) => vxlan(one.vni, frame)));
        const writes = path.decap([{ bytes: bundle, gro: frames[0]!.length + 8 }]);
        assert.equal(writes.length, 3);
        for (const [i, { frame }] of writes.entries()) assertBytes(frame, tagged(frames[i]!, 70));
      });

      it('move the place of a checksum that is left open', () => {
        for (const bytes of [100, 4000]) {
          const frame = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, payload(bytes))));
          const [write] = receive([one.vni, frame]);
          const expected = tagged(frame, 70);
          assertBytes(write!.frame, expected);
          const { headerBytes } = superHeader(expected, 0);
          const virtio = bytes === 100 ? partialHeader(expected) : superHeader(expected, 1450 - 40);
          assert.deepEqual(write!.virtio, { ...virtio, headerBytes });
        }
      });

      it('are put on a train of datagrams once', () => {
        const frames = Array.from({ length: 6 }, (_, n) =>
          ethernet({}, ipv4({ identification: n }, udp({}, payload(20)))),
        );
        const writes = receive(...frames.map((frame): [number, Uint8Array] => [one.vni, frame]));
        assert.equal(writes.length, 1);
        const cut = segmentNaively(writes[0]!.frame, writes[0]!.virtio)!;
        assert.equal(cut.length, 6);
        for (const [i, frame] of frames.entries()) assertBytes(cut[i]!, tagged(frame, 70));
      });

      it('are put on when the walk needs several calls', () => {
        const frames = Array.from({ length: 400 }, (_, n) =>
          ethernet({}, ipv4({}, udp({ sourcePort: n }, payload(20)))),
        );
        const size = frames[0]!.length + 8;
        const bundles = [0, 1].map((half) => ({
          bytes: concat(
            ...frames.slice(half * 200, half * 200 + 200).map((frame) => vxlan(other.vni, frame)),
          ),
          gro: size,
        }));
        const writes = path.decap(bundles);
        assert.equal(writes.length, 400);
        assert.ok(writes.at(-1)!.call > 0);
        for (const [i, { frame }] of writes.entries()) assertBytes(frame, tagged(frames[i]!, 4000));
      });

      it('per VNI: bad headers and ECN are errors, a device that is down drops, the rest is not counted', () => {
        path.takeVniCounters(one.domain);
        const frame = ethernet({}, ipv4({}, icmp()));
        const bad = vxlan(one.vni, frame);
        bad[7] = 1;
        const own = frame.slice();
        own.set(macBytes('46:4d:ab:d0:69:e1'), 6);
        path.decap([
          { bytes: bad },
          { bytes: vxlan(one.vni, frame), tos: 3 },
          { bytes: vxlan(one.vni, frame.subarray(0, 20)) },
          { bytes: vxlan(one.vni, own) },
          { bytes: vxlan(one.vni, frame.subarray(0, 13)) },
        ]);
        assert.deepEqual(path.takeVniCounters(one.domain), { rx_errors: 3 });
        path.setUp(device, false);
        receive([one.vni, frame]);
        path.setUp(device, true);
        assert.deepEqual(path.takeVniCounters(one.domain), { rx_drops: 1 });
      });
    });

    it('what goes out comes in as it was, tag for tag', () => {
      const device = external();
      const { domain } = mapped(device, { vlan: 80 });
      const prng = mulberry32(80);
      for (let n = 0; n < 50; n++) {
        const frame = ethernet({}, vlan({ id: 80 }, ipv4({ ttl: n }, udp({}, randomBytes(prng, n)))));
        const [datagram] = path.encap([{ frame, device }]).datagrams;
        assert.equal(frame.length - datagram!.bytes.length, VLAN_TAG_BYTES - 8);
        const [write] = path.decap([{ bytes: datagram!.bytes.slice() }]);
        assertBytes(write!.frame, frame);
      }
      const { tx_packets, rx_packets } = path.takeVniCounters(domain);
      assert.deepEqual([tx_packets, rx_packets], [50, 50]);
    });
  });
}
