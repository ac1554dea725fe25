/**
 * A frame port: where the frames of a device come from and go to, when that is no TAP of our own. A program may hand
 * in any object of this shape; `createMemoryPort`, `fromDuplex` and `openMacvtap` make some.
 *
 * Frames are Ethernet frames without FCS, in batches. Whoever is handed a batch may look at it until it returns; what
 * it wants to keep it copies.
 */

/** What a port tells its device. */
export interface FrameSink {
  /**
   * Frames that the device is to send, the oldest first. Never throws.
   * @param headers struct virtio_net_hdr, 10 bytes, of those that have one: checksums that are open are completed, and
   *   super-frames cut
   */
  frames(batch: readonly Uint8Array[], headers?: readonly (Uint8Array | undefined)[]): void;
  /** There will be no more: the port was closed, by itself or under us. */
  closed(error?: Error): void;
  /** A line for the log. */
  warn(message: string): void;
}

/** Where the frames of a device come from and go to: Ethernet frames without FCS, in batches. */
export interface FramePort {
  /** What it is, in one word, for messages: "memory", "macvtap" ... */
  readonly kind: string;
  /** MAC of the interface behind it, `aa:bb:cc:dd:ee:ff`; the device has it unless it is given one. */
  readonly address?: string | undefined;
  /** Its MTU in bytes; likewise. */
  readonly mtu?: number | undefined;
  /**
   * Whether `write` understands virtio headers: then it is handed TCP super-frames and unfinished checksums as they
   * come. Other ports get whole frames, split and summed.
   */
  readonly takesSuperFrames?: boolean;
  /** Frames that it lost on their way to the device, because there were too many. */
  readonly dropped?: number;
  /** Frames begin to flow; called once, by the device. May throw: then the device isn't made. */
  start(sink: FrameSink): void;
  /**
   * Takes frames that have arrived.
   * @param headers to a port that takes super-frames: struct virtio_net_hdr of each, 10 bytes
   * @returns how many it took; the others are lost, and counted by the device (drop_tap_write)
   */
  write(frames: readonly Uint8Array[], headers?: readonly Uint8Array[]): number;
  /** Frees what it holds. Nothing when it is closed. */
  close(): void | Promise<void>;
}
