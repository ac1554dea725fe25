/** A queue: the batch door of one thread. */
import {
  AF_INET,
  AF_INET6,
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_STATE_OFFSET,
  INJECT_BYTES,
  INJECT_DEVICE_OFFSET,
  INJECT_IOVEC_COUNT_OFFSET,
  INJECT_IOVECS_OFFSET,
  INJECTS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  VIRTIO_HEADER_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type {
  ArrivedFrames,
  DatagramBatch,
  DataplaneQueue,
  FrameBatch,
  Replied,
  SentDatagrams,
} from './batch.ts';
import { Datagrams } from './datagrams.ts';
import type { EngineExports } from './exports.ts';
import { Frames } from './frames.ts';
import { listenerOf } from './listening.ts';
import type { Views } from './memory.ts';
import { Ring } from './queue-ring.ts';
import { claimQueue, QueueState, releaseQueue } from './queue-state.ts';
import type { FrameRing } from './ring.ts';

export const VXLAN_PORT = 8472;
/** Room for what an Ethernet of 1500 bytes carries. */
const SLOT_BYTES = 2048;

export class Queue implements DataplaneQueue {
  readonly #state: QueueState;
  readonly #injects: number;
  replied: Replied | undefined;

  /** @throws VtepError NO_SPACE when all of the memory's queues are taken */
  constructor(views: Views, exports: EngineExports) {
    this.#state = new QueueState(views, exports, claimQueue(views));
    this.#injects = (this.#state.encapBase + ENCAP_STATE_OFFSET + ENCAP_INJECTS_USED_OFFSET) >>> 2;
  }

  get number(): number {
    return this.#state.number;
  }

  get memory(): Uint8Array {
    return this.#state.views.bytes;
  }

  frames(count: number, bytes: number = SLOT_BYTES): FrameBatch {
    this.#state.assertOpen();
    return new Frames(this.#state, count, bytes, () => this.#walk());
  }

  ring(count: number, bytes: number = SLOT_BYTES): FrameRing {
    this.#state.assertOpen();
    return new Ring(this.#state, count, bytes, () => this.#walk());
  }

  datagrams(count: number, bytes: number = SLOT_BYTES): DatagramBatch {
    this.#state.assertOpen();
    return new Datagrams(this.#state, count, bytes);
  }

  encap(frames: FrameBatch | FrameRing, count?: number): SentDatagrams {
    this.#state.assertOpen();
    if (!(frames instanceof Frames || frames instanceof Ring) || !frames.isOf(this.#state))
      throw notOurs('encap', 'frames');
    return frames.send(count);
  }

  decap(
    datagrams: DatagramBatch,
    port: number = VXLAN_PORT,
    count: number = datagrams?.slots?.length,
  ): ArrivedFrames {
    this.#state.assertOpen();
    if (!(datagrams instanceof Datagrams) || !datagrams.isOf(this.#state))
      throw notOurs('decap', 'datagrams');
    const { views } = this.#state;
    return datagrams.receive(count, listenerOf(views, AF_INET, port), listenerOf(views, AF_INET6, port));
  }

  close(): void {
    const state = this.#state;
    if (state.closed) return;
    for (const batch of state.batches) batch.end();
    state.closed = true;
    releaseQueue(state.views, state.number);
  }

  #walk(): number {
    const state = this.#state;
    state.enter();
    const parcels = state.exports.encapParcels(state.encapBase);
    state.leave();
    if (state.views.u32[this.#injects] !== 0) this.#reply(state.views.u32[this.#injects]!);
    return parcels;
  }

  #reply(count: number): void {
    const { replied } = this;
    if (replied === undefined) return;
    const { view, bytes } = this.#state.views;
    for (let index = 0; index < count; ++index) {
      const record = this.#state.encapBase + INJECTS_OFFSET + index * INJECT_BYTES;
      const iovecs = record + INJECT_IOVECS_OFFSET;
      const piece = (iovec: number, skipped: number) => {
        const at = view.getUint32(iovecs + iovec * IOVEC_BYTES, true) + skipped;
        const length = view.getUint32(iovecs + iovec * IOVEC_BYTES + IOVEC_LENGTH_OFFSET, true) - skipped;
        return bytes.subarray(at, at + length);
      };
      const head = piece(0, VIRTIO_HEADER_BYTES);
      const isWhole = view.getUint32(record + INJECT_IOVEC_COUNT_OFFSET, true) === 1;
      const frame = isWhole ? head : Uint8Array.of(...head, ...piece(1, 0));
      replied(view.getUint32(record + INJECT_DEVICE_OFFSET, true), frame);
    }
  }
}

function notOurs(what: string, kind: string): VtepError {
  return new VtepError('USAGE', `${what}: that is no batch of this queue: get one from its ${kind}()`);
}
