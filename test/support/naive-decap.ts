/**
 * What becomes of one received datagram, in the order of the kernel's vxlan_rcv and with nothing clever
 * about it: a verdict named as its counter, and the frame as the overlay gets it.
 */
import type { CounterName } from '../../src/dataplane/counters.ts';
import { networkOffset } from './naive-segment.ts';
import { macText } from './parse.ts';
import { ECN_DECAPSULATION, internetSum } from './reference.ts';

export interface NaiveDevice {
  vni: number;
  /** Of the device itself. */
  mac: string;
  up: boolean;
  learning: boolean;
  /** Most entries by learning; 0 or absent = no limit. */
  limit?: number;
  /** MAC -> where it is; an entry made by hand stays there. Learning adds to it. */
  fdb: Map<string, { sender: string; fixed: boolean }>;
  /** With `knownpeers`: why a frame is refused. */
  refusal?(frame: Uint8Array, sender: string): CounterName | undefined;
}

export interface NaiveVerdict {
  verdict: CounterName;
  device?: NaiveDevice;
  learned?: 'fdb_learned' | 'fdb_moved' | 'fdb_full';
  frame?: Uint8Array;
}

export function decapNaively(
  datagram: Uint8Array,
  sender: string,
  tos: number,
  devices: readonly NaiveDevice[],
): NaiveVerdict {
  if (datagram.length < 8) return { verdict: 'drop_short_datagram' };
  if ((datagram[0]! & 0x08) === 0) return { verdict: 'drop_no_vni_flag' };
  const vni = (datagram[4]! << 16) | (datagram[5]! << 8) | datagram[6]!;
  const device = devices.find((one) => one.vni === vni);
  if (!device) return { verdict: 'drop_unknown_vni' };
  const reserved = datagram[0] !== 0x08 || datagram[1] || datagram[2] || datagram[3] || datagram[7];
  if (reserved) return { verdict: 'drop_reserved_bits', device };
  const frame = datagram.slice(8);
  if (frame.length < 14) return { verdict: 'drop_short_inner_frame', device };
  const source = macText(frame, 6);
  if (source === device.mac) return { verdict: 'drop_local_mac', device };
  const refused = device.refusal?.(frame, sender);
  if (refused) return { verdict: refused, device };
  let learned: NaiveVerdict['learned'];
  if (device.learning) {
    if (source === '00:00:00:00:00:00' || (frame[6]! & 1) === 1) {
      return { verdict: 'drop_invalid_source_mac', device };
    }
    const known = device.fdb.get(source);
    if (known && known.sender !== sender && known.fixed) return { verdict: 'drop_entry_exists', device };
    if (known?.sender !== sender && (known || device.up)) {
      const isFull = !known && device.limit && device.fdb.size >= device.limit;
      learned = isFull ? 'fdb_full' : known ? 'fdb_moved' : 'fdb_learned';
      if (!isFull) device.fdb.set(source, { sender, fixed: false });
    }
  }
  const outcome = { device, ...(learned && { learned }) };
  const ecn = decapsulateEcn(frame, tos);
  if (ecn) return { verdict: ecn, ...outcome };
  if (!device.up) return { verdict: 'drop_device_down', ...outcome };
  return { verdict: 'decap_packets', frame, ...outcome };
}

/**
 * The datagrams of one received message: a bundle is cut by the size that the socket reports, unless the
 * inner packet of the first one says that it is all one (a kernel peer's super-frame).
 */
export function datagramsNaively(message: Uint8Array, gro: number | undefined): Uint8Array[] {
  if (gro === undefined || gro <= 0 || gro >= message.length) return [message];
  const frame = message.subarray(8);
  const l3 = networkOffset(frame);
  if (frame.length >= 34 && l3 + 20 <= frame.length) {
    const type = (frame[l3 - 2]! << 8) | frame[l3 - 1]!;
    const word = (at: number) => (frame[l3 + at]! << 8) | frame[l3 + at + 1]!;
    if (type === 0x0800 && word(2) === frame.length - l3) return [message];
    if (type === 0x86dd && word(4) === frame.length - l3 - 40) return [message];
  }
  const datagrams: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += gro) datagrams.push(message.subarray(at, at + gro));
  return datagrams;
}

/** Writes the codepoint of RFC 6040 into the frame, or names the verdict that ends it. */
function decapsulateEcn(frame: Uint8Array, tos: number): CounterName | undefined {
  const type = (frame[12]! << 8) | frame[13]!;
  if (type !== 0x0800 && type !== 0x86dd) return undefined;
  if (frame.length < (type === 0x0800 ? 34 : 54)) return 'drop_short_inner_ip_received';
  const ipv4 = type === 0x0800;
  const inner = ipv4 ? frame[15]! & 3 : (frame[15]! >> 4) & 3;
  const result = ECN_DECAPSULATION.get(inner)![tos & 3]!;
  if (result < 0) return 'drop_ecn';
  if (result === inner) return undefined;
  if (!ipv4) {
    frame[15] = (frame[15]! & 0xcf) | (result << 4);
    return undefined;
  }
  // RFC 1624: a header checksum that was wrong stays as wrong as it was.
  const before = (frame[14]! << 8) | frame[15]!;
  frame[15] = (frame[15]! & 0xfc) | result;
  const after = (frame[14]! << 8) | frame[15]!;
  const words = [~((frame[24]! << 8) | frame[25]!) & 0xffff, ~before & 0xffff, after];
  const checksum = internetSum(Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]))) ^ 0xffff;
  frame[24] = checksum >> 8;
  frame[25] = checksum & 0xff;
  return undefined;
}
