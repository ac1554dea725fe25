/** Packets for a callback: pieces of memory of their own, with what is needed to read them. */
import type { Output } from './output.ts';
import { packetsIn } from './pcapng.ts';

/** A packet that the sink received. */
export interface SinkPacket {
  vni: number;
  /** Outer source address. */
  source: string;
  /** Nanoseconds since 1970. */
  timestamp: bigint;
  /** The inner Ethernet frame, as far as it came and `snaplen` lets it; the receiver's to keep. */
  data: Uint8Array;
  /** Bytes of the frame before anybody cut it. */
  originalLength: number;
}

/** Blocks and the interfaces that are new in them. */
export interface Piece {
  blocks: Uint8Array<ArrayBuffer>;
  admitted: { id: number; vni: number; source: string }[];
  /** Interfaces are numbered anew. */
  section: boolean;
}

export class PacketOutput implements Output {
  readonly #hand: (piece: Piece) => void;
  #admitted: Piece['admitted'] = [];
  #section = true;

  constructor(hand: (piece: Piece) => void) {
    this.#hand = hand;
  }

  admitted(id: number, vni: number, source: string): void {
    this.#admitted.push({ id, vni, source });
  }

  write(blocks: Uint8Array): void {
    const piece = { blocks: blocks.slice(), admitted: this.#admitted, section: this.#section };
    this.#admitted = [];
    this.#section = false;
    this.#hand(piece);
  }

  room(): number {
    return Number.POSITIVE_INFINITY;
  }

  wantsSection(): boolean {
    return false;
  }

  nextSection(): void {
    this.#section = true;
  }

  dueIn(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {}
}

/** Reads pieces on the side of the callback. */
export class PieceReader {
  readonly #interfaces = new Map<number, { vni: number; source: string }>();

  packets({ admitted, blocks, section }: Piece): SinkPacket[] {
    if (section) this.#interfaces.clear();
    for (const { id, vni, source } of admitted) this.#interfaces.set(id, { vni, source });
    return Array.from(packetsIn(blocks), ({ at, bytes, interface: id, original, timestamp }) => ({
      ...this.#interfaces.get(id)!,
      timestamp,
      data: blocks.subarray(at, at + bytes),
      originalLength: original,
    }));
  }
}
