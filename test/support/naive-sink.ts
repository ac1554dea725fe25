/** What the sink is to do with a datagram, written to be read: the reference of assembly/sink.ts. */
import type { SinkCounter } from '../../src/sink/counters.ts';

export interface NaiveVerdict {
  counter: SinkCounter;
  vni: number;
  frame: Buffer;
  original: number;
  comment: string | undefined;
}

export function naiveSink(datagram: Uint8Array): NaiveVerdict {
  const bytes = Buffer.from(datagram);
  const verdict = { vni: 0, frame: Buffer.alloc(0), original: 0, comment: undefined };
  if (bytes.length < 8) return { ...verdict, counter: 'drop_short_datagram' };
  const [first, second] = [bytes[0]!, bytes.readUInt16BE(2)];
  // RFC 8926: version 0, length of options in words, then the protocol; the last byte of the header is 0.
  const fits = 8 + (first & 0x3f) * 4 <= bytes.length;
  if ((first & 0xc0) === 0 && bytes[7] === 0 && fits) {
    if (second === 0x6558) return { ...verdict, counter: 'drop_geneve' };
    if ((second === 0x0800 || second === 0x86dd) && (first & 8) === 0)
      return { ...verdict, counter: 'drop_geneve' };
  }
  if ((first & 0x04) !== 0 && (first & 0x80) === 0) return { ...verdict, counter: 'drop_gpe' };
  if ((first & 0x08) === 0) return { ...verdict, counter: 'drop_no_vni_flag' };
  if (bytes.length < 22) return { ...verdict, counter: 'drop_short_inner_frame' };
  const frame = bytes.subarray(8);
  const header = bytes.subarray(0, 8).toString('hex');
  const plain = /^08000000......00$/.test(header);
  return {
    counter: 'packets',
    vni: bytes.readUIntBE(4, 3),
    frame,
    original: originalLength(frame),
    comment: plain ? undefined : `VXLAN header 0x${header}`,
  };
}

function originalLength(frame: Buffer): number {
  let at = 12;
  while (at + 6 <= frame.length && [0x8100, 0x88a8].includes(frame.readUInt16BE(at))) at += 4;
  const type = frame.readUInt16BE(at);
  const ip = frame.subarray(at + 2);
  let told = 0;
  if (type === 0x0800 && ip.length >= 4 && ip[0]! >> 4 === 4 && ip.readUInt16BE(2) >= 20)
    told = at + 2 + ip.readUInt16BE(2);
  if (type === 0x86dd && ip.length >= 6 && ip[0]! >> 4 === 6 && ip.readUInt16BE(4) > 0)
    told = at + 2 + 40 + ip.readUInt16BE(4);
  return Math.max(told, frame.length);
}
