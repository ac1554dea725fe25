/**
 * pcapng (draft-ietf-opsawg-pcapng), the blocks that a capture needs, little-endian: what a section and an interface
 * begin with, and what a section ends with. Blocks of packets are written by assembly/sink.ts and read here.
 */
import { PCAPNG_PACKET_BLOCK, PCAPNG_PACKET_DATA_OFFSET } from '../../assembly/sink-layout.ts';

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;

const OPT_COMMENT = 1;
const SHB_OS = 3;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_DESCRIPTION = 3;
const IF_TSRESOL = 9;
const IF_FILTER = 11;
const ISB_STARTTIME = 2;
const ISB_ENDTIME = 3;
const ISB_IFRECV = 4;
const ISB_IFDROP = 5;
const ISB_OSDROP = 7;
const NANOSECONDS = 9;

type Option = readonly [code: number, value: Uint8Array];
const utf8 = new TextEncoder();
/** Texts of options are short: an interface's block has to fit behind the last packet's. */
const TEXT_MAX_BYTES = 256;
const text = (code: number, value: string): Option => [code, utf8.encode(value).subarray(0, TEXT_MAX_BYTES)];

export function sectionHeader(application: string, system: string): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true);
  // The section's length is not known.
  view.setBigInt64(8, -1n, true);
  return block(SECTION_HEADER, body, [text(SHB_OS, system), text(SHB_USERAPPL, application)]);
}

export interface InterfaceBlock {
  name: string;
  description: string;
  /** 0 = packets are whole. */
  snaplen: number;
  /** '' = none. */
  filter: string;
}

export function interfaceDescription({ name, description, snaplen, filter }: InterfaceBlock): Uint8Array {
  const body = new Uint8Array(8);
  const view = new DataView(body.buffer);
  view.setUint16(0, LINKTYPE_ETHERNET, true);
  view.setUint32(4, snaplen, true);
  const options = [text(IF_NAME, name), text(IF_DESCRIPTION, description)];
  options.push([IF_TSRESOL, new Uint8Array([NANOSECONDS])]);
  // The first byte tells the kind of filter: 0 = a text in libpcap's words.
  if (filter !== '') options.push(text(IF_FILTER, `\0${filter}`));
  return block(INTERFACE_DESCRIPTION, body, options);
}

export interface StatisticsBlock {
  interface: number;
  /** Nanoseconds since 1970. */
  start: bigint;
  end: bigint;
  received: number;
  /** Lost by what writes the file. */
  dropped: number;
  /** Lost by the kernel. */
  systemDropped: number;
  comment?: string;
}

export function interfaceStatistics(statistics: StatisticsBlock): Uint8Array {
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint32(0, statistics.interface, true);
  time(view, 4, statistics.end);
  const comment = statistics.comment === undefined ? [] : [text(OPT_COMMENT, statistics.comment)];
  return block(INTERFACE_STATISTICS, body, [
    ...comment,
    [ISB_STARTTIME, timeOption(statistics.start)],
    [ISB_ENDTIME, timeOption(statistics.end)],
    [ISB_IFRECV, count(statistics.received)],
    [ISB_IFDROP, count(statistics.dropped)],
    [ISB_OSDROP, count(statistics.systemDropped)],
  ]);
}

function block(type: number, body: Uint8Array, options: readonly Option[]): Uint8Array {
  const padded = (bytes: number) => (bytes + 3) & ~3;
  const optionBytes = options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4);
  const bytes = new Uint8Array(12 + body.length + optionBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  bytes.set(body, 8);
  let at = 8 + body.length;
  for (const [code, value] of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  // opt_endofopt is all zeroes.
  view.setUint32(bytes.length - 4, bytes.length, true);
  return bytes;
}

/** 64 bits as pcapng has them: the high half first. */
function time(view: DataView, at: number, nanoseconds: bigint): void {
  view.setUint32(at, Number(nanoseconds >> 32n), true);
  view.setUint32(at + 4, Number(nanoseconds & 0xffffffffn), true);
}

function timeOption(nanoseconds: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  time(new DataView(bytes.buffer), 0, nanoseconds);
  return bytes;
}

function count(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** A packet in a run of blocks. */
export interface PacketBlock {
  interface: number;
  /** Nanoseconds since 1970. */
  timestamp: bigint;
  /** Where its bytes begin, and how many there are. */
  at: number;
  bytes: number;
  /** Before it was cut. */
  original: number;
}

/** The packets of whole blocks that were written here, in their order. */
export function* packetsIn(blocks: Uint8Array): Generator<PacketBlock> {
  const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  for (let at = 0; at < blocks.length; at += view.getUint32(at + 4, true)) {
    if (view.getUint32(at, true) !== PCAPNG_PACKET_BLOCK) continue;
    const high = BigInt(view.getUint32(at + 12, true));
    yield {
      interface: view.getUint32(at + 8, true),
      timestamp: (high << 32n) | BigInt(view.getUint32(at + 16, true)),
      at: at + PCAPNG_PACKET_DATA_OFFSET,
      bytes: view.getUint32(at + 20, true),
      original: view.getUint32(at + 24, true),
    };
  }
}
