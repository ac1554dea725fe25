/**
 * Seeded TCP streams and flows of UDP with the accidents that a merger meets: gaps and reordering, PSH and FIN, headers that
 * change, short segments, wrong checksums, and frames that are no plain TCP at all. Every flow has a source
 * address of its own, so that whatever comes out can be told to be of it.
 */
import { concat, ethernet, ipv4, ipv6, set16, vlan } from './frames.ts';
import { raw, tcp, tcpTimestamps, type UdpFields, udp } from './messages.ts';
import { mulberry32, pseudoIpv4, pseudoIpv6, randomBytes } from './reference.ts';

/** Payloads are cut from here: drawing each byte anew would take longer than all the rest. */
const POOL = randomBytes(mulberry32(1), 65536);

function payloadOf(prng: () => number, bytes: number): Uint8Array {
  const from = Math.floor(prng() * (POOL.length - bytes));
  return POOL.subarray(from, from + bytes);
}

export interface Flow {
  readonly ipv6: boolean;
  readonly udp: boolean;
  /** IPv4 ids count up by this much. */
  readonly step: number;
  dontFragment: boolean;
  readonly number: number;
  sequence: number;
  acknowledgment: number;
  identification: number;
  size: number;
  timestamp: number;
  ttl: number;
  tos: number;
}

export function flowOf(prng: () => number, number: number): Flow {
  return {
    ipv6: prng() < 0.4,
    udp: prng() < 0.4,
    step: prng() < 0.3 ? 0 : 1,
    dontFragment: prng() < 0.7,
    number,
    sequence: (2 ** 32 - Math.floor(prng() * 50_000)) >>> 0,
    acknowledgment: Math.floor(prng() * 2 ** 32),
    identification: Math.floor(prng() * 65536),
    size: 1 + Math.floor(prng() * 1400),
    timestamp: Math.floor(prng() * 1000),
    ttl: 64,
    tos: 0,
  };
}

/** The next frames of a flow: one as a rule, two in the wrong order now and then. */
export function nextFrames(prng: () => number, flow: Flow, trouble: number): Uint8Array[] {
  if (flow.udp) return nextDatagrams(prng, flow, trouble);
  if (prng() >= trouble) return [segment(prng, flow, {})];
  switch (Math.floor(prng() * 20)) {
    case 0: // a gap
      flow.sequence = (flow.sequence + 1 + Math.floor(prng() * 3000)) >>> 0;
      return [segment(prng, flow, {})];
    case 1: // the wrong order
      return [segment(prng, flow, {}), segment(prng, flow, {})].reverse();
    case 2: // sent again
      flow.sequence = (flow.sequence - flow.size) >>> 0;
      return [segment(prng, flow, {})];
    case 3:
      return [segment(prng, flow, { flags: 'PA' })];
    case 4:
      return [
        segment(prng, flow, {
          flags: ['FA', 'SA', 'RA', 'EA', 'CA', 'UA', 'A', ''][Math.floor(prng() * 8)]!,
        }),
      ];
    case 5:
      flow.acknowledgment = (flow.acknowledgment + 1) >>> 0;
      return [segment(prng, flow, {})];
    case 6:
      flow.ttl ^= 1;
      return [segment(prng, flow, {})];
    case 7:
      flow.tos ^= 4;
      return [segment(prng, flow, {})];
    case 8:
      flow.timestamp++;
      return [segment(prng, flow, {})];
    case 9: // a short one
      return [segment(prng, flow, { bytes: 1 + Math.floor(prng() * flow.size) })];
    case 10: // a longer one
      flow.size += 1 + Math.floor(prng() * 10);
      return [segment(prng, flow, {})];
    case 11: {
      const frame = segment(prng, flow, {});
      frame[frame.length - 1]! ^= 1 << Math.floor(prng() * 8);
      return [frame];
    }
    case 12: {
      // Only the IPv4 header's checksum is wrong, or the IPv6 flow label is another one.
      const frame = segment(prng, flow, {});
      frame[flow.ipv6 ? 17 : 24]! ^= 1;
      return [frame];
    }
    case 13: // a pure ACK
      return [segment(prng, flow, { bytes: 0 })];
    case 14: // padded as an Ethernet card pads
      return [concat(segment(prng, flow, { bytes: Math.floor(prng() * 4) }), new Uint8Array(6))];
    case 15:
      return [ethernet({}, vlan({ id: 5 }, packet(flow, tcpOf(prng, flow, flow.size, 'A'))))];
    case 16:
      return [ethernet({}, packet(flow, udp({}, payloadOf(prng, flow.size))))];
    case 17: // a fragment, or extension headers
      return [ethernet({}, odd(flow, prng))];
    case 18: {
      // Bits beside the data offset: an accurate ECN, or an evil bit.
      const frame = segment(prng, flow, {});
      const l4 = flow.ipv6 ? 54 : 34;
      frame[l4 + 12]! ^= 1;
      const checksum = ((frame[l4 + 16]! << 8) | frame[l4 + 17]!) - 0x100;
      set16(frame, l4 + 16, checksum > 0 ? checksum : checksum + 0xffff);
      return [frame];
    }
    default: // another Ethernet destination
      return [segment(prng, flow, { destination: '02:00:00:00:00:03' })];
  }
}

function nextDatagrams(prng: () => number, flow: Flow, trouble: number): Uint8Array[] {
  if (prng() >= trouble) return [datagram(prng, flow, {})];
  const l4 = flow.ipv6 ? 54 : 34;
  switch (Math.floor(prng() * 18)) {
    case 0: // one is lost
      flow.identification = (flow.identification + 1) & 0xffff;
      return [datagram(prng, flow, {})];
    case 1: // the wrong order
      return [datagram(prng, flow, {}), datagram(prng, flow, {})].reverse();
    case 2:
      flow.ttl ^= 1;
      return [datagram(prng, flow, {})];
    case 3:
      flow.tos ^= 4;
      return [datagram(prng, flow, {})];
    case 4:
      flow.dontFragment = !flow.dontFragment;
      return [datagram(prng, flow, {})];
    case 5: // a short one
      return [datagram(prng, flow, { bytes: 1 + Math.floor(prng() * flow.size) })];
    case 6: // a longer one
      flow.size += 1 + Math.floor(prng() * 10);
      return [datagram(prng, flow, {})];
    case 7: {
      const frame = datagram(prng, flow, {});
      frame[frame.length - 1]! ^= 1 << Math.floor(prng() * 8);
      return [frame];
    }
    case 8: {
      // Only the IPv4 header's checksum is wrong, or the IPv6 flow label is another one.
      const frame = datagram(prng, flow, {});
      frame[flow.ipv6 ? 17 : 24]! ^= 1;
      return [frame];
    }
    case 9:
      return [datagram(prng, flow, { fields: { checksum: 0 } })];
    case 10: // without payload
      return [datagram(prng, flow, { bytes: 0 })];
    case 11: // a length that is not the packet's
      return [datagram(prng, flow, { fields: { length: 8 + Math.floor(prng() * flow.size) } })];
    case 12: // padded as an Ethernet card pads
      return [concat(datagram(prng, flow, { bytes: Math.floor(prng() * 4) }), new Uint8Array(6))];
    case 13:
      return [ethernet({}, vlan({ id: 5 }, packet(flow, udp({}, payloadOf(prng, flow.size)))))];
    case 14: // TCP from the same host
      return [ethernet({}, packet(flow, tcp({ flags: 'S' })))];
    case 15: // a fragment, or extension headers
      return [ethernet({}, odd(flow, prng, 17))];
    case 16: {
      // Unfinished: the pseudo header's sum alone.
      const frame = datagram(prng, flow, {});
      const pseudo = (flow.ipv6 ? pseudoIpv6 : pseudoIpv4)(frame.subarray(14), 17, frame.length - l4);
      set16(frame, l4 + 6, pseudo);
      return [frame];
    }
    default:
      return [datagram(prng, flow, { destination: '02:00:00:00:00:03' })];
  }
}

function datagram(
  prng: () => number,
  flow: Flow,
  {
    bytes = flow.size,
    fields = {},
    destination = '02:00:00:00:00:02',
  }: {
    bytes?: number;
    fields?: UdpFields;
    destination?: string;
  },
): Uint8Array {
  const message = udp({ sourcePort: 1000 + flow.number, ...fields }, payloadOf(prng, bytes));
  return ethernet({ destination }, packet(flow, message));
}

function segment(
  prng: () => number,
  flow: Flow,
  { bytes = flow.size, flags = 'A', destination = '02:00:00:00:00:02' },
): Uint8Array {
  return ethernet({ destination }, packet(flow, tcpOf(prng, flow, bytes, flags)));
}

function tcpOf(prng: () => number, flow: Flow, bytes: number, flags: string) {
  const { sequence, acknowledgment, timestamp, number } = flow;
  const options = tcpTimestamps(timestamp, 1);
  const sourcePort = 1000 + number;
  flow.sequence = (sequence + bytes) >>> 0;
  return tcp({ sourcePort, sequence, acknowledgment, options, flags }, payloadOf(prng, bytes));
}

function packet(flow: Flow, message: ReturnType<typeof raw>) {
  const { ttl, tos, identification, dontFragment, step } = flow;
  if (flow.ipv6) {
    const source = `fd00:1::${flow.number.toString(16)}`;
    return ipv6({ source, hopLimit: ttl, trafficClass: tos }, message);
  }
  flow.identification = (identification + step) & 0xffff;
  return ipv4({ source: `10.1.0.${flow.number}`, ttl, tos, identification, dontFragment }, message);
}

function odd(flow: Flow, prng: () => number, protocol = 6) {
  const message = raw(protocol, payloadOf(prng, 40));
  const [offset, more] = [8 * Math.floor(prng() * 3), prng() < 0.5];
  if (flow.ipv6) {
    const source = `fd00:1::${flow.number.toString(16)}`;
    if (prng() < 0.5) return ipv6({ source, extensions: [{ type: 60 }] }, message);
    return ipv6({ source, fragment: { offset, more } }, message);
  }
  const source = `10.1.0.${flow.number}`;
  if (prng() < 0.5) return ipv4({ source, options: new Uint8Array(4).fill(1) }, message);
  return ipv4({ source, fragmentOffset: offset + 8, moreFragments: more }, message);
}
