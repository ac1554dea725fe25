/**
 * What the VXLAN header may say beside the VNI, and what else a device may do to a frame: group policy, generic
 * protocol extension, remote checksum offload, flow labels, TTL of groups, link-local devices, nexthop groups,
 * misses, the MDB.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AF_INET6,
  DEVICE_BYTES,
  DEVICE_FLAG_MDB,
  DEVICE_FLAGS_OFFSET,
  DEVICES_BASE,
  FDB_REMOTES_OFFSET,
  NTF_NEXTHOP,
} from '../assembly/layout.ts';
import { drainEvents } from '../src/dataplane/events.ts';
import { entryRecord } from '../src/dataplane/fdb-record.ts';
import { formatMac, parseAddress } from '../src/dataplane/fdb-text.ts';
import { MdbTable } from '../src/dataplane/mdb-table.ts';
import { Policies } from '../src/dataplane/policies.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { flowHash } from './support/flow.ts';
import { concat, ethernet, ipv4, ipv6, type Packet, rawPacket, set16, vlan } from './support/frames.ts';
import { DEFAULT, HASH_SEED, HotPath, VNI } from './support/hot-path.ts';
import { icmp, icmpv6, raw, tcp, udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { verifyFrame } from './support/parse.ts';
import { ECN_DECAPSULATION, internetSum, mulberry32, pseudoIpv4, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED, partialHeader, superHeader } from './support/virtio.ts';

const REMOTE = '10.0.0.1';
const LISTENER_GBP = 2;
const LISTENER_GPE = 3;
const LISTENER_REMCSUM = 4;
const LISTENER_6 = 5;
const SOURCE_6 = 9;
const MTU = 1450;
const payload = (bytes: number) => randomBytes(mulberry32(bytes), bytes);
const ping = ethernet({}, ipv4({}, icmp({}, payload(56))));

/** A header of two words: the first one, VNI, the last byte. */
function vxlan(word: number, vni: number, last: number, inner: Uint8Array): Uint8Array {
  const header = new Uint8Array(8);
  new DataView(header.buffer).setUint32(0, word);
  header.set([vni >> 16, vni >> 8, vni, last], 4);
  return concat(header, inner);
}

for (const build of BUILDS) {
  describe(`extensions (${build})`, async () => {
    const path = await HotPath.open(build);
    const { view } = path.engine;
    path.source(SOURCE_6, { family: AF_INET6 });
    type Fields = NonNullable<Parameters<HotPath['device']>[0]>;

    /** Returns the device and its VNI. */
    function deviceTo(fields: Fields = {}, ...addresses: string[]): [number, number] {
      const device = path.device(fields);
      const remotes = (addresses.length > 0 ? addresses : [REMOTE]).map((address) => ({ address }));
      path.entry(device, DEFAULT, remotes);
      return [device, fields.vni ?? VNI + device - 1];
    }

    const wordOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);

    describe('group policy', () => {
      const names = new Map<string, number>();
      const domains = new Map<string, number>();
      const policies = new Policies({
        view,
        workers: 2,
        deviceIndex: (name) => names.get(name) ?? 0,
        deviceName: (index) => [...names].find(([, of]) => of === index)?.[0] ?? '',
        domainOf: (device, vni) => domains.get(`${device} ${vni}`) ?? 0,
      });
      function gbp(fields: Fields = {}): [string, number, number] {
        const [device, vni] = deviceTo({
          listener: LISTENER_GBP,
          ...fields,
          features: { gbp: true, ...fields.features },
        });
        const name = `gbp${device}`;
        names.set(name, device);
        return [name, device, vni];
      }
      const send = (device: number, frame = ping) =>
        wordOf(path.encap([{ frame, device }]).datagrams[0]!.bytes);

      it('is sent by device, VNI and source; without one the header is plain', () => {
        const [dev, device] = gbp();
        assert.equal(send(device), 0x08000000);
        policies.apply({ op: 'add', dev, id: 0x1234 });
        assert.equal(send(device), 0x88001234);
        policies.apply({ op: 'add', dev, id: 5, dontlearn: true, applied: true });
        assert.equal(send(device), 0x88480005);
        policies.apply({ op: 'add', dev, id: 7, dontlearn: true, mac: '02:00:00:00:00:01' });
        policies.apply({ op: 'add', dev, id: 8, applied: true, mac: '02:00:00:00:00:0a' });
        assert.equal(send(device), 0x88400007);
        assert.equal(send(device, ethernet({ source: '02:00:00:00:00:0a' }, ipv4({}, icmp()))), 0x88080008);
        assert.equal(send(device, ethernet({ source: '02:00:00:00:00:0b' }, ipv4({}, icmp()))), 0x88480005);
        policies.apply({ op: 'add', dev, id: 0, mac: '02:00:00:00:00:01' });
        assert.equal(send(device), 0x08000000, 'an id of 0 is a plain header');
      });

      it('is sent by VNI of an external device, in front of the device’s', () => {
        const [dev, device] = gbp({ features: { external: true } });
        for (const [vni, id] of [
          [0x700, 70],
          [0x701, 71],
        ] as const) {
          const domain = path.vni(device, { vni, vlan: id, listener: LISTENER_GBP });
          path.entry(domain, DEFAULT, [{ address: REMOTE }]);
          domains.set(`${device} ${vni}`, domain);
        }
        policies.apply({ op: 'add', dev, id: 1 });
        policies.apply({ op: 'add', dev, id: 2, vni: 0x700 });
        const frameOf = (id: number) => ethernet({}, vlan({ id }, ipv4({}, icmp())));
        assert.deepEqual([send(device, frameOf(70)), send(device, frameOf(71))], [0x88000002, 0x88000001]);
        policies.apply({ op: 'add', dev, id: 3, mac: '02:00:00:00:00:01' });
        assert.equal(send(device, frameOf(70)), 0x88000003);
      });

      it('goes with every copy and every segment', () => {
        const [dev, device] = gbp();
        policies.apply({ op: 'add', dev, id: 9 });
        path.entry(device, '02:00:00:00:00:02', [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
        const frame = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, payload(3000))));
        const { datagrams } = path.encap([
          { frame: ping, device },
          { frame, virtio: superHeader(frame, 1000), device },
        ]);
        assert.equal(datagrams.length, 8);
        for (const { bytes } of datagrams) assert.equal(wordOf(bytes), 0x88000009);
      });

      it('with honourdontlearn the D bit keeps a frame from teaching; it arrives all the same', () => {
        const features = { honourdontlearn: true };
        for (const more of [{}, { latelearning: true }]) {
          const [, device, vni] = gbp({ learning: true, features: { ...features, ...more } });
          const arrive = (word: number) =>
            path.decap([{ bytes: vxlan(word, vni, 0, ping) }], LISTENER_GBP).length;
          assert.deepEqual([arrive(0x88400001), arrive(0x88480001)], [1, 1]);
          assert.equal(path.takeCounters(device).fdb_learned, undefined);
          // Without the G bit there is no D bit.
          assert.equal(arrive(0x08400000), 1);
          assert.equal(path.takeCounters(device).fdb_learned, 1);
        }
        const [, device, vni] = gbp({ learning: true, features });
        path.decap([{ bytes: vxlan(0x88080001, vni, 0, ping) }], LISTENER_GBP);
        assert.equal(path.takeCounters(device).fdb_learned, 1);
      });

      it('drop_policy: ids that are refused; what comes without one counts as 0; D does not stop learning', () => {
        const [dev, device, vni] = gbp({ learning: true });
        const arrive = (word: number) =>
          path.decap([{ bytes: vxlan(word, vni, 0, ping) }], LISTENER_GBP).length;
        policies.apply({
          op: 'refuse',
          dev,
          id: [
            [0, 0],
            [100, 200],
            [65535, 65535],
          ],
        });
        const cases: [number, number][] = [
          [0x08000000, 0],
          [0x08000001, 0],
          [0x88000000, 0],
          [0x88000001, 1],
          [0x88000063, 1],
          [0x88000064, 0],
          [0x884800c8, 0],
          [0x884800c9, 1],
          [0x8848ffff, 0],
          [0x8848fffe, 1],
        ];
        for (const [word, count] of cases) assert.equal(arrive(word), count, word.toString(16));
        assert.deepEqual([path.counters(device).drop_policy, path.takeCounters(device).fdb_learned], [6, 1]);
        policies.apply({ op: 'allow', dev, id: [[0, 65535]] });
        for (const [word] of cases) assert.equal(arrive(word), 1);
        const { received } = policies.show(dev)[0]!;
        assert.deepEqual(
          received.map(({ id, packets }) => [id, packets]),
          [0, 1, 0x63, 0x64, 0xc8, 0xc9, 0xfffe, 0xffff].map((id) => [id, 2]),
        );
        const [, learner, learnerVni] = gbp({ learning: true });
        path.decap([{ bytes: vxlan(0x88400001, learnerVni, 0, ping) }], LISTENER_GBP);
        assert.equal(path.counters(learner).fdb_learned, 1);
      });
    });

    describe('reserved bits', () => {
      it('drop_reserved_bits: each bit that no feature of the device uses', () => {
        const kinds = [
          [{}, 0xf7ffffff000000ffn, 1],
          [{ gbp: true }, 0x77000000000000ffn, LISTENER_GBP],
          [{ remcsumrx: true }, 0xf7dfffff00000000n, LISTENER_REMCSUM],
          [{ gbp: true, remcsumrx: true }, 0x7700000000000000n, LISTENER_GBP],
        ] as const;
        for (const [features, mask, listener] of kinds) {
          const [device, vni] = deviceTo({ features, listener });
          for (let bit = 0; bit < 64; bit++) {
            if (bit === 4 || (bit >= 32 && bit < 56)) continue;
            const bytes = vxlan(0x08000000, vni, 0, ping);
            bytes[bit >> 3]! ^= 0x80 >> (bit & 7);
            path.takeCounters(device);
            path.decap([{ bytes }], listener);
            const isReserved = ((mask >> BigInt(63 - bit)) & 1n) === 1n;
            const counters = path.takeCounters(device);
            assert.equal(counters.drop_reserved_bits ?? 0, Number(isReserved), `bit ${bit}`);
            assert.equal(counters.decap_packets ?? 0, Number(!isReserved), `bit ${bit}`);
          }
        }
      });

      it('are as a device is told', () => {
        const [device, vni] = deviceTo({ reservedBits: 0x0000000100000080n });
        const words: [number, number][] = [
          [0xffffffff, 0],
          [0xfffffffe, 0x80],
          [0xfffffffe, 0x7f],
        ];
        const counts = words.map(
          ([word, last]) => path.decap([{ bytes: vxlan(word, vni, last, ping) }]).length,
        );
        assert.deepEqual(counts, [0, 0, 1]);
        assert.equal(path.counters(device).drop_reserved_bits, 2);
      });
    });

    describe('GPE', () => {
      const gpe = (fields: Fields = {}) =>
        deviceTo({ features: { gpe: true }, listener: LISTENER_GPE, ...fields });
      const packets: [number, Packet][] = [
        [1, ipv4({ dontFragment: true }, icmp({}, payload(56)))],
        [2, ipv6({}, icmpv6({}, payload(57)))],
      ];

      it('sends packets of a TUN as they are, with their protocol', () => {
        const [device, vni] = gpe();
        for (const [protocol, { bytes }] of packets) {
          for (const at of [0, 1]) {
            const { datagrams, messages } = path.encap([{ frame: bytes, device }]);
            assertBytes(datagrams[0]!.bytes, vxlan(0x0c000000 | protocol, vni, 0, bytes), `${at}`);
            assert.equal(messages.length, 1);
            assert.deepEqual(path.takeCounters(device), { encap_packets: 1, encap_bytes: bytes.length });
          }
        }
      });

      it('sends the same to each remote, checksums completed', () => {
        const [device, vni] = deviceTo(
          { features: { gpe: true }, listener: LISTENER_GPE },
          '10.0.0.1',
          '10.0.0.2',
          '10.0.0.3',
        );
        const partial = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, payload(99))));
        const virtio = partialHeader(partial);
        const whole = ipv4({}, udp({}, payload(99))).bytes;
        const sent = path.encap([
          {
            frame: partial.subarray(14),
            virtio: { ...virtio, checksumStart: virtio.checksumStart - 14 },
            device,
          },
        ]);
        assert.deepEqual(
          sent.datagrams.map(({ remote }) => remote),
          ['10.0.0.2', '10.0.0.3', '10.0.0.1'],
        );
        for (const { bytes } of sent.datagrams) assertBytes(bytes, vxlan(0x0c000001, vni, 0, whole));
      });

      it('cuts super-frames without their cover', () => {
        const [device, vni] = gpe();
        for (const [protocol, wrap] of [
          [1, (inner: ReturnType<typeof tcp>) => ipv4({}, inner)],
          [2, (inner: ReturnType<typeof tcp>) => ipv6({}, inner)],
        ] as const) {
          for (const message of [
            tcp({ checksum: 'partial' }, payload(3000)),
            udp({ checksum: 'partial' }, payload(3000)),
          ]) {
            const frame = ethernet({}, wrap(message));
            const virtio = superHeader(frame, 700);
            const wire = segmentNaively(frame, virtio)!;
            const { checksumStart, headerBytes } = virtio;
            path.takeCounters(device);
            const { datagrams } = path.encap([
              {
                frame: frame.subarray(14),
                virtio: { ...virtio, checksumStart: checksumStart - 14, headerBytes: headerBytes - 14 },
                device,
              },
            ]);
            assert.equal(datagrams.length, wire.length);
            for (const [i, { bytes }] of datagrams.entries())
              assertBytes(bytes, vxlan(0x0c000000 | protocol, vni, 0, wire[i]!.subarray(14)));
            const { encap_packets, encap_bytes } = path.counters(device);
            const bytes = wire.reduce((sum, one) => sum + one.length - 14, 0);
            assert.deepEqual([encap_packets, encap_bytes], [wire.length, bytes]);
          }
        }
      });

      it('drop_unknown_protocol, drop_short_inner_ip: what is no IP, or not all of its header', () => {
        const [device] = gpe();
        for (let version = 0; version < 16; version++) {
          const frame = packets[0]![1].bytes.slice();
          frame[0] = (version << 4) | 5;
          const isIp = version === 4 || (version === 6 && frame.length >= 40);
          assert.equal(path.encap([{ frame, device }]).datagrams.length, Number(isIp));
        }
        assert.equal(path.encap([{ frame: new Uint8Array(0), device }]).datagrams.length, 0);
        assert.equal(path.takeCounters(device).drop_unknown_protocol, 15);
        for (const [, { bytes }] of packets) {
          const least = bytes[0]! >> 4 === 4 ? 20 : 40;
          for (let length = 1; length <= least; length++) {
            const { datagrams } = path.encap([{ frame: bytes.subarray(0, length), device }]);
            assert.equal(datagrams.length, Number(length === least));
          }
          assert.equal(path.takeCounters(device).drop_short_inner_ip, least - 1);
        }
      });

      it('covers a packet once, though the walk stops and comes back', () => {
        path.paths.wanted = true;
        const [device, vni] = deviceTo(
          { features: { gpe: true }, listener: LISTENER_GPE },
          '10.60.0.1',
          '10.60.0.2',
        );
        const { bytes } = packets[0]![1];
        const sent = path.encap([1, 2].map(() => ({ frame: bytes, device })));
        path.paths.wanted = false;
        assert.equal(sent.asked.length, 2);
        assert.equal(sent.datagrams.length, 4);
        for (const datagram of sent.datagrams) assertBytes(datagram.bytes, vxlan(0x0c000001, vni, 0, bytes));
      });

      it('drop_gpe_header, drop_gpe_protocol: each flag, version and protocol', () => {
        const [device, vni] = gpe({ reservedBits: 0n });
        const { bytes } = packets[0]![1];
        const verdict = (word: number, inner = bytes) => {
          path.takeCounters(device);
          const writes = path.decap([{ bytes: vxlan(word, vni, 0, inner) }], LISTENER_GPE);
          if (writes.length > 0) assertBytes(writes[0]!.frame, inner);
          return Object.keys(path.takeCounters(device))[0];
        };
        const [header, protocol, taken] = ['drop_gpe_header', 'drop_gpe_protocol', 'decap_packets'];
        assert.equal(verdict(0x08000001), header, 'P');
        assert.equal(verdict(0x0d000001), header, 'O');
        for (const version of [0x10000000, 0x20000000, 0x30000000])
          assert.equal(verdict(0x0c000001 | version), header, 'version');
        assert.deepEqual(
          [0, 1, 2, 3, 4, 5, 6, 7, 255].map((next) => verdict(0x0c000000 | next, packets[1]![1].bytes)),
          [header, taken, taken, protocol, protocol, protocol, header, header, header],
        );
        assert.equal(verdict(0x0c000001, bytes.subarray(0, 19)), 'drop_short_inner_ip_received');
        assert.equal(
          verdict(0x0c000002, packets[1]![1].bytes.subarray(0, 39)),
          'drop_short_inner_ip_received',
        );
        path.setUp(device, false);
        assert.equal(verdict(0x0c000001), 'drop_device_down');
      });

      it('counts whole packets and learns nothing', () => {
        const [device, vni] = gpe({ learning: true });
        for (const [protocol, { bytes }] of packets) {
          assert.equal(
            path.decap([{ bytes: vxlan(0x0c000000 | protocol, vni, 0, bytes) }], LISTENER_GPE)[0]!.device,
            device,
          );
          assert.deepEqual(path.takeCounters(device), { decap_packets: 1, decap_bytes: bytes.length });
        }
      });

      it('brings the codepoint of RFC 6040 inside', () => {
        const [device, vni] = gpe();
        for (let outer = 0; outer < 4; outer++) {
          for (let inner = 0; inner < 4; inner++) {
            const result = ECN_DECAPSULATION.get(inner)![outer]!;
            for (const [protocol, packet] of [
              [1, (tos: number) => ipv4({ tos }, icmp()).bytes],
              [2, (trafficClass: number) => ipv6({ trafficClass }, icmpv6()).bytes],
            ] as const) {
              const writes = path.decap(
                [{ bytes: vxlan(0x0c000000 | protocol, vni, 0, packet(0xb8 | inner)), tos: outer }],
                LISTENER_GPE,
              );
              if (result < 0) assert.equal(path.takeCounters(device).drop_ecn, 1);
              else assertBytes(writes[0]!.frame, packet(0xb8 | result));
            }
          }
        }
      });

      it('passes on what a kernel peer leaves unfinished: checksums, and super-frames', () => {
        const [device, vni] = gpe({ mtu: MTU });
        for (const [protocol, wrap] of [
          [1, (inner: ReturnType<typeof tcp>) => ipv4({}, inner)],
          [2, (inner: ReturnType<typeof tcp>) => ipv6({}, inner)],
        ] as const) {
          for (const [message, gro] of [
            [tcp({ checksum: 'partial' }, payload(100)), 0],
            [udp({ checksum: 'partial' }, payload(100)), 0],
            [tcp({ checksum: 'partial' }, payload(9000)), 0],
            [udp({ checksum: 'partial' }, payload(9000)), 1000],
          ] as const) {
            const frame = ethernet({}, wrap(message));
            const packet = frame.subarray(14);
            const [write, ...others] = path.decap(
              [{ bytes: vxlan(0x0c000000 | protocol, vni, 0, packet), ...(gro && { gro }) }],
              LISTENER_GPE,
            );
            assert.deepEqual(others, []);
            assertBytes(write!.frame, packet);
            const { virtio } = write!;
            const covered = {
              ...virtio,
              checksumStart: virtio.checksumStart + 14,
              headerBytes: virtio.headerBytes + 14,
            };
            const segments = segmentNaively(frame, covered)!;
            assert.equal(segments.length > 1, packet.length > MTU);
            for (const segment of segments) {
              assert.ok(segment.length - 14 <= MTU);
              assert.equal(verifyFrame(segment).l4, true);
            }
          }
        }
        const finished = ipv4({}, tcp({}, payload(100))).bytes;
        const [write] = path.decap([{ bytes: vxlan(0x0c000001, vni, 0, finished) }], LISTENER_GPE);
        assert.deepEqual(write!.virtio, NOTHING_ASKED);
        assert.deepEqual(path.counters(device).super_frames_received, 4);
      });

      it('cuts bundles of packets', () => {
        const [, vni] = gpe();
        const inner = [1, 2, 3].map((ttl) => ipv4({ ttl }, udp({}, payload(40))).bytes);
        const bundle = concat(...inner.map((bytes) => vxlan(0x0c000001, vni, 0, bytes)));
        const writes = path.decap([{ bytes: bundle, gro: inner[0]!.length + 8 }], LISTENER_GPE);
        assert.deepEqual(
          writes.map(({ frame }) => frame),
          inner,
        );
      });
    });

    describe('remote checksum offload, sending', () => {
      const [device, vni] = deviceTo({ features: { remcsumtx: true }, listener: LISTENER_REMCSUM });
      const send = (frame: Uint8Array, virtio = partialHeader(frame)) =>
        path.encap([{ frame, virtio, device }]).datagrams.map(({ bytes }) => bytes.slice());

      it('leaves TCP and UDP checksums open and says where they are', () => {
        for (const [wrap, start] of [
          [(inner: ReturnType<typeof tcp>) => ipv4({}, inner), 34],
          [(inner: ReturnType<typeof tcp>) => ipv6({}, inner), 54],
          [(inner: ReturnType<typeof tcp>) => vlan({ id: 5 }, ipv4({}, inner)), 38],
        ] as const) {
          const one = ethernet({}, wrap(tcp({ checksum: 'partial' }, payload(100))));
          const other = ethernet({}, wrap(udp({ checksum: 'partial' }, payload(101))));
          assertBytes(send(one)[0]!, vxlan(0x08200000, vni, start / 2, one));
          assertBytes(send(other)[0]!, vxlan(0x08200000, vni, 0x80 | (start / 2), other));
        }
        assert.equal(path.takeCounters(device).checksums_completed, undefined);
      });

      it('completes what the header cannot say: odd or far starts, other fields, super-frames, lies', () => {
        const frame = ethernet({}, rawPacket(0x88b5, payload(400)));
        const at = (checksumStart: number, checksumField: number) =>
          send(frame, { ...partialHeader(ping), checksumStart, checksumField });
        const open: [number, number][] = [
          [0, 6],
          [34, 16],
          [252, 6],
          [254, 6],
          [254, 16],
        ];
        const completed: [number, number][] = [
          [33, 6],
          [255, 6],
          [256, 6],
          [34, 8],
          [34, 0],
        ];
        for (const [start, field] of open) {
          const expected = vxlan(0x08200000, vni, (field === 6 ? 0x80 : 0) | (start / 2), frame);
          assertBytes(at(start, field)[0]!, expected);
        }
        for (const [start, field] of completed) {
          const [wire] = segmentNaively(frame, {
            ...partialHeader(ping),
            checksumStart: start,
            checksumField: field,
          })!;
          assertBytes(at(start, field)[0]!, vxlan(0x08000000, vni, 0, wire!));
        }
        const large = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, payload(2000))));
        for (const bytes of send(large, superHeader(large, 1000))) {
          assert.deepEqual([wordOf(bytes), bytes[7]], [0x08000000, 0]);
          assert.equal(verifyFrame(bytes.subarray(8)).l4, true);
        }
        assertBytes(send(ping, NOTHING_ASKED)[0]!, vxlan(0x08000000, vni, 0, ping));
        path.takeCounters(device);
        const lie = { ...partialHeader(ping), checksumStart: ping.length - 6, checksumField: 6 };
        assert.deepEqual(send(ping, lie), []);
        assert.deepEqual(path.takeCounters(device), { drop_bad_offload: 1 });
      });

      it('says the same to each remote, and the far end finishes it', () => {
        const [to, toVni] = deviceTo(
          { features: { remcsumtx: true, remcsumrx: true }, listener: LISTENER_REMCSUM },
          '10.0.0.1',
          '10.0.0.2',
        );
        const frame = ethernet({}, ipv6({}, udp({ checksum: 'partial' }, payload(301))));
        const sent = path.encap([{ frame, virtio: partialHeader(frame), device: to }]).datagrams;
        const copies = sent.map(({ bytes }) => bytes.slice());
        assert.equal(copies.length, 2);
        for (const bytes of copies) {
          assertBytes(bytes, vxlan(0x08200000, toVni, 0x80 | 27, frame));
          const [write] = path.decap([{ bytes }], LISTENER_REMCSUM);
          assertBytes(write!.frame, ethernet({}, ipv6({}, udp({}, payload(301)))));
          assert.deepEqual(write!.virtio, NOTHING_ASKED);
        }
      });
    });

    describe('remote checksum offload, receiving', () => {
      const [device, vni] = deviceTo({ features: { remcsumrx: true }, listener: LISTENER_REMCSUM });

      it('sums from every start, of every length; drop_short_remcsum behind the end', () => {
        const prng = mulberry32(7);
        for (const length of [14, 15, 30, 31, 60, 61, 260, 261, 271, 272, 273, 301]) {
          for (let last = 0; last < 256; last++) {
            const frame = ethernet({}, rawPacket(0x88b5, randomBytes(prng, length - 14)));
            // Places in front of the EtherType would make another frame of it.
            const start = (last & 0x7f) * 2;
            const field = start + (last & 0x80 ? 6 : 16);
            const [write] = path.decap([{ bytes: vxlan(0x08200000, vni, last, frame) }], LISTENER_REMCSUM);
            const counters = path.takeCounters(device);
            if (field + 2 > length) {
              assert.deepEqual(counters, { drop_short_remcsum: 1 });
              continue;
            }
            const expected = frame.slice();
            set16(expected, field, internetSum(frame.subarray(start)) ^ 0xffff || 0xffff);
            // A field over the source MAC or the EtherType is the sender's own business.
            if (write) assertBytes(write.frame, expected, `${length} bytes, ${last}`);
            else assert.ok(start < 14, 'no other verdict');
          }
        }
      });

      it('writes all ones where the sum is zero', () => {
        const message = udp({ checksum: 'partial' }, payload(10));
        const frame = ethernet({}, ipv4({}, message));
        // The last word makes the sum of all that is summed 0xffff.
        set16(frame, frame.length - 2, 0);
        set16(frame, frame.length - 2, internetSum(frame.subarray(34)) ^ 0xffff);
        const [write] = path.decap([{ bytes: vxlan(0x08200000, vni, 0x80 | 17, frame) }], LISTENER_REMCSUM);
        assertBytes(write!.frame.subarray(40, 42), Uint8Array.of(0xff, 0xff));
        assert.equal(pseudoIpv4(write!.frame.subarray(14), 17, 18) > 0, true);
      });

      it('is not looked for without the flag', () => {
        const frame = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, payload(10))));
        const [write] = path.decap([{ bytes: vxlan(0x08000000, vni, 0x80 | 17, frame) }], LISTENER_REMCSUM);
        assertBytes(write!.frame, frame);
      });
    });

    describe('an IPv6 underlay', () => {
      const six = { family: AF_INET6, listener: LISTENER_6, source: SOURCE_6, sourceDf: SOURCE_6 } as const;
      const send = (device: number, ...frames: Uint8Array[]) =>
        path.encap(frames.map((frame) => ({ frame, device }))).messages;

      it('has the flow label that was given, or the inner packet’s', () => {
        const [fixed] = deviceTo({ ...six, flowlabel: 0xabcde }, 'fd00::1');
        const [inherit] = deviceTo({ ...six, flowlabel: 'inherit' }, 'fd00::1');
        const [none] = deviceTo(six, 'fd00::1');
        const inner = ethernet({}, ipv6({ flowLabel: 0x12345 }, icmpv6()));
        const tagged = ethernet({}, vlan({ id: 5 }, ipv6({ flowLabel: 0xfffff }, icmpv6())));
        const labels = [fixed, inherit, none].map((device) =>
          [inner, tagged, ping].map((frame) => send(device, frame)[0]!.label),
        );
        assert.deepEqual(labels, [
          [0xabcde, 0xabcde, 0xabcde],
          [0x12345, 0xfffff, 0],
          [0, 0, 0],
        ]);
      });

      it('does not put frames of two labels into one message', () => {
        const [device] = deviceTo({ ...six, flowlabel: 'inherit' }, 'fd00::1');
        const of = (flowLabel: number) => ethernet({}, ipv6({ flowLabel }, udp({}, payload(30))));
        const messages = send(device, of(1), of(1), of(2), of(1));
        assert.deepEqual(
          messages.map(({ label, datagrams }) => [label, datagrams.length]),
          [
            [1, 2],
            [2, 1],
            [1, 1],
          ],
        );
      });

      it('of link-local addresses hears its own link only', () => {
        const [device, vni] = deviceTo({ ...six, features: { linkLocal: true }, link: 5 }, 'fe80::1');
        const arrive = (scope: number, sender = 'fe80::9', word = 0x08000000) =>
          path.decap([{ bytes: vxlan(word, vni, 0, ping), sender, scope }], LISTENER_6).length;
        path.takeCounters(0);
        assert.deepEqual([arrive(5), arrive(6), arrive(0), arrive(6, 'fe80::9', 0x08000001)], [1, 0, 0, 0]);
        assert.deepEqual(path.takeCounters(0), { drop_unknown_vni: 3 });
        assert.equal(path.counters(device).decap_packets, 1);
        const [gpe, gpeVni] = deviceTo(
          { ...six, listener: LISTENER_GPE, features: { gpe: true, linkLocal: true }, link: 5 },
          'fe80::1',
        );
        for (const scope of [5, 6]) {
          const bytes = vxlan(0x0c000001, gpeVni, 0, ping.subarray(14));
          const writes = path.decap([{ bytes, sender: 'fe80::9', scope }], LISTENER_GPE);
          assert.equal(writes.length, Number(scope === 5));
        }
        assert.equal(path.counters(gpe).decap_packets, 1);
      });

      it('of link-local addresses names the interface', () => {
        const device = path.device({ ...six, features: { linkLocal: true }, link: 5 });
        path.entry(device, DEFAULT, [{ address: 'fe80::1', ifindex: 5 }]);
        assert.deepEqual(
          send(device, ping).map(({ scope, ifindex }) => [scope, ifindex]),
          [[5, 5]],
        );
      });

      it('sends to groups with a hop limit of 1 unless one was given', () => {
        const groups = ['ff05::1', 'fd00::1'];
        const ttls = (fields: Fields) => {
          const [device] = deviceTo({ ...six, ...fields }, ...groups);
          return send(device, ping).map(({ remote, ttl }) => [remote, ttl]);
        };
        assert.deepEqual(ttls({}), [
          ['fd00::1', 0],
          ['ff05::1', 1],
        ]);
        assert.deepEqual(ttls({ ttl: 9 }), [
          ['fd00::1', 9],
          ['ff05::1', 9],
        ]);
      });
    });

    it('a group of IPv4 gets a TTL of 1, an inherited one is what it is', () => {
      const ttlOf = (fields: Fields, frame = ping) => {
        const [device] = deviceTo(fields, '239.1.1.1');
        return path.encap([{ frame, device }]).messages[0]!.ttl;
      };
      const other = ethernet({}, rawPacket(0x88b5, payload(46)));
      assert.deepEqual(
        [ttlOf({}), ttlOf({ ttl: 7 }), ttlOf({ ttl: 'inherit' }), ttlOf({ ttl: 'inherit' }, other)],
        [1, 7, 64, 0],
      );
    });

    describe('nexthop groups', () => {
      const members = [1, 3].map((weight, n) => ({ address: `10.70.0.${n + 1}`, weight }));

      it('take one member for each flow, by weight', () => {
        const device = path.device();
        path.entry(device, '02:00:00:00:00:02', members, false, NTF_NEXTHOP);
        const frames = Array.from({ length: 400 }, (_, n) =>
          ethernet({}, ipv4({}, udp({ sourcePort: 1000 + n }))),
        );
        // Where each frame went, by its source port: flows of one batch leave in any order.
        const remotes = () => {
          const { datagrams } = path.encap(frames.map((frame) => ({ frame, device })));
          const byPort = new Map(
            datagrams.map(({ bytes, remote }) => [Buffer.from(bytes).readUInt16BE(8 + 14 + 20), remote]),
          );
          return frames.map((_, n) => byPort.get(1000 + n));
        };
        const first = remotes();
        for (const [n, remote] of first.entries()) {
          // A quarter of the upper 31 bits of the hash.
          const isFirst = flowHash(frames[n]!, HASH_SEED) >>> 1 < 2 ** 31 / 4;
          assert.equal(remote, isFirst ? members[0]!.address : members[1]!.address);
        }
        const few = first.filter((remote) => remote === members[0]!.address).length;
        assert.ok(few > 60 && few < 140, `${few} of 400`);
        assert.deepEqual(remotes(), first);
        assert.equal(path.counters(device).encap_packets, 800);
      });

      it('drop_no_nexthop: without a member nothing is sent, nor flooded', () => {
        const [device] = deviceTo();
        for (const mac of ['02:00:00:00:00:02', '02:00:00:00:00:03']) {
          const entry = path.entry(device, mac, members, false, NTF_NEXTHOP);
          view.setUint16(entryRecord(entry) + FDB_REMOTES_OFFSET, 0, true);
        }
        assert.deepEqual(path.encap([{ frame: ping, device }]).datagrams, []);
        assert.deepEqual(path.counters(device), { drop_no_nexthop: 1 });
      });
    });

    it('l2miss: unicast frames without a destination are counted and told of', () => {
      const missed: string[] = [];
      const drain = () =>
        drainEvents(path.engine, 0, (event) => {
          if (event.kind === 'l2-miss') missed.push(`${event.domain} ${formatMac(event.mac)}`);
        });
      const device = path.device({ features: { l2miss: true } });
      const quiet = path.device();
      drain();
      const to = (destination: string) => ethernet({ destination }, ipv4({}, icmp()));
      const macs = ['02:00:00:00:00:02', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '02:00:00:00:00:03'];
      for (const of of [device, quiet]) path.encap(macs.map((mac) => ({ frame: to(mac), device: of })));
      drain();
      assert.deepEqual(missed, [`${device} 02:00:00:00:00:02`, `${device} 02:00:00:00:00:03`]);
      assert.deepEqual(path.counters(device), { drop_no_target: 4, l2_misses: 2 });
      assert.deepEqual(path.counters(quiet), { drop_no_target: 4 });
      path.entry(device, DEFAULT, [{ address: REMOTE }]);
      path.encap([{ frame: to('02:00:00:00:00:02'), device }]);
      drain();
      assert.equal(missed.length, 2);
    });

    it('drop_mdb_no_remote: a group that has none is not flooded; others go to the remotes they have', () => {
      const [device, vni] = deviceTo();
      const table = new MdbTable(view, path.engine.exports);
      const at = DEVICES_BASE + device * DEVICE_BYTES + DEVICE_FLAGS_OFFSET;
      view.setUint32(at, view.getUint32(at, true) | DEVICE_FLAG_MDB, true);
      const remote = { address: parseAddress('10.80.0.1')!, port: 0, vni: 0xffffffff, ifindex: 0 };
      table.atOnce(() => {
        table.set(device, { vni, group: parseAddress('239.0.0.1')! }, undefined);
        table.set(device, { vni, group: parseAddress('239.0.0.2')! }, table.place([remote], 1000)!);
      });
      const to = (destination: string) =>
        ethernet({ destination: '01:00:5e:00:00:01' }, ipv4({ destination }, raw(17, payload(8))));
      const frames = ['239.0.0.1', '239.0.0.2', '239.0.0.3'].map((group) => ({ frame: to(group), device }));
      assert.deepEqual(
        path.encap(frames).datagrams.map((datagram) => datagram.remote),
        ['10.80.0.1', REMOTE],
      );
      assert.deepEqual(path.counters(device), { drop_mdb_no_remote: 1, encap_packets: 2, encap_bytes: 56 });
    });
  });
}
