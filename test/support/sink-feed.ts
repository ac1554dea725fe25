/** Lays datagrams into a sink's memory as recvmmsg does, and keeps what comes out. */
import {
  AF_INET,
  AF_INET6,
  MMSGHDR_BYTES,
  MMSGHDR_CONTROL_LENGTH_OFFSET,
  MMSGHDR_FLAGS_OFFSET,
  MMSGHDR_LENGTH_OFFSET,
} from '../../assembly/layout.ts';
import {
  SINK_BUFFER_BYTES,
  SINK_BUFFERS_BASE,
  SINK_RECEIPT_BYTES,
  SINK_RECEIPT_CONTROL_OFFSET,
  SINK_RECEIPTS_BASE,
  SINK_RECEIVE_COUNT,
  SINK_RECEIVES_BASE,
} from '../../assembly/sink-layout.ts';
import type { Output } from '../../src/sink/output.ts';
import { Recorder, type RecorderOptions } from '../../src/sink/recorder.ts';
import type { Walk } from '../../src/sink/walk.ts';
import { concat, ipBytes } from './frames.ts';

export interface Fed {
  source: string;
  /** More than one: a bundle (UDP_GRO), all but the last of one length. */
  datagrams: readonly Uint8Array[];
  /** Nanoseconds since 1970. */
  time: bigint;
  flags?: number;
}

class MemoryOutput implements Output {
  pieces: Uint8Array[] = [];
  limit = Number.POSITIVE_INFINITY;
  sections: Uint8Array[] = [];
  #bytes = 0;
  write(blocks: Uint8Array): void {
    this.pieces.push(blocks.slice());
    this.#bytes += blocks.length;
  }
  room(): number {
    return Math.max(this.limit - this.#bytes, 70_000);
  }
  wantsSection(): boolean {
    return this.#bytes > this.limit;
  }
  nextSection(): void {
    this.close();
  }
  dueIn(): number {
    return Number.POSITIVE_INFINITY;
  }
  close(): void {
    this.sections.push(concat(...this.pieces));
    this.pieces = [];
    this.#bytes = 0;
  }
}

/** @param limit bytes of a section */
export function recorderOf(
  options: Partial<RecorderOptions> = {},
  limit = Number.POSITIVE_INFINITY,
): {
  recorder: Recorder;
  output: MemoryOutput;
  finish(): Uint8Array;
} {
  const output = new MemoryOutput();
  output.limit = limit;
  const all = { ports: [4789], vnis: undefined, filter: '', snaplen: 0, ...options };
  const recorder = new Recorder(all, [output], () => 0);
  const finish = () => {
    recorder.finish();
    output.close();
    return output.sections.at(-1)!;
  };
  return { recorder, output, finish };
}

export function feed({ bytes, view }: Walk, messages: readonly Fed[]): void {
  messages.forEach(({ datagrams, flags = 0, source, time }, index) => {
    const message = SINK_RECEIVES_BASE + index * MMSGHDR_BYTES;
    const receipt = SINK_RECEIPTS_BASE + index * SINK_RECEIPT_BYTES;
    const data = concat(...datagrams);
    bytes.set(data, SINK_BUFFERS_BASE + index * SINK_BUFFER_BYTES);
    view.setUint32(message + MMSGHDR_LENGTH_OFFSET, data.length, true);
    view.setUint32(message + MMSGHDR_FLAGS_OFFSET, flags, true);
    const isIpv6 = source.includes(':');
    view.setUint16(receipt, isIpv6 ? AF_INET6 : AF_INET, true);
    bytes.set(ipBytes(source), receipt + (isIpv6 ? 8 : 4));
    let at = receipt + SINK_RECEIPT_CONTROL_OFFSET;
    const begin = at;
    const control = (level: number, kind: number, length: number) => {
      view.setBigUint64(at, BigInt(16 + length), true);
      view.setUint32(at + 8, level, true);
      view.setUint32(at + 12, kind, true);
      const value = at + 16;
      at = value + ((length + 7) & ~7);
      return value;
    };
    const stamp = control(1, 35, 16);
    view.setBigUint64(stamp, time / 1_000_000_000n, true);
    view.setBigUint64(stamp + 8, time % 1_000_000_000n, true);
    if (datagrams.length > 1) view.setUint32(control(17, 104, 4), datagrams[0]!.length, true);
    view.setUint32(message + MMSGHDR_CONTROL_LENGTH_OFFSET, at - begin, true);
  });
}

/** Feeds any number of messages, in batches. */
export function walkAll(walk: Walk, messages: readonly Fed[]): void {
  for (let first = 0; first < messages.length; first += SINK_RECEIVE_COUNT) {
    const batch = messages.slice(first, first + SINK_RECEIVE_COUNT);
    feed(walk, batch);
    walk.run(batch.length);
  }
}
