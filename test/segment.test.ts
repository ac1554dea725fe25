/**
 * Super-frames against the slow truth of naive-segment.ts: TCP and UDP, both families, tagged or not,
 * every gso size that is special; each checksum verified once more by a third hand. Then what a TAP may
 * get wrong in its header, and checksums that it leaves open.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  OFFLOAD_UDP_SEGMENT,
  SEGMENT_MAX,
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP,
} from '../assembly/layout.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import {
  concat,
  ethernet,
  type Ipv4Fields,
  ipv4,
  ipv6,
  type Message,
  set16,
  vlan,
} from './support/frames.ts';
import { DEFAULT, HotPath, VNI } from './support/hot-path.ts';
import { raw, tcp, tcpTimestamps, udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { parseFrame, verifyFrame } from './support/parse.ts';
import { internetSum, mulberry32, randomBytes } from './support/reference.ts';
import { partialHeader, superHeader, type VirtioHeader } from './support/virtio.ts';

const REMOTE = '10.169.72.98';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const SIZES = [1, 2, 3, 7, 8, 100, 101, 535, 536, 1390, 1391, 1448, 8948, 32768, 64000, 65535];
const FLAGS = ['A', 'PA', 'FA', 'FPA', 'CPA', 'CEFPA', 'UPA', 'S', ''];
const OPTIONS = [0, 4, 12, 20, 40];

const remotes = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ address: `10.9.${i >> 8}.${i & 255}` }));

function vxlan(vni: number, frame: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
}

/** The wrappings an inner transport message can have. */
function wrappings(message: Message, ip: Ipv4Fields = {}): Uint8Array[] {
  const v4 = ipv4({ dontFragment: true, identification: 0xfffe, tos: 2, ...ip }, message);
  const v6 = ipv6({ trafficClass: 0xb9, flowLabel: 0xabcde, hopLimit: 3 }, message);
  const extended = ipv6({ extensions: [{ type: 0 }, { type: 60 }] }, message);
  return [
    ethernet({}, v4),
    ethernet({}, v6),
    ethernet({}, extended),
    ethernet({}, vlan({ id: 5 }, v4)),
    ethernet({}, vlan({ id: 5, type: 0x88a8 }, vlan({ id: 6 }, v6))),
    ethernet({}, ipv4({ options: new Uint8Array(40).fill(1) }, message)),
  ];
}

for (const build of BUILDS) {
  describe(`segment (${build})`, async () => {
    const path = await HotPath.open(build);
    const device = path.device();
    path.entry(device, DEFAULT, [{ address: REMOTE }]);

    /** The engine's segments of one super-frame, without VXLAN. */
    function split(frame: Uint8Array, virtio: VirtioHeader): Uint8Array[] {
      const { datagrams } = path.encap([{ frame, virtio, device }]);
      return datagrams.map(({ bytes }) => bytes.subarray(8));
    }

    function check(frame: Uint8Array, virtio: VirtioHeader): void {
      const expected = segmentNaively(frame, virtio)!;
      const segments = split(frame, virtio);
      const what = `${frame.length} bytes by ${virtio.gsoSize}`;
      assert.equal(segments.length, expected.length, what);
      for (const [i, segment] of segments.entries()) {
        assertBytes(segment, expected[i], `${what}, segment ${i}`);
        const { ipv4, l4 } = verifyFrame(segment);
        assert.ok(ipv4 !== false && l4 !== false, `${what}: checksums of ${i}`);
      }
    }

    for (const size of SIZES) {
      it(`cuts TCP and UDP of both families by ${size}`, () => {
        const prng = mulberry32(size);
        const most = Math.min(65000, size * Math.min(SEGMENT_MAX, 70));
        const lengths = [1, size - 1, size, size + 1, 2 * size, 2 * size + 1, most - 1, most];
        let number = 0;
        for (const length of lengths.filter((bytes) => bytes > 0 && bytes <= most)) {
          const payload = randomBytes(prng, length);
          const options = randomBytes(prng, OPTIONS[number % OPTIONS.length]!);
          const flags = FLAGS[number++ % FLAGS.length]!;
          const sequence = (2 ** 32 - Math.floor(length / 2)) >>> 0;
          const urgent = number;
          const segments = [
            ...wrappings(tcp({ flags, sequence, options, urgent, checksum: 'partial' }, payload)),
            ...wrappings(udp({ checksum: 'partial' }, payload)),
          ];
          for (const frame of segments) check(frame, superHeader(frame, size));
        }
        assert.ok(number > 0);
      });
    }

    it('numbers, flags and lengths of the segments of one TCP super-frame', () => {
      const options = tcpTimestamps(1, 2);
      const fields = { flags: 'CEUFPA', sequence: 0xfffffff0, options, urgent: 9 };
      const ip = { identification: 0xffff };
      const frame = ethernet({}, ipv4(ip, tcp({ ...fields, checksum: 'partial' }, new Uint8Array(250))));
      const parsed = split(frame, superHeader(frame, 100)).map(parseFrame);
      assert.deepEqual(
        parsed.map(({ tcp, ipv4 }) => [tcp?.flags, tcp?.sequence, ipv4?.identification, ipv4?.totalLength]),
        [
          ['AUEC', 0xfffffff0, 0xffff, 152],
          ['AUE', 0x54, 0, 152],
          ['FPAUE', 0xb8, 1, 102],
        ],
      );
      for (const segment of parsed) {
        assert.deepEqual(segment.tcp?.options, options);
        assert.equal(segment.tcp?.urgent, 9);
      }
      assert.equal(Buffer.concat(parsed.map(({ payload }) => payload)).length, 250);
    });

    it('takes a UDP checksum that comes out zero as all ones', () => {
      const frame = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, new Uint8Array(200))));
      const [first] = split(frame, superHeader(frame, 100));
      const left = internetSum(first!.subarray(40, 42)) ^ 0xffff;
      set16(frame, 42, 0xffff - left);
      const [crafted] = split(frame, superHeader(frame, 100));
      assert.equal(parseFrame(crafted!).udp?.checksum, 0xffff);
      assert.equal(verifyFrame(crafted!).l4, true);
    });

    it('drop_bad_offload: header and frame that do not fit together', () => {
      const tcp4 = ethernet({}, ipv4({}, tcp({ checksum: 'partial' }, new Uint8Array(500))));
      const tcp6 = ethernet({}, ipv6({}, tcp({ checksum: 'partial' }, new Uint8Array(500))));
      const udp4 = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, new Uint8Array(500))));
      const fragment = ethernet({}, ipv4({ moreFragments: true }, tcp({}, new Uint8Array(500))));
      const shortTcp = tcp4.slice();
      shortTcp[46] = 0x40;
      const longTcp = tcp4.subarray(0, 60).slice();
      longTcp[46] = 0xf0;
      const other = ethernet({ type: 0x88b5 }, ipv4({}, tcp({}, new Uint8Array(500))));
      const long = ethernet({}, ipv6({ extensions: [{ type: 60, bytes: new Uint8Array(102) }] }, tcp()));
      const good = superHeader(tcp4, 100);
      const bad: [Uint8Array, Partial<VirtioHeader>][] = [
        [tcp4, { gsoSize: 0 }],
        [tcp4, { flags: 0 }],
        [tcp4, { flags: 2 }],
        [tcp4, { gsoType: VIRTIO_GSO_TCPV6 }],
        [tcp6, { checksumStart: 54 }],
        [tcp4, { gsoType: VIRTIO_GSO_UDP, checksumField: 6 }],
        [udp4, { checksumField: 16 }],
        [udp4, { gsoType: VIRTIO_GSO_UDP }],
        [tcp4, { gsoType: 3, checksumField: 6 }],
        [tcp4, { gsoType: 0x21 }],
        [tcp4, { gsoType: 0x7f }],
        [tcp4, { checksumStart: 33 }],
        [tcp4, { checksumStart: 0 }],
        [tcp4, { checksumStart: 0xffff }],
        [tcp4, { checksumField: 0xffff }],
        [tcp6, { gsoType: VIRTIO_GSO_TCPV6, checksumStart: 53 }],
        [tcp6, { gsoType: VIRTIO_GSO_TCPV6, checksumStart: 540 }],
        [tcp4.subarray(0, 54), {}],
        [tcp4.subarray(0, 53), {}],
        [tcp4.subarray(0, 35), {}],
        [fragment, {}],
        [shortTcp, {}],
        [longTcp, {}],
        [other, {}],
        [concat(long, new Uint8Array(300)), superHeader(long, 100)],
        // Without GSO: a checksum to complete that does not lie inside the frame.
        [tcp4, { gsoType: 0, checksumStart: tcp4.length }],
        [tcp4, { gsoType: 0, checksumStart: tcp4.length - 17 }],
        [tcp4, { gsoType: 0, checksumField: 0xffff }],
      ];
      path.takeCounters(device);
      for (const [i, [frame, lie]] of bad.entries()) {
        const virtio = { ...good, ...lie };
        assert.equal(segmentNaively(frame, virtio), undefined, `case ${i} is bad by the naive rules`);
        assert.deepEqual(split(frame, virtio), [], `case ${i}`);
        assert.deepEqual(path.takeCounters(device), { drop_bad_offload: 1 }, `case ${i}`);
      }
      const ecn = split(tcp4, { ...good, gsoType: VIRTIO_GSO_TCPV4 | VIRTIO_GSO_ECN, headerBytes: 0xffff });
      assert.equal(ecn.length, 5, 'the ECN bit and a wild header length are no lies');
    });

    it('goes on after a super-frame of more segments than it has room for', () => {
      const message = tcp({ checksum: 'partial' }, randomBytes(mulberry32(1), 64000));
      const frame = ethernet({}, ipv4({}, message));
      const most = 64000 / SEGMENT_MAX;
      for (const [offloads, limit] of [
        [OFFLOAD_UDP_SEGMENT, SEGMENT_MAX],
        [0, 512],
      ] as const) {
        path.offloads(offloads);
        for (const size of [1, 8, 20, 36, Math.floor(most), Math.ceil(most), 125, 126, 250]) {
          path.takeCounters(device);
          const count = Math.ceil(64000 / size);
          const sent = split(frame, superHeader(frame, size)).length;
          assert.equal(sent, count <= limit ? count : 0, `${count} segments`);
          if (sent === 0) assert.deepEqual(path.counters(device), { drop_bad_offload: 1 });
        }
      }
      path.offloads(OFFLOAD_UDP_SEGMENT);
    });

    it('counts super-frames, segments, and bytes as if each segment had come alone', () => {
      path.takeCounters(device);
      const frame = ethernet({}, ipv6({}, tcp({ checksum: 'partial' }, new Uint8Array(1000))));
      split(frame, superHeader(frame, 300));
      assert.deepEqual(path.counters(device), {
        encap_packets: 4,
        encap_bytes: 4 * 60 + 1000,
        super_frames_split: 1,
        segments_sent: 4,
      });
    });

    it('leaves a frame alone that has neither checksum nor size to it', () => {
      const frame = ethernet({}, ipv4({ moreFragments: true }, raw(6, new Uint8Array(20))));
      const virtio = { ...partialHeader(frame), flags: 0, checksumStart: 0xffff };
      assert.deepEqual(split(frame, virtio), [frame]);
    });

    it('sends super-frames to many remotes over several calls: nothing lost, nothing twice, in order', () => {
      const device = path.device();
      path.entry(device, BROADCAST, remotes(70));
      const message = tcp({ flags: 'PA' }, randomBytes(mulberry32(7), 64000));
      const frame = ethernet({ destination: BROADCAST }, ipv4({}, message));
      const frames = [536, 1400, 100].map((size) => ({ frame, device, virtio: superHeader(frame, size) }));
      const { datagrams, calls } = path.encap(frames);
      let at = 0;
      for (const { virtio } of frames) {
        const segments = segmentNaively(frame, virtio)!.map((segment) => vxlan(VNI + device - 1, segment));
        for (let copy = 0; copy < 70; copy++) {
          for (const segment of segments) {
            assert.equal(datagrams[at]!.remote, remotes(70)[(copy + 1) % 70]!.address);
            assertBytes(datagrams[at]!.bytes, segment);
            at++;
          }
        }
      }
      assert.equal(at, datagrams.length);
      assert.ok(calls > 3);
      assert.equal(path.counters(device).super_frames_split, 210);
    });

    it('completes a checksum that was left open, odd lengths and zero included', () => {
      path.takeCounters(device);
      for (let length = 0; length < 300; length++) {
        const payload = randomBytes(mulberry32(length), length);
        for (const message of [
          udp({ checksum: 'partial' }, payload),
          tcp({ checksum: 'partial' }, payload),
        ]) {
          for (const packet of [ipv4({}, message), ipv6({}, message), vlan({ id: 7 }, ipv4({}, message))]) {
            const frame = ethernet({}, packet);
            const { datagrams } = path.encap([{ frame, virtio: partialHeader(frame), device }]);
            assert.notEqual(verifyFrame(datagrams[0]!.bytes.subarray(8)).l4, false, `${length} bytes`);
          }
        }
      }
      // A payload that brings the sum to 0xffff: the complement is zero, which in UDP means "none".
      const start = ethernet({}, ipv4({}, udp({ checksum: 'partial' }, new Uint8Array(2))));
      set16(start, 42, internetSum(start.subarray(34)) ^ 0xffff);
      const { datagrams } = path.encap([{ frame: start, virtio: partialHeader(start), device }]);
      assert.deepEqual([...datagrams[0]!.bytes.subarray(48, 50)], [0xff, 0xff]);
      assert.deepEqual(path.counters(device).checksums_completed, 300 * 6 + 1);
    });
  });
}
