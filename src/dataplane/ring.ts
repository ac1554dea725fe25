/**
 * Rings: frames that one thread fills in and another takes, in place, in order. One producer, one consumer, two cursors
 * that only grow, each written by one of them:
 *
 *   cursor   written by   everything before it ...
 *   filled   producer     may be read by the consumer
 *   freed    consumer     may be filled again
 *
 *   who        may call
 *   producer   claim, publish       any thread: `ring.produce()`, `attachProducer(ring.share())`
 *   consumer   peek, release        any thread: `ring.consume()`, `attachConsumer(ring.share())`
 *              encap, release       the queue that has made the ring, in place
 *
 * A full ring gives no slot: whoever fills decides what is lost. A producer that ends in the midst of a frame has not
 * published it, and nobody sees it; the next one goes on where it was.
 */
import type { FrameSlot } from './batch.ts';

/** What another thread needs; may be posted. */
export interface SharedRing {
  readonly memory: WebAssembly.Memory;
  /** Where the ring lies in it, in bytes. */
  readonly base: number;
  /** Slots, and the bytes that each has room for. */
  readonly count: number;
  readonly bytes: number;
  /** Tells it from others that were there before. */
  readonly identity: number;
}

interface RingEnd {
  /**
   * Puts the thread to sleep until the other end has moved on or `milliseconds` are over; at once when there is
   * something to do.
   * @returns whether there is something to do: a slot to claim, a frame to peek at
   * @throws VtepError UNSUPPORTED where a thread may not sleep
   */
  wait(milliseconds?: number): boolean;
  /** Leaves the end to another thread. Nothing when it is closed. */
  close(): void;
}

/** @throws VtepError USAGE, by all of it but `close`, once the ring or this end of it is closed */
export interface RingProducer extends RingEnd {
  /**
   * The next free slot, to be filled in: bytes, `length` and `device`. Several may be claimed before they are published.
   * @returns undefined when the ring is full
   */
  claim(): FrameSlot | undefined;
  /** What has been claimed may be read by the consumer, in that order. */
  publish(): void;
}

/** @throws VtepError USAGE, by all of it but `close`, once the ring or this end of it is closed */
export interface RingConsumer extends RingEnd {
  /**
   * The next frame, of `length` bytes at the beginning of `bytes`. Several may be looked at before they are released.
   * @returns undefined when there is none
   */
  peek(): FrameSlot | undefined;
  /** What has been peeked at may be filled again. */
  release(): void;
}

/** A ring in the memory of a queue; of the thread that has the queue. */
export interface FrameRing {
  /** For `attachProducer` or `attachConsumer` in another thread. @throws VtepError UNSUPPORTED when the memory is not shared */
  share(): SharedRing;
  /** An end for this thread. @throws VtepError IN_USE when it is taken */
  produce(): RingProducer;
  /** Instead of `encap`. @throws VtepError IN_USE when it is taken, by `encap` too */
  consume(): RingConsumer;
  /** Frames that are published, and that `encap` has not taken. */
  readonly waiting: number;
  /** As a consumer's: sleeps until there are frames. */
  wait(milliseconds?: number): boolean;
  /**
   * What `encap` has taken may be filled again, and its datagrams end: those that were not taken go nowhere. To be
   * called when they have left.
   */
  release(): void;
  /** Leaves an end to the next thread, of one that ended without closing it. @throws VtepError USAGE */
  reclaim(end: 'producer' | 'consumer'): void;
  /** Gives the memory back, and both ends are closed. Nothing when it is closed. */
  close(): void;
}
