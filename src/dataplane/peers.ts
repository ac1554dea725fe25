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
  PEER_COUNT,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import type { PeerInfo, PeerRequest } from '../types.ts';
import { deviceRecord } from './fdb-record.ts';
import { readAddress, readMac } from './fdb-request.ts';
import { formatAddress, formatMac, isAny, isGroup } from './fdb-text.ts';
import { type Peer, PeerTable, type Prefix } from './peer-table.ts';

export interface PeersHost {
  /** All of the dataplane's memory. */
  readonly view: DataView;
  /** Index of a device by its name; 0 = there is none. */
  deviceIndex(name: string): number;
  deviceName(index: number): string;
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
    const device = this.#deviceOf(what, request.dev);
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
    const peer = this.#read(what, request, device);
    if (this.#table.set(device, mac, peer)) return;
    throw new VtepError(
      'NO_SPACE',
      `${what}: No space left on device: there are ${PEER_COUNT} peers, the most there may be: delete some first`,
    );
  }

  /** By device, then in the order of their places. @param dev absent: all. @throws VtepError NOT_FOUND */
  show(dev?: string): PeerInfo[] {
    const only = dev === undefined ? 0 : this.#deviceOf(`peer show dev ${dev}`, dev);
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
    const { address, ipv4, ipv6 } = this.#table.read(entry);
    const { rxPackets, rxBytes, addressDrops, subnetDrops, txPackets, txBytes, last } =
      this.#table.counters(entry);
    return {
      ifname: this.#host.deviceName(device),
      mac: formatMac(this.#table.macOf(entry)),
      src: formatAddress({ family: this.#familyOf(device), bytes: address }),
      prefixes: [ipv4, ipv6].filter((prefix) => prefix !== undefined).map(formatPrefix),
      ...(last === 0 ? {} : { last: Math.max(0, now - last) }),
      stats: {
        rx: { packets: rxPackets, bytes: rxBytes, address_drops: addressDrops, subnet_drops: subnetDrops },
        tx: { packets: txPackets, bytes: txBytes },
      },
    };
  }

  #read(what: string, { src, prefixes = [] }: Extract<PeerRequest, { op: 'set' }>, device: number): Peer {
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
    let ipv4: Prefix | undefined;
    let ipv6: Prefix | undefined;
    for (const text of prefixes) {
      const prefix = readPrefix(what, text);
      const isIpv4 = prefix.network.length === 4;
      if ((isIpv4 ? ipv4 : ipv6) !== undefined) {
        throw new VtepError(
          'USAGE',
          `${what}: prefix ${text}: Invalid argument: a peer has one IPv4 and one IPv6 prefix at most`,
        );
      }
      if (isIpv4) ipv4 = prefix;
      else ipv6 = prefix;
    }
    return { address: address.bytes, ipv4, ipv6 };
  }

  #familyOf(device: number): number {
    return this.#host.view.getUint8(deviceRecord(device) + DEVICE_FAMILY_OFFSET);
  }

  #deviceOf(what: string, name: string): number {
    const index = this.#host.deviceIndex(name);
    if (index !== 0) return index;
    throw new VtepError(
      'NOT_FOUND',
      `${what}: Cannot find device "${name}": "vxlane link show" lists those that there are`,
    );
  }
}

/** `10.244.2.0/24`, `fd00:1::/64`; an address alone is all of itself. */
function readPrefix(what: string, text: string): Prefix {
  const [, address = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const { family, bytes } = readAddress(what, address === '' ? text : address);
  const length = family === AF_INET6 ? 16 : 4;
  const ones = bits === undefined ? length * 8 : Number(bits);
  const network = bytes.slice(0, length);
  const mask = maskOf(length, Math.min(ones, length * 8));
  if (ones > length * 8 || network.some((byte, at) => (byte & ~mask[at]!) !== 0)) {
    throw new VtepError(
      'USAGE',
      `${what}: prefix ${text}: Invalid prefix for given prefix length: give a network as in 10.244.2.0/24`,
    );
  }
  return { network, mask };
}

function maskOf(bytes: number, ones: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => {
    const left = Math.min(8, Math.max(0, ones - at * 8));
    return (0xff << (8 - left)) & 0xff;
  });
}

function formatPrefix({ network, mask }: Prefix): string {
  // A byte of a mask has its ones first.
  const ones = mask.reduce((sum, byte) => sum + Math.clz32(~(byte << 24)), 0);
  const bytes = new Uint8Array(16);
  bytes.set(network);
  return `${formatAddress({ family: network.length === 4 ? AF_INET : AF_INET6, bytes })}/${ones}`;
}
