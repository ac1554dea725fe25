/**
 * Carries packets of a portable VTEP: frames of ports through encap to the underlay, and its datagrams through decap
 * to the ports, in batches, on this thread.
 */
import { ARRIVAL_COUNT, RECEIVE_BUFFER_BYTES, VIRTIO_HEADER_BYTES } from '../../assembly/layout.ts';
import { addToCounter, type CounterName } from '../dataplane/counters.ts';
import { datagramsIn } from '../dataplane/datagrams.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { FRAME_BYTES } from '../dataplane/frames.ts';
import type { CompiledHook, HookProgram } from '../dataplane/hook-program.ts';
import type { HookDirection, HookFailure, HookFunction } from '../dataplane/hook-types.ts';
import { Queue } from '../dataplane/queue.ts';
import { VtepError } from '../errors.ts';
import type { FramePort } from '../io/frame-port.ts';
import { splitFrame } from '../io/split.ts';
import type { LossReason, Underlay } from '../io/underlay.ts';
import type { Logger } from './options.ts';

const BATCH_PACKETS = 32;
/** The worker blocks of the one queue. */
const ENCAP_BLOCK = 0;
const DECAP_BLOCK = 1;
/** VXLAN and inner Ethernet header, which a device's bytes leave out. */
const UNCOUNTED_BYTES = 22;

const LOSSES: Readonly<Record<LossReason, CounterName>> = {
  full: 'drop_socket_full',
  'too-big': 'drop_too_big',
  unreachable: 'drop_unreachable',
  refused: 'drop_refused',
  error: 'drop_send_error',
};

/** By place of the frame; undefined: it has none. */
type Headers = readonly (Uint8Array | undefined)[];

interface Received {
  bytes: Uint8Array;
  sender: string;
  port: number;
  tos: number;
  segment: number;
}

export class Carrier {
  readonly #plane: Dataplane;
  readonly #underlay: Underlay;
  readonly #log: Logger;
  readonly #queue: Queue;
  readonly #frames;
  readonly #datagrams;
  /** By number of the device. */
  readonly #ports = new Map<number, FramePort>();
  /** Datagrams in the first slots, and the port that they came to. */
  #waiting = 0;
  #port = 0;
  /** How many there may be in all, where slots hold bundles. */
  #datagramsWaiting = 0;
  /** What came while the slots were being walked. */
  #received: Received[] = [];
  #isWalking = false;
  #isScheduled = false;
  #isSending = false;
  /** What came while a batch was being sent, by a port or underlay that calls back at once. */
  #later: (() => void)[] = [];
  #replies: { device: number; frames: Uint8Array[]; headers: Uint8Array[] }[] = [];
  #isClosed = false;
  batches = 0;

  /** @param hookFailed hears of hooks that fail */
  constructor(plane: Dataplane, underlay: Underlay, log: Logger, hookFailed: (failure: HookFailure) => void) {
    this.#plane = plane;
    this.#underlay = underlay;
    this.#log = log;
    this.#queue = new Queue(plane.views, plane.exports);
    this.#queue.hookFailed = hookFailed;
    this.#frames = this.#queue.frames(BATCH_PACKETS, FRAME_BYTES);
    this.#datagrams = this.#queue.datagrams(BATCH_PACKETS, RECEIVE_BUFFER_BYTES);
    this.#queue.replied = (device, frame, virtio) => this.#keep(device, new Uint8Array(frame), virtio);
  }

  /** Frames for the device go to the port from now on; undefined: nowhere. */
  attach(device: number, port: FramePort | undefined): void {
    if (port === undefined) this.#ports.delete(device);
    else this.#ports.set(device, port);
  }

  /** @throws VtepError USAGE, NO_SPACE; then nothing has changed */
  setHook(
    device: number,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined {
    return this.#queue.setHook(device, direction, hook);
  }

  /** Frames that a device is to send. Never throws. @param headers virtio headers of those that have some */
  send(device: number, frames: readonly Uint8Array[], headers: Headers = []): void {
    if (this.#isClosed || !this.#ports.has(device)) return;
    if (this.#isSending) {
      const copies = frames.map((frame) => new Uint8Array(frame));
      const kept = headers.map((header) => (header === undefined ? header : new Uint8Array(header)));
      this.#postpone(() => this.send(device, copies, kept));
      return;
    }
    this.#isSending = true;
    try {
      for (let at = 0; at < frames.length; ) at = this.#sendSome(device, frames, headers, at);
    } catch (error) {
      this.#log('error', `encap: ${String((error as Error).stack ?? error)}`);
    } finally {
      this.#isSending = false;
      this.#flush();
    }
    this.#handReplies();
    this.#plane.relayEvents(ENCAP_BLOCK);
  }

  /** A datagram from the underlay, or a bundle of them, whose bytes are its own again when this returns. */
  receive(bytes: Uint8Array, sender: string, port: number, tos: number, segment = 0): void {
    if (this.#isClosed) return;
    const received = { bytes, sender, port, tos, segment };
    const hasToWalk = this.#waiting > 0 && !this.#hasRoomFor(received);
    // No decap in the midst of an encap, whose place in memory its hooks may need.
    if (this.#isWalking || this.#received.length > 0 || (this.#isSending && hasToWalk))
      this.#received.push({ ...received, bytes: new Uint8Array(bytes) });
    else this.#take(received);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Those that the same turn of the event loop brings make a batch.
    setImmediate(() => this.#receiveAll());
  }

  /** What the engine has counted as sent is taken back. */
  lost(device: number, bytes: number, reason: LossReason): void {
    this.#count(ENCAP_BLOCK, device, LOSSES[reason], 1);
    this.#count(ENCAP_BLOCK, device, 'encap_packets', -1);
    this.#count(ENCAP_BLOCK, device, 'encap_bytes', UNCOUNTED_BYTES - bytes);
  }

  close(): void {
    this.#isClosed = true;
    this.#received = [];
    this.#ports.clear();
    this.#queue.close();
  }

  /** One batch. Returns where the next one begins. */
  #sendSome(device: number, frames: readonly Uint8Array[], headers: Headers, first: number): number {
    const { slots } = this.#frames;
    let count = 0;
    let at = first;
    for (; at < frames.length && count < slots.length; ++at) {
      const frame = frames[at];
      const header = headers[at];
      if (!isFrame(frame) || (header !== undefined && !isHeader(header))) {
        this.#count(ENCAP_BLOCK, device, 'drop_tap_read', 1);
        continue;
      }
      const slot = slots[count++]!;
      slot.write(frame, header);
      slot.device = device;
    }
    if (count === 0 || !this.#plane.devices.isUp(device)) return at;
    ++this.batches;
    const sent = this.#queue.encap(this.#frames, count);
    while (sent.next()) {
      const reason = this.#trySend(sent);
      if (reason !== undefined) this.lost(sent.device, sent.length, reason);
    }
    return at;
  }

  #trySend(datagram: Parameters<Underlay['send']>[0]): LossReason | undefined {
    try {
      return this.#underlay.send(datagram);
    } catch (error) {
      this.#log('error', `underlay ${this.#underlay.kind}: send: ${String(error)}`);
      return 'error';
    }
  }

  #flush(): void {
    try {
      this.#underlay.flush?.();
    } catch (error) {
      this.#log('error', `underlay ${this.#underlay.kind}: flush: ${String(error)}`);
    }
  }

  #receiveAll(): void {
    this.#isScheduled = false;
    if (this.#isClosed) return;
    this.#walk();
    for (const received of this.#received.splice(0)) this.#take(received);
    this.#walk();
    if (!this.#isClosed) this.#plane.relayEvents(DECAP_BLOCK);
  }

  #hasRoomFor({ bytes, port, segment }: Received): boolean {
    const datagrams = this.#datagramsWaiting + datagramsIn(bytes.length, segment);
    return this.#waiting < this.#datagrams.slots.length && this.#port === port && datagrams <= ARRIVAL_COUNT;
  }

  /** Into a slot; those before it are walked when they came to another port, or there is no room left. */
  #take(received: Received): void {
    if (!this.#hasRoomFor(received)) this.#walk();
    if (this.#isClosed) return;
    const { bytes, sender, port, tos, segment } = received;
    this.#port = port;
    const slot = this.#datagrams.slots[this.#waiting]!;
    const datagrams = datagramsIn(bytes.length, segment);
    try {
      if (!(datagrams <= ARRIVAL_COUNT)) throw new VtepError('USAGE', `a bundle of ${datagrams} datagrams`);
      slot.write(bytes, sender);
      slot.tos = tos;
      slot.segment = segment;
      this.#datagramsWaiting += datagrams;
      ++this.#waiting;
    } catch {
      // No datagram that a socket could have handed out.
      this.#count(DECAP_BLOCK, 0, 'drop_truncated', 1);
    }
  }

  /** The datagrams in slots, as a batch. */
  #walk(): void {
    const count = this.#waiting;
    if (count === 0 || this.#isClosed) return;
    this.#waiting = 0;
    this.#datagramsWaiting = 0;
    this.#isWalking = true;
    try {
      this.#walkSlots(count);
    } finally {
      this.#isWalking = false;
    }
  }

  #walkSlots(count: number): void {
    ++this.batches;
    const arrived = this.#queue.decap(this.#datagrams, this.#port, count);
    this.#forward();
    let device = 0;
    let frames: Uint8Array[] = [];
    let headers: Uint8Array[] = [];
    while (arrived.next()) {
      if (arrived.device !== device) {
        this.#hand(device, frames, headers);
        device = arrived.device;
        frames = [];
        headers = [];
      }
      if (this.#ports.get(device)?.takesSuperFrames) {
        frames.push(arrived.bytes);
        headers.push(arrived.virtio);
      } else if (arrived.isSuper) {
        frames.push(...(splitFrame(arrived.bytes, arrived.virtio) ?? []));
      } else {
        arrived.complete();
        frames.push(arrived.bytes);
      }
    }
    this.#hand(device, frames, headers);
  }

  /** What hooks of decap have sent into tunnels, before a port has frames to answer with. */
  #forward(): void {
    const { forwarded } = this.#queue;
    this.#isSending = true;
    try {
      while (forwarded.next()) {
        const reason = this.#trySend(forwarded);
        if (reason !== undefined) this.lost(forwarded.device, forwarded.length, reason);
      }
    } finally {
      this.#isSending = false;
    }
    this.#flush();
    this.#handReplies();
  }

  #handReplies(): void {
    if (this.#replies.length === 0) return;
    for (const { device, frames, headers } of this.#replies.splice(0)) this.#hand(device, frames, headers);
  }

  /** A frame for a port, which is handed over when the batch has left. @param virtio absent: it is whole */
  #keep(device: number, frame: Uint8Array, virtio?: Uint8Array): void {
    const takesAny = this.#ports.get(device)?.takesSuperFrames === true;
    const frames = virtio === undefined || takesAny ? [frame] : (splitFrame(frame, virtio) ?? []);
    const headers = virtio !== undefined && takesAny ? [new Uint8Array(virtio)] : [];
    this.#replies.push({ device, frames, headers });
  }

  /** Frames that have arrived, to the device's port. */
  #hand(device: number, frames: readonly Uint8Array[], headers?: readonly Uint8Array[]): void {
    if (frames.length === 0) return;
    const port = this.#ports.get(device);
    let taken = 0;
    try {
      if (port !== undefined) taken = headers?.length ? port.write(frames, headers) : port.write(frames);
    } catch (error) {
      this.#log('error', `port ${port?.kind}: write: ${String(error)}`);
    }
    if (!(taken >= 0 && taken <= frames.length)) taken = 0;
    if (taken < frames.length) this.#count(DECAP_BLOCK, device, 'drop_tap_write', frames.length - taken);
  }

  #postpone(work: () => void): void {
    if (this.#later.push(work) > 1) return;
    setImmediate(() => {
      for (const one of this.#later.splice(0)) one();
    });
  }

  #count(block: number, device: number, name: CounterName, amount: number): void {
    addToCounter(this.#plane.views, block, device, name, amount);
  }
}

function isFrame(frame: unknown): frame is Uint8Array {
  return frame instanceof Uint8Array && frame.length <= FRAME_BYTES;
}

function isHeader(header: unknown): boolean {
  return header instanceof Uint8Array && header.length === VIRTIO_HEADER_BYTES;
}
