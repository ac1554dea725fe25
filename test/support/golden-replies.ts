/**
 * What Linux 6.18 answered to the frames of reply-world.ts, by the names of the cases; null = nothing. Written and checked
 * by interop-replies.test.ts.
 */
import { readFileSync } from 'node:fs';
import { concat } from './frames.ts';

/** Hex. */
export interface GoldenReplies {
  proxy: Record<string, string | null>;
  /** Inner frames as they came out of the tunnel; null: none did. */
  shortCircuit: Record<string, string | null>;
  /** Up to where the quote begins, and the bytes of the whole. */
  tooBig: Record<string, GoldenQuote | null>;
  /** The same, where the kernel answers against RFC 4443. */
  forbidden: Record<string, GoldenQuote | null>;
}

export interface GoldenQuote {
  head: string;
  bytes: number;
}

export const GOLDEN_FILE = new URL('./golden-replies.json', import.meta.url);

export const golden = JSON.parse(readFileSync(GOLDEN_FILE, 'utf8')) as GoldenReplies;

/** Ethernet, IP and ICMP header: what stands before the quote. */
export function headBytes(reply: Uint8Array): number {
  return reply[12] === 0x08 ? 14 + 20 + 8 : 14 + 40 + 8;
}

/** The whole reply: the rest of it quotes the frame. */
export function quoted({ head, bytes }: GoldenQuote, frame: Uint8Array): Uint8Array {
  const headers = Buffer.from(head, 'hex');
  return concat(headers, frame.subarray(14, 14 + bytes - headers.length));
}
