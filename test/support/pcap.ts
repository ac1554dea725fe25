/** Classic pcap (draft-ietf-opsawg-pcap), as `tcpdump -w` writes it: UDP payloads in Ethernet, into a file and out of one. */
import { ethernet, ipv4 } from './frames.ts';
import { udp } from './messages.ts';

const MAGIC = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const ETHERNET_BYTES = 14;
const IP_PROTOCOL_UDP = 17;
const UDP_BYTES = 8;

/** Datagrams to a UDP port, a microsecond apart. */
export function writePcap(payloads: readonly Uint8Array[], port: number): Uint8Array {
  const records = payloads.map((payload, index) => {
    const frame = ethernet(
      {},
      ipv4({}, udp({ sourcePort: 50_000 + (index & 63), destinationPort: port }, payload)),
    );
    const record = new Uint8Array(RECORD_HEADER_BYTES + frame.length);
    const view = new DataView(record.buffer);
    view.setUint32(0, Math.floor(index / 1e6), true);
    view.setUint32(4, index % 1e6, true);
    view.setUint32(8, frame.length, true);
    view.setUint32(12, frame.length, true);
    record.set(frame, RECORD_HEADER_BYTES);
    return record;
  });
  const header = new Uint8Array(FILE_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262_144, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return new Uint8Array(Buffer.concat([header, ...records]));
}

/** Payloads of whole IPv4 UDP datagrams to `port`, in the order of the file. @throws Error when it is no such file */
export function payloadsOf(file: Uint8Array, port: number): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const isLittle = [MAGIC, MAGIC_NANOSECONDS].includes(view.getUint32(0, true));
  if (!isLittle && ![MAGIC, MAGIC_NANOSECONDS].includes(view.getUint32(0)))
    throw new Error('no classic pcap');
  if ((view.getUint32(20, isLittle) & 0xfff_ffff) !== LINKTYPE_ETHERNET) throw new Error('no Ethernet');
  const payloads: Uint8Array[] = [];
  for (let at = FILE_HEADER_BYTES; at + RECORD_HEADER_BYTES <= file.length; ) {
    const length = view.getUint32(at + 8, isLittle);
    const ip = at + RECORD_HEADER_BYTES + ETHERNET_BYTES;
    at += RECORD_HEADER_BYTES + length;
    if (at > file.length || length < ETHERNET_BYTES + 20 || view.getUint16(ip - 2) !== 0x0800) continue;
    if (file[ip + 9] !== IP_PROTOCOL_UDP || (view.getUint16(ip + 6) & 0x3fff) !== 0) continue;
    const header = ip + (file[ip]! & 15) * 4;
    const end = header + view.getUint16(header + 4);
    if (view.getUint16(header + 2) === port && end <= at) payloads.push(file.slice(header + UDP_BYTES, end));
  }
  return payloads;
}
