/** Frames made by hand, for the examples: a program of yours has them from elsewhere. */

/** For local experiments (IEEE 802): what follows is text. */
const ETHERTYPE_TEXT = 0x88b5;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
const IP_OFFSET = 14;
const UDP_OFFSET = IP_OFFSET + 20;

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** @param {string} mac `aa:bb:cc:dd:ee:ff` */
const macBytes = (mac) => mac.split(':').map((byte) => Number.parseInt(byte, 16));
/** @param {string} address "10.0.0.1" */
const ipBytes = (address) => address.split('.').map(Number);
/** @param {Uint8Array} bytes */
const macText = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');

/**
 * An Ethernet frame of at least 60 bytes, without FCS.
 * @param {string} to MAC
 * @param {string} from MAC
 * @param {number} type EtherType
 * @param {Iterable<number>} payload
 */
function ethernet(to, from, type, payload) {
  const frame = Uint8Array.of(...macBytes(to), ...macBytes(from), type >> 8, type & 0xff, ...payload);
  const padded = new Uint8Array(Math.max(60, frame.length));
  padded.set(frame);
  return padded;
}

/** @param {Uint8Array} frame */
export const destination = (frame) => macText(frame.subarray(0, 6));
/** @param {Uint8Array} frame */
export const source = (frame) => macText(frame.subarray(6, 12));

/**
 * A frame that carries text.
 * @param {string} to MAC
 * @param {string} from MAC
 * @param {string} text
 */
export const textFrame = (to, from, text) =>
  ethernet(to, from, ETHERTYPE_TEXT, new TextEncoder().encode(text));

/** @param {Uint8Array} frame */
export const textOf = (frame) => new TextDecoder().decode(frame.subarray(14)).replace(/\0+$/, '');

/**
 * "Who has `target`? Tell `sender`."
 * @param {string} mac of the sender
 * @param {string} sender IPv4 address
 * @param {string} target IPv4 address
 */
export function arpRequest(mac, sender, target) {
  const fixed = [0, 1, 8, 0, 6, 4, 0, 1];
  const body = [...fixed, ...macBytes(mac), ...ipBytes(sender), 0, 0, 0, 0, 0, 0, ...ipBytes(target)];
  return ethernet(BROADCAST, mac, ETHERTYPE_ARP, body);
}

/**
 * The MAC that an ARP reply tells; undefined: that is no ARP reply.
 * @param {Uint8Array} frame
 */
export function arpAnswer(frame) {
  const isReply = frame[12] === 8 && frame[13] === 6 && frame[21] === 2;
  return isReply ? macText(frame.subarray(22, 28)) : undefined;
}

/**
 * A UDP datagram over IPv4, whose checksum is left out, as IPv4 allows.
 * @param {{ to: string, from: string, src: string, dst: string, sport: number, dport: number, bytes?: number }} what
 *   MACs, addresses, ports, and bytes of payload
 */
export function udpFrame({ to, from, src, dst, sport, dport, bytes = 18 }) {
  const total = 28 + bytes;
  const ip = [
    0x45,
    0,
    total >> 8,
    total & 0xff,
    0,
    0,
    0x40,
    0,
    64,
    17,
    0,
    0,
    ...ipBytes(src),
    ...ipBytes(dst),
  ];
  let sum = 0;
  for (let at = 0; at < ip.length; at += 2) sum += (ip[at] ?? 0) * 256 + (ip[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  ip[10] = (~sum >> 8) & 0xff;
  ip[11] = ~sum & 0xff;
  const udp = [
    sport >> 8,
    sport & 0xff,
    dport >> 8,
    dport & 0xff,
    (8 + bytes) >> 8,
    (8 + bytes) & 0xff,
    0,
    0,
  ];
  return ethernet(to, from, ETHERTYPE_IPV4, [...ip, ...udp, ...new Uint8Array(bytes)]);
}

/**
 * Addresses and ports of a UDP or TCP packet over IPv4; undefined: that is none.
 * @param {Uint8Array} frame
 */
export function flowOf(frame) {
  const isIpv4 = frame.length >= UDP_OFFSET + 4 && frame[12] === 8 && frame[13] === 0 && frame[14] === 0x45;
  const protocol = frame[IP_OFFSET + 9];
  if (!isIpv4 || (protocol !== 17 && protocol !== 6)) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset);
  return {
    src: frame.subarray(26, 30).join('.'),
    dst: frame.subarray(30, 34).join('.'),
    protocol: protocol === 6 ? 'tcp' : 'udp',
    sport: view.getUint16(UDP_OFFSET),
    dport: view.getUint16(UDP_OFFSET + 2),
  };
}
