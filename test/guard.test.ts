/**
 * Memory safety. Frames lie at the very end of memory, where one byte read too far traps; what lies around
 * frames and datagrams changes and the outcome does not; and after all of it nothing has been written but
 * what the walk may write: the worker's own block, the frame's own headers, the FDB's times, the counters.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DECAP_BYTES,
  ENCAP_BYTES,
  FDB_ENTRIES_BASE,
  FDB_ENTRIES_BYTES,
  VIRTIO_HEADER_BYTES,
} from '../assembly/layout.ts';
import { CORPUS } from './support/corpus.ts';
import { BUILDS } from './support/engine.ts';
import { concat } from './support/frames.ts';
import { DECAP_WORKER, DEFAULT, ENCAP_WORKER, HotPath, VNI } from './support/hot-path.ts';
import { encapNaively } from './support/naive-encap.ts';

const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);

/** Every way to cut a frame in its headers, and the whole of it. */
function cuts(frame: Uint8Array): Uint8Array[] {
  const most = Math.min(frame.length, 140);
  return [...Array.from({ length: most }, (_, length) => frame.subarray(0, length)), frame];
}

for (const build of BUILDS) {
  describe(`guard (${build})`, async () => {
    const path = await HotPath.open(build);
    const { bytes, memory } = path.engine;
    const one = path.device();
    const two = path.device();
    path.entry(one, DEFAULT, [{ address: '10.0.0.1' }]);
    path.entry(two, DEFAULT, [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);

    /** Runs, then compares all memory but the ranges given. */
    function untouched(ranges: readonly [number, number][], run: () => void): void {
      const before = bytes.slice();
      run();
      let at = 0;
      const end: [number, number] = [memory.buffer.byteLength, memory.buffer.byteLength];
      for (const [from, to] of [...ranges, end]) {
        const same = Buffer.from(memory.buffer, at, from - at).equals(before.subarray(at, from));
        assert.ok(same, `written to between ${at} and ${from}`);
        at = to;
      }
    }

    it('encap: reads nothing behind a frame at the end of memory, writes only where it may', () => {
      const end = memory.buffer.byteLength;
      const ranges: [number, number][] = [
        [FDB_ENTRIES_BASE, FDB_ENTRIES_BASE + FDB_ENTRIES_BYTES],
        [ENCAP_WORKER, ENCAP_WORKER + ENCAP_BYTES],
        [end - 4096, end],
      ];
      untouched(ranges, () => {
        for (const { frame, virtio } of CORPUS) {
          for (const cut of cuts(frame)) {
            for (const device of [one, two]) {
              const at = end - cut.length - VIRTIO_HEADER_BYTES;
              bytes.fill(0xa5, at - 64, at);
              const { datagrams } = path.encap([{ frame: cut, virtio, device, at }]);
              const expected = encapNaively(cut, virtio, true);
              const copies = typeof expected === 'string' ? 0 : expected.length * (device === one ? 1 : 2);
              assert.equal(datagrams.length, copies);
              assert.ok(bytes.subarray(at - 64, at).every((byte) => byte === 0xa5));
            }
          }
        }
      });
    });

    it('encap: what lies around frames does not matter', () => {
      const frames = CORPUS.flatMap(({ frame, virtio }) =>
        cuts(frame).map((cut) => ({ frame: cut, virtio, device: one })),
      );
      const outcomes = [0x00, 0xff, 0x45].map((surroundings) => {
        path.surroundings = surroundings;
        path.takeCounters(one);
        const sent = path.encap(frames).datagrams;
        const wire = sent.map(({ bytes, slot }) => `${slot} ${Buffer.from(bytes).toString('base64')}`);
        return [wire, path.counters(one)];
      });
      assert.deepEqual(outcomes[1], outcomes[0]);
      assert.deepEqual(outcomes[2], outcomes[0]);
    });

    it('decap: what lies around datagrams does not matter, nothing is written outside', () => {
      const datagrams = CORPUS.flatMap(({ frame }) =>
        cuts(vxlan(VNI + one - 1, frame)).flatMap((cut) => [
          { bytes: cut, tos: cut.length & 3 },
          { bytes: concat(cut, cut, cut.subarray(0, cut.length >> 1)), gro: cut.length },
        ]),
      );
      const ranges: [number, number][] = [[DECAP_WORKER, DECAP_WORKER + DECAP_BYTES]];
      for (const device of [0, one]) path.takeCounters(device);
      untouched(ranges, () => {
        const outcomes = [0x00, 0xff, 0x45].map((surroundings) => {
          path.surroundings = surroundings;
          path.takeCounters(0);
          path.takeCounters(one);
          const written = path.decap(datagrams).map(({ frame, virtio, frames }) => {
            return [frames, Object.values(virtio).join(), Buffer.from(frame).toString('base64')].join(' ');
          });
          return [written, path.takeCounters(0), path.takeCounters(one)];
        });
        assert.deepEqual(outcomes[1], outcomes[0]);
        assert.deepEqual(outcomes[2], outcomes[0]);
      });
    });
  });
}
