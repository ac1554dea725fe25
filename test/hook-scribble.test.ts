/**
 * A hook that writes anything anywhere in its window, frames, virtio headers and records: the walks come to an end, and
 * write to nothing that is not theirs.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  HOOK_AREAS_BYTES,
  HOOK_AREAS_OFFSET,
  HOOK_RECORD_ADDRESS_OFFSET,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_LENGTH_OFFSET,
  HOOK_RECORD_MIRROR_OFFSET,
  HOOK_RECORD_TARGET_OFFSET,
  HOOK_RECORD_VERDICT_OFFSET,
  HOOK_RECORDS_OFFSET,
  HOOK_TARGET_TUNNEL,
  IP_PROTOCOL_TCP,
  WORKER_BYTES,
} from '../assembly/layout.ts';
import { workerBase } from '../src/dataplane/memory.ts';
import { BUILDS } from './support/engine.ts';
import { concat, ethernet, ipv4, set16 } from './support/frames.ts';
import { DECAP_WORKER, DEFAULT, ENCAP_WORKER, HotPath, type TapFrame, VNI } from './support/hot-path.ts';
import { tcp, udp } from './support/messages.ts';
import { mulberry32, pseudoIpv4, randomBytes } from './support/reference.ts';
import { partialHeader, superHeader } from './support/virtio.ts';

const RED = 1;
const PATTERN = 0xa5;

type Dice = (below: number) => number;

function diceOf(seed: number): Dice {
  const prng = mulberry32(seed);
  return (below) => Math.floor(prng() * below);
}

/** Unfinished, as from a TAP; of some thousand bytes a super-frame. */
function frameOf(prng: () => number, bytes: number): TapFrame {
  if (prng() < 0.3)
    return { frame: ethernet({}, ipv4({}, udp({ sourcePort: 7 }, randomBytes(prng, bytes)))) };
  const frame = ethernet({}, ipv4({}, tcp({ sequence: 99 }, randomBytes(prng, bytes))));
  const { checksumStart, checksumField } = partialHeader(frame);
  set16(
    frame,
    checksumStart + checksumField,
    pseudoIpv4(frame.subarray(14), IP_PROTOCOL_TCP, frame.length - checksumStart),
  );
  return { frame, virtio: bytes > 1410 ? superHeader(frame, 1410) : partialHeader(frame) };
}

/** Bytes before a frame, its headers, fields of its record: most changes are small, so that what follows gets far. */
function scribble(path: HotPath, dice: Dice): void {
  const { view, bytes } = path.engine;
  const word = () => [0, 1, 13, 0x7fff, 0xffff, 0xffffffff, dice(2 ** 32)][dice(7)]! >>> 0;
  path.hook = (way, records) => {
    const first = (way === 'encap' ? ENCAP_WORKER : DECAP_WORKER) + HOOK_RECORDS_OFFSET;
    for (let record = first; record < first + records * HOOK_RECORD_BYTES; record += HOOK_RECORD_BYTES) {
      const at = view.getUint32(record + HOOK_RECORD_ADDRESS_OFFSET, true);
      const length = view.getUint32(record + HOOK_RECORD_LENGTH_OFFSET, true);
      for (let left = dice(4); left > 0; --left) {
        const place = at - 12 + dice(Math.min(length, 80) + 12);
        bytes[place] = [0, 0xff, 0x45, 0x4f, 0x60, 6, 17, dice(256)][dice(8)]!;
      }
      view.setUint32(record + HOOK_RECORD_VERDICT_OFFSET, [0, 0, 1, 2, 2, 258, 256, 255][dice(8)]!, true);
      for (const field of [HOOK_RECORD_TARGET_OFFSET, HOOK_RECORD_MIRROR_OFFSET])
        view.setUint32(record + field, 1 + dice(3) + (dice(2) ? HOOK_TARGET_TUNNEL : 0), true);
      const moved = dice(3) > 0 ? 0 : dice(way === 'encap' ? 64 : 8) - (way === 'encap' ? 32 : 4);
      view.setUint32(record + HOOK_RECORD_ADDRESS_OFFSET, at + moved, true);
      view.setUint32(record + HOOK_RECORD_LENGTH_OFFSET, length - moved - (dice(4) > 0 ? 0 : dice(60)), true);
      if (dice(10) === 0) view.setUint32(record + 4 * dice(HOOK_RECORD_BYTES / 4), word(), true);
    }
  };
}

for (const build of BUILDS)
  describe(`a hook that scribbles (${build})`, () => {
    for (const way of ['encap', 'decap'] as const)
      it(way, async () => {
        for (let seed = 1; seed <= 6; ++seed) {
          const prng = mulberry32(seed);
          const dice = diceOf(1000 + seed);
          const path = await HotPath.open(build, 4);
          for (const [index, address] of ['192.0.2.1', '192.0.2.2', '192.0.2.3'].entries())
            path.entry(path.device(), DEFAULT, [{ address, port: 4789 + index }]);
          path.setHooked(way, RED);
          scribble(path, dice);
          const own = way === 'encap' ? ENCAP_WORKER : DECAP_WORKER;
          const others = [
            [workerBase(3), workerBase(3) + WORKER_BYTES],
            [own + HOOK_AREAS_OFFSET, own + HOOK_AREAS_OFFSET + HOOK_AREAS_BYTES],
          ] as const;
          const { bytes } = path.engine;
          for (const [from, to] of others) bytes.fill(PATTERN, from, to);
          for (let round = 0; round < 6; ++round) {
            const frames = Array.from({ length: 40 }, () =>
              frameOf(prng, [0, 20, 700, 1410, 4000, 20_000][dice(way === 'encap' ? 6 : 5)]!),
            );
            if (way === 'encap') path.encap(frames);
            else {
              const datagrams = frames.map(({ frame }) =>
                Uint8Array.of(8, 0, 0, 0, VNI >>> 16, (VNI >>> 8) & 255, VNI & 255, 0, ...frame),
              );
              path.decap(
                datagrams.map((one) =>
                  dice(2) && one.length < 1500
                    ? { bytes: concat(one, one, one), gro: one.length }
                    : { bytes: one },
                ),
              );
            }
          }
          for (const [from, to] of others)
            assert.ok(
              bytes.subarray(from, to).every((byte) => byte === PATTERN),
              `seed ${seed}`,
            );
        }
      });
  });
