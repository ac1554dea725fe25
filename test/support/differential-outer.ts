/** Outer packets for the differential suite: a frame in a VXLAN datagram, from the far end's wire, right or wrong. */
import { ETHERTYPE } from './differential-frames.ts';
import { REMOTES, REMOTES6 } from './differential-twins.ts';
import { ethernet, ipv4, ipv6, join, u16, u32, udp, vxlan } from './traffic-frames.ts';
import { HOSTS, PORT, VNI } from './traffic-vtep.ts';

export interface Outer {
  /** IPv6 underlay. */
  v6?: boolean;
  /** Index of the sender in REMOTES. */
  sender?: number;
  from?: string;
  to?: string;
  tos?: number;
  ttl?: number;
  sourcePort?: number;
  port?: number;
  /** First word of the VXLAN header. */
  flags?: number;
  vni?: number;
  /** Last byte of the VXLAN header. */
  low?: number;
  noChecksum?: boolean;
  /** Added to the UDP checksum. */
  spoil?: number;
  /** The UDP payload ends here. */
  cut?: number;
  /** Outer IPv4 fragments of this size, sent in this order: 'forward', 'backward'. */
  fragmentBytes?: number;
  backward?: boolean;
  /** IPv4 header options. */
  options?: Uint8Array;
}

let identification = 1;

/** The frames on the wire that bring `inner` to the host. */
export function outer(fields: Outer, inner: Uint8Array): Uint8Array[] {
  const { v6 = false, sender = 0, tos = 0, ttl = 64, vni = VNI, low = 0, flags = 0x08000000 } = fields;
  const from = fields.from ?? (v6 ? REMOTES6 : REMOTES)[sender]!;
  const to = fields.to ?? (v6 ? HOSTS[0].underlay6 : HOSTS[0].underlay);
  const datagram = vxlan(vni, inner, flags, low).slice(0, fields.cut);
  const ports = { from, to, sourcePort: fields.sourcePort ?? 50_000, port: fields.port ?? PORT };
  const segment = udp({ ...ports, noChecksum: fields.noChecksum ?? false }, datagram);
  if (fields.spoil) segment.set(u16((((segment[6] ?? 0) << 8) | (segment[7] ?? 0)) ^ fields.spoil), 6);
  const ends = { to: HOSTS[0].underlayMac, from: HOSTS[1].underlayMac };
  if (v6)
    return packets6(fields, { from, to, tos, ttl }, segment).map((packet) =>
      ethernet({ ...ends, type: ETHERTYPE.ipv6 }, packet),
    );
  const ip = { from, to, tos, ttl, protocol: 17, ...(fields.options ? { options: fields.options } : {}) };
  const size = fields.fragmentBytes ?? (segment.length > 1480 ? 1480 : 0);
  const parts = cut(segment, size, (part, at, more) =>
    ipv4({ ...ip, id: identification & 0xffff, fragment: (more ? 0x2000 : 0) | (at / 8) }, part),
  );
  identification++;
  if (fields.backward) parts.reverse();
  return parts.map((packet) => ethernet({ ...ends, type: ETHERTYPE.ipv4 }, packet));
}

function packets6(
  fields: Outer,
  ip: { from: string; to: string; tos: number; ttl: number },
  segment: Uint8Array,
): Uint8Array[] {
  const header = { from: ip.from, to: ip.to, tos: ip.tos, hopLimit: ip.ttl };
  const size = fields.fragmentBytes ?? (segment.length > 1460 ? 1440 : 0);
  if (size === 0) return [ipv6({ ...header, next: 17 }, segment)];
  const id = identification++;
  const parts = cut(segment, size, (part, at, more) =>
    ipv6({ ...header, next: 44 }, join([17, 0], u16(at | (more ? 1 : 0)), u32(id), part)),
  );
  return fields.backward ? parts.reverse() : parts;
}

/** Pieces of `size` bytes; the whole when `size` is 0. */
function cut<T>(
  bytes: Uint8Array,
  size: number,
  make: (part: Uint8Array, at: number, more: boolean) => T,
): T[] {
  const step = size || bytes.length || 1;
  const parts: T[] = [];
  for (let at = 0; at < Math.max(1, bytes.length); at += step)
    parts.push(make(bytes.subarray(at, at + step), at, at + step < bytes.length));
  return parts;
}
