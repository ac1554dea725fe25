/**
 * TCP streams cut into segments, with one thing or another in the middle that forbids merging, and the rules by which
 * what a receiver's stack was given is held against what was sent: a merged frame may only hold segments that belong
 * together and whose checksums were right, and everything else comes through as it is.
 */

import type { CapturedFrame } from './capture.ts';
import { ethernet, hexdump, ipv4, ipv6, pattern, tcp, udp } from './traffic-frames.ts';
import { faults } from './traffic-packets.ts';
import { HOSTS } from './traffic-vtep.ts';

const [MASTER, WORKER] = HOSTS;
const PAYLOAD = 1000;
const SEGMENTS = 24;
const CWR = 0x80;
const URG = 0x20;
const PSH = 0x08;
const RST = 0x04;
const SYN = 0x02;
const FIN = 0x01;
const ACK = 0x10;

/** Frames to send in one go, and what they are about. */
export interface Scene {
  name: string;
  frames: Uint8Array[];
}

interface Segment {
  sequence: number;
  payload?: number;
  flags?: number;
  acknowledge?: number;
  tos?: number;
  ttl?: number;
  port?: number;
  id?: number;
  options?: readonly number[];
  ip4?: Partial<Parameters<typeof ipv4>[0]>;
  tags?: readonly (readonly [number, number])[];
}

function segment(v6: boolean, fields: Segment): Uint8Array {
  const { sequence, payload = PAYLOAD, flags = ACK, acknowledge = 77, tos = 0, ttl = 64, port = 80 } = fields;
  const [from, to] = v6 ? ['fd01::1', 'fd01::2'] : ['10.1.0.1', '10.1.0.2'];
  const options = fields.options ?? [];
  const ports = { from, to, sourcePort: 40_000, port, sequence, acknowledge, flags, options };
  const body = tcp(ports, pattern(payload, sequence));
  const packet = v6
    ? ipv6({ from, to, next: 6, tos, hopLimit: ttl }, body)
    : ipv4(
        {
          from,
          to,
          protocol: 6,
          tos,
          ttl,
          id: fields.id ?? 1 + sequence / PAYLOAD,
          fragment: 0x4000,
          ...fields.ip4,
        },
        body,
      );
  const ends = { to: WORKER.vtepMac, from: MASTER.vtepMac, tags: fields.tags ?? [] };
  return ethernet({ ...ends, type: v6 ? 0x86dd : 0x0800 }, packet);
}

/** A run of segments of which each is changed as `change` says by its place. */
function stream(v6: boolean, change: (i: number) => Partial<Segment> = () => ({})): Uint8Array[] {
  const frames: Uint8Array[] = [];
  let sequence = 1_000_000;
  for (let i = 0; i < SEGMENTS; i++) {
    const fields = { sequence, ...change(i) };
    frames.push(segment(v6, fields));
    sequence += fields.payload ?? PAYLOAD;
  }
  return frames;
}

const MIDDLE = SEGMENTS / 2;
const inMiddle = (fields: Partial<Segment>) => (i: number) => (i === MIDDLE ? fields : {});

function broken(frames: Uint8Array[], at: (frame: Uint8Array) => number): Uint8Array[] {
  const frame = frames[MIDDLE]!;
  const place = at(frame);
  frame[place] = (frame[place] ?? 0) ^ 0x10;
  return frames;
}

function moved(frames: Uint8Array[], from: number, to: number): Uint8Array[] {
  const [frame] = frames.splice(from, 1);
  frames.splice(to, 0, frame!);
  return frames;
}

const timestamp = (value: number) => [1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, 9];

export function scenes(v6: boolean): Scene[] {
  const all: Record<string, Uint8Array[]> = {
    'an unbroken stream': stream(v6),
    'a stream that ends in a short segment with PSH': stream(v6, (i) =>
      i === SEGMENTS - 1 ? { payload: 333, flags: ACK | PSH } : {},
    ),
    'a wrong TCP checksum': broken(stream(v6), (frame) => frame.length - 1),
    'a wrong TCP checksum in the checksum itself': broken(stream(v6), () => 14 + (v6 ? 40 : 20) + 17),
    'a lost segment': stream(v6).toSpliced(MIDDLE, 1),
    'a segment that comes twice': stream(v6).flatMap((frame, i) => (i === MIDDLE ? [frame, frame] : [frame])),
    'a segment that comes late': moved(stream(v6), MIDDLE, MIDDLE + 3),
    'a congestion mark': stream(v6, (i) => ({ tos: i === MIDDLE ? 3 : 2 })),
    'another TOS': stream(v6, inMiddle({ tos: 0xb8 })),
    'another TTL': stream(v6, inMiddle({ ttl: 63 })),
    'another acknowledgement': stream(v6, (i) => ({ acknowledge: i < MIDDLE ? 77 : 78 })),
    'another timestamp': stream(v6, (i) => ({ options: timestamp(i < MIDDLE ? 1 : 2) })),
    'options that only one segment has': stream(v6, inMiddle({ options: timestamp(1) })),
    PSH: stream(v6, inMiddle({ flags: ACK | PSH })),
    FIN: stream(v6, inMiddle({ flags: ACK | FIN })),
    URG: stream(v6, inMiddle({ flags: ACK | URG })),
    RST: stream(v6, inMiddle({ flags: ACK | RST })),
    SYN: stream(v6, inMiddle({ flags: SYN })),
    CWR: stream(v6, inMiddle({ flags: ACK | CWR })),
    'a segment without payload': stream(v6, inMiddle({ payload: 0 })),
    'a short segment in the middle': stream(v6, inMiddle({ payload: 500 })),
    'a longer segment in the middle': stream(v6, inMiddle({ payload: 1200 })),
    'a tagged segment': stream(v6, inMiddle({ tags: [[0x8100, 5]] })),
    'two streams in turn': stream(v6, (i) => ({
      sequence: 5_000_000 + (i >> 1) * PAYLOAD,
      port: 80 + (i & 1),
    })),
  };
  if (!v6) {
    all['a wrong IPv4 header checksum'] = broken(stream(v6), () => 24);
    all['IPv4 options'] = stream(v6, inMiddle({ ip4: { options: Uint8Array.of(1, 1, 1, 0) } }));
    all['an IPv4 fragment'] = stream(v6, inMiddle({ ip4: { fragment: 0x2000 } }));
    all['DF in one half only'] = stream(v6, (i) => ({ ip4: { fragment: i < MIDDLE ? 0x4000 : 0 } }));
    all['a total length beyond the frame'] = stream(v6, inMiddle({ ip4: { totalLength: 1400 } }));
    all['a total length short of the frame'] = stream(v6, inMiddle({ ip4: { totalLength: 900 } }));
  }
  return Object.entries(all).map(([name, frames]) => ({ name, frames }));
}

/** UDP datagrams of one flow and one size, which must stay what they are. */
export function datagramScene(): Scene {
  const ports = { from: '10.1.0.1', to: '10.1.0.2', sourcePort: 40_000, port: 53 };
  const ends = { to: WORKER.vtepMac, from: MASTER.vtepMac, type: 0x0800 };
  const frames = Array.from({ length: SEGMENTS }, (_, i) =>
    ethernet(ends, ipv4({ ...ports, protocol: 17, id: i + 1 }, udp(ports, pattern(PAYLOAD, i)))),
  );
  return { name: 'UDP datagrams of one flow', frames };
}

interface Parsed {
  /** All up to the payload of TCP or UDP. */
  header: Uint8Array;
  payload: Uint8Array;
  /** A datagram has none: any place may be its own. */
  sequence?: number;
}

function parse(frame: Uint8Array): Parsed | undefined {
  const v6 = frame[12] === 0x86;
  const protocol = v6 ? frame[20] : frame[23];
  if (frame[12] === 0x81 || (protocol !== 6 && protocol !== 17)) return undefined;
  const tcpAt = 14 + (v6 ? 40 : ((frame[14] ?? 0) & 15) * 4);
  if (protocol === 17) return { header: frame.slice(0, tcpAt + 8), payload: frame.subarray(tcpAt + 8) };
  const payloadAt = tcpAt + ((frame[tcpAt + 12] ?? 0) >> 4) * 4;
  const sequence = new DataView(frame.buffer, frame.byteOffset).getUint32(tcpAt + 4);
  return { header: frame.slice(0, payloadAt), payload: frame.subarray(payloadAt), sequence };
}

/** A header without what merging changes: lengths, IP id, checksums, sequence number, PSH and FIN. */
function unchanging({ header, sequence }: Parsed): string {
  const copy = Buffer.from(header);
  const v6 = copy[12] === 0x86;
  const tcpAt = 14 + (v6 ? 40 : ((copy[14] ?? 0) & 15) * 4);
  if (v6) copy.fill(0, 18, 20);
  else copy.fill(0, 16, 20).fill(0, 24, 26);
  copy.fill(0, tcpAt + 4, tcpAt + 8);
  if (sequence === undefined) return copy.toString('hex');
  copy.fill(0, tcpAt + 16, tcpAt + 18);
  copy[tcpAt + 13] = (copy[tcpAt + 13] ?? 0) & ~(PSH | FIN);
  return copy.toString('hex');
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

/** Which of `sent` a frame consists of, by index and in order, or what is wrong with it. */
function constituents(frame: Uint8Array, sent: readonly Uint8Array[], used: Set<number>): number[] | string {
  const whole = sent.findIndex((other, i) => !used.has(i) && same(other, frame));
  if (whole >= 0) return [whole];
  const merged = parse(frame);
  if (!merged) return 'was not sent';
  const indices: number[] = [];
  for (let at = 0; at < merged.payload.length; ) {
    const index = sent.findIndex((other, i) => {
      const part = parse(other);
      if (!part || used.has(i) || indices.includes(i) || part.payload.length === 0) return false;
      const range = merged.payload.subarray(at, at + part.payload.length);
      const place = merged.sequence === undefined || part.sequence === merged.sequence + at;
      return place && same(range, part.payload) && unchanging(part) === unchanging(merged);
    });
    if (index < 0) return `holds bytes at ${at} that are of no segment that may be there`;
    if (faults(sent[index]!).length > 0) return `holds a segment with a fault: ${faults(sent[index]!)}`;
    indices.push(index);
    at += parse(sent[index]!)!.payload.length;
  }
  return indices;
}

/** Whether nothing about a frame forbids merging it with its neighbours. */
export function isOrdinary(frame: Uint8Array): boolean {
  const fragmentOrOptions = frame[12] === 8 && (frame[14] !== 0x45 || ((frame[20] ?? 0) & 0x3f) !== 0);
  return faults(frame).length === 0 && !fragmentOrOptions;
}

/** What is wrong with how a frame that consists of `parts` is presented. */
function misrepresented(frame: CapturedFrame, parts: readonly Uint8Array[]): string | null {
  const found = faults(frame.data);
  if (parts.length === 1)
    return found.length > 0 && frame.checksumNotReady
      ? `has its wrong checksum taken for an unfinished one`
      : null;
  const left = found.filter((fault) => !(/^(TCP|UDP) checksum$/.test(fault) && frame.checksumNotReady));
  return left.length > 0 ? `is merged with a fault: ${left}` : null;
}

export interface Verdict {
  problems: string[];
  /** Frames given to the stack. */
  received: number;
  /** The order in which sent frames came out. */
  order: number[];
}

/** Holds what came out against what went in. */
export function judge(sent: readonly Uint8Array[], received: readonly CapturedFrame[]): Verdict {
  const used = new Set<number>();
  const problems: string[] = [];
  const order: number[] = [];
  for (const frame of received) {
    const indices = constituents(frame.data, sent, used);
    const problem =
      typeof indices === 'string'
        ? indices
        : misrepresented(
            frame,
            indices.map((index) => sent[index]!),
          );
    if (problem !== null)
      problems.push(
        `a frame of ${frame.data.length} bytes ${problem}\n${hexdump(frame.data.subarray(0, 96))}`,
      );
    if (typeof indices === 'string') continue;
    for (const index of indices) used.add(index);
    order.push(...indices);
  }
  for (const [i, frame] of sent.entries())
    if (!used.has(i)) problems.push(`frame ${i} did not come out\n${hexdump(frame.subarray(0, 96))}`);
  return { problems, received: received.length, order };
}
