/**
 * Mutations that know what a frame looks like: flipped bits, headers that lie about lengths, cut ends,
 * heads of other frames, virtio headers that don't fit.
 */
import { CORPUS, type Sample } from './corpus.ts';
import { networkOffset } from './naive-segment.ts';
import type { VirtioHeader } from './virtio.ts';

const EXTREMES = [
  0, 1, 2, 7, 8, 19, 20, 21, 39, 40, 60, 127, 128, 255, 256, 1500, 0x7fff, 0x8000, 0xfffe, 0xffff,
];
const GSO_TYPES = [0, 1, 3, 4, 5, 0x21, 0x80, 0x81, 0x84, 0x85, 0xff];

export type Prng = () => number;

export function below(prng: Prng, count: number): number {
  return Math.floor(prng() * count);
}

function pick<Item>(prng: Prng, items: readonly Item[]): Item {
  return items[below(prng, items.length)]!;
}

/** A sample with up to three mutations; one in eight has none. */
export function mutated(prng: Prng): Sample {
  const { frame, virtio } = pick(prng, CORPUS);
  const sample = { frame: frame.slice(), virtio: { ...virtio } };
  if (prng() < 0.125) return sample;
  for (let left = 1 + below(prng, 3); left > 0; left--) mutate(prng, sample);
  return sample;
}

function mutate(prng: Prng, sample: Sample): void {
  const { frame, virtio } = sample;
  if (frame.length === 0) return;
  switch (below(prng, 7)) {
    case 0:
      frame[below(prng, frame.length)]! ^= 1 << below(prng, 8);
      break;
    case 1: // in the headers, where it hurts
      frame[below(prng, Math.min(frame.length, 90))] = pick(prng, EXTREMES);
      break;
    case 2:
      sample.frame = frame.subarray(0, below(prng, Math.min(frame.length + 1, prng() < 0.5 ? 80 : 5000)));
      break;
    case 3:
      lieAboutLength(prng, frame);
      break;
    case 4: {
      const head = pick(prng, CORPUS).frame;
      frame.set(head.subarray(0, Math.min(below(prng, 80), head.length, frame.length)));
      break;
    }
    default:
      lieInVirtio(prng, virtio, frame.length);
  }
}

/** IP's length, the header lengths of IPv4 and TCP, UDP's length. */
function lieAboutLength(prng: Prng, frame: Uint8Array): void {
  if (frame.length < 14) return;
  const l3 = networkOffset(frame);
  const value = prng() < 0.5 ? pick(prng, EXTREMES) : frame.length - l3 + below(prng, 5) - 2;
  const at = l3 + pick(prng, [0, 2, 4, 6, 20 + 4, 20 + 12, 40 + 4, 40 + 12]);
  if (at + 1 >= frame.length) return;
  frame[at] = value >> 8;
  if (prng() < 0.7) frame[at + 1] = value & 0xff;
}

function lieInVirtio(prng: Prng, virtio: VirtioHeader, length: number): void {
  const number = () =>
    pick(prng, [below(prng, 65536), pick(prng, EXTREMES), length, below(prng, length + 9)]);
  switch (below(prng, 6)) {
    case 0:
      virtio.flags = below(prng, 4);
      break;
    case 1:
      virtio.gsoType = pick(prng, GSO_TYPES);
      break;
    case 2:
      virtio.headerBytes = number() & 0xffff;
      break;
    case 3:
      virtio.gsoSize = number() & 0xffff;
      break;
    case 4:
      virtio.checksumStart = number() & 0xffff;
      break;
    default:
      virtio.checksumField = number() & 0xffff;
  }
}
