/**
 * The batch door: views into the dataplane's memory, which the caller fills and reads in place. Nothing is copied and
 * nothing is allocated per packet.
 *
 *   const frames = queue.frames(64);                     once
 *   for (const slot of frames.slots) ...                 fill: slot.bytes, slot.length, slot.device
 *   const sent = queue.encap(frames);
 *   while (sent.next()) socket.send(sent.bytes, sent.port, sent.address);
 *
 * Who may touch what, and when:
 *
 *   slot.bytes       the caller's from `frames(n)` to `release()`. Encap writes the eight bytes before it, and takes
 *                    the VLAN tag off where the device is external; so fill it anew before each encap
 *   sent.bytes       the slot's memory with the VXLAN header before the frame: as it is until the slot is filled again
 *                    or its batch is released. Whoever sends without waiting keeps two batches and takes turns
 *   sent.port, ...   until the next `next()`, and until the next encap on the queue
 *   a datagram slot  likewise; `frames` of decap lie in it
 *
 * A batch that has been released is over: its slots, and every call with it, throw USAGE. A view that was kept still
 * shows memory that others now fill: it lies within one slot, so no table can be harmed through it.
 */

import type { CompiledHook, HookProgram } from './hook-program.ts';
import type { HookDirection, HookFailure, HookFunction } from './hook-types.ts';
import type { FrameRing } from './ring.ts';

/** Room for one frame. */
export interface FrameSlot {
  /** From the Ethernet header on; as long as the slot. @throws VtepError USAGE when the batch has been released */
  readonly bytes: Uint8Array;
  /** Bytes of the frame. */
  length: number;
  /** Number of the device that is to send it, as `addDevice` gave it. */
  device: number;
  /** The virtio header that `write` was given with the frame; undefined: there is nothing left to do to it. */
  readonly virtio: Uint8Array | undefined;
  /**
   * Copies a frame in and sets the length.
   * @param virtio struct virtio_net_hdr, 10 bytes, of a frame that came with one: encap completes the checksum, and cuts
   *   a super-frame into as many datagrams as it says
   * @throws VtepError USAGE when it is too long
   */
  write(frame: Uint8Array, virtio?: Uint8Array): void;
}

/** Slots of one queue, as long as they are wanted. */
export interface FrameBatch {
  readonly slots: readonly FrameSlot[];
  /** Gives the slots back; what encap left of the batch goes nowhere. @throws VtepError USAGE when it was released before */
  release(): void;
}

/**
 * The datagrams of a batch, one after the other; the object itself shows the one at hand.
 * @throws VtepError USAGE, by all of it, when there is none at hand, or another encap has come since
 */
export interface SentDatagrams {
  /** On to the next one, or the first. False: there is none. */
  next(): boolean;
  /** The UDP payload: VXLAN header and frame. The same view as the last time, where slot and size are the same. */
  readonly bytes: Uint8Array;
  /**
   * Where that begins in the memory (`queue.memory`), in bytes, for those who do without views; -1: nowhere, `bytes`
   * is a copy, because the frame also goes out under another VNI. What was cut from a super-frame lies there until the
   * next `next()`, and `bytes` is a copy.
   */
  readonly offset: number;
  readonly length: number;
  /** "192.0.2.1", "2001:db8::1" */
  readonly address: string;
  readonly port: number;
  /** 0 to 63, by the hash of the inner flow, computed when it is asked for: choose the source port by it. */
  readonly flow: number;
  /** Outer TOS, and TTL; 0 = the socket's own */
  readonly tos: number;
  readonly ttl: number;
  readonly df: boolean;
  /** IPv6 flow label, 0 = none */
  readonly flowLabel: number;
  /** Number of the device that sent it. */
  readonly device: number;
}

/** Room for one datagram. */
export interface DatagramSlot {
  /** The UDP payload; as long as the slot. @throws VtepError USAGE when the batch has been released */
  readonly bytes: Uint8Array;
  /** Bytes of the datagram. */
  length: number;
  /** Address that it came from. Stays until another one is set. @throws VtepError USAGE when it is no IP address */
  sender: string;
  /** Outer TOS or traffic class, whose last two bits are ECN; 0 */
  tos: number;
  /**
   * What a socket with UDP_GRO reports: the slot holds several datagrams of so many bytes, of which the last may be
   * shorter, or one with a super-frame of UDP; decap tells which. 0 = it is one. All those of a call together are 256 at
   * most.
   */
  segment: number;
  /** Copies a datagram in and sets length and sender, and `segment` to 0. @throws VtepError USAGE */
  write(datagram: Uint8Array, sender: string): void;
}

/** Slots for datagrams of one queue, as long as they are wanted. */
export interface DatagramBatch {
  readonly slots: readonly DatagramSlot[];
  /** Gives the slots back. @throws VtepError USAGE when it was released before */
  release(): void;
}

/** The frames that came out of a batch of datagrams; as `SentDatagrams`. */
export interface ArrivedFrames {
  /** On to the next one, or the first. False: there is none. */
  next(): boolean;
  /** From the Ethernet header on, in the slot of the datagram. */
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly length: number;
  /** Number of the device it is for. */
  readonly device: number;
  /** VNI it came with. */
  readonly vni: number;
  /** Place of its datagram in the batch. */
  readonly slot: number;
  /**
   * The sender left the checksum of TCP or UDP open, as kernels do on virtual links. `complete` computes it in place;
   * nothing happens where there is nothing to do.
   */
  readonly isPartial: boolean;
  /** Computes the checksum that was left open, in place. */
  complete(): void;
  /** Whether it is a super-frame of TCP, which senders on virtual links don't cut: `virtio` says how to cut it. */
  readonly isSuper: boolean;
  /** struct virtio_net_hdr of the frame, 10 bytes, for devices that take one. */
  readonly virtio: Uint8Array;
}

/**
 * Frames that encap has for a device itself: answers of the ARP and ND proxy, and what hooks send out of ports.
 * @param virtio its header, where the frame is a super-frame or its checksum is open: it came that way
 */
export type Replied = (device: number, frame: Uint8Array, virtio?: Uint8Array) => void;

/** What one thread uses to carry packets: slots, scratch and counters of its own, on the dataplane's tables. */
export interface DataplaneQueue {
  /** 0 = the one of the thread that made the dataplane. */
  readonly number: number;
  /** All of the dataplane's memory. Anything may be broken by writing to it outside of slots. */
  readonly memory: Uint8Array;
  /** Hears of replies during encap; the frame is a view that ends with the call. Devices with `proxy`, `rsc` or hooks have them. */
  replied: Replied | undefined;
  /** Hears of hooks that fail; in the thread that made the dataplane, those who `subscribe` do, until another is set. */
  hookFailed: ((failure: HookFailure) => void) | undefined;
  /**
   * Claims slots: once, not for each batch. All batches of frames together have 4 MiB, and so have those of datagrams.
   * @param count 1 to 256; of datagrams all batches together
   * @param bytes room of each slot, up to 65,590 for a frame, 65,536 for a datagram; 2048. Small slots lie close
   *   together, which is faster
   * @throws VtepError USAGE, NO_SPACE
   */
  frames(count: number, bytes?: number): FrameBatch;
  /** As `frames`, for `decap`. @throws VtepError USAGE, NO_SPACE */
  datagrams(count: number, bytes?: number): DatagramBatch;
  /**
   * Slots that another thread fills (or reads), of the memory that batches of frames have.
   * @param count a power of two, to 256
   * @throws VtepError USAGE, NO_SPACE
   */
  ring(count: number, bytes?: number): FrameRing;
  /**
   * Sends the first `count` frames of a batch, or at most so many of those that a ring's producer has published;
   * absent: all. What must be dropped is counted, and no datagram.
   * @throws VtepError USAGE (length, batch, or the last one's datagrams have not all been taken), NOT_FOUND (device);
   *   then nothing has been sent
   */
  encap(frames: FrameBatch | FrameRing, count?: number): SentDatagrams;
  /**
   * Takes the first `count` datagrams of a batch, which came to UDP `port` of this host.
   * @param port 8472
   * @throws VtepError USAGE; then nothing has been taken
   */
  decap(datagrams: DatagramBatch, port?: number, count?: number): ArrivedFrames;
  /**
   * Has a hook decide on the packets that a device carries through this queue, from the next batch on: a function, or
   * what `compileHook` gave. `undefined`: none any more.
   * @returns of a module its instance, which can be configured and read
   * @throws VtepError NOT_FOUND, USAGE, NO_SPACE; then nothing has changed
   */
  setHook(
    device: number,
    direction: HookDirection,
    hook: HookFunction | CompiledHook | undefined,
  ): HookProgram | undefined;
  /**
   * The datagrams that the hooks of the last decap sent into tunnels, in the slots of those that came; `bytes` of one
   * that was cut from a super-frame lasts until the next `next()`. To be taken before slots are filled again; what is left at the next encap or decap is dropped, and counted as `drop_hook_forward`.
   * So is all of it, when the datagrams of an encap before it have not all been taken.
   */
  readonly forwarded: SentDatagrams;
  /** Leaves the memory to others; batches end. Nothing when it is closed. */
  close(): void;
}
