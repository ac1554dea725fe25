/**
 * Who a device with `knownpeers` takes frames from, as commands say it: by device and MAC the outer source address
 * and the prefixes that sources inside lie in. peer-table.ts has the memory.
 */
import {
  AF_INET,
  AF_INET6,
  DEVICE_FAMILY_OFFSET,
  DEVICE_FLAG_GPE,
  DEVICE_FLAGS_OFFSET,
  PEER_ADDRESS_OFFSET,
  PEER_COUNT,
  PEER_IPV4_MASK_OFFSET,
  PEER_IPV4_OFFSET,
  PEER_IPV6_MASK_OFFSET,
  PEER_IPV6_OFFSET,
  PEER_SOURCE_BYTES,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { PeerInfo, PeerRequest } from '../types.ts';
import { type DeviceNames, findDevice } from './device-names.ts';
import { deviceRecord } from './fdb-record.ts';
import { readAddress, readMac } from './fdb-request.ts';
import { formatAddress, formatMac, isAny, isGroup } from './fdb-text.ts';
import { PeerTable } from './peer-table.ts';

/** Where a network and its mask lie in what readers copy of a peer. */
interface PrefixPlace {
  readonly family: number;
  readonly bytes: number;
  readonly network: number;
  readonly mask: number;
}

const IPV4: PrefixPlace = {
  ...{ family: AF_INET, bytes: 4 },
  ...{ network: PEER_IPV4_OFFSET, mask: PEER_IPV4_MASK_OFFSET },
};
const IPV6: PrefixPlace = {
  ...{ family: AF_INET6, bytes: 16 },
  ...{ network: PEER_IPV6_OFFSET, mask: PEER_IPV6_MASK_OFFSET },
};

export interface PeersHost extends DeviceNames {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  /** Seconds of the clock that workers see. */
  now(): number;
}

export class Peers {
  readonly #host: PeersHost;
  readonly #table: PeerTable;

  constructor(host: PeersHost) {
    this.#host = host;
    this.#table = new PeerTable(host.view);
  }

  /** @throws VtepError NOT_FOUND, USAGE, UNSUPPORTED (`gpe`), NO_SPACE; then nothing has changed */
  apply(request: PeerRequest): void {
    const what = `peer ${request.op} ${request.mac} dev ${request.dev}`;
    const device = findDevice(this.#host, what, request.dev);
    const mac = readMac(what, request.mac);
    if (request.op === 'del') {
      if (this.#table.remove(device, mac)) return;
      throw new VtepError(
        'NOT_FOUND',
        `${what}: No such file or directory: "vxlane peer show" lists what there is`,
      );
    }
    if (isGroup(mac)) {
      throw new VtepError(
        'USAGE',
        `${what}: Provided Ethernet address is not unicast: give the MAC that its frames come from`,
      );
    }
    const source = this.#read(what, request, device);
    if (this.#table.set(device, mac, source)) return;
    throw new VtepError(
      'NO_SPACE',
      `${what}: No space left on device: there are ${PEER_COUNT} peers, the most there may be: delete some first`,
    );
  }

  /** By device, then in the order of their places. @param dev absent: all. @throws VtepError NOT_FOUND */
  show(dev?: string): PeerInfo[] {
    const only = dev === undefined ? 0 : findDevice(this.#host, `peer show dev ${dev}`, dev);
    const now = this.#host.now();
    const found = new Map<number, PeerInfo[]>();
    for (const entry of this.#table.each(only)) {
      const device = this.#table.deviceOf(entry);
      const of = found.get(device) ?? [];
      if (of.length === 0) found.set(device, of);
      of.push(this.#describe(entry, device, now));
    }
    return [...found].sort(([one], [other]) => one - other).flatMap(([, peers]) => peers);
  }

  /** The device goes; no worker may have it in hand. */
  remove(device: number): void {
    this.#table.clear(device);
  }

  #describe(entry: number, device: number, now: number): PeerInfo {
    const source = this.#table.read(entry);
    const address = source.subarray(PEER_ADDRESS_OFFSET, PEER_ADDRESS_OFFSET + 16);
    const { rxPackets, rxBytes, addressDrops, subnetDrops, txPackets, txBytes, last } =
      this.#table.counters(entry);
    return {
      ifname: this.#host.deviceName(device),
      mac: formatMac(this.#table.macOf(entry)),
      src: formatAddress({ family: this.#familyOf(device), bytes: address }),
      prefixes: [IPV4, IPV6]
        .filter((place) => hasPrefix(source, place))
        .map((place) => formatPrefix(source, place)),
      ...(last === 0 ? {} : { last: Math.max(0, now - last) }),
      stats: {
        rx: { packets: rxPackets, bytes: rxBytes, address_drops: addressDrops, subnet_drops: subnetDrops },
        tx: { packets: txPackets, bytes: txBytes },
      },
    };
  }

  #read(
    what: string,
    { src, prefixes = [] }: Extract<PeerRequest, { op: 'set' }>,
    device: number,
  ): Uint8Array {
    const flags = this.#host.view.getUint32(deviceRecord(device) + DEVICE_FLAGS_OFFSET, true);
    if ((flags & DEVICE_FLAG_GPE) !== 0) {
      throw new VtepError(
        'UNSUPPORTED',
        `${what}: Operation not supported: packets of a device with "gpe" have no MAC to know a peer by`,
      );
    }
    const address = readAddress(what, src);
    const family = this.#familyOf(device);
    if (address.family !== family) {
      const name = family === AF_INET ? 'IPv4' : 'IPv6';
      throw new VtepError(
        'UNSUPPORTED',
        `${what}: Address family not supported by protocol: the underlay of the device is ${name}`,
      );
    }
    if (isAny(address)) {
      throw new VtepError('USAGE', `${what}: src ${src}: Invalid argument: give the address it sends from`);
    }
    const source = new Uint8Array(PEER_SOURCE_BYTES);
    source.set(address.bytes, PEER_ADDRESS_OFFSET);
    // No source is in it: nothing under an empty mask is all ones.
    for (const { network, bytes } of [IPV4, IPV6]) source.fill(0xff, network, network + bytes);
    for (const text of prefixes) readPrefix(what, text, source);
    return source;
  }

  #familyOf(device: number): number {
    return this.#host.view.getUint8(deviceRecord(device) + DEVICE_FAMILY_OFFSET);
  }
}

/** `10.244.2.0/24`, `fd00:1::/64`; an address alone is all of itself. */
function readPrefix(what: string, text: string, source: Uint8Array): void {
  const slash = text.indexOf('/');
  const { family, bytes } = readAddress(what, slash < 0 ? text : text.slice(0, slash));
  const place = family === AF_INET6 ? IPV6 : IPV4;
  if (hasPrefix(source, place)) {
    throw new VtepError(
      'USAGE',
      `${what}: prefix ${text}: Invalid argument: a peer has one IPv4 and one IPv6 prefix at most`,
    );
  }
  const bits = slash < 0 ? String(place.bytes * 8) : text.slice(slash + 1);
  const ones = /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  let isNetwork = ones <= place.bytes * 8;
  for (let at = 0; at < place.bytes; at++) {
    const mask = (0xff << (8 - Math.min(8, Math.max(0, ones - at * 8)))) & 0xff;
    if ((bytes[at]! & ~mask) !== 0) isNetwork = false;
    source[place.network + at] = bytes[at]!;
    source[place.mask + at] = mask;
  }
  if (isNetwork) return;
  throw new VtepError(
    'USAGE',
    `${what}: prefix ${text}: Invalid prefix for given prefix length: give a network as in 10.244.2.0/24`,
  );
}

/** Under an empty mask nothing but zeros is a network. */
function hasPrefix(source: Uint8Array, { network, mask }: PrefixPlace): boolean {
  return source[mask] !== 0 || source[network] !== 0xff;
}

function formatPrefix(source: Uint8Array, { family, bytes, network, mask }: PrefixPlace): string {
  let ones = 0;
  // A byte of a mask has its ones first.
  for (let at = 0; at < bytes; at++) ones += Math.clz32(~(source[mask + at]! << 24));
  const address = new Uint8Array(16);
  address.set(source.subarray(network, network + bytes));
  return `${formatAddress({ family, bytes: address })}/${ones}`;
}
