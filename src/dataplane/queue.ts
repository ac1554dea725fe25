/** A queue: the batch door of one thread. */
import {
  AF_INET,
  AF_INET6,
  DEVICE_COUNT,
  ENCAP_INJECTS_USED_OFFSET,
  ENCAP_RING_OFFSET,
  ENCAP_STATE_OFFSET,
  INJECT_BYTES,
  INJECT_DEVICE_OFFSET,
  INJECT_IOVEC_COUNT_OFFSET,
  INJECT_IOVECS_OFFSET,
  INJECTS_OFFSET,
  IOVEC_BYTES,
  IOVEC_LENGTH_OFFSET,
  RING_FILLED_OFFSET,
  RING_FREED_OFFSET,
  RING_TAKEN_OFFSET,
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
import { askedBy } from './claim.ts';
import { addToCounter } from './counters.ts';
import { Datagrams } from './datagrams.ts';
import type { EngineExports } from './exports.ts';
import { Frames } from './frames.ts';
import type { CompiledHook, HookProgram } from './hook-program.ts';
import type { HookDirection, HookFailure, HookFunction } from './hook-types.ts';
import { Hooks } from './hooks.ts';
import { listenerOf } from './listening.ts';
import type { Views } from './memory.ts';
import { Ring } from './queue-ring.ts';
import { claimQueue, QUEUE_BLOCKS, QueueState, releaseQueue } from './queue-state.ts';
import type { FrameRing } from './ring.ts';
import { Forwarded } from './sent.ts';
import { PlaceViews } from './slot-views.ts';

export const VXLAN_PORT = 8472;
/** Room for what an Ethernet of 1500 bytes carries. */
const SLOT_BYTES = 2048;
const RING_CURSORS = [RING_TAKEN_OFFSET, RING_FREED_OFFSET, RING_FILLED_OFFSET];

export class Queue implements DataplaneQueue {
  readonly #state: QueueState;
  readonly #injects: number;
  readonly #encapHooks: Hooks;
  readonly #decapHooks: Hooks;
  readonly #forwarded: Forwarded;
  replied: Replied | undefined;
  hookFailed: ((failure: HookFailure) => void) | undefined;

  /** @throws VtepError NO_SPACE when all of the memory's queues are taken */
  constructor(views: Views, exports: EngineExports) {
    this.#state = new QueueState(views, exports, claimQueue(views));
    const { encapBase, decapBase } = this.#state;
    const failed = (failure: HookFailure) => this.hookFailed?.(failure);
    this.#encapHooks = new Hooks(views, 'encap', encapBase, failed);
    this.#decapHooks = new Hooks(views, 'decap', decapBase, failed);
    this.#forwarded = new Forwarded(this.#state, new PlaceViews(views.memory), this.#walk);
    this.#state.judge = (records) => this.#judge(records);
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
    return new Frames(this.#state, count, bytes, this.#walk);
  }

  ring(count: number, bytes: number = SLOT_BYTES): FrameRing {
    this.#state.assertOpen();
    return new Ring(this.#state, count, bytes, this.#walk);
  }

  datagrams(count: number, bytes: number = SLOT_BYTES): DatagramBatch {
    this.#state.assertOpen();
    return new Datagrams(this.#state, count, bytes);
  }

  encap(frames: FrameBatch | FrameRing, count?: number): SentDatagrams {
    this.#state.assertOpen();
    if (!(frames instanceof Frames || frames instanceof Ring) || !frames.isOf(this.#state))
      throw notOurs('encap', 'frames');
    if (this.#forwarded.isCurrent) this.#abandon();
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
    if (this.#forwarded.isCurrent) this.#abandon();
    return datagrams.receive(count, listenerOf(views, AF_INET, port), listenerOf(views, AF_INET6, port));
  }

  get forwarded(): SentDatagrams {
    return this.#forwarded;
  }

  setHook(
    device: number,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined {
    const what = `hook: device ${String(device)} ${String(direction)}`;
    if (this.#state.closed) this.#state.assertOpen();
    if (!(Number.isInteger(device) && device > 0 && device < DEVICE_COUNT))
      throw new VtepError('NOT_FOUND', `${what}: there is none of that number`);
    if (direction !== 'encap' && direction !== 'decap')
      throw new VtepError('USAGE', `${what}: give "encap" or "decap"`);
    return (direction === 'encap' ? this.#encapHooks : this.#decapHooks).set(device, hook);
  }

  close(): void {
    const state = this.#state;
    if (state.closed) return;
    if (state.isShowing) state.assertOpen();
    for (const batch of state.batches) batch.end();
    state.closed = true;
    releaseQueue(state.views, state.number);
  }

  readonly #walk = (isFirst: boolean): number => {
    const state = this.#state;
    state.enter();
    if (isFirst && this.#encapHooks.count > 0)
      this.#show(this.#encapHooks, state.exports.encapPark(state.encapBase));
    const parcels = state.exports.encapParcels(state.encapBase);
    state.leave();
    if (state.views.u32[this.#injects] !== 0) this.#reply(state.views.u32[this.#injects]!);
    return parcels;
  };

  #show(hooks: Hooks, records: number): void {
    this.#state.isShowing = true;
    hooks.show(records);
    this.#state.isShowing = false;
  }

  /** The hooks of decap, and what they say. What goes into tunnels needs an encap whose datagrams have all been taken. */
  #judge(records: number): number {
    const { exports, encapBase, decapBase, sent, views } = this.#state;
    this.#show(this.#decapHooks, records);
    if (!(sent?.isDone ?? true)) return exports.decapVerdicts(decapBase, 0);
    const ring = (encapBase + ENCAP_RING_OFFSET) >>> 2;
    for (const cursor of RING_CURSORS) views.u32[ring + (cursor >> 2)] = 0;
    const writes = exports.decapVerdicts(decapBase, encapBase);
    if (views.u32[ring + (RING_FILLED_OFFSET >> 2)] !== 0) this.#forwarded.arm();
    return writes;
  }

  /** Nobody has taken what hooks sent into tunnels, and its memory is another batch's now. */
  #abandon(): void {
    const { views, number } = this.#state;
    for (const device of this.#forwarded.left())
      addToCounter(views, number * QUEUE_BLOCKS, device, 'drop_hook_forward', 1);
    this.#forwarded.end();
  }

  #reply(count: number): void {
    const { replied } = this;
    const { views, number } = this.#state;
    const { view, bytes } = views;
    for (let index = 0; index < count; ++index) {
      const record = this.#state.encapBase + INJECTS_OFFSET + index * INJECT_BYTES;
      const device = view.getUint32(record + INJECT_DEVICE_OFFSET, true);
      if (replied === undefined) {
        addToCounter(views, number * QUEUE_BLOCKS, device, 'drop_tap_write', 1);
        continue;
      }
      const iovecs = record + INJECT_IOVECS_OFFSET;
      const piece = (iovec: number) => {
        const at = view.getUint32(iovecs + iovec * IOVEC_BYTES, true);
        return bytes.subarray(
          at,
          at + view.getUint32(iovecs + iovec * IOVEC_BYTES + IOVEC_LENGTH_OFFSET, true),
        );
      };
      const head = piece(0);
      const virtio = head.subarray(0, VIRTIO_HEADER_BYTES);
      const start = head.subarray(VIRTIO_HEADER_BYTES);
      const isWhole = view.getUint32(record + INJECT_IOVEC_COUNT_OFFSET, true) === 1;
      const frame = isWhole ? start : join(start, piece(1));
      if (askedBy(virtio) === 0) replied(device, frame);
      else replied(device, frame, virtio);
    }
  }
}

function join(start: Uint8Array, rest: Uint8Array): Uint8Array {
  const joined = new Uint8Array(start.length + rest.length);
  joined.set(start);
  joined.set(rest, start.length);
  return joined;
}

function notOurs(what: string, kind: string): VtepError {
  return new VtepError('USAGE', `${what}: that is no batch of this queue: get one from its ${kind}()`);
}
