/**
 * One family of one lease, read: what can be said of it without looking at us or at the others. Read once for each
 * lease that comes, however often it is looked at.
 */
import type { BackendData, Lease } from './lease.ts';
import { formatIp, formatPrefix, networkKey, type Prefix, parseIp, parsePrefix } from './prefix.ts';

export interface Candidate {
  lease: Lease;
  version: 4 | 6;
  prefix: Prefix;
  /** The lease's subnet, in the one way it is written here: "10.244.1.0/24". */
  subnet: string;
  /** The network address: the next hop of the route, "10.244.1.0". */
  gateway: string;
  publicBytes: Uint8Array;
  publicIp: string;
  /** `aa:bb:cc:dd:ee:ff` */
  mac: string;
  macBytes: Uint8Array;
  backend: BackendData;
  /** Its network as `networkKey` has it. */
  network: string;
}

export interface Peer extends Candidate {
  /** UDP port, where it is not the network's. */
  port?: number;
  /** What the FDB is to hold of it, and from where it may send: as the tables are compared (desired.ts). */
  remote: string;
  source: string;
}

/** Why a lease's family can't be a peer. */
export interface Unfit {
  code: 'incomplete' | 'malformed' | 'mac' | 'public-ip';
  text: string;
}

type Reading = Candidate | Unfit | undefined;

const read = new WeakMap<Lease, Partial<Record<4 | 6, { reading: Reading }>>>();

/** undefined when the lease has no subnet of that family. */
export function candidateOf(lease: Lease, version: 4 | 6): Reading {
  let known = read.get(lease);
  if (known === undefined) {
    known = {};
    read.set(lease, known);
  }
  known[version] ??= { reading: readLease(lease, version) };
  return known[version].reading;
}

function readLease(lease: Lease, version: 4 | 6): Reading {
  const text = version === 4 ? lease.subnet : lease.subnetV6;
  if (text === undefined) return undefined;
  const prefix = parsePrefix(text);
  if (prefix?.version !== version) {
    return {
      code: 'malformed',
      text: `"${text}" is not an IPv${version} network: its address must be the first`,
    };
  }
  const address = version === 4 ? lease.publicIp : lease.publicIpV6;
  const backend = version === 4 ? lease.backend : lease.backendV6;
  if (address === undefined)
    return { code: 'incomplete', text: `${text} has no public IPv${version} address` };
  if (backend === undefined) return { code: 'incomplete', text: `${text} has no VtepMAC for IPv${version}` };
  const publicBytes = parseIp(address);
  const reason = publicBytes === undefined ? 'is not an IP address' : unusable(publicBytes, version);
  if (publicBytes === undefined || reason !== '') {
    return { code: 'public-ip', text: `public address "${address}" ${reason}` };
  }
  const macBytes = parseMac(backend.mac);
  if (macBytes === undefined) return { code: 'mac', text: `VtepMAC "${backend.mac}" is not six octets` };
  if ((macBytes[0]! & 1) !== 0) return { code: 'mac', text: `VtepMAC ${backend.mac} is a multicast address` };
  if (macBytes.every((byte) => byte === 0))
    return { code: 'mac', text: `VtepMAC ${backend.mac} is no address` };
  return {
    ...{ lease, version, prefix, publicBytes, macBytes, backend },
    subnet: formatPrefix(prefix),
    gateway: formatIp(prefix.bytes),
    publicIp: formatIp(publicBytes),
    mac: backend.mac.toLowerCase(),
    network: networkKey(prefix.bytes, prefix.length),
  };
}

/** Why nobody can be reached there; "" when somebody may. */
function unusable(bytes: Uint8Array, version: 4 | 6): string {
  if (bytes.length !== (version === 4 ? 4 : 16)) return `is not of IPv${version}`;
  if (bytes.every((byte) => byte === 0)) return 'is unspecified';
  if (version === 4) {
    if (bytes[0] === 127) return 'is a loopback address';
    const isGroup = bytes[0]! >>> 4 === 14;
    return isGroup || bytes.every((byte) => byte === 255) ? 'is no address of a host' : '';
  }
  if (bytes[0] === 0xff) return 'is no address of a host';
  return bytes[15] === 1 && bytes.subarray(0, 15).every((byte) => byte === 0) ? 'is a loopback address' : '';
}

function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16));
}
