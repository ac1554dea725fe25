/**
 * Which frames of one batch may be merged into one write, by the rules of Linux's GRO and of wireguard-go,
 * told as plainly as they can be: strings for keys, whole headers compared, every checksum computed.
 */
import { internetSum, pseudoIpv4, pseudoIpv6 } from './reference.ts';

const FIN_TO_CWR_WITHOUT_PSH = 0xf7;
const ACK = 0x10;
const PSH = 0x08;
const IP_MAX_BYTES = 65535;
/** As many payloads as a write has iovecs for, behind the virtio header and the first frame. */
const MERGED_MAX = 66;
/** Datagrams of one super-frame: Linux takes no more. */
const TRAIN_MAX = 64;
/** Flows that may be open at a time. */
const TABLE_SIZE = 16;

export interface Arrival {
  device: number;
  frame: Uint8Array;
}

interface Plain {
  l4: number;
  headers: number;
  pseudo: number;
}

interface Train {
  frames: number[];
  isOpen: boolean;
  device: number;
  key: string;
  hosts: string;
  segment: number;
  /** How much IPv4 ids rise; not known before the second datagram. */
  step?: number;
}

interface Group {
  frames: number[];
  isOpen: boolean;
  device: number;
  key: string;
  hosts: string;
  nextSequence: number;
  segment: number;
  ipBytes: number;
}

/** @returns the numbers of the frames of each write, in the order of writes */
export function coalesceNaively(arrivals: readonly Arrival[]): number[][] {
  const groups: number[][] = [];
  const table: Group[] = [];
  const trains = new Map<number, Train>();
  for (const [number, { device, frame }] of arrivals.entries()) {
    const datagram = plainUdp(frame);
    if (datagram) {
      addDatagram(arrivals, number, datagram, groups, trains);
      continue;
    }
    const plain = plainTcp(frame);
    if (!plain) {
      // It may be of a flow that is open: what comes before it must be out before it.
      const hosts = tcpHosts(frame);
      for (const group of table) {
        if (group.device === device && group.hosts === hosts) group.isOpen = false;
      }
      const ends = udpHosts(frame);
      for (const train of trains.values()) {
        if (train.device === device && train.hosts === ends) train.isOpen = false;
      }
      groups.push([number]);
      continue;
    }
    const { l4, headers } = plain;
    const key = [device, ...frame.subarray(14 + (l4 === 34 ? 12 : 8), l4 + 4)].join();
    const group = table.find((one) => one.isOpen && one.key === key);
    const payload = frame.length - headers;
    const flags = frame[l4 + 13]!;
    const special = (flags & FIN_TO_CWR_WITHOUT_PSH) !== ACK || payload === 0;
    if (special || isUnfinished(frame, plain)) {
      if (group) group.isOpen = false;
      groups.push([number]);
      continue;
    }
    const sequence = new DataView(frame.buffer, frame.byteOffset).getUint32(l4 + 4);
    const ends = (flags & PSH) !== 0;
    if (group) {
      const first = arrivals[group.frames[0]!]!.frame;
      const joins =
        sequence === group.nextSequence &&
        payload <= group.segment &&
        group.ipBytes + payload <= IP_MAX_BYTES &&
        group.frames.length <= MERGED_MAX &&
        common(first, plainTcp(first)!) === common(frame, plain) &&
        isRight(first) &&
        isRight(frame);
      if (joins) {
        group.frames.push(number);
        group.nextSequence = (sequence + payload) >>> 0;
        group.ipBytes += payload;
        if (ends || payload < group.segment) group.isOpen = false;
        continue;
      }
      group.isOpen = false;
    }
    const started: Group = {
      frames: [number],
      isOpen: true,
      device,
      key,
      hosts: tcpHosts(frame)!,
      nextSequence: (sequence + payload) >>> 0,
      segment: payload,
      ipBytes: frame.length - 14,
    };
    groups.push(started.frames);
    if (!ends) keep(table, started, groups.length - 1);
  }
  return groups;
}

/** Into the train of its flow, or a group of its own. */
function addDatagram(
  arrivals: readonly Arrival[],
  number: number,
  plain: Plain,
  groups: number[][],
  trains: Map<number, Train>,
): void {
  const { device, frame } = arrivals[number]!;
  const { l4, headers } = plain;
  const slot = slotOf(frame, l4);
  const key = [device, ...frame.subarray(14 + (l4 === 34 ? 12 : 8), l4 + 4)].join();
  const payload = frame.length - headers;
  const noted = trains.get(slot);
  const train = noted?.isOpen && noted.key === key ? noted : undefined;
  const own = [number];
  const fits =
    payload > 0 &&
    ((frame[l4 + 4]! << 8) | frame[l4 + 5]!) === frame.length - l4 &&
    ((frame[l4 + 6]! << 8) | frame[l4 + 7]!) !== 0 &&
    !isUnfinished(frame, plain);
  if (fits && train) {
    const step = idStep(arrivals[train.frames.at(-1)!]!.frame, frame, l4);
    const mayStay = train.frames.length === 1 && step === 0 && (frame[20]! & 0x40) !== 0;
    const follows = train.step === undefined ? step === 1 || mayStay : step === train.step;
    const first = arrivals[train.frames[0]!]!.frame;
    const joins =
      payload <= train.segment &&
      first.length - 14 + payloads(arrivals, [...train.frames.slice(1), number], headers) <= IP_MAX_BYTES &&
      common(first, plain, true) === common(frame, plain, true) &&
      (l4 !== 34 || follows);
    if (joins && isRight(first) && isRight(frame)) {
      train.frames.push(number);
      train.step ??= step;
      if (payload < train.segment || train.frames.length === TRAIN_MAX) train.isOpen = false;
      return;
    }
    train.isOpen = false;
  } else if (train) train.isOpen = false;
  groups.push(own);
  if (!fits) return;
  const hosts = udpHosts(frame)!;
  trains.set(slot, { frames: own, isOpen: true, device, key, hosts, segment: payload });
}

function payloads(arrivals: readonly Arrival[], numbers: readonly number[], headers: number): number {
  return numbers.reduce((sum, number) => sum + arrivals[number]!.frame.length - headers, 0);
}

function idStep(before: Uint8Array, frame: Uint8Array, l4: number): number {
  if (l4 !== 34) return 0;
  const id = (one: Uint8Array) => (one[18]! << 8) | one[19]!;
  return (id(frame) - id(before)) & 0xffff;
}

/** Which place of 64 the flow has: the addresses' last four bytes and the ports, in memory order, hashed. */
function slotOf(frame: Uint8Array, l4: number): number {
  const view = new DataView(frame.buffer, frame.byteOffset);
  const [source, destination] = l4 === 34 ? [26, 30] : [34, 50];
  const mixed =
    view.getUint32(source, true) ^ (view.getUint32(destination, true) << 5) ^ view.getUint32(l4, true);
  return Math.imul(mixed, 0x9e3779b1) >>> 26;
}

/** In the first place that is free; in a full table, in one that the write's number names. */
function keep(table: Group[], group: Group, write: number): void {
  const free = table.findIndex(({ isOpen }) => !isOpen);
  if (free >= 0) table[free] = group;
  else if (table.length < TABLE_SIZE) table.push(group);
  else table[write % TABLE_SIZE] = group;
}

/** An untagged TCP packet without IP options that fills its frame exactly and is no fragment. */
function plainTcp(frame: Uint8Array): Plain | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = view.getUint16(12);
  let l4: number;
  if (type === 0x0800) {
    if (frame[14] !== 0x45 || view.getUint16(16) !== frame.length - 14) return undefined;
    if ((view.getUint16(20) & 0x3fff) !== 0 || frame[23] !== 6) return undefined;
    l4 = 34;
  } else if (type === 0x86dd) {
    if (view.getUint16(18) !== frame.length - 54 || frame[20] !== 6) return undefined;
    l4 = 54;
  } else return undefined;
  if (l4 + 20 > frame.length) return undefined;
  const headers = l4 + (frame[l4 + 12]! >> 4) * 4;
  if (headers < l4 + 20 || headers > frame.length) return undefined;
  const pseudo = (l4 === 34 ? pseudoIpv4 : pseudoIpv6)(frame.subarray(14), 6, frame.length - l4);
  return { l4, headers, pseudo };
}

/** An untagged UDP packet without IP options that fills its frame exactly and is no fragment. */
function plainUdp(frame: Uint8Array): Plain | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = view.getUint16(12);
  let l4: number;
  if (type === 0x0800) {
    if (frame[14] !== 0x45 || view.getUint16(16) !== frame.length - 14) return undefined;
    if ((view.getUint16(20) & 0x3fff) !== 0 || frame[23] !== 17) return undefined;
    l4 = 34;
  } else if (type === 0x86dd) {
    if (view.getUint16(18) !== frame.length - 54 || frame[20] !== 17) return undefined;
    l4 = 54;
  } else return undefined;
  if (l4 + 8 > frame.length) return undefined;
  const pseudo = (l4 === 34 ? pseudoIpv4 : pseudoIpv6)(frame.subarray(14), 17, frame.length - l4);
  return { l4, headers: l4 + 8, pseudo };
}

/** Both addresses of an untagged packet that may be UDP's. */
function udpHosts(frame: Uint8Array): string | undefined {
  const type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x0800 && frame[23] === 17) return frame.subarray(26, 34).join();
  return type === 0x86dd && frame[20] !== 6 ? frame.subarray(22, 54).join() : undefined;
}

/** Both addresses of an untagged packet that may be TCP's, whatever else is odd about it. */
function tcpHosts(frame: Uint8Array): string | undefined {
  const type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x0800 && frame[23] === 6) return frame.subarray(26, 34).join();
  return type === 0x86dd && frame[20] !== 17 ? frame.subarray(22, 54).join() : undefined;
}

/** Is the transport checksum of the frame only begun? */
export function isBegun(frame: Uint8Array): boolean {
  const plain = plainUdp(frame) ?? plainTcp(frame);
  return plain !== undefined && isUnfinished(frame, plain);
}

function isUnfinished(frame: Uint8Array, { l4, headers, pseudo }: Plain): boolean {
  const field = headers === l4 + 8 ? l4 + 6 : l4 + 16;
  return ((frame[field]! << 8) | frame[field + 1]!) === pseudo;
}

function isRight(frame: Uint8Array): boolean {
  const { l4, pseudo } = (plainUdp(frame) ?? plainTcp(frame))!;
  if (l4 === 34 && internetSum(frame.subarray(14, 34)) !== 0xffff) return false;
  return internetSum(frame.subarray(l4), pseudo) === 0xffff;
}

/** All of the headers that one set must stand for; left out is what each segment has of its own, and the window. */
function common(frame: Uint8Array, { l4, headers }: Plain, isUdp = false): string {
  const ip = frame.slice(14, l4);
  for (const own of l4 === 34 ? [2, 3, 4, 5, 10, 11] : [4, 5]) ip[own] = 0;
  if (isUdp) return [frame.subarray(0, 14).join(), ip.join()].join(' ');
  const header = frame.slice(l4, headers);
  for (const own of [4, 5, 6, 7, 14, 15, 16, 17, 18, 19]) header[own] = 0;
  header[13]! &= ~PSH;
  return [frame.subarray(0, 14).join(), ip.join(), header.join()].join(' ');
}
