/**
 * What a kernel peer sends over a virtual link, where nothing is ever cut or summed: super-frames in one
 * datagram, and transport checksums that hold the pseudo header's sum only. They must reach the TAP as
 * such; and what the TAP's side would make of them must be the frames that were meant.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VIRTIO_GSO_NONE, VIRTIO_GSO_TCPV4, VIRTIO_GSO_TCPV6, VIRTIO_GSO_UDP } from '../assembly/layout.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, ipv6, type Message, type Packet, vlan } from './support/frames.ts';
import { HotPath, VNI } from './support/hot-path.ts';
import { tcp, tcpTimestamps, udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { verifyFrame } from './support/parse.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED, partialHeader, superHeader } from './support/virtio.ts';

const MTU = 1450;
const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);
const wrappings: [string, (message: Message) => Packet][] = [
  ['IPv4', (message) => ipv4({ dontFragment: true }, message)],
  ['IPv6', (message) => ipv6({}, message)],
  ['tagged IPv4', (message) => vlan({ id: 5 }, ipv4({}, message))],
  ['doubly tagged IPv6', (message) => vlan({ id: 5, type: 0x88a8 }, vlan({ id: 6 }, ipv6({}, message)))],
  ['IPv4 with options', (message) => ipv4({ options: new Uint8Array(8).fill(1) }, message)],
];

for (const build of BUILDS) {
  describe(`unfinished (${build})`, async () => {
    const path = await HotPath.open(build);
    const device = path.device({ mtu: MTU });
    const partial = (bytes: number) => ({
      tcp: tcp({ checksum: 'partial', options: tcpTimestamps(1, 2) }, randomBytes(mulberry32(bytes), bytes)),
      udp: udp({ checksum: 'partial' }, randomBytes(mulberry32(bytes), bytes)),
    });
    const send = (frame: Uint8Array, gro?: number) => {
      path.takeCounters(device);
      const datagram = { bytes: vxlan(VNI + device - 1, frame), ...(gro !== undefined && { gro }) };
      const writes = path.decap([datagram]);
      assert.equal(writes.length, 1);
      return writes[0]!;
    };

    for (const [name, wrap] of wrappings) {
      it(`${name}: a small frame is passed on with NEEDS_CSUM`, () => {
        for (const bytes of [0, 1, 100, 1300]) {
          const messages = partial(bytes);
          for (const message of [messages.tcp, messages.udp]) {
            const frame = ethernet({}, wrap(message));
            const { virtio, frame: written } = send(frame);
            assertBytes(written, frame);
            const { headerBytes } = superHeader(frame, 0);
            assert.deepEqual(virtio, { ...partialHeader(frame), headerBytes });
            assert.equal(path.counters(device).checksums_left_partial, 1);
            const [finished] = segmentNaively(written, virtio)!;
            assert.equal(verifyFrame(finished!).l4, true);
          }
        }
      });

      it(`${name}: TCP longer than the MTU is a super-frame of segments that fit it`, () => {
        for (const bytes of [MTU, 2 * MTU, 20_000, 56_000, 65_300]) {
          const frame = ethernet({}, wrap(partial(bytes).tcp));
          const { virtio, frame: written } = send(frame);
          const { transport } = { transport: partialHeader(frame).checksumStart };
          const network = name.startsWith('doubly') ? 22 : name.startsWith('tagged') ? 18 : 14;
          const gsoSize = MTU + network - transport - 32;
          assertBytes(written, frame);
          assert.deepEqual(virtio, superHeader(frame, gsoSize));
          const type = name.endsWith('IPv6') ? VIRTIO_GSO_TCPV6 : VIRTIO_GSO_TCPV4;
          assert.equal(virtio.gsoType, type);
          assert.equal(path.counters(device).super_frames_received, 1);
          for (const segment of segmentNaively(written, virtio)!) {
            assert.ok(segment.length <= MTU + network);
            assert.equal(verifyFrame(segment).l4, true);
          }
        }
      });

      it(`${name}: a UDP super-frame is not cut by the size the socket reports`, () => {
        for (const [bytes, gro] of [
          [2800, 1400],
          [56_000, 1400],
          [3000, 1400],
          [100, 33],
          [4, 1],
        ] as const) {
          const frame = ethernet({}, wrap(partial(bytes).udp));
          const { virtio, frame: written } = send(frame, gro);
          assertBytes(written, frame);
          assert.deepEqual(virtio, superHeader(frame, gro));
          assert.equal(virtio.gsoType, VIRTIO_GSO_UDP);
          assert.equal(path.counters(device).super_frames_received, 1);
        }
      });
    }

    it('a frame that fills the MTU exactly is no super-frame, one byte more is', () => {
      const types = [0, 1].map(
        (more) => send(ethernet({}, ipv4({}, partial(MTU - 52 + more).tcp))).virtio.gsoType,
      );
      assert.deepEqual(types, [VIRTIO_GSO_NONE, VIRTIO_GSO_TCPV4]);
    });

    it('a UDP frame of one datagram has no size to be cut by', () => {
      const frame = ethernet({}, ipv4({}, partial(1400).udp));
      for (const gro of [undefined, 0, 1400, 5000]) {
        assert.equal(send(frame, gro).virtio.gsoType, VIRTIO_GSO_NONE);
      }
    });

    it('finished checksums, wrong ones, none, and fragments are left as they are', () => {
      const payload = randomBytes(mulberry32(9), 60);
      const part = ipv4({ moreFragments: true }, { ...partial(60).udp });
      for (const packet of [
        ipv4({}, tcp({}, payload)),
        ipv4({}, tcp({ checksum: 0x1234 }, payload)),
        ipv4({}, udp({ checksum: 0 }, payload)),
        ipv6({}, udp({}, payload)),
        part,
      ]) {
        const frame = ethernet({}, packet);
        const { virtio, frame: written } = send(frame);
        assert.deepEqual([virtio, written], [NOTHING_ASKED, frame]);
      }
    });

    it('an unfinished segment is not merged, and ends what its flow had open', () => {
      const segment = (n: number, checksum?: 'partial') =>
        ethernet(
          {},
          ipv4(
            {},
            tcp({ sequence: 1 + 100 * n, ...(checksum && { checksum }) }, randomBytes(mulberry32(n), 100)),
          ),
        );
      const frames = [segment(0), segment(1), segment(2, 'partial'), segment(3), segment(4)];
      const writes = path.decap(frames.map((frame) => ({ bytes: vxlan(VNI + device - 1, frame) })));
      assert.deepEqual(
        writes.map((write) => write.frames),
        [2, 1, 2],
      );
      assert.deepEqual(writes[1]?.frame, frames[2]);
    });
  });
}
