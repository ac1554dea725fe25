/**
 * Merging against the naive model: which frames share a write, and proof that nothing is lost by it:
 * super-frames cut again by the naive segmenter give back what came from the wire, flow by flow and in
 * order.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OFFLOAD_COALESCE, VIRTIO_GSO_TCPV4, WRITE_COUNT } from '../assembly/layout.ts';
import { assertBytes } from './support/bytes.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, ipv6, set16 } from './support/frames.ts';
import { flowOf, nextFrames } from './support/gro-traffic.ts';
import { HotPath, VNI } from './support/hot-path.ts';
import { tcp } from './support/messages.ts';
import { type Arrival, coalesceNaively, isBegun } from './support/naive-coalesce.ts';
import { networkOffset, segmentNaively } from './support/naive-segment.ts';
import type { Written } from './support/received-messages.ts';
import { internetSum, mulberry32, randomBytes } from './support/reference.ts';
import { NOTHING_ASKED, partialHeader, type VirtioHeader } from './support/virtio.ts';

const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);

/** A frame that came with its checksum begun goes on so. */
function askedOf(frame: Uint8Array): VirtioHeader {
  if (!isBegun(frame)) return NOTHING_ASKED;
  const header = partialHeader(frame);
  return { ...header, headerBytes: header.checksumStart + 8 };
}

/** The frames that a write stands for; a TAP's reader would see no others. */
function cut({ frame, virtio }: Written): Uint8Array[] {
  const frames = segmentNaively(frame, virtio);
  assert.ok(frames, 'the virtio header fits the frame');
  return frames;
}

/** IPv4 ids of a super-frame count up from the first one's: two frames are compared without theirs. */
function withoutId(frame: Uint8Array): Uint8Array {
  if (frame[12] !== 8 || frame[13] !== 0 || frame.length < 34) return frame;
  const copy = frame.slice();
  const isRight = internetSum(copy.subarray(14, 34)) === 0xffff;
  set16(copy, 18, 0);
  if (isRight) set16(copy, 24, 0);
  return copy;
}

/** A flow of gro-traffic.ts: by its source address; what is tagged or UDP may overtake the rest. */
function flowName(frame: Uint8Array): string {
  const l3 = networkOffset(frame);
  const ipv6 = frame[l3 - 2] === 0x86;
  return [l3, ipv6, frame[l3 + (ipv6 ? 23 : 15)], frame[l3 + (ipv6 ? 6 : 9)] === 17].join();
}

for (const build of BUILDS) {
  describe(`coalesce (${build})`, async () => {
    const path = await HotPath.open(build);
    const device = path.device();
    const other = path.device();

    /** One batch, which is one call as long as there are at most WRITE_COUNT writes. */
    const receive = (arrivals: readonly Arrival[]) =>
      path.decap(arrivals.map(({ device: to, frame }) => ({ bytes: vxlan(VNI + to - 1, frame) })));

    function check(arrivals: readonly Arrival[]): Written[] {
      const writes = receive(arrivals);
      const groups = coalesceNaively(arrivals);
      assert.deepEqual(
        writes.map(({ frames }) => frames),
        groups.map(({ length }) => length),
      );
      for (const [i, write] of writes.entries()) {
        const frames = groups[i]!.map((number) => arrivals[number]!.frame);
        assert.equal(write.device, arrivals[groups[i]![0]!]!.device);
        if (frames.length === 1) {
          assertBytes(write.frame, frames[0]!);
          assert.deepEqual(write.virtio, askedOf(frames[0]!));
        } else {
          assert.ok(write.frame.length - 14 <= 65535);
          assert.equal(
            internetSum(write.frame.subarray(14, 34)) === 0xffff || write.frame[12] === 0x86,
            true,
          );
          const segments = cut(write);
          assert.equal(segments.length, frames.length);
          for (const [n, segment] of segments.entries()) {
            assertBytes(withoutId(segment), withoutId(frames[n]!), `write ${i}, segment ${n}`);
          }
        }
      }
      return writes;
    }

    const stream = (count: number, bytes: number, fields: object = {}): Arrival[] =>
      Array.from({ length: count }, (_, i) => {
        const sequence = (0xfffffc00 + i * bytes) >>> 0;
        const message = tcp({ sequence, ...fields }, randomBytes(mulberry32(i), bytes));
        return { device, frame: ethernet({}, ipv4({ identification: i }, message)) };
      });

    for (const [flows, trouble] of [
      [1, 0],
      [3, 0.02],
      [8, 0.1],
      [12, 0.5],
      [5, 1],
    ] as const) {
      it(`${flows} flows, ${trouble * 100} % trouble: the model’s groups, and every frame again`, () => {
        const prng = mulberry32(flows * 1000 + trouble * 100);
        let merged = 0;
        for (let round = 0; round < 120; round++) {
          const members = Array.from({ length: flows }, (_, i) => flowOf(prng, i + 1));
          const arrivals: Arrival[] = [];
          while (arrivals.length < 60) {
            const flow = members[Math.floor(prng() * flows)]!;
            for (let burst = 1 + Math.floor(prng() * 6); burst > 0; burst--) {
              const to = prng() < 0.03 ? other : device;
              for (const frame of nextFrames(prng, flow, trouble)) arrivals.push({ device: to, frame });
            }
          }
          arrivals.length = Math.min(arrivals.length, 64);
          merged += check(arrivals).filter(({ frames }) => frames > 1).length;
        }
        if (trouble < 1) assert.ok(merged > 50, `${merged} super-frames`);
      });
    }

    it('keeps every flow whole and in order when there are more than the table holds', () => {
      const prng = mulberry32(40);
      for (let round = 0; round < 60; round++) {
        const members = Array.from({ length: 40 }, (_, i) => flowOf(prng, i + 1));
        const frames: Uint8Array[] = [];
        while (frames.length < 64) {
          frames.push(...nextFrames(prng, members[Math.floor(prng() ** 2 * 40)]!, 0.05));
          frames.push(...nextFrames(prng, members[0]!, 0));
        }
        frames.splice(0, frames.length, ...frames.filter((frame) => !isBegun(frame)).slice(0, 64));
        const ofFlow = (all: readonly Uint8Array[]) =>
          [...new Set(frames.map(flowName))].map((name) =>
            all.filter((frame) => flowName(frame) === name).map(withoutId),
          );
        const out = receive(frames.map((frame) => ({ device, frame }))).flatMap(cut);
        assert.deepEqual(ofFlow(out), ofFlow(frames));
      }
    });

    it('merges up to 67 frames and 65,535 bytes, over the sequence number’s wrap', () => {
      const sizes = (bytes: number) => check(stream(64, bytes)).map(({ frames }) => frames);
      assert.deepEqual(sizes(1448), [45, 19]);
      assert.deepEqual(sizes(8948), [7, 7, 7, 7, 7, 7, 7, 7, 7, 1]);
      assert.deepEqual(sizes(32747), new Array(32).fill(2));
      assert.deepEqual(sizes(32748), new Array(64).fill(1));
      assert.deepEqual(sizes(1), [64]);
      const bundle = concat(...stream(300, 100).map(({ frame }) => vxlan(VNI + device - 1, frame)));
      const writes = path.decap([{ bytes: bundle.subarray(0, 65507), gro: 162 }]);
      assert.equal(WRITE_COUNT, 256);
      assert.deepEqual([writes[0]?.frames, writes[0]?.iovecs], [67, 68]);
    });

    it('tells a super-frame’s virtio header as virtio 1.2 wants it', () => {
      const [write] = check(stream(3, 1000));
      assert.deepEqual(write?.virtio, {
        flags: 1,
        gsoType: VIRTIO_GSO_TCPV4,
        headerBytes: 54,
        gsoSize: 1000,
        checksumStart: 34,
        checksumField: 16,
      });
      assert.deepEqual([write?.frame.length, write?.iovecs], [3054, 4]);
    });

    it('PSH ends a super-frame and stays on its last segment', () => {
      const frames = [
        ...stream(2, 500),
        ...stream(3, 500, { flags: 'PA' }).slice(2),
        ...stream(5, 500).slice(3),
      ];
      const writes = check(frames);
      assert.deepEqual(
        writes.map((write) => cut(write).map((frame) => frame[47])),
        [
          [0x10, 0x10, 0x18],
          [0x10, 0x10],
        ],
      );
    });

    it('compares ports, addresses, device; not the window, as Linux does not', () => {
      const [first, second] = stream(2, 100).map(({ frame }) => frame) as [Uint8Array, Uint8Array];
      const sequence = (0xfffffc00 + 100) >>> 0;
      const payload = randomBytes(mulberry32(1), 100);
      const v4 = (ip: object, fields: object) =>
        ethernet({}, ipv4(ip, tcp({ sequence, ...fields }, payload)));
      const alone = (frame: Uint8Array, to = device) =>
        check([
          { device, frame: first },
          { device: to, frame },
        ]).length === 2;
      assert.equal(alone(second), false);
      assert.equal(alone(second, other), true);
      assert.equal(alone(v4({ source: '10.244.1.3' }, {})), true);
      assert.equal(alone(v4({ destination: '10.244.1.3' }, {})), true);
      assert.equal(alone(v4({}, { sourcePort: 40001 })), true);
      assert.equal(alone(v4({}, { destinationPort: 81 })), true);
      assert.equal(alone(v4({ dontFragment: true }, {})), true);
      assert.equal(alone(ethernet({}, ipv6({}, tcp({ sequence }, payload)))), true);
      const wider = receive([
        { device, frame: first },
        { device, frame: v4({}, { window: 1 }) },
      ]);
      assert.equal(wider.length, 1);
    });

    it('merge_checksum_bad: verifies both frames before it merges, whichever is wrong', () => {
      for (let wrong = 0; wrong < 4; wrong++) {
        for (const at of [20, 22, 24, 35, 50, 90]) {
          const arrivals = stream(4, 64);
          arrivals[wrong]!.frame[at]! ^= 0x40;
          path.takeCounters(device);
          check(arrivals);
          const { segments_merged = 0, merge_checksum_bad = 0, decap_packets } = path.counters(device);
          assert.ok(segments_merged <= 2);
          if (at === 24 || at === 90) assert.ok(merge_checksum_bad > 0);
          assert.equal(decap_packets, 4);
        }
      }
    });

    it('counts what it merges', () => {
      path.takeCounters(device);
      check([...stream(5, 100), ...stream(1, 100, { sourcePort: 1 })]);
      assert.deepEqual(path.takeCounters(device), {
        decap_packets: 6,
        decap_bytes: 6 * 140,
        segments_merged: 4,
        super_frames_merged: 1,
      });
    });

    it('merges nothing when told not to', () => {
      path.offloads(0);
      const arrivals = stream(4, 100);
      assert.deepEqual(
        receive(arrivals).map(({ frame }) => frame),
        arrivals.map(({ frame }) => frame),
      );
      path.offloads(OFFLOAD_COALESCE);
    });
  });
}
