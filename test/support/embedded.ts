/** An embedded dataplane with one device, and what its tests send through it. */
import assert from 'node:assert/strict';
import { HEADER_BASE, HEADER_HASH_SEED_OFFSET } from '../../assembly/layout.ts';
import {
  createDataplane,
  type DataplaneQueue,
  type EmbeddedDataplane,
  VtepError,
  type VtepErrorCode,
} from '../../src/dataplane/index.ts';
import { concat, ethernet, ipv4 } from './frames.ts';
import { icmp } from './messages.ts';

export const OWN = '02:00:00:00:00:ff';
export const PORT = 4789;
export const VNI = 42;
export const ZERO = '00:00:00:00:00:00';
export const SENDER = '192.0.2.9';

export const macOf = (number: number) => `02:00:00:00:01:${number.toString(16).padStart(2, '0')}`;
export const ping = (destination: string, bytes = 56, source = macOf(0)) =>
  ethernet({ source, destination }, ipv4({}, icmp({}, new Uint8Array(bytes).fill(bytes))));
export const seedOf = ({ memory }: DataplaneQueue) =>
  new DataView(memory.buffer).getUint32(HEADER_BASE + HEADER_HASH_SEED_OFFSET, true);
export const vxlan = (vni: number, frame: Uint8Array) =>
  concat(Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0), frame);

export function refused(code: VtepErrorCode, work: () => unknown): void {
  assert.throws(work, (error) => error instanceof VtepError && error.code === code);
}

export function planeWith(options: Parameters<EmbeddedDataplane['addDevice']>[0] | object = {}) {
  const plane = createDataplane();
  const number = plane.addDevice({ name: 'a', vni: VNI, address: OWN, port: PORT, ...options });
  return { plane, queue: plane.queue, number };
}

export interface Taken {
  address: string;
  port: number;
  flow: number;
  bytes: Uint8Array;
}

/** A batch of its own for each call. */
export function send(queue: DataplaneQueue, device: number, frames: readonly Uint8Array[]): Taken[] {
  const batch = queue.frames(frames.length, 9216);
  for (const [index, slot] of batch.slots.entries()) {
    slot.write(frames[index]!);
    slot.device = device;
  }
  const sent = queue.encap(batch);
  const taken: Taken[] = [];
  while (sent.next()) {
    const { address, port, flow, bytes, length } = sent;
    assert.equal(bytes.length, length);
    taken.push({ address, port, flow, bytes: Uint8Array.from(bytes) });
  }
  batch.release();
  return taken;
}
