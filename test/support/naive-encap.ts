/**
 * What becomes of one frame from a TAP: the frames that go on the wire for each remote, or the verdict that
 * ends it. In the order of the walk in assembly/encap.ts.
 */
import type { CounterName } from '../../src/dataplane/counters.ts';
import { networkOffset, segmentNaively } from './naive-segment.ts';
import type { VirtioHeader } from './virtio.ts';

/**
 * @param hasTarget an entry or default remotes
 * @param segmentsMax as many as the engine has room for: headers, or messages when each datagram needs one
 */
export function encapNaively(
  frame: Uint8Array,
  virtio: VirtioHeader,
  hasTarget: boolean,
  segmentsMax = 1536,
): CounterName | Uint8Array[] {
  if (frame.length < 14) return 'drop_short_frame';
  if (!hasTarget) return 'drop_no_target';
  const l3 = networkOffset(frame);
  const type = (frame[l3 - 2]! << 8) | frame[l3 - 1]!;
  if (type === 0x0800 && l3 + 20 > frame.length) return 'drop_short_inner_ip';
  if (type === 0x86dd && l3 + 40 > frame.length) return 'drop_short_inner_ip';
  const frames = segmentNaively(frame, virtio);
  return frames && frames.length <= segmentsMax ? frames : 'drop_bad_offload';
}
