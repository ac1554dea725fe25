/**
 * Datagrams as recvmmsg leaves them in the decap worker's block, and the writes to TAPs that the engine
 * makes of them. Control messages are laid out in the kernel's order: UDP_GRO, then TOS or traffic class.
 */
import assert from 'node:assert/strict';
import {
  AF_INET,
  AF_INET6,
  IP_TOS,
  IPV6_TCLASS,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
  MSG_TRUNC,
  RECEIPT_BYTES,
  RECEIPT_CONTROL_BYTES,
  RECEIPT_CONTROL_OFFSET,
  RECEIPT_NAME_OFFSET,
  RECEIPTS_OFFSET,
  RECEIVE_BUFFER_BYTES,
  RECEIVE_BUFFERS_OFFSET,
  RECEIVE_COUNT,
  RECEIVE_STRIDE_BYTES,
  RECEIVES_OFFSET,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_GRO,
  VIRTIO_HEADER_BYTES,
  WORKER_BYTES,
  WRITE_BYTES,
  WRITE_DEVICE_OFFSET,
  WRITE_FRAMES_OFFSET,
  WRITE_IOVEC_MAX,
  WRITE_IOVECS_BASE_OFFSET,
  WRITE_IOVECS_OFFSET,
  WRITE_LENGTH_OFFSET,
  WRITE_VIRTIO_OFFSET,
  WRITES_OFFSET,
} from '../../assembly/layout.ts';
import type { TestEngine } from './engine.ts';
import { concat, ipBytes } from './frames.ts';
import { readVirtio, type VirtioHeader } from './virtio.ts';

export const SENDER = '10.169.72.98';

export interface Received {
  bytes: Uint8Array;
  sender?: string;
  /** Of a link-local sender: where its datagram came in. */
  scope?: number;
  tos?: number;
  /** Size of the datagrams in a bundle (UDP_GRO); absent = no control message. */
  gro?: number;
  truncated?: boolean;
  /** Control data as it is, instead of what `tos` and `gro` make. */
  control?: Uint8Array;
}

/** One writev to a TAP. */
export interface Written {
  device: number;
  /** How many frames of the wire it holds. */
  frames: number;
  virtio: VirtioHeader;
  frame: Uint8Array;
  iovecs: number;
  /** Which call of the engine made it. */
  call: number;
}

/**
 * Has the engine walk datagrams, RECEIVE_COUNT at a time. Around them lies `surroundings`.
 * @param judge shows so many records to hooks; returns the number of writes
 */
export function receive(
  engine: TestEngine,
  worker: number,
  listener: number,
  datagrams: readonly Received[],
  surroundings: number,
  judge: (records: number) => number = () => assert.fail('no hook is set'),
): Written[] {
  const writes: Written[] = [];
  let call = 0;
  for (let next = 0; next < datagrams.length; next += RECEIVE_COUNT) {
    const batch = datagrams.slice(next, next + RECEIVE_COUNT);
    for (const [index, datagram] of batch.entries()) place(engine, worker, index, datagram, surroundings);
    do {
      const walked = engine.exports.decap(worker, listener, batch.length);
      const count = walked < 0 ? judge(-walked) : walked;
      for (let index = 0; index < count; index++) writes.push(readWrite(engine, worker, index, call));
      assert.ok(call++ < 100_000, 'the walk goes on');
    } while (!engine.exports.decapDone(worker, batch.length));
  }
  return writes;
}

/** struct cmsghdr with its data, padded to whole words. */
export function controlMessage(level: number, type: number, data: Uint8Array, length?: number): Uint8Array {
  const bytes = new Uint8Array(16 + ((data.length + 7) & ~7));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(length ?? 16 + data.length), true);
  view.setInt32(8, level, true);
  view.setInt32(12, type, true);
  bytes.set(data, 16);
  return bytes;
}

export function int32(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

function controlOf({ sender = SENDER, tos, gro }: Received): Uint8Array {
  const parts: Uint8Array[] = [];
  if (gro !== undefined) parts.push(controlMessage(SOL_UDP, UDP_GRO, int32(gro)));
  if (sender.includes(':')) parts.push(controlMessage(SOL_IPV6, IPV6_TCLASS, int32(tos ?? 0)));
  else parts.push(controlMessage(SOL_IP, IP_TOS, Uint8Array.of(tos ?? 0)));
  return concat(...parts);
}

function place(
  { view, bytes }: TestEngine,
  worker: number,
  index: number,
  datagram: Received,
  surroundings: number,
): void {
  const header = worker + RECEIVES_OFFSET + index * MMSGHDR_BYTES;
  const receipt = worker + RECEIPTS_OFFSET + index * RECEIPT_BYTES;
  const buffer = worker + RECEIVE_BUFFERS_OFFSET + index * RECEIVE_STRIDE_BYTES;
  const { bytes: payload, sender = SENDER, scope = 0, truncated = false } = datagram;
  assert.equal(view.getUint32(header + MMSGHDR_FLAGS_OFFSET, true), 0, 'rearmed');
  const end = Math.min(buffer + payload.length + 256, buffer + RECEIVE_STRIDE_BYTES);
  bytes.fill(surroundings, buffer + payload.length, end);
  bytes.set(payload.subarray(0, RECEIVE_BUFFER_BYTES), buffer);
  view.setUint32(header + MMSGHDR_LENGTH_OFFSET, payload.length, true);
  view.setUint32(header + MMSGHDR_FLAGS_OFFSET, truncated ? MSG_TRUNC : 0, true);
  const name = receipt + RECEIPT_NAME_OFFSET;
  const ipv6 = sender.includes(':');
  bytes.fill(0, name, name + 28);
  view.setUint16(name, ipv6 ? AF_INET6 : AF_INET, true);
  view.setUint16(name + 2, 50000);
  bytes.set(ipBytes(sender), name + (ipv6 ? 8 : 4));
  if (ipv6) view.setUint32(name + 24, scope, true);
  const control = datagram.control ?? controlOf(datagram);
  const at = receipt + RECEIPT_CONTROL_OFFSET;
  bytes.fill(surroundings, at, at + RECEIPT_CONTROL_BYTES);
  bytes.set(control.subarray(0, RECEIPT_CONTROL_BYTES), at);
  view.setBigUint64(header + MMSGHDR_CONTROL_LENGTH_OFFSET, BigInt(control.length), true);
}

function readWrite({ view, bytes }: TestEngine, worker: number, index: number, call: number): Written {
  const write = worker + WRITES_OFFSET + index * WRITE_BYTES;
  const iovecs = view.getUint32(write + WRITE_IOVECS_OFFSET, true);
  assert.ok(iovecs >= 2 && iovecs <= WRITE_IOVEC_MAX);
  const parts: Uint8Array[] = [];
  for (let iovec = 0; iovec < iovecs; iovec++) {
    const at = worker + WRITE_IOVECS_BASE_OFFSET + (index * WRITE_IOVEC_MAX + iovec) * 16;
    const from = Number(view.getBigUint64(at, true));
    const length = Number(view.getBigUint64(at + 8, true));
    assert.ok(length > 0 && from >= worker && from + length <= worker + WORKER_BYTES, 'inside the worker');
    if (iovec === 0) assert.deepEqual([from, length], [write + WRITE_VIRTIO_OFFSET, VIRTIO_HEADER_BYTES]);
    else parts.push(bytes.subarray(from, from + length));
  }
  const frame = concat(...parts);
  assert.equal(view.getUint32(write + WRITE_LENGTH_OFFSET, true), VIRTIO_HEADER_BYTES + frame.length);
  return {
    device: view.getUint16(write + WRITE_DEVICE_OFFSET, true),
    frames: view.getUint32(write + WRITE_FRAMES_OFFSET, true),
    virtio: readVirtio(view, write + WRITE_VIRTIO_OFFSET),
    frame,
    iovecs,
    call,
  };
}
