/** Ethernet frames as a host's stack makes and reads them: ARP, ICMP echo and UDP over IPv4. */

export type Mac = string;
export type Ip = string;

export const BROADCAST: Mac = 'ff:ff:ff:ff:ff:ff';
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_ECHO_REPLY = 0;

const TYPE_ARP = 0x0806;
const TYPE_IPV4 = 0x0800;
const PROTOCOL_ICMP = 1;
const PROTOCOL_UDP = 17;
const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const UDP_BYTES = 8;
const ICMP_BYTES = 8;
const DONT_FRAGMENT = 0x4000;
const TTL = 64;

export interface Ends {
  sourceMac: Mac;
  targetMac: Mac;
  source: Ip;
  target: Ip;
}

export type Packet = Ends &
  (
    | { kind: 'arp'; operation: number }
    | { kind: 'icmp'; type: number; id: number; sequence: number; data: Buffer }
    | { kind: 'udp'; sourcePort: number; targetPort: number; data: Buffer }
  );

export function writeFrame(packet: Packet): Buffer {
  const [type, body] = packet.kind === 'arp' ? [TYPE_ARP, arp(packet)] : [TYPE_IPV4, ipv4(packet)];
  const header = Buffer.alloc(ETHERNET_BYTES);
  header.set(macBytes(packet.targetMac), 0);
  header.set(macBytes(packet.sourceMac), 6);
  header.writeUInt16BE(type, 12);
  return Buffer.concat([header, body]);
}

/** @returns undefined for what such a host has no use for, or whose checksum is wrong */
export function readFrame(bytes: Uint8Array): Packet | undefined {
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (frame.length < ETHERNET_BYTES + IPV4_BYTES) return undefined;
  const macs = { targetMac: macText(frame, 0), sourceMac: macText(frame, 6) };
  const body = frame.subarray(ETHERNET_BYTES);
  const type = frame.readUInt16BE(12);
  if (type === TYPE_ARP) {
    if (body.length < 28) return undefined;
    return {
      kind: 'arp',
      operation: body.readUInt16BE(6),
      ...macs,
      source: ipText(body, 14),
      target: ipText(body, 24),
    };
  }
  if (type !== TYPE_IPV4 || body[0] !== 0x45 || checksum(body.subarray(0, IPV4_BYTES)) !== 0)
    return undefined;
  const ends = { ...macs, source: ipText(body, 12), target: ipText(body, 16) };
  const payload = body.subarray(IPV4_BYTES, body.readUInt16BE(2));
  if (payload.length < UDP_BYTES) return undefined;
  if (body[9] === PROTOCOL_ICMP) {
    if (checksum(payload) !== 0) return undefined;
    const [id, sequence] = [payload.readUInt16BE(4), payload.readUInt16BE(6)];
    return { kind: 'icmp', ...ends, type: payload[0]!, id, sequence, data: payload.subarray(ICMP_BYTES) };
  }
  if (body[9] !== PROTOCOL_UDP || checksum(pseudoHeader(ends, payload.length), payload) !== 0)
    return undefined;
  const [sourcePort, targetPort] = [payload.readUInt16BE(0), payload.readUInt16BE(2)];
  return { kind: 'udp', ...ends, sourcePort, targetPort, data: payload.subarray(UDP_BYTES) };
}

function arp({ operation, sourceMac, targetMac, source, target }: Packet & { kind: 'arp' }): Buffer {
  const body = Buffer.alloc(28);
  body.writeUInt16BE(1, 0);
  body.writeUInt16BE(TYPE_IPV4, 2);
  body.set([6, 4], 4);
  body.writeUInt16BE(operation, 6);
  body.set(macBytes(sourceMac), 8);
  body.set(ipBytes(source), 14);
  // Whose MAC is asked for is not known yet.
  if (operation === ARP_REPLY) body.set(macBytes(targetMac), 18);
  body.set(ipBytes(target), 24);
  return body;
}

function ipv4(packet: Packet & { kind: 'icmp' | 'udp' }): Buffer {
  const payload = packet.kind === 'icmp' ? icmp(packet) : udp(packet);
  const header = Buffer.alloc(IPV4_BYTES);
  header[0] = 0x45;
  header.writeUInt16BE(IPV4_BYTES + payload.length, 2);
  header.writeUInt16BE(DONT_FRAGMENT, 6);
  header[8] = TTL;
  header[9] = packet.kind === 'icmp' ? PROTOCOL_ICMP : PROTOCOL_UDP;
  header.set(ipBytes(packet.source), 12);
  header.set(ipBytes(packet.target), 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

function icmp({ type, id, sequence, data }: Packet & { kind: 'icmp' }): Buffer {
  const header = Buffer.alloc(ICMP_BYTES);
  header[0] = type;
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(sequence, 6);
  header.writeUInt16BE(checksum(header, data), 2);
  return Buffer.concat([header, data]);
}

function udp(packet: Packet & { kind: 'udp' }): Buffer {
  const header = Buffer.alloc(UDP_BYTES);
  const length = UDP_BYTES + packet.data.length;
  header.writeUInt16BE(packet.sourcePort, 0);
  header.writeUInt16BE(packet.targetPort, 2);
  header.writeUInt16BE(length, 4);
  // Zero would mean that there is none.
  header.writeUInt16BE(checksum(pseudoHeader(packet, length), header, packet.data) || 0xffff, 6);
  return Buffer.concat([header, packet.data]);
}

function pseudoHeader({ source, target }: Pick<Ends, 'source' | 'target'>, length: number): Buffer {
  return Buffer.from([...ipBytes(source), ...ipBytes(target), 0, PROTOCOL_UDP, length >> 8, length & 0xff]);
}

/** RFC 1071, over parts of which only the last may have an odd length. */
function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts)
    for (let at = 0; at < part.length; at += 2) sum += (part[at]! << 8) | (part[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const macBytes = (mac: Mac) => mac.split(':').map((byte) => Number.parseInt(byte, 16));
const macText = (bytes: Buffer, at: number): Mac =>
  bytes.toString('hex', at, at + 6).replace(/..(?!$)/g, '$&:');
const ipBytes = (ip: Ip) => ip.split('.').map(Number);
const ipText = (bytes: Buffer, at: number): Ip => bytes.subarray(at, at + 4).join('.');
