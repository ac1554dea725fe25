/**
 * The device table: the records that workers read about every packet, written by the host only.
 */
import {
  type AF_INET,
  type AF_INET6,
  AGEING_NEVER,
  DEVICE_AGEING_OFFSET,
  DEVICE_BYTES,
  DEVICE_COUNT,
  DEVICE_DF_OFFSET,
  DEVICE_DOWN,
  DEVICE_FAMILY_OFFSET,
  DEVICE_FDB_LIMIT_OFFSET,
  DEVICE_FLAG_HOOK_DECAP,
  DEVICE_FLAG_LABEL_INHERIT,
  DEVICE_FLAG_LEARNING,
  DEVICE_FLAG_MDB,
  DEVICE_FLAG_POLICIES,
  DEVICE_FLAG_PROXY,
  DEVICE_FLAG_RSC,
  DEVICE_FLAG_TOS_INHERIT,
  DEVICE_FLAG_TTL_INHERIT,
  DEVICE_FLAGS_OFFSET,
  DEVICE_FREE,
  DEVICE_IFINDEX_OFFSET,
  DEVICE_LABEL_OFFSET,
  DEVICE_LINK_OFFSET,
  DEVICE_MAC_OFFSET,
  DEVICE_MTU_OFFSET,
  DEVICE_PORT_OFFSET,
  DEVICE_QUEUE_MAX,
  DEVICE_RECEIVE_OFFSET,
  DEVICE_RESERVED_OFFSET,
  DEVICE_SOURCE_DF_OFFSET,
  DEVICE_SOURCE_OFFSET,
  DEVICE_STATE_OFFSET,
  DEVICE_TAP_OFFSET,
  DEVICE_TOS_OFFSET,
  DEVICE_TTL_OFFSET,
  DEVICE_UP,
  DEVICE_VNI_OFFSET,
  DEVICES_BASE,
  DF_INHERIT,
  DF_SET,
  DF_UNSET,
} from '../../assembly/layout.ts';
import { VtepError } from '../errors.ts';
import { type DeviceFeatures, flagBits, receiveBits, reservedBits } from './device-features.ts';
import { readDomain, writeDomain } from './domains.ts';
import { parseMac } from './fdb-text.ts';
import type { Views } from './memory.ts';

const DF = { unset: DF_UNSET, set: DF_SET, inherit: DF_INHERIT } as const;
/** What others than `write` set and clear. */
const FLAGS_OF_OTHERS = DEVICE_FLAG_MDB | DEVICE_FLAG_POLICIES | DEVICE_FLAG_HOOK_DECAP;

/** What a packet needs to know of its device. */
export interface DeviceRecord {
  vni: number;
  /** `aa:bb:cc:dd:ee:ff` */
  address: string;
  /** Bytes. */
  mtu: number;
  family: typeof AF_INET | typeof AF_INET6;
  port: number;
  learning: boolean;
  /** Seconds. */
  ageing: number | 'never';
  maxaddress: number;
  ttl: number | 'inherit';
  tos: number | 'inherit';
  df: 'unset' | 'set' | 'inherit';
  /** Source groups for datagrams without and with DF. */
  source: number;
  sourceDf: number;
  /** What is left out is off, or 0. */
  features?: DeviceFeatures;
  /** 64 bits of the VXLAN header that make a datagram be dropped; absent: all that the features do not use. */
  reservedBits?: bigint;
  /** IPv6 flow label, 0 to 0xfffff, or the inner packet's; absent: 0. */
  flowlabel?: number | 'inherit';
  /** Of the TAP, and of `dev`. */
  ifindex?: number;
  link?: number;
}

export class Devices {
  readonly #views: Views;
  readonly #names = new Map<string, number>();

  constructor(views: Views) {
    this.#views = views;
  }

  /** 0 = there is none. */
  indexOf(name: string): number {
    return this.#names.get(name) ?? 0;
  }

  nameOf(index: number): string {
    for (const [name, of] of this.#names) if (of === index) return name;
    return '';
  }

  /** Index of a device's own interface, 0 = not known. */
  ifindexOf(index: number): number {
    return this.#views.view.getUint32(DEVICES_BASE + index * DEVICE_BYTES + DEVICE_IFINDEX_OFFSET, true);
  }

  /** Whether it answers, or routes, by neighbours; said once, when it is made. */
  usesNeighbours(index: number): boolean {
    const flags = this.#views.view.getUint32(DEVICES_BASE + index * DEVICE_BYTES + DEVICE_FLAGS_OFFSET, true);
    return (flags & (DEVICE_FLAG_PROXY | DEVICE_FLAG_RSC)) !== 0;
  }

  /** Domain that a device has for a VNI; 0 = none. */
  domainOf(index: number, vni: number): number {
    const { view } = this.#views;
    return readDomain(view, index).vni === vni ? index : 0;
  }

  /** @throws VtepError NO_SPACE */
  claim(name: string): number {
    const taken = new Set(this.#names.values());
    for (let index = 1; index < DEVICE_COUNT; ++index) {
      if (taken.has(index)) continue;
      this.#names.set(name, index);
      const at = DEVICES_BASE + index * DEVICE_BYTES;
      this.#views.bytes.fill(0, at, at + DEVICE_BYTES);
      // A device's own VNI is the domain of the same number.
      writeDomain(this.#views.view, index, { device: index, vni: 0 });
      this.setQueues(index, []);
      return index;
    }
    throw new VtepError(
      'NO_SPACE',
      `link ${name}: there are ${DEVICE_COUNT - 1} devices, the most there may be`,
    );
  }

  release(index: number): void {
    this.#views.view.setUint32(DEVICES_BASE + index * DEVICE_BYTES + DEVICE_STATE_OFFSET, DEVICE_FREE, true);
    this.#names.delete(this.nameOf(index));
  }

  rename(index: number, name: string): void {
    this.#names.delete(this.nameOf(index));
    this.#names.set(name, index);
  }

  write(index: number, record: DeviceRecord): void {
    const { view } = this.#views;
    const at = DEVICES_BASE + index * DEVICE_BYTES;
    const { features = {}, flowlabel = 0 } = record;
    let flags = view.getUint32(at + DEVICE_FLAGS_OFFSET, true) & FLAGS_OF_OTHERS;
    flags |= flagBits(features);
    if (flowlabel === 'inherit') flags |= DEVICE_FLAG_LABEL_INHERIT;
    if (record.learning) flags |= DEVICE_FLAG_LEARNING;
    if (record.ttl === 'inherit') flags |= DEVICE_FLAG_TTL_INHERIT;
    if (record.tos === 'inherit') flags |= DEVICE_FLAG_TOS_INHERIT;
    view.setUint32(at + DEVICE_VNI_OFFSET, record.vni, true);
    // Once: VLAN and policy of the domain are others'.
    if (readDomain(view, index).vni !== record.vni)
      writeDomain(view, index, { device: index, vni: record.vni });
    view.setUint32(at + DEVICE_FLAGS_OFFSET, flags, true);
    view.setUint8(at + DEVICE_TTL_OFFSET, record.ttl === 'inherit' ? 0 : record.ttl);
    view.setUint8(at + DEVICE_TOS_OFFSET, record.tos === 'inherit' ? 0 : record.tos);
    view.setUint8(at + DEVICE_DF_OFFSET, DF[record.df]);
    view.setUint8(at + DEVICE_FAMILY_OFFSET, record.family);
    view.setUint16(at + DEVICE_PORT_OFFSET, record.port, true);
    view.setUint16(at + DEVICE_SOURCE_OFFSET, record.source, true);
    view.setUint16(at + DEVICE_SOURCE_DF_OFFSET, record.sourceDf, true);
    view.setUint32(at + DEVICE_FDB_LIMIT_OFFSET, record.maxaddress, true);
    view.setUint32(at + DEVICE_AGEING_OFFSET, record.ageing === 'never' ? AGEING_NEVER : record.ageing, true);
    // In network order, as the header is read.
    view.setBigUint64(at + DEVICE_RESERVED_OFFSET, record.reservedBits ?? reservedBits(features), false);
    view.setUint32(at + DEVICE_LABEL_OFFSET, flowlabel === 'inherit' ? 0 : flowlabel, true);
    view.setUint32(at + DEVICE_IFINDEX_OFFSET, record.ifindex ?? 0, true);
    view.setUint32(at + DEVICE_LINK_OFFSET, record.link ?? 0, true);
    view.setUint32(at + DEVICE_RECEIVE_OFFSET, receiveBits(features), true);
    this.setLink(index, record.address, record.mtu);
  }

  /** Also when the interface's own MAC or MTU has been changed from outside. */
  setLink(index: number, address: string, mtu: number): void {
    const { view } = this.#views;
    const at = DEVICES_BASE + index * DEVICE_BYTES;
    const mac = parseMac(address);
    if (mac === undefined)
      throw new VtepError('USAGE', `address ${address}: six bytes are expected, as in 02:00:00:00:00:01`);
    const word = (BigInt(mac.high) << 32n) | BigInt(mac.low);
    if (view.getBigUint64(at + DEVICE_MAC_OFFSET, true) !== word) {
      view.setBigUint64(at + DEVICE_MAC_OFFSET, word, true);
    }
    view.setUint32(at + DEVICE_MTU_OFFSET, mtu, true);
  }

  /** Descriptors of the TAP's queues. */
  setQueues(index: number, fds: readonly number[]): void {
    const at = DEVICES_BASE + index * DEVICE_BYTES + DEVICE_TAP_OFFSET;
    for (let queue = 0; queue < DEVICE_QUEUE_MAX; ++queue) {
      this.#views.view.setInt32(at + queue * 4, fds[queue] ?? -1, true);
    }
  }

  isUp(index: number): boolean {
    return this.#views.u32[(DEVICES_BASE + index * DEVICE_BYTES + DEVICE_STATE_OFFSET) >>> 2] === DEVICE_UP;
  }

  /** Packets are delivered to a device that is up only. */
  /** Is what arrives shown to a hook? Then frames of this host itself take the way of datagrams, too. */
  setHooked(index: number, isHooked: boolean): void {
    const at = (DEVICES_BASE + index * DEVICE_BYTES + DEVICE_FLAGS_OFFSET) >>> 2;
    if (isHooked) Atomics.or(this.#views.u32, at, DEVICE_FLAG_HOOK_DECAP);
    else Atomics.and(this.#views.u32, at, ~DEVICE_FLAG_HOOK_DECAP);
  }

  setUp(index: number, up: boolean): void {
    const at = (DEVICES_BASE + index * DEVICE_BYTES + DEVICE_STATE_OFFSET) >>> 2;
    Atomics.store(this.#views.u32, at, up ? DEVICE_UP : DEVICE_DOWN);
  }
}
