/** Super-frames and open checksums in software: the same as the slow reference, for frames of all shapes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { splitFrame } from '../src/io/split.ts';
import { segmentNaively } from './support/naive-segment.ts';
import { type VirtioHeader, writeVirtio } from './support/virtio.ts';

/** mulberry32 */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function superFrame(roll: (below: number) => number): { frame: Uint8Array; virtio: VirtioHeader } {
  const isIpv4 = roll(2) === 0;
  const kind = roll(3);
  const tags = roll(3);
  const l3 = 14 + 4 * tags;
  const options = isIpv4 ? roll(3) * 4 : 0;
  const l4 = l3 + (isIpv4 ? 20 + options : 40);
  const tcpOptions = roll(4) * 4;
  const headers = l4 + (kind === 1 ? 8 : 20 + tcpOptions);
  const size = 1 + roll(1400);
  const frame = Uint8Array.from({ length: headers + 1 + roll(size * 5) }, () => roll(256));
  for (let tag = 0; tag < tags; ++tag) frame.set([0x81, 0], 12 + 4 * tag);
  frame.set(isIpv4 ? [8, 0] : [0x86, 0xdd], l3 - 2);
  if (isIpv4) {
    frame[l3] = 0x45 + options / 4;
    frame.set([0, 0], l3 + 6);
    frame[l3 + 9] = kind === 1 ? 17 : 6;
  } else frame[l3 + 6] = kind === 1 ? 17 : 6;
  if (kind !== 1) frame[l4 + 12] = (5 + tcpOptions / 4) << 4;
  const gso = kind === 1 ? 5 : isIpv4 ? 1 : 4;
  const virtio: VirtioHeader = {
    flags: roll(10) === 0 ? 0 : 1,
    gsoType: kind === 2 ? 0 : gso | (kind === 0 && roll(2) === 0 ? 0x80 : 0),
    headerBytes: headers,
    gsoSize: roll(20) === 0 ? 0 : size,
    checksumStart: roll(20) === 0 ? roll(90) : l4,
    checksumField: roll(20) === 0 ? roll(40) : kind === 1 ? 6 : 16,
  };
  return { frame: roll(20) === 0 ? frame.subarray(0, roll(frame.length)) : frame, virtio };
}

describe('super-frames in software', () => {
  it('are cut as the reference cuts them, or refused', () => {
    let cut = 0;
    let refused = 0;
    for (let seed = 1; seed <= 3000; ++seed) {
      const { frame, virtio } = superFrame(dice(seed));
      const header = new Uint8Array(10);
      writeVirtio(new DataView(header.buffer), 0, virtio);
      const got = splitFrame(frame, header);
      assert.deepEqual(got, segmentNaively(frame, virtio), `seed ${seed}`);
      if (got === undefined) ++refused;
      else if (got.length > 1) ++cut;
    }
    assert.ok(cut > 500 && refused > 100, `${cut} cut, ${refused} refused`);
  });

  it('an empty frame is no super-frame', () => {
    const header = new Uint8Array(10);
    writeVirtio(new DataView(header.buffer), 0, {
      ...{ flags: 1, gsoType: 1, headerBytes: 54, gsoSize: 1000, checksumStart: 34, checksumField: 16 },
    });
    for (let length = 0; length < 54; ++length)
      assert.equal(splitFrame(new Uint8Array(length), header), undefined);
  });
});
