/**
 * Trains of UDP datagrams: how many make a super-frame, where it stands, what its headers say, and who does without.
 * Which datagrams may share one is coalesce.test.ts's, against the model.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OFFLOAD_COALESCE, VIRTIO_GSO_UDP } from '../assembly/layout.ts';
import type { DeviceFeatures } from '../src/dataplane/device-features.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, ipv6, vlan } from './support/frames.ts';
import { HotPath, VNI } from './support/hot-path.ts';
import { udp } from './support/messages.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED } from './support/virtio.ts';

const vxlan = (device: number, frame: Uint8Array) =>
  concat(
    Uint8Array.of(8, 0, 0, 0, (VNI + device - 1) >> 16, (VNI + device - 1) >> 8, VNI + device - 1, 0),
    frame,
  );

interface Shape {
  v6?: boolean;
  port?: number;
  /** The last one is this much shorter. */
  shorter?: number;
}

function train(
  count: number,
  bytes: number,
  { v6 = false, port = 1, shorter = 0 }: Shape = {},
): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const size = i === count - 1 ? bytes - shorter : bytes;
    const message = udp({ sourcePort: port }, randomBytes(mulberry32(i + 1), size));
    return ethernet({}, v6 ? ipv6({}, message) : ipv4({ identification: i }, message));
  });
}

for (const build of BUILDS) {
  describe(`trains of datagrams (${build})`, async () => {
    const path = await HotPath.open(build);
    const device = path.device();
    const receive = (frames: readonly Uint8Array[], to = device) =>
      path.decap(frames.map((frame) => ({ bytes: vxlan(to, frame) })));
    /** Frames in each write, and the frames again. */
    const written = (frames: readonly Uint8Array[], to = device) => {
      const writes = receive(frames, to);
      const out = writes.flatMap(({ frame, virtio }) => segmentNaively(frame, virtio)!);
      return { sizes: writes.map((write) => write.frames), out, writes };
    };
    const assertSame = (out: readonly Uint8Array[], frames: readonly Uint8Array[]) => {
      assert.equal(out.length, frames.length);
      for (const [i, frame] of frames.entries()) assertBytes(out[i]!, frame, `datagram ${i}`);
    };

    for (const v6 of [false, true]) {
      it(`of one datagram are that (${v6 ? 'IPv6' : 'IPv4'})`, () => {
        const [frame] = train(1, 100, { v6 });
        const { writes } = written([frame!]);
        assert.equal(writes.length, 1);
        assertBytes(writes[0]!.frame, frame!);
        assert.deepEqual(writes[0]!.virtio, NOTHING_ASKED);
      });

      it(`are one write up to 64 datagrams and 65,535 bytes (${v6 ? 'IPv6' : 'IPv4'})`, () => {
        for (const [count, bytes, sizes] of [
          [2, 18, [2]],
          [63, 1, [63]],
          [64, 1400, [46, 18]],
          [64, 1, [64]],
          [10, 9000, [7, 3]],
          [9, 20000, [3, 3, 3]],
          [2, 40000, [1, 1]],
        ] as const) {
          const frames = train(count, bytes, { v6 });
          const found = written(frames);
          assert.deepEqual(found.sizes, sizes, `${count} of ${bytes} bytes`);
          assertSame(found.out, frames);
        }
      });

      it(`end with a shorter one (${v6 ? 'IPv6' : 'IPv4'})`, () => {
        const frames = [...train(5, 100, { v6, shorter: 1 }), ...train(4, 99, { v6 })];
        const { sizes, out } = written(frames);
        assert.deepEqual(sizes, [5, 4]);
        assertSame(out, frames);
      });
    }

    it('tell how they are cut', () => {
      const { writes } = written(train(6, 500, { shorter: 100 }));
      assert.deepEqual(writes[0]!.virtio, {
        ...{
          flags: 1,
          gsoType: VIRTIO_GSO_UDP,
          headerBytes: 42,
          gsoSize: 500,
          checksumStart: 34,
          checksumField: 6,
        },
      });
      assert.equal(writes[0]!.iovecs, 7);
      // RFC 768's length is that of the whole.
      assert.deepEqual([...writes[0]!.frame.subarray(38, 40)], [(2908 >> 8) & 255, 2908 & 255]);
    });

    it('stand where their first datagram came, and let those of others be', () => {
      const [a, b] = [train(6, 64, { port: 1 }), train(3, 64, { port: 2 })];
      const [c] = train(1, 200, { port: 3 });
      const { writes } = written([a[0]!, b[0]!, a[1]!, c!, a[2]!, b[1]!, a[3]!, a[4]!, b[2]!, a[5]!]);
      assert.deepEqual(
        writes.map(({ frames }) => frames),
        [6, 3, 1],
      );
      assertSame(
        writes.flatMap(({ frame, virtio }) => segmentNaively(frame, virtio)!),
        [...a, ...b, c!],
      );
    });

    it('end before what is of their flow and cannot join', () => {
      const frames = train(12, 64);
      const [none] = [
        ethernet({}, ipv4({ identification: 6 }, udp({ sourcePort: 1, checksum: 0 }, new Uint8Array(64)))),
      ];
      const fragment = ethernet({}, ipv4({ fragmentOffset: 8 }, { protocol: 17, bytes: new Uint8Array(40) }));
      for (const stranger of [none!, fragment]) {
        const { sizes, out } = written([...frames.slice(0, 6), stranger, ...frames.slice(6)]);
        assert.deepEqual(sizes, [6, 1, 6]);
        assertBytes(out[6]!, stranger);
      }
      // What is tagged is another flow.
      const tagged = ethernet({}, vlan({ id: 5 }, ipv4({}, udp({ sourcePort: 1 }, new Uint8Array(64)))));
      assert.deepEqual(written([...frames.slice(0, 6), tagged, ...frames.slice(6)]).sizes, [12, 1]);
    });

    it('merge_checksum_bad: all datagrams are verified before they are one', () => {
      for (let wrong = 0; wrong < 6; wrong++) {
        for (const at of [24, 45, 100]) {
          const frames = train(6, 64);
          frames[wrong]![at]! ^= 0x10;
          path.takeCounters(device);
          const { writes } = written(frames);
          const { segments_merged = 0, merge_checksum_bad = 0, decap_packets } = path.takeCounters(device);
          assert.equal(decap_packets, 6);
          assert.ok(merge_checksum_bad > 0, `datagram ${wrong}`);
          // Those before it are one write, and those behind it another.
          assert.equal(segments_merged, Math.max(0, wrong - 1) + Math.max(0, 4 - wrong));
          assert.ok(
            writes.some(({ frame }) => Buffer.compare(frame, frames[wrong]!) === 0),
            'goes as it came',
          );
        }
      }
    });

    it('count their datagrams', () => {
      path.takeCounters(device);
      written(train(10, 100));
      assert.deepEqual(path.takeCounters(device), {
        decap_packets: 10,
        decap_bytes: 10 * 128,
        segments_merged: 9,
        super_frames_merged: 1,
      });
    });

    it('are left alone where a device or the VTEP says so', () => {
      const frames = train(8, 100);
      const sizes = (features: DeviceFeatures) => written(frames, path.device({ features })).sizes;
      const single = new Array(8).fill(1);
      assert.deepEqual(sizes({}), [8]);
      assert.deepEqual(sizes({ gsoOff: true, gsoTunnel: true }), [8]);
      assert.deepEqual(sizes({ usoOff: true }), single);
      assert.deepEqual(sizes({ groOff: true }), single);
      path.offloads(0);
      assert.deepEqual(sizes({}), single);
      path.offloads(OFFLOAD_COALESCE);
    });

    it('of another batch or another device are others', () => {
      const other = path.device();
      const frames = train(8, 100);
      assert.deepEqual(written(frames.slice(0, 3)).sizes, [3]);
      assert.deepEqual(written(frames.slice(3)).sizes, [5]);
      const mixed = frames.map((frame, i) => ({ bytes: vxlan(i % 2 === 0 ? device : other, frame) }));
      // Every second id of each: with DF cleared these do not count up by one.
      assert.deepEqual(
        path.decap(mixed).map((write) => write.frames),
        new Array(8).fill(1),
      );
    });
  });
}
